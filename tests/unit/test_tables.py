"""Tables fit the width at hand and never cut a number or a name: the layout, and every table in the tree."""

from __future__ import annotations

import ast
import io
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from certify import recorded_report as recorded_table
from certify.recorded_report import DecisionSkew, RecordedReport
from certify.skew import FeatureSkew, SeriesSkew
from lockstep.live.operator import journal_cli as journal_report
from lockstep.live.operator import portfolio_cli
from lockstep.live.status import status as status_table
from lockstep.live.status.status import ColdWindow, Status
from lockstep.market.quality import QualityReport
from lockstep.market.quality.finding import Finding
from lockstep.market.rolls import Roll, RollTable
from lockstep.models import listing
from lockstep.monitoring.outcomes import SignalOutcome
from lockstep.monitoring.triggers import RetrainingTrigger
from lockstep.strategy.specs.program import Within
from lockstep.tables import TextTable, number, prose
from operations import candidates_cli, performance_cli
from operations.ab import cli as ab_cli
from operations.agents import tables as agent_tables
from operations.nightly import cli as nightly_cli
from operations.nightly.night import NightHistory
from operations.reports import health
from operations.reports.health import DeskHealth, LaneHealth
from operations.retraining import cli as retraining_cli
from operations.retraining.book import RetrainingRun, Step, StepRow
from operations.retraining.plan import SymbolPlan
from operations.watch import report as watch_report
from operations.watch.report import MonitorReport
from research.backtest import portfolio, result_table, trade_comparison
from research.checks import features_report as feature_tables
from research.checks import lookahead as lookahead_run
from research.experiments import progress, tables, why
from research.experiments.comparison import MEASURES
from research.experiments.diagnostics import SearchOpinion, SymbolDiagnostics, TrialOpinion, WinnerOpinion
from research.ledger.performance import MeasuredStrategy, PeriodRow
from research.model_validation import command
from research.optimise import command as optimise_command
from research.paper import report as report_table
from research.paper.bands import Band
from research.paper.residuals import ResidualSummary
from research.paper.verdict import Equality, InstrumentComparison, Reference
from research.pipeline.book import NightEvent
from research.report.trust import OtherOrders
from research.risk import regimes as risk_regimes
from research.risk import written
from research.risk.measured import measure
from research.risk.subject import RiskSubject
from research.specs import tables as spec_tables
from research.specs.check import ReadId
from research.specs.differences import FieldDifference, SignalDifference
from research.specs.occurrence import FlatDecisions, Frequencies, Occurrence
from research.specs.wording import Line
from research.statistics.regimes import RegimeResult
from research.statistics.trade_order import TradeOrders
from research.stress import report as stress_report
from research.stress.run import ScenarioRow
from research.stress.scenarios import SlippageScenario
from research.training import screen
from research.utils import add_source, data_report, rolls_cli
from research.zoo import cli as zoo_cli
from research.zoo.usage import ModelUsage
from support.experiments import plan
from support.sources import ROOT, trees, trees_of

LONG = "CONTINUOUS_CONTRACT_[0]_BACK-ADJUSTED"
BIG = 987_654_321_012.34
HUGE = 123_456_789_012
STAMP = 1_709_737_200 * 10**9


def printed(console_prints: Callable[[Console], object], width: int = 80) -> str:
    stream = io.StringIO()
    console_prints(Console(file=stream, width=width))
    return stream.getvalue()


def require_whole(text: str, *tokens: str, width: int = 80) -> None:
    """Every token is there in one piece, no line is wider than the console, and nothing was left out."""
    assert "…" not in text
    assert max(map(cell_len, text.splitlines())) <= width
    found = text.split()
    missing = [token for token in tokens if token not in found]
    assert not missing, f"{missing} not whole in\n{text}"


class TestLayout:
    def test_a_row_is_a_line_where_it_fits(self) -> None:
        table = TextTable("symbol", number("trades"), title="results", caption="all costs paid")
        table.add_row("ES", "1,234")
        lines = [line.rstrip() for line in printed(lambda console: console.print(table)).splitlines()]
        assert lines == [
            "results",
            "symbol  trades",
            "──────────────",
            "ES       1,234",
            "all costs paid",
        ]

    def test_prose_wraps_and_heads_do(self) -> None:
        table = TextTable("symbol", number("out of tolerance"), prose("found"))
        table.add_row("ES", "12", "jumps of 1,234.5 points at 2,345 bars " * 4)
        text = printed(lambda console: console.print(table), 40)
        require_whole(text, "tolerance", "1,234.5", "2,345", width=40)

    def test_a_row_that_is_too_wide_becomes_a_block(self) -> None:
        table = TextTable("symbol", *map(number, "abcdefgh"), prose("remark"))
        table.add_row("ES", *["1,234,567,890"] * 8, "as it was")
        table.add_row("NQ", *["5"] * 8, "")
        text = printed(lambda console: console.print(table), 60)
        assert text.startswith("ES\n  a 1,234,567,890   b 1,234,567,890")
        assert "remark as it was\nNQ\n  a             5   b" in text

    def test_bands_repeat_the_first_column(self) -> None:
        table = TextTable("bar", *map(number, "abcdef"), bands=True)
        table.add_row("2024-01-02", *["1,234,567,890"] * 6)
        text = printed(lambda console: console.print(table), 60)
        assert text.count("2024-01-02") == 2
        require_whole(text, "1,234,567,890", width=60)

    def test_bands_that_do_not_help_are_blocks(self) -> None:
        table = TextTable("bar", number("a"), number("b"), bands=True)
        table.add_row("x" * 50, "1", "2" * 20)
        require_whole(printed(lambda console: console.print(table), 60), "x" * 50, "2" * 20, width=60)

    def test_cells_are_plain_text_unless_they_are_styled(self) -> None:
        table = TextTable("a", "b", head=False)
        table.add_row("[red]x[/]", Text("y", style="red"))
        assert printed(lambda console: console.print(table)).split() == ["[red]x[/]", "y"]

    def test_every_column_has_its_cell(self) -> None:
        with pytest.raises(ValueError, match="1 cells in a table of 2 columns"):
            TextTable("a", "b").add_row("1")

    @given(
        st.lists(
            st.lists(
                st.text("0123456789.,-%ab", min_size=1, max_size=34).map(str.strip), min_size=5, max_size=5
            ),
            min_size=1,
            max_size=4,
        ),
        st.integers(40, 160),
        st.booleans(),
    )
    def test_no_token_is_ever_cut(self, rows: list[list[str]], width: int, bands: bool) -> None:
        table = TextTable("name", number("one"), prose("two"), number("some other"), "last", bands=bands)
        for row in rows:
            table.add_row(*row)
        text = printed(lambda console: console.print(table), width)
        require_whole(text, *(cell for row in rows for cell in row), width=width)

    def test_control_the_library_s_own_table_cuts(self) -> None:
        table = Table("a", "b", "c", "d", "e", "f")
        table.add_row(*[f"{HUGE:,}"] * 6)
        with pytest.raises(AssertionError):
            require_whole(printed(lambda console: console.print(table)), f"{HUGE:,}")


def weekly(console: Console) -> None:
    lane = LaneHealth(
        lane=LONG, version="v123", outcomes={"taken": HUGE, "vetoed": 12, "refused": 3},
        alarms=("ALARM ES win_rate",), wealth=123.45, drift=("a feature of it drifts " * 5,), reference="",
        validation=1_234.2, certificate=float("nan"), look=("ALARM",),
    )  # fmt: skip
    console.print(DeskHealth(until=STAMP, watched="", desk=(), lanes=(lane,)).table(everything=True))


def results(console: Console) -> None:
    measures = {
        "trades": HUGE, "net_profit": -BIG, "cagr": 12.345, "sharpe": -123.45, "win_rate": 1.0,
        "max_drawdown_fraction": 23.65, "profit_factor": 1234.56, "exposure": 1.0,
    }  # fmt: skip
    run = SimpleNamespace(
        config=SimpleNamespace(name="a_strategy_with_a_long_name_" * 2),
        equity=pd.DataFrame({"session_date": pd.to_datetime(["1999-01-04", "2025-12-31"])}),
        trades=pd.DataFrame({"commission": [BIG], "slippage_cost": [BIG]}),
        label=LONG,
        metrics=measures,
    )
    console.print(result_table.result_table([run, run]))  # type: ignore[list-item]


def models(console: Console) -> None:
    entry = SimpleNamespace(
        status="production",
        training_range=("1999-01-04", "2025-12-31"),
        threshold=0.123,
        task="veto",
        output="probability",
        horizon=0,
        metrics={"roc_auc": 0.612, "profit_factor_of_the_test": 12.3, "trades": 1.23e9},
        evidence=[SimpleNamespace(kind="paper comparison", passed=False)] * 3,
        use=SimpleNamespace(count=HUGE),
    )
    model = SimpleNamespace(versions={"v1234567": entry})
    found = SimpleNamespace(instruments={LONG: {"a_model_with_a_long_name": model}})
    console.print(listing.versions_table(found))  # type: ignore[arg-type]


def journal(console: Console) -> None:
    decision = {
        "sequence": HUGE, "stamp": "2024-03-06T15:00:00.123456Z", "symbol": LONG, "reason": "no_signal " * 5,
        "probability": 0.5, "close": BIG, "position": -12345.0, "equity": BIG,
    }  # fmt: skip
    event = {"sequence": HUGE, "kind": "reconciliation_failed", "content": {"quantity": HUGE, "at": LONG}}
    told = {
        "journal": "/somewhere/paper.db", "bytes": HUGE, "counts": {"sets": HUGE}, "events": {},
        "last_bars": {},
        "epoch": {"number": 1, "mode": "paper", "started": "2024-03-06", "reason": "first", "hashes": {}},
        "newest": {"decisions": [decision], "events": [event], "orders": []},
    }  # fmt: skip
    journal_report.print_summary(console, told)


def status(console: Console) -> None:
    shown = Status(
        mode="live", state="running", epoch=3, started=STAMP, heartbeat=STAMP, rollout="live 10 %",
        positions={LONG: -123456.0, "ES": 2.0}, profit_today={LONG: -BIG, "ES": BIG},
        cold_windows=(ColdWindow(LONG, "a_feature_of_a_very_long_name_252", 10, HUGE),),
        last_bars={f"{LONG}:1h": STAMP}, counters={f"refused because of {each}": HUGE for each in "abc"},
    )  # fmt: skip
    console.print(status_table.status_table(shown, STAMP, stale_seconds=60.0))


def training(console: Console) -> None:
    account = SimpleNamespace(
        measures={"trades": HUGE, "net_profit": -BIG, "sharpe": -123.45, "profit_factor": 1234.56,
                  "max_drawdown": 23.65}
    )  # fmt: skip
    runs = SimpleNamespace(unfiltered=account, filtered=account)
    window = SimpleNamespace(
        window=SimpleNamespace(number=12, threshold=0.55), first=date(2010, 1, 4), last=date(2012, 12, 31),
        unfiltered=account, filtered=account,
    )  # fmt: skip
    outcome: Any = SimpleNamespace(dataset=SimpleNamespace(symbol=LONG))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(screen, "traced_runs", lambda *_: runs)
        patched.setattr(screen, "window_results", lambda *_: [window])
        console.print(screen.window_table(outcome, None))  # type: ignore[arg-type]


def paper(console: Console) -> None:
    counts = dict.fromkeys(Equality.model_fields, HUGE) | {"kind": "", "first": ""}
    band = Band(
        statistic="trades_per_month", paper=BIG, backtest=BIG, low=-BIG, middle=BIG, high=BIG, judged=True,
        inside=False,
    )  # fmt: skip
    found = InstrumentComparison.model_construct(
        symbol=LONG, start="2024-01-02", end="2024-12-31", left_out=HUGE, equality=Equality(**counts),
        paper_pnl=BIG, backtest_pnl=BIG, bands=(band, band.model_copy(update={"statistic": "return"})),
        reference=Reference(
            start="1999-01-04", end="2023-12-29", sessions=HUGE, block=9, seen_in_training=True
        ),
    )  # fmt: skip
    console.print(report_table._bands_table(found))


def by_regime(console: Console) -> None:
    result = RegimeResult(
        regime=2.0, name="high volatility", bars=1.0, trades=HUGE, runs=HUGE, net=-BIG, mean=BIG, low=-BIG,
        high=BIG, win_rate=1.0, profit_factor=1.0, p_value=0.123, adjusted=0.5, verdict="no failure found",
    )  # fmt: skip
    console.print(risk_regimes.regimes_text({LONG: (result,)}))


def validation(console: Console) -> None:
    check = SimpleNamespace(
        passed=False,
        applies=True,
        name="probability of backtest overfitting",
        sentence=f"is {BIG:,.2f} for {LONG}, " * 3,
    )
    report: Any = SimpleNamespace(verdict=SimpleNamespace(checks=[check]))
    console.print(command.verdict_table(report))


def lookahead(console: Console) -> None:
    finding = SimpleNamespace(what=LONG, stamp=STAMP, cut=STAMP, cause=f"moves from {BIG:,.2f} to {HUGE:,}")
    report: Any = SimpleNamespace(
        traded=f"{LONG}:1h", bars=HUGE, ids=("ibs",), cuts=(1,), seed=0, findings=[finding], passed=False
    )
    console.print(lookahead_run.lookahead_table(report))


def features(console: Console) -> None:
    ids = [f"a_feature_of_a_long_name_{each}" for each in range(12)]
    values = pd.DataFrame(np.full((3, 12), BIG), columns=ids)
    outside = {name: [BIG] for name in ("ours", "theirs", "difference", "allowed")}
    check: Any = SimpleNamespace(
        market=SimpleNamespace(instrument=SimpleNamespace(symbol=LONG)), timeframe="1h", month="2024-01",
        ids=tuple(ids), labels=[f"2024-01-0{day} 15:00Z" for day in (2, 3, 4)], against="theirs.csv",
        bars=pd.DataFrame(np.full((3, 5), HUGE), columns=["open", "high", "low", "close", "volume"]),
        ours=values, theirs=values, is_outside=values > 0, compared=values > 0, verdict="12 values differ",
        counts=pd.DataFrame(np.full((12, 5), HUGE), index=ids),
        outside=pd.DataFrame({"bar": ["2024-01-02 15:00Z"], "feature": ids[:1], **outside}),
    )  # fmt: skip
    feature_tables.print_check(console, check, Path("check.html"))


def recorded(console: Console) -> None:
    report = RecordedReport(
        journal="paper.db", modes=("live",), epochs=1, first="2024-01-02", last="2024-12-31", vectors=HUGE,
        values=HUGE, fills=(),
        features=(
            FeatureSkew(
                feature="a_feature_of_a_very_long_name_252", compared=HUGE, different=HUGE, largest=BIG,
                kinds={"corrected bar": HUGE, "late or missing bar": HUGE}, first="",
            ),
        ),
        series=(
            SeriesSkew(
                series=f"{LONG}:1h", bars=HUGE, late=HUGE, corrected=HUGE, missing=HUGE, unsettled=HUGE,
                first="2024-01-02T15:00:00Z",
            ),
        ),
        decisions=(DecisionSkew(symbol=LONG, compared=HUGE, unsettled=HUGE, code=HUGE, data=HUGE, first=""),),
        residuals=(
            ResidualSummary(
                symbol=LONG, order="market", fills=HUGE, mean_ticks=BIG, median_ticks=BIG, worst_ticks=BIG,
                usd=BIG, commission=BIG, untouched=HUGE,
            ),
        ),
    )  # fmt: skip
    report.show(console)


def data_file(console: Console) -> None:
    source = SimpleNamespace(
        name="a_source", spelled_timeframe="1h", stamp="end", session="CME_EQUITY", adjustment="none"
    )
    data = type("Data", (), {"source": f"{LONG}.csv", "__len__": lambda _: HUGE})()
    loaded: Any = SimpleNamespace(
        source=source, rows=HUGE, data=data, rejected=(), rejected_path=None, findings=()
    )
    console.print(data_report.rows_table(loaded))
    finding = Finding(kind="price_jump", where="2010-05-06", count=HUGE, sentence=f"2015-08-24 by {BIG:,.2f}")
    console.print(
        data_report.quality_table(
            QualityReport(
                symbol=LONG, timeframe="1h", bars=HUGE, first="1999-01-04", last="2025-12-31",
                stale_open_share=0.0, findings=(finding,),
            )
        )
    )  # fmt: skip


def rolled(console: Console) -> None:
    rolls = (
        Roll("GCZ2024", "GCG2025", date(2024, 11, 26), 123_456, "open interest", "0" * 16),
        Roll("GCG2025", "GCJ2025", date(2025, 1, 28), None, "calendar 12", ""),
    )
    said = {rolls[0].at: "the bars before it are not those that it was built from"}
    console.print(rolls_cli._table(RollTable(symbol="GC", rolls=rolls), said))


def new_source(console: Console) -> None:
    columns = dict.fromkeys(("open", "high", "low", "close", "volume"), np.full(12, BIG))
    data = SimpleNamespace(end=STAMP + 3600 * 10**9 * np.arange(12), columns=lambda: columns)
    session = SimpleNamespace(template=SimpleNamespace(timezone="America/Argentina/ComodRivadavia"))
    book: Any = SimpleNamespace(session_named=lambda _: session)
    timeframe = SimpleNamespace(is_session=True)
    source: Any = SimpleNamespace(session="X", timeframe=timeframe, spelled_timeframe="1d")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(add_source, "read_bars", lambda *_, **__: SimpleNamespace(data=data, findings=()))
        add_source._show(console, book, LONG, source, Path("x.csv"))


def compared_trades(console: Console) -> None:
    difference = SimpleNamespace(
        when="2010-05-06 18:45Z", what="exit price", cause="session", run=f"{BIG:,.2f}", mine=f"{-BIG:,.2f}",
        sentence=f"the session of {LONG} ends at 17:00, after bar {HUGE:,}",
    )  # fmt: skip
    found: Any = SimpleNamespace(differences=(difference,))
    console.print(trade_comparison.comparison_table(found, 5))


def portfolio_lanes(console: Console) -> None:
    trades = pd.DataFrame({"commission": [BIG], "slippage_cost": [BIG], "net_pnl": [-BIG]})
    many = type("Trades", (), {"__len__": lambda _: HUGE, "__getitem__": lambda _, name: trades[name]})()
    proposals = pd.DataFrame({"symbol": [LONG, LONG], "rule": ["", "total_contracts"]})
    result: Any = SimpleNamespace(
        config=SimpleNamespace(name="a_portfolio_with_quite_a_long_name"), proposals=proposals,
        lanes={LONG: SimpleNamespace(trades=many)},
    )  # fmt: skip
    console.print(portfolio.portfolio_table(result))


def watched(console: Console) -> None:
    trade = SignalOutcome(
        lane=LONG, decision=1, bundle="b", side=1, probability=0.6, state="taken", entry=2, exit=3, pnl=-BIG
    )
    standing = {
        "place": f"{LONG} win_rate", "stream": "win_rate", "bundle": "b", "outcomes": HUGE, "floor": 0.5925,
        "estimate": 0.61, "alarm": 136.96, "alarm_at": 20.0, "watch": 0.14, "watch_at": 5.2,
        "visible": "The smallest decay that a year of 122 outcomes shows as ALARM is from 61.0% to 47.1%.",
    }  # fmt: skip
    sides = {
        f"{side}_{name}": value
        for side in ("live", "backtest")
        for name, value in (("cagr", 0.027), ("sharpe", 0.98), ("max_drawdown_fraction", 0.013))
    }
    against = {
        "name": LONG,
        "sessions": HUGE,
        "information_ratio": None,
        "tracking_difference": -BIG,
        **sides,
    }
    drift = {
        "lane": LONG, "kind": "features", "session": "2010-01-25", "verdict": "no drift found",
        "sentence": "no drift found up to 2010-01-25", "severity": "",
    }  # fmt: skip
    report = MonitorReport(
        frontier=0, written=0, references={LONG: ""}, outcomes=(trade,), standings=(standing,), wealth=(),
        alarms=(), drift=(drift,), notes=(), against=(against,),
    )  # fmt: skip
    for table in report.tables():
        console.print(table)


def retrainings(console: Console) -> None:
    trigger = RetrainingTrigger(
        kind="calendar", symbol=LONG, evidence="", since=STAMP, sentence="its training ended long ago " * 4
    )
    console.print(
        retraining_cli.triggers_table([SymbolPlan(symbol=LONG, version="v1234", triggers=(trigger,))])
    )
    row = StepRow(
        number=1, run="0123456789abcdef", symbol=LONG, step=Step.ROLLED_BACK, time=STAMP, desk=STAMP,
        by="auto", outputs={"champion": "v1234", "version": "v1235"}, sentence="a trade lost more " * 6,
    )  # fmt: skip
    run = RetrainingRun(id=row.run, symbol=LONG, steps=(row,))
    console.print(retraining_cli.runs_table([run]))
    console.print(retraining_cli.steps_table(run))


def nights(console: Console) -> None:
    events = tuple(
        NightEvent(
            night=LONG, kind=kind, step=step, key="", output="", sentence="nothing promoted: " * 6,
            recorded="2026-03-02T07:00:00+00:00",
        )
        for kind, step in (("begun", ""), ("step", "report"))
    )  # fmt: skip
    console.print(nightly_cli.steps_table(LONG, events))
    ledger: Any = None
    config: Any = None
    console.print(nightly_cli.history_table(NightHistory(config=config, ledger=ledger, recorded=events)))


def risk(console: Console) -> None:
    """One lane of a long name whose losses are of many digits."""
    days = np.arange("2020-01-01", "2022-01-01", dtype="datetime64[D]")
    changes = np.random.default_rng(0).normal(size=(days.size, 1)) * BIG / 3
    subject = RiskSubject(
        kind="portfolio", name="a_portfolio_with_quite_a_long_name", as_of=date(2021, 12, 31), stamp=0,
        capital=BIG, positions={LONG: 1_234.0}, reserved={LONG: -0.0}, dates=days, changes=changes, closes={},
    )  # fmt: skip
    report = measure(subject)
    for table in (written.levels_table, written.lanes_table, written.backtests_table):
        console.print(table(report))


def live_portfolio(console: Console) -> None:
    row = {
        "stamp": "2026-11-29T22:00:00Z", "symbol": LONG, "base": float(HUGE), "scale": 0.5, "quantity": -3.0,
        "rule": "total_contracts", "margin": BIG, "equity": 2.0 * BIG,
    }  # fmt: skip
    lane = {"symbol": LONG, "close": BIG, "room": -3.0, "leaving": True}
    console.print(portfolio_cli.lanes_table({"lanes": [lane]}))
    console.print(portfolio_cli.proposals_table({"proposals": [row]}))


def optimised(console: Console) -> None:
    sizes = SimpleNamespace(
        symbols=(LONG,), wanted=[BIG], units=[float(HUGE)], notional=[1.0], needed=[BIG]
    )  # fmt: skip
    found: Any = SimpleNamespace(
        config=SimpleNamespace(name="a_portfolio_with_quite_a_long_name"), sizes=sizes, contributions=[-BIG]
    )
    console.print(optimise_command.sizes_table(found))


def agents(console: Console) -> None:
    settings = SimpleNamespace(symbol=LONG, researcher="screen", strategies=HUGE, goal="a goal of many words")
    session = SimpleNamespace(
        id=1234, recorded="2026-01-02T12:00:00", plan=SimpleNamespace(settings=settings),
        events={"registered": {"candidate": "candidate_of_a_long_name"}},
    )  # fmt: skip
    measures = SimpleNamespace(fitness=BIG, sharpe=-BIG, trades=HUGE)
    proposal = SimpleNamespace(kind="technical", move="combine")
    trial = SimpleNamespace(proposal=proposal, measures=measures, status="evaluated", fitness=BIG)
    strategy = SimpleNamespace(name="session 1234 #99", trial=trial, decision="kept for its niche")
    tally = SimpleNamespace(
        name="technical", tried=HUGE, status=Counter(evaluated=HUGE), mean_sharpe=BIG,
        best=SimpleNamespace(trial=trial),
    )  # fmt: skip
    model = SimpleNamespace(name=LONG, start="v123", end="v124", read_by=HUGE, mean_sharpe=BIG)
    found: Any = (session, strategy, tally, model)
    console.print(agent_tables.sessions_table([found[0]], Counter({1234: HUGE})))
    console.print(agent_tables.strategies_table([found[1]]))
    console.print(agent_tables.kinds_table([found[2]]))
    console.print(agent_tables.models_table([found[3]]))


def zoo(console: Console) -> None:
    version: Any = SimpleNamespace(
        symbol=LONG, name="volatility_h10", version="v123", status="candidate", column="c",
        metrics={"loss_out_of_fold": BIG},
        spec=SimpleNamespace(estimator="HistGradientBoostingRegressor", features=("ibs",) * 12),
        note="with fewer leaves, and so on",
    )  # fmt: skip
    console.print(zoo_cli.models_table([version], {"c": ModelUsage(strategies=HUGE)}))


def waiting(console: Console) -> None:
    candidate: Any = SimpleNamespace(
        name="a_candidate_of_a_long_name", symbol=LONG, searched="adaptive", recorded="2026-01-02T12:00:00",
        e_history=1.0, status="retired by hand", event=lambda kind: kind,
        threshold=lambda size: {"pilot": 123456.0, "full": 1234567.0}[size],
    )  # fmt: skip
    console.print(candidates_cli.candidates_table([candidate], [np.full(12_345, 123456.789)], 0.1))


def side_by_side(console: Console) -> None:
    terms = SimpleNamespace(
        symbol=LONG, sigma=10.0, plan=SimpleNamespace(sessions=HUGE),
        champion=SimpleNamespace(name="a_champion_of_a_long_name"), challenger=SimpleNamespace(name="other"),
    )  # fmt: skip
    test = SimpleNamespace(name="a test of a long name", terms=terms, recorded="2026-01-02", status="running")
    bounds = SimpleNamespace(mean=np.array([0.1]), low=np.array([-0.25]), high=np.array([np.inf]))
    found: Any = SimpleNamespace(test=test, judgement=bounds, differences=np.zeros(12_345))
    console.print(ab_cli.tests_table([found]))


def periods(console: Console) -> None:
    subject = MeasuredStrategy(
        strategy="a" * 64, name="a_candidate_of_a_long_name", symbol=LONG, mode="backtest",
        account="candidate 1",
    )  # fmt: skip
    row = PeriodRow(
        period="week", first_date=date(2026, 3, 2), last_date=date(2026, 3, 6), sessions=5, trades=HUGE,
        result=-BIG, pnl=-BIG, sharpe=-123.45, drawdown=BIG, win_rate=1.0, subject=subject, source={},
        recorded="2026-03-09T02:00:00+00:00",
    )  # fmt: skip
    for table in performance_cli.performance_tables([row]):
        console.print(table)


def experiment_tables(console: Console) -> None:
    record: Any = SimpleNamespace(
        id=1234, name="a search with a long name, " * 3, kind="random", status="unsuccessful", runs=HUGE,
        done=HUGE - 1, plan=plan(symbols=(LONG, "ES", "NQ")), seconds=1e9,
        started="2026-01-02T12:00:00+00:00",
    )  # fmt: skip
    tables.print_list(console, [record])
    metrics = {"sharpe": -123.45, "trades": HUGE, "net_profit": -BIG, "max_drawdown_fraction": 23.65,
               "profit_factor": 1234.56}  # fmt: skip
    account = SimpleNamespace(metrics=metrics, dates="2010-01-04 to 2012-12-31")
    ranked: Any = SimpleNamespace(
        parameters={"a.path.with.a.long.name": 123456.789, "entry.high": 0.123456}, train=metrics,
        test=metrics, accounts={LONG: account, "ES": account},
        repeats=f"same as #{HUGE} on {LONG}, #{HUGE} on ES",
    )  # fmt: skip
    forward: Any = SimpleNamespace(plan=plan(symbols=(LONG, "ES", "NQ"), walk_forward="1y/6m/6m"))
    tables.print_top(console, forward, [ranked, ranked], "sharpe")
    runs = [
        SimpleNamespace(
            config=SimpleNamespace(name=f"a_strategy_with_quite_a_long_name_{each}"),
            model=None,
            equity=pd.DataFrame({"session_date": pd.to_datetime(["1999-01-04", "2025-12-31"])}),
            metrics=dict.fromkeys(MEASURES, BIG),
        )
        for each in "ab"
    ]
    compared: Any = SimpleNamespace(symbol=LONG, first=runs[0], second=runs[1], difference=None, looks=())
    tables.print_comparison(console, compared)


def second_opinions(console: Console) -> None:
    order = TradeOrders(
        drawdown=BIG, profit=-BIG, drawdowns=np.array([BIG]), profits=np.array([-BIG]), worse=0.123
    )
    winner = WinnerOpinion(
        sharpe=-123.45, above_zero=0.001, over_blocks=0.001, wider=12.34, years=99.9,
        track_record=float(HUGE), backtest=99.9, orders=OtherOrders(shuffled=order, drawn=order),
    )  # fmt: skip
    each = TrialOpinion(variant=0, timing=-123.45, alone=0.1, holm=1.0, rate=0.876, step_down=0.543)
    search = SearchOpinion(spa=0.999, white=0.999, superior=HUGE, trials=HUGE, block=HUGE, best=(each,))
    forward: Any = SimpleNamespace(plan=plan())
    repeated = SimpleNamespace(repeats="same as #123")
    found: Any = SimpleNamespace(
        verdict=SimpleNamespace(checks=()), walk_forward={}, symbols=(), winner=repeated
    )
    opinion = SymbolDiagnostics(symbol=LONG, winner=winner, search=search)
    why.print_why(console, forward, found, [opinion])


def specs(console: Console) -> None:
    name, day = "pair_log_ratio_z_20%252~1@NQ:1d", date(2012, 12, 31)
    read = ReadId(
        id=name, low=-np.inf, high=np.inf, least=-123.4, greatest=0.01234, first=day, missing=1.0, cold=1.0
    )
    console.print(spec_tables.ids_table([read]))
    line = Line(depth=2, text=f"{name} is at least {name}", form=Within(name, 0.0, 1.0), is_group=False)
    each = Occurrence(part="short_entry", line=line, judged=HUGE, true=HUGE, first=day, last=day)
    rows: Any = type("Rows", (), {"day": lambda *_: day, "__len__": lambda _: HUGE})()
    decisions = FlatDecisions(codes=np.array([3]), reason=str)
    console.print(
        spec_tables.frequency_table(Frequencies(rows=rows, occurrences=(each,), decisions=decisions))
    )
    explained: Any = SimpleNamespace(meanings=[(name, "the share of its earlier values " * 9)])
    console.print(spec_tables.meanings_table(explained))
    field = FieldDifference(field="size", first="{kind: fixed} " * 9, second="null")
    console.print(spec_tables.fields_table(SimpleNamespace(fields=[field])))  # type: ignore[arg-type]
    signal = SignalDifference(
        signal="enters short while flat", first=HUGE, second=HUGE, differ=HUGE, first_day=day
    )
    console.print(spec_tables.signals_table([signal]))


def best_so_far(console: Console) -> None:
    listener = progress.ExperimentScreen(plan())
    listener._best = [(BIG, -1, LONG, 0, '{"entry.high": 0.1, "stop.percent": 123456.789}')]
    console.print(listener)


def stress(console: Console) -> None:
    gap = SimpleNamespace(title="gap -50%")
    scan = SimpleNamespace(
        gaps=[gap], worst=lambda k, count: [0], drawdowns=np.array([[BIG]]), losses=np.array([[1.0]]),
        stamps=np.array([STAMP - 31_622_400 * 10**9]), is_open=np.array([True]),
    )  # fmt: skip
    base = ScenarioRow(scenario=None, drawdown=BIG, net_profit=-BIG)
    row = ScenarioRow(scenario=SlippageScenario(times=5, name=LONG), drawdown=BIG, net_profit=float(HUGE))
    found = SimpleNamespace(
        config=SimpleNamespace(name=LONG, capital=BIG), plan=SimpleNamespace(gate=0.4), base=base, rows=[row],
        scan=scan, reported=1, gaps_in_cerebro=[(0, 0)],
    )  # fmt: skip
    console.print(stress_report.stress_table(found))  # type: ignore[arg-type]


# Every module that prints tables, its table, and numbers and names that must come out whole.
TABLES: dict[Any, tuple[Callable[[Console], None], tuple[str, ...]]] = {
    result_table: (results, (LONG, f"{-BIG:,.0f}", f"{HUGE:,}", "1234.56")),
    listing: (
        models,
        (LONG, "a_model_with_a_long_name", f"{HUGE:,}", "1,230,000,000"),
    ),
    journal_report: (journal, (LONG, f"{BIG:,.2f}", str(HUGE), "2024-03-06T15:00:00.123456Z")),
    status_table: (status, (LONG, f"{-BIG:+,.2f}", str(HUGE))),
    screen: (training, (f"{-BIG:,.0f}", f"{HUGE:,}", "-123.45", "1234.56", "2012-12-31")),
    retraining_cli: (
        retrainings,
        (LONG, "v1234", "v1235", "0123456789abcdef", "ROLLED_BACK", "2024-03-06"),
    ),
    nightly_cli: (nights, (LONG, "report", "2026-03-02")),
    report_table: (paper, (f"{BIG:,.2f}", f"{BIG * 100:,.2f}%")),
    command: (validation, (LONG + ",", f"{BIG:,.2f}")),
    lookahead_run: (lookahead, (LONG, f"{BIG:,.2f}", f"{HUGE:,}", "15:00Z")),
    feature_tables: (features, ("a_feature_of_a_long_name_11", f"{BIG:,.4f}", f"{HUGE:,}")),
    recorded_table: (recorded, (f"{LONG}:1h", f"{HUGE:,}", f"{BIG:,.2f}", f"${BIG:,.2f}")),
    data_report: (data_file, (f"{HUGE:,}", f"{BIG:,.2f}", "2015-08-24")),
    rolls_cli: (rolled, ("GCZ2024", "GCG2025", "2024-11-26", "+123456", "GCJ2025", "2025-01-28", "open")),
    add_source: (new_source, (f"{BIG:.10g}", "(America/Argentina/ComodRivadavia)")),
    trade_comparison: (compared_trades, (LONG, f"{BIG:,.2f}", f"{-BIG:,.2f}", f"{HUGE:,}")),
    tables: (
        experiment_tables,
        (
            LONG + ",",
            LONG,
            f"{HUGE:,}",
            "1234",
            "2026-01-02",
            "2010-01-04",
            "2012-12-31",
            "−123.45",
            "1,234.56",
            "2,365.0%",
            f"−${BIG:,.0f}",
            "123456.789,",
            f"{BIG:,.2f}",
            "a_strategy_with_quite_a_long_name_b",
        ),
    ),
    why: (
        second_opinions,
        (f"−${BIG:,.0f}", f"{HUGE:,}", "−123.45", "0.876", "0.543", "99.9%", "99.9"),
    ),
    stress_report: (stress, (LONG, f"{-BIG:,.0f}", f"{HUGE:,}", f"{100 * BIG:,.1f}%", "2023-03-06")),
    optimise_command: (optimised, (LONG, f"{BIG:,.3f}", f"{HUGE:,}", f"{-BIG:,.0f}", f"{BIG:,.0f}")),
    risk_regimes: (by_regime, (LONG, f"{HUGE:,}", f"{-BIG:,.0f}", f"{BIG:,.0f}", "0.123", "volatility")),
    portfolio_cli: (live_portfolio, (LONG, "total_contracts", f"{BIG:,.0f}", "50.0%")),
    health: (weekly, (LONG, "v123", f"{HUGE:,}", "123.45", "1,234")),
    watch_report: (watched, (LONG, f"{HUGE:,}", f"{-BIG:,.2f}", "136.96", "0.14", "2.7%", "2010-01-25")),
    written: (risk, (LONG, "+1234", "211", "1,293,502,191,845,284")),
    portfolio: (portfolio_lanes, (LONG, f"{HUGE:,}", f"{-BIG:,.0f}", f"{2 * BIG:,.0f}")),
    ab_cli: (
        side_by_side,
        (LONG + ",", "2026-01-02", "12,345", f"{HUGE:,}", "+25200.0%", "-63000.0%", "running"),
    ),
    agent_tables: (
        agents,
        (LONG, "candidate_of_a_long_name", f"{BIG:.3f}", f"{-BIG:.3f}", f"{HUGE:,}", str(HUGE), "v124"),
    ),
    zoo_cli: (zoo, (LONG, "volatility_h10", "v123", "HistGradientBoostingRegressor", str(HUGE), "12")),
    candidates_cli: (waiting, (f"{LONG},", "2026-01-02", "12,345", "123456.79", "1234567", "retired")),
    performance_cli: (periods, (f"{LONG},", f"{HUGE:,}", f"{-BIG:,.0f}", "2026-W10", "-123.45")),
    spec_tables: (
        specs,
        (
            "pair_log_ratio_z_20%252~1@NQ:1d",
            f"{HUGE:,}",
            "2012-12-31",
            "-123.4",
            "0.01234",
            "100.0%",
            "fixed}",
        ),
    ),
    progress: (best_so_far, (LONG, f"{BIG:.3f}", "123456.789", "2012-12-31")),
}


@pytest.mark.parametrize("module", TABLES, ids=lambda module: module.__name__)
def test_every_table_fits_80_columns_with_all_its_numbers(module: Any) -> None:
    prints, tokens = TABLES[module]
    require_whole(printed(prints), *tokens)


def test_no_table_escapes() -> None:
    """Whoever prints a table uses the one layout, and has a case above."""
    users, others = set(), set()
    for name, tree in {**trees(), **trees_of("benchmarks")}.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in ("rich.table", "lockstep.tables"):
                (others if node.module == "rich.table" else users).add(ROOT / name)
    assert others == {ROOT / "src" / "tables.py"}
    tested = {Path(module.__file__) for module in TABLES}
    assert {path for path in users if path.parent.name != "benchmarks"} <= tested
