"""Reports of a month: numbers by hand, equal to what a run and a monitor say, the same on page and in PDF."""

from __future__ import annotations

import gzip
import io
import json
import math
import re
import shutil
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup
from pypdf import PdfReader
from typer.testing import CliRunner

from lockstep import backtest
from lockstep.errors import ConfigError, DataError, JournalError, LiveError, LockstepError, MonitorError
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.metrics import performance
from operations.reports.account import AccountRecord, FilledOrders, account_numbers, until
from operations.reports.asked import journal_of, month_of, watched_files
from operations.reports.blocks import ChartBlock, ReportDocument, ReportPart, TableBlock
from operations.reports.cli import report_app, written
from operations.reports.content import report_document
from operations.reports.desk import account_of_desk
from operations.reports.figures import plan_figures
from operations.reports.html import report_page
from operations.reports.numbers import (
    ReportNumbers,
    latencies_of,
    numbers_of_desk,
    numbers_of_run,
    realised,
)
from operations.reports.pdf import PLAIN, WIDTH, legible, pdf_bytes, table_layout
from operations.reports.pdf_chart import axis_texts, tick_texts, ticks
from operations.reports.run import account_of_run
from operations.retraining.book import RetrainingBook, Step, StepRow
from operations.watch.against import live_against_backtest
from operations.watch.cli import acknowledge
from operations.watch.database import MonitorDatabase
from operations.watch.monitor import plain_rows
from operations.watch.report import read_report
from research.backtest.portfolio import PortfolioMember, run_portfolio
from research.ledger.candidates import CandidateTerms, ForwardEvent, happened, register, score
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.report.page import document as whole_page
from research.report.page import usd
from support import desks, papers, portfolios, reports
from support.pages import assert_escaped
from support.processes import python
from support.real_fills import live, live_desk, uneven
from support.reports import Page
from support.watching import WatchedDesk, watched_desk

START, LONG_END, SHORT_END = "2014-01-02", "2016-06-30", "2016-03-31"
MONTH = np.datetime64("2016-03")
MULTIPLIER = desks.load_markets()["COMP"].instrument.multiplier
OLD_JOURNAL = Path(__file__).parents[1] / "golden" / "journal_step_1.db.gz"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a real backtest."""
    result = backtest("ibs_baseline", "COMP", start=START, end=LONG_END)
    return result.save(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    """A desk that has traded and was watched."""
    found = watched_desk(tmp_path_factory.mktemp("desk"))
    papers.traded(found.folder, found.models()[0], name="live.db")
    found.run()
    return found


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    """A desk in mode live whose broker reported its fills."""
    return live_desk(tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="module")
def of_run(run: Path) -> ReportNumbers:
    return numbers_of_run(run, MONTH)


@pytest.fixture(scope="module")
def of_desk(desk: WatchedDesk) -> ReportNumbers:
    return _of_desk(desk)


def _of_desk(desk: WatchedDesk, month: str | None = None, monitor: Path | None = None) -> ReportNumbers:
    config = LiveConfig.load(desk.folder / "live.yml")
    chosen = None if month is None else np.datetime64(month, "M")
    nowhere = f"sqlite:///{desk.folder / 'nowhere.db'}"
    return numbers_of_desk(config, chosen, monitor=monitor or desk.database, ledger=nowhere)


def _numbers_in(text: str) -> Counter[str]:
    return Counter(re.findall(r"\d[\d,.]*\d|\d", text))


def _charts(document: ReportDocument) -> list[ChartBlock]:
    return [
        each
        for part in document.parts
        for each in part.blocks
        if isinstance(each, ChartBlock) and not each.is_empty
    ]


def _tables(document: ReportDocument) -> list[TableBlock]:
    return [each for part in document.parts for each in part.blocks if isinstance(each, TableBlock)]


class TestByHand:
    """Eleven sessions over two months, one trade in each."""

    EQUITY = (100.0, 110.0, 90.0, 95.0, 120.0, 120.0, 114.0, 130.0, 125.0, 125.0, 140.0)

    def record(self) -> AccountRecord:
        dates = np.busday_offset("2020-01-24", np.arange(11)).astype("datetime64[s]")
        end = pd.DatetimeIndex(dates, tz="UTC") + pd.Timedelta(hours=21)
        base = reports.report(bars=11, closed=2)
        equity = pd.DataFrame(
            {
                "session_date": dates,
                "close": np.arange(11) + 50.0,
                "equity": self.EQUITY,
                "position": 0.0,
                "cash": 0.0,
            },
            index=end,
        )
        trades = base.trades.assign(
            entry_end=[end[1], end[7]], exit_end=[end[3], end[9]], decision_end=[end[0], end[6]],
            net_pnl=[-5.0, 11.0], gross_pnl=[-4.0, 13.0], commission=[1.0, 2.0], slippage_cost=[0.5, 0.25],
        )  # fmt: skip
        data = replace(
            base, equity=equity, trades=trades, capital=100.0, sessions_per_year=252.0, regimes=None,
            features=pd.DataFrame({"ibs": np.zeros(11)}, index=end),
        )  # fmt: skip
        stamps = end[[1, 3, 7, 9]].as_unit("ns").asi8
        fills = FilledOrders(stamps=stamps, points=np.array([10.0, 20.0, 30.0, 40.0]), multiplier=2.0)
        return AccountRecord(data=data, fills=[fills])

    def test_february(self) -> None:
        """January has the first six sessions: 24th to 31st."""
        found = account_numbers(self.record(), np.datetime64("2020-02"))
        assert found.month["net_profit"] == pytest.approx(140.0 - 120.0)
        assert found.whole["net_profit"] == pytest.approx(40.0)
        assert (found.month["trades"], found.whole["trades"]) == (1, 2)
        assert found.month["win_rate"] == 1.0
        assert found.month["max_drawdown"] == pytest.approx(6.0)
        assert found.whole["max_drawdown"] == pytest.approx(20.0)
        assert found.months.loc[2020, [1, 2]].tolist() == pytest.approx([0.20, 0.20])
        assert found.costs["month"].paid == pytest.approx(2.25)
        assert found.costs["whole"].paid == pytest.approx(3.75)
        worst, best = found.worst[0], found.best[0]
        assert (str(worst.first), worst.change) == ("2020-01-28", pytest.approx(-0.20))
        assert (str(best.first), best.change) == ("2020-01-30", pytest.approx(0.25))
        assert found.fall.min() == pytest.approx(-0.20)
        edges, counts = found.histogram
        assert (counts.sum(), edges[0], edges[-1]) == (11, pytest.approx(-0.20), pytest.approx(0.25))
        # 70 contract points at 2 USD in the month, over 100 USD and its years.
        assert found.month["turnover"] == pytest.approx(140.0 / 100.0 / found.month["years"])

    def test_january_knows_nothing_of_february(self) -> None:
        found = account_numbers(self.record(), np.datetime64("2020-01"))
        assert found.whole["net_profit"] == pytest.approx(20.0)
        assert found.month == pytest.approx(found.whole, nan_ok=True)
        assert found.costs["whole"].paid == pytest.approx(1.5)
        assert len(found.trades) == 1

    def test_a_trade_over_the_end_of_a_month_is_open(self) -> None:
        record = self.record()
        trades = record.data.trades.assign(exit_end=record.data.equity.index[[8, 9]])
        longer = AccountRecord(data=replace(record.data, trades=trades), fills=record.fills)
        cut = until(longer, np.datetime64("2020-01-31"))
        assert cut.data.trades["status"].tolist() == ["open"]
        assert cut.data.trades["net_pnl"].isna().all()
        assert "open" in _text(report_page(_document_of(longer, "2020-01")))


def _document_of(record: AccountRecord, month: str) -> ReportDocument:
    chosen = np.datetime64(month)
    return report_document(
        ReportNumbers(
            title="hand",
            symbol="COMP",
            kind="run",
            source="made",
            mode="1d bars",
            month=chosen,
            capital=record.data.capital,
            account=account_numbers(record, chosen),
            notes=(),
            provenance={},
        )
    )


@dataclass(frozen=True)
class _Counted:
    """What the reported fills of a journal make: profit, results of closed trades, commission of those."""

    sets: int
    profit: float
    closed: list[float]
    commission: float


def _counted(journal: Path, month: object) -> _Counted:
    """Count fills of COMP up to the end of a month in the plainest way: money, position, last close."""
    end = int((np.datetime64(month, "M") + 1).astype("datetime64[ns]").astype(np.int64))
    with closing(sqlite3.connect(journal)) as reader:
        sets, last = reader.execute(
            "SELECT count(*), max(sequence) FROM sets WHERE stamp < ?", (end,)
        ).fetchone()
        fills = reader.execute(
            "SELECT content FROM events WHERE kind = 'fill' AND sequence < ? ORDER BY sequence", (last or 0,)
        ).fetchall()
        closes = reader.execute(
            "SELECT close FROM bars WHERE symbol = 'COMP' AND sequence = ?", (last,)
        ).fetchall()
    money, position, begun, fees, closed, paid = 0.0, 0.0, 0.0, 0.0, [], 0.0
    for (content,) in fills:
        fill = json.loads(content)
        money -= fill["quantity"] * fill["price"] * MULTIPLIER + fill["commission"]
        fees += fill["commission"]
        position += fill["quantity"]
        if position == 0.0:
            closed.append(money - begun)
            begun, paid = money, fees
    worth = position * closes[0][0] * MULTIPLIER if position else 0.0
    return _Counted(sets=sets, profit=money + worth, closed=closed, commission=paid)


class _Lines(Page):
    """A page whose texts stand on a line each."""

    def handle_data(self, data: str) -> None:
        super().handle_data(data)
        self.text += "\n"


def _text(body: Markup) -> str:
    return _Lines(whole_page("", body)).text


class TestEqualToItsSource:
    def test_every_measure_is_that_of_metrics_json(self, run: Path) -> None:
        stored = json.loads((run / "metrics.json").read_text())
        found = numbers_of_run(run, None).account.whole
        assert found.keys() == stored.keys()
        for name, value in found.items():
            assert stored[name] == (value if math.isfinite(value) else None), name

    def test_a_month_is_reported_as_if_the_run_had_ended_with_it(self, of_run: ReportNumbers) -> None:
        shorter = backtest("ibs_baseline", "COMP", start=START, end=SHORT_END)
        assert of_run.account.whole == shorter.metrics

    def test_the_months_measures_are_the_formulas_of_the_library(self, run: Path) -> None:
        data, found = account_of_run(run).data, numbers_of_run(run, MONTH).account
        mine = data.equity[data.session_dates.astype("datetime64[M]") == MONTH]
        earlier = data.equity[data.session_dates.astype("datetime64[M]") < MONTH]
        rebased = mine["equity"].to_numpy() - earlier["equity"].iloc[-1] + data.capital
        measured = performance(
            equity=rebased, session=mine["session_date"].to_numpy().astype("datetime64[D]"),
            trade_pnl=np.empty(0), trade_bars_held=np.empty(0), position=mine["position"].to_numpy(),
            traded_notional=0.0, capital=data.capital,
        )  # fmt: skip
        for name in ("net_profit", "sharpe", "volatility", "max_drawdown", "worst_session", "exposure"):
            assert found.month[name] == pytest.approx(getattr(measured, name), rel=1e-12), name

    def test_a_desk_is_what_its_monitor_says_it_is(self, desk: WatchedDesk, of_desk: ReportNumbers) -> None:
        (row,) = [each for each in read_report(desk.database).against if each["name"] == "desk"]
        whole = of_desk.account.whole
        assert whole["net_profit"] == pytest.approx(row["live_net_profit"], abs=1e-6)
        assert whole["sharpe"] == pytest.approx(row["live_sharpe"], rel=1e-9)
        assert (whole["trades"], whole["sessions"]) == (row["live_trades"], row["sessions"])
        closed = account_of_desk(LiveConfig.load(desk.folder / "live.yml")).record.data.closed
        counts = read_report(desk.database).counts()
        assert len(closed) == counts["taken"] + counts["censored"]

    def test_signals_and_alarms_are_counted_in_their_month(
        self, desk: WatchedDesk, of_desk: ReportNumbers
    ) -> None:
        outcomes = read_report(desk.database).outcomes
        assert of_desk.desk is not None
        months = sorted(
            {str(np.datetime64(each.decision, "ns").astype("datetime64[M]")) for each in outcomes}
        )
        found = [_of_desk(desk, month).desk for month in months]
        assert sum(sum(each.outcomes.values()) for each in found if each) == len(outcomes)
        raised = [alarm for each in found if each for alarm in each.raised]
        assert len(raised) == len(read_report(desk.database).alarms) > 0
        newest = found[-1]
        assert newest is not None
        assert sum(newest.all_outcomes.values()) == len(outcomes)


class TestOtherSources:
    def test_a_portfolio_of_several_lanes(self, tmp_path: Path) -> None:
        """Its account is that of the book that its lanes were run with."""
        world = portfolios.with_margins(portfolios.world(2, {"CL": ("1d", 120), "ES": ("1d", 120)}))
        members = {
            symbol: PortfolioMember(strategy=config, history=world.history)
            for symbol, config in world.configs.items()
        }
        result = run_portfolio(portfolios.portfolio_of(world), members, portfolios.BOOK, engine="compiled")
        folder = result.save(tmp_path)
        numbers = numbers_of_run(folder, None)
        for name, value in result.metrics.items():
            assert numbers.account.whole[name] == pytest.approx(value, rel=0, abs=0, nan_ok=True), name
        text = _text(report_page(report_document(numbers)))
        assert "CL, ES" in text

    def test_a_journal_of_an_older_schema_is_read(self, tmp_path: Path) -> None:
        live = papers.config(tmp_path)
        (tmp_path / "live.db").write_bytes(gzip.decompress(OLD_JOURNAL.read_bytes()))
        found = account_of_desk(journal_of(live))
        with Journal.open(tmp_path / "live.db", readonly=True) as journal:
            assert not journal.keeps_portfolios
            marks = journal.select("SELECT mark_equity FROM decisions ORDER BY sequence")
        assert len(found.record.data.equity) > 0
        assert len(marks) >= len(found.record.data.equity)

    def test_an_epoch_that_goes_on_is_one_account(self, tmp_path: Path) -> None:
        """A desk that begins a second epoch, with the state of the first, has made what its marks say."""
        other = watched_desk(tmp_path / "desk")
        papers.traded(other.folder, other.models()[0], name="live.db")
        live = other.folder / "live.yml"
        before = account_of_desk(journal_of(live)).record.data
        with Journal.open(other.folder / "live.db") as journal:
            (epoch,) = journal.epochs()
            sets = [each for each in journal.entries(epoch.number) if isinstance(each, SetRecord)]
            last = {lane.symbol: lane for each in sets for lane in each.lanes}["COMP"]
            journal.begin_epoch(replace(epoch, number=2, states={"COMP": last.state}))
            later = sets[-1].release.stamp + 86_400_000_000_000
            release = replace(sets[-1].release, stamp=later)
            price, position, cash, equity = last.mark
            moved = replace(last, mark=(price, position, cash, equity + 123.0), orders=())
            journal.append_set(replace(sets[-1], release=release, lanes=(moved,), events=(), sequence=0))
        after = account_of_desk(journal_of(live)).record.data
        assert len(after.equity) == len(before.equity) + 1
        assert after.capital == before.capital
        gained = after.equity["equity"].iloc[-1] - before.equity["equity"].iloc[-1]
        assert gained == pytest.approx(123.0)

    def test_realised_slippage_is_that_of_the_months_fills(self, tmp_path: Path) -> None:
        rows = [
            {"lane": "ES", "order_kind": "market", "ticks": 1.0, "usd": 12.5},
            {"lane": "ES", "order_kind": "market", "ticks": -0.5, "usd": -6.25},
            {"lane": "ES", "order_kind": "stop", "ticks": 2.0, "usd": 25.0},
        ]
        market, stop = realised(rows)
        assert (market.order, market.fills, market.ticks, market.usd) == ("market", 2, 0.25, 6.25)
        assert (stop.order, stop.fills, stop.ticks, stop.usd) == ("stop", 1, 2.0, 25.0)


class TestMonthsOfADesk:
    def test_candidates_are_as_they_were_at_the_end_of_the_month(
        self, desk: WatchedDesk, tmp_path: Path
    ) -> None:
        url = f"sqlite:///{tmp_path / 'experiments.db'}"
        ledger, began = Ledger(Database.open(url)), datetime(2010, 1, 4, tzinfo=UTC)
        terms = CandidateTerms(
            name="dip", kind="strategy", symbol="COMP", family="NASDAQ", hash="a", content={}, sigma=0.01,
            beta=0.0, searched="adaptive",
        )  # fmt: skip
        candidate = register(ledger, terms, now=began)
        sessions = np.array(["2010-01-05", "2010-01-06", "2010-02-01"], dtype="datetime64[D]")
        residuals = np.array([1.0, 2.0, -1.0])
        score(ledger, candidate, sessions, residuals, now=began)
        later = ForwardEvent(kind="pilot", session=date(2010, 2, 1), evidence=9.0, reason="")
        happened(ledger, candidate, [later], now=began)
        config = LiveConfig.load(desk.folder / "live.yml")
        january = numbers_of_desk(config, np.datetime64("2010-01"), monitor=desk.database, ledger=url).desk
        assert january is not None
        (found,) = january.candidates
        assert (found.name, found.status, found.sessions) == ("dip", "waiting", 2)
        assert found.evidence == pytest.approx(float(candidate.evidence(residuals[:2])[-1]))
        assert found.needed == pytest.approx(candidate.threshold("pilot"))
        december = numbers_of_desk(config, np.datetime64("2009-12"), monitor=desk.database, ledger=url).desk
        assert december is not None
        assert list(december.candidates) == []

    def test_latency_is_from_an_alarms_trigger_to_the_shadow(self, desk: WatchedDesk, tmp_path: Path) -> None:
        hour, book = 3_600 * 10**9, tmp_path / "retraining.db"
        runs = {"a": ("alarm", 5, 1), "b": ("alarm", 7, 2**62), "c": ("calendar", 9, 1), "d": ("alarm", 0, 1)}
        steps = (Step.TRIGGERED, Step.TRAINED, Step.VALIDATED, Step.CERTIFIED, Step.SHADOWING)
        with RetrainingBook.open(book) as opened:
            for symbol, (kind, hours, seen) in runs.items():
                for step in steps if hours else steps[:2]:
                    late = hours if step is Step.SHADOWING else 0
                    opened.append(StepRow(
                        number=0, run=symbol * 16, symbol=symbol, step=step, time=hour * (1 + late),
                        desk=seen, by="auto", inputs={"kind": kind} if step is Step.TRIGGERED else {},
                    ))  # fmt: skip
        assert latencies_of(book, 2**61) == [5.0], "b began later, c is no alarm, d is not in shadow"
        figure = plan_figures((), (), None, [5.0] * 8)[0]
        assert (figure.value, figure.observations) == (5.0, 8)
        assert plan_figures((), (), None)[0].sentence.startswith("Not measured")

    def test_an_acknowledgement_is_in_its_month(self, desk: WatchedDesk, tmp_path: Path) -> None:
        database = tmp_path / "monitor.db"
        shutil.copy(desk.database, database)
        month = _of_desk(desk).month
        with MonitorDatabase.open(database) as opened:
            acknowledge(opened, "desk", by="me", reason="looked at it", now=1)
        found = _of_desk(desk, str(month), database).desk
        assert found is not None
        assert len(found.acknowledged) > 0
        assert all(each.acknowledged for each in found.acknowledged)
        earlier = _of_desk(desk, str(month - 1), database).desk
        assert earlier is not None
        assert list(earlier.acknowledged) == []


class TestModeLive:
    """A desk whose broker reported its fills; months before the newest are compared with a backtest too."""

    @pytest.mark.parametrize("month", ["2009-08", "2009-11", "2010-01"])
    def test_the_account_is_what_the_reported_fills_make(self, real: WatchedDesk, month: str) -> None:
        found = _of_desk(real, month)
        assert found.mode == "live"
        before, by_then = (_counted(real.journal, each) for each in (np.datetime64(month) - 1, month))
        account = found.account
        assert account.whole["net_profit"] == pytest.approx(by_then.profit, abs=1e-6)
        assert account.month["net_profit"] == pytest.approx(by_then.profit - before.profit, abs=1e-6)
        assert account.whole["trades"] == len(by_then.closed)
        assert account.month["trades"] == len(by_then.closed) - len(before.closed)
        closed = account.trades[account.trades["status"] == "closed"].sort_values("exit_end")
        assert closed["net_pnl"].tolist() == pytest.approx(by_then.closed, abs=1e-6)
        assert account.costs["whole"].commission == pytest.approx(by_then.commission)

    def test_an_order_at_another_price_than_its_fill_would_be_seen(
        self, real: WatchedDesk, tmp_path: Path
    ) -> None:
        live = LiveConfig.load(papers.config(tmp_path))
        shutil.copy(real.journal, live.journal)
        with closing(sqlite3.connect(live.journal)) as writer, writer:
            for (name,) in writer.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                writer.execute(f"DROP TRIGGER {name}")
            writer.execute(
                "UPDATE orders SET price = price + 0.25 WHERE status = 'completed' AND sequence = "
                "(SELECT min(sequence) FROM orders WHERE status = 'completed')"
            )
        closed = account_of_desk(live).record.data.closed["net_pnl"].tolist()
        known = _counted(live.journal, "2010-01").closed
        assert closed[1:] == pytest.approx(known[1:], abs=1e-6)
        assert closed[0] == pytest.approx(known[0] - 0.25 * MULTIPLIER, abs=1e-6)

    def test_a_month_is_compared_as_if_the_desk_had_ended_with_it(
        self, real: WatchedDesk, tmp_path: Path
    ) -> None:
        newest, earlier = _of_desk(real).desk, _of_desk(real, "2009-10").desk
        assert newest is not None
        assert list(newest.against) == list(real.report().against)
        sets = _counted(real.journal, "2009-10").sets
        journal = live(tmp_path, real.store, uneven, stops=True, stop_after=sets)
        short = LiveConfig.load(papers.config(tmp_path, store=str(real.store.folder)))
        assert short.journal == journal
        assert earlier is not None
        assert earlier.against == plain_rows(live_against_backtest(short))
        assert earlier.against != newest.against
        assert earlier.against[0]["tracking_difference"] != 0.0

    def test_a_month_that_cannot_be_compared_says_why(self, real: WatchedDesk, tmp_path: Path) -> None:
        """The bundles are gone: account, signals and alarms of the month are there all the same."""
        config = LiveConfig.load(papers.config(tmp_path, journal=str(real.journal)))
        numbers = numbers_of_desk(
            config, np.datetime64("2009-10"), monitor=real.database, ledger=f"sqlite:///{tmp_path / 'no.db'}"
        )
        assert numbers.desk is not None
        assert list(numbers.desk.against) == []
        text = _text(report_page(report_document(numbers)))
        assert "live against backtest: " in text
        assert "no version of the store is the bundle" in text

    def test_the_command_reports_a_month(self, real: WatchedDesk, tmp_path: Path) -> None:
        said = _called("--monitoring", real.config, "--month", "2009-10", "--out", tmp_path)
        assert f"{usd(_counted(real.journal, '2009-10').profit)} so far" in said


@pytest.mark.parametrize("which", ["of_run", "of_desk"])
class TestPageAndPdf:
    @pytest.fixture
    def shown(self, which: str, request: pytest.FixtureRequest) -> ReportDocument:
        return report_document(request.getfixturevalue(which))

    def test_every_number_is_in_both(self, shown: ReportDocument) -> None:
        assert _different(shown, shown) == {}

    def test_a_number_that_differs_is_noticed(self, shown: ReportDocument) -> None:
        tile = shown.tiles[0]._replace(value="$12,345,678")
        assert "12,345,678" in _different(shown, replace(shown, tiles=(tile, *shown.tiles[1:])))

    def test_the_same_bytes_twice(self, shown: ReportDocument) -> None:
        assert pdf_bytes(shown) == pdf_bytes(shown)
        assert str(report_page(shown)) == str(report_page(shown))

    def test_no_table_is_wider_than_the_page(self, shown: ReportDocument) -> None:
        for table in _tables(shown):
            if table.rows:
                layout = table_layout(table)
                assert sum(layout.widths) <= WIDTH + 1e-6, table.head
                assert layout.wrapping <= table.prose | {0}, table.head

    def test_every_character_has_a_glyph(self, shown: ReportDocument) -> None:
        text = _text(report_page(shown))
        assert {letter for letter in text if legible(letter) != letter and letter.isprintable()} == set()


def _different(page: ReportDocument, paper: ReportDocument) -> dict[str, tuple[int, int]]:
    """Return the numbers that one of the two shows more often, with how often each of them does."""
    reader = PdfReader(io.BytesIO(pdf_bytes(paper)))
    count, charts = len(reader.pages), _charts(paper)
    # What paper has beside the report: its foot, heads again, texts of charts, which browsers draw.
    foot = f"{paper.title}: {paper.subtitle}"
    beside = [f"{foot} page {number} of {count}" for number in range(1, count + 1)]
    beside += [text for chart in charts for text in axis_texts(chart, WIDTH, PLAIN)]
    beside += [line.name for chart in charts for line in chart.lines]
    beside.append(_repeated_heads(paper, reader))
    shown, printed = _numbers_in(_text(report_page(page))), Counter[str]()
    for each in reader.pages:
        printed += _numbers_in(each.extract_text())
    printed.subtract(_numbers_in("\n".join(beside)))
    return {name: (shown[name], printed[name]) for name in {*shown, *printed} if shown[name] != printed[name]}


def _repeated_heads(shown: ReportDocument, reader: PdfReader) -> str:
    """Return the heads of tables that are repeated on a further page, as the PDF has them."""
    found = []
    for table in _tables(shown):
        words = [cell for cell in table.head if any(map(str.isdigit, cell))]
        if table.rows and words:
            times = sum(
                all(word in each.extract_text() for word in table.head if word) for each in reader.pages
            )
            found += [" ".join(words)] * (times - 1)
    return "\n".join(found)


def test_names_from_outside_are_texts(of_run: ReportNumbers) -> None:
    assert_escaped(
        lambda numbers: whole_page("report", report_page(report_document(numbers))), of_run, "COMP"
    )


def test_a_letter_without_a_glyph_is_a_question_mark(of_run: ReportNumbers) -> None:
    named = replace(report_document(of_run), title="Depot \N{CJK UNIFIED IDEOGRAPH-4E2D} <b>&amp;")
    text = PdfReader(io.BytesIO(pdf_bytes(named))).pages[0].extract_text()
    assert "Depot ? <b>&amp;" in text


def test_a_table_that_cannot_fit_wraps_and_loses_nothing() -> None:
    row = [f"{at}" * 30 for at in range(1, 10)]
    table = TableBlock(head=[f"column {at}" for at in range(9)], rows=[row] * 3)
    assert table_layout(table).wrapping == frozenset(range(9))
    document = ReportDocument(
        title="wide", subtitle="", lead="", facts=(), caveats=(), tiles=(),
        parts=(ReportPart(title="Wide", blocks=(table,)),),
    )  # fmt: skip
    text = "".join(each.extract_text() for each in PdfReader(io.BytesIO(pdf_bytes(document))).pages)
    assert all(re.sub(r"\s", "", text).count(cell) >= 3 for cell in row)


def test_ticks_are_round_and_frame_the_values(of_run: ReportNumbers) -> None:
    for chart in _charts(report_document(of_run)):
        marks, texts = ticks(chart), tick_texts(chart)
        assert marks[0] <= min(chart.known) + 1e-9
        assert marks[-1] >= max(chart.known) - 1e-9
        assert len(set(texts)) == len(texts)
        for mark, text in zip(marks, texts, strict=True):
            shown = float(text.replace("\N{MINUS SIGN}", "-").replace(",", "").removesuffix("%"))
            assert shown == pytest.approx(mark * (100 if chart.percent else 1), abs=1e-9), chart.name


def _called(*arguments: object) -> str:
    found = CliRunner().invoke(report_app, [str(each) for each in arguments], catch_exceptions=True)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.output


class TestCommand:
    def test_a_run_folder(self, run: Path, tmp_path: Path) -> None:
        said = _called("--run", run, "--month", "2016-03", "--pdf", "--out", tmp_path / "new")
        page, pdf = (Path(line.removeprefix("report: ")) for line in said.splitlines()[1:])
        assert page.read_text().startswith("<!DOCTYPE html>")
        assert pdf.read_bytes().startswith(b"%PDF")
        assert said.startswith("ibs_baseline, 2016-03: $")

    def test_a_desk_finds_its_monitor(self, desk: WatchedDesk, tmp_path: Path) -> None:
        said = _called("--monitoring", desk.config, "--out", tmp_path)
        assert "report: " in said
        assert "Not watched" not in next(tmp_path.iterdir()).read_text()

    def test_without_a_monitor_the_report_says_so(self, desk: WatchedDesk, tmp_path: Path) -> None:
        numbers = _of_desk(desk, monitor=tmp_path / "none.db")
        assert numbers.desk is not None
        assert numbers.desk.watched.startswith("Not watched: none.db is absent")
        text = _text(report_page(report_document(numbers)))
        assert text.count("The desk was not watched.") >= 4

    def test_the_monitor_of_another_desk_is_not_taken(self, desk: WatchedDesk, tmp_path: Path) -> None:
        other = papers.config(tmp_path)
        with pytest.raises(ConfigError, match=r"watches .*live\.yml, not .*; name the monitor of this desk"):
            watched_files(other, desk.config)
        live, settings = watched_files(desk.folder / "live.yml", desk.config)
        assert settings is not None
        assert (live, settings.database) == (desk.folder / "live.yml", desk.database)

    def test_a_run_is_no_desk(self, run: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="leave out --desk and --benchmark"):
            _called("--run", run, "--benchmark", "COMP", "--out", tmp_path)
        with pytest.raises(DataError, match="has no session in it"):
            _called("--run", run, "--month", "previous", "--out", tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_desk_that_no_monitor_is_configured_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert watched_files(Path("live.yml"), None) == (Path("live.yml"), None)

    def test_months(self) -> None:
        today = date(2026, 3, 1)
        assert month_of("2026-03", today) == np.datetime64("2026-03")
        for text, why in (
            ("2026-04", "has not begun"),
            ("2026-13", "like 2026-03"),
            ("March", "like 2026-03"),
        ):
            with pytest.raises(DataError, match=why):
                month_of(text, today)


class TestRefusals:
    def test_a_month_without_a_session(self, run: Path, desk: WatchedDesk) -> None:
        with pytest.raises(DataError, match="month 2013-01: COMP has no session in it; it has 2014-01-02 to"):
            numbers_of_run(run, np.datetime64("2013-01"))
        with pytest.raises(DataError, match="has no session in it"):
            _of_desk(desk, "2001-01")

    @pytest.mark.parametrize(
        "missing", ["metrics.json", "trades.parquet", "orders.parquet", "provenance.json"]
    )
    def test_an_incomplete_run_folder(self, run: Path, tmp_path: Path, missing: str) -> None:
        folder = tmp_path / "run"
        shutil.copytree(run, folder)
        (folder / missing).unlink()
        with pytest.raises(DataError, match=f"{missing} is missing"):
            account_of_run(folder)

    def test_a_run_folder_that_was_changed(self, run: Path, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        shutil.copytree(run, folder)
        stored = json.loads((folder / "metrics.json").read_text())
        (folder / "metrics.json").write_text(json.dumps({**stored, "sharpe": stored["sharpe"] * (1 + 1e-15)}))
        assert json.loads((folder / "metrics.json").read_text())["sharpe"] != stored["sharpe"]
        with pytest.raises(DataError, match=r"sharpe: its frames give .*, metrics.json says"):
            account_of_run(folder)
        (folder / "metrics.json").write_text("{")
        with pytest.raises(DataError, match=r"metrics\.json: cannot be read"):
            account_of_run(folder)
        (folder / "equity.parquet").write_bytes(b"PAR1")
        with pytest.raises(DataError, match=r"equity\.parquet: cannot be read as parquet"):
            account_of_run(folder)
        with pytest.raises(DataError, match="there is no such run folder"):
            account_of_run(tmp_path / "nowhere")

    def test_a_journal_that_is_absent_or_empty_or_no_journal(self, tmp_path: Path) -> None:
        live = papers.config(tmp_path)
        with pytest.raises(LiveError, match="there is none; let the engine of"):
            journal_of(live)
        with Journal.open(tmp_path / "live.db"):
            pass
        with pytest.raises(LiveError, match="has no epoch yet; let the engine run"):
            account_of_desk(journal_of(live))
        (tmp_path / "live.db").unlink()
        with sqlite3.connect(tmp_path / "live.db") as connection:
            connection.execute("CREATE TABLE other (x)")
        with pytest.raises(JournalError):
            account_of_desk(journal_of(live))

    def test_the_command_refuses_a_journal_in_one_line(self, desk: WatchedDesk, tmp_path: Path) -> None:
        papers.config(tmp_path)
        kept = desk.journal.read_bytes()
        for words in ("there is none", "open it for writing once"):
            if words != "there is none":
                (tmp_path / "live.db").write_bytes(kept)
                with closing(sqlite3.connect(tmp_path / "live.db")) as writer:
                    writer.execute("PRAGMA user_version = 0")
            arguments = ("report", "--desk", tmp_path / "live.yml", "--pdf", "--out", tmp_path / "out")
            done = python("-m", "operations.main", *arguments, folder=tmp_path)
            assert (done.returncode, done.stdout) == (2, "")
            assert len(done.stderr.splitlines()) == 1
            assert words in done.stderr
            assert not (tmp_path / "out").exists()

    def test_a_monitor_database_of_another_schema(self, desk: WatchedDesk, tmp_path: Path) -> None:
        other = tmp_path / "monitor.db"
        shutil.copy(desk.database, other)
        with sqlite3.connect(other) as connection:
            connection.execute("PRAGMA user_version = 99")
        with pytest.raises(MonitorError, match="has schema 99"):
            _of_desk(desk, monitor=other)

    def test_an_unknown_lane_as_benchmark(self, desk: WatchedDesk) -> None:
        with pytest.raises(LiveError, match="benchmark 'SPX': no lane of the desk; it has COMP"):
            account_of_desk(LiveConfig.load(desk.folder / "live.yml"), "SPX")

    def test_without_reportlab_nothing_is_written(
        self, of_run: ReportNumbers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in [each for each in sys.modules if each.startswith("operations.reports.pdf")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "reportlab", None)
        with pytest.raises(ConfigError, match="--pdf: reportlab is not installed") as refusal:
            written(of_run, tmp_path, pdf=True)
        assert isinstance(refusal.value, LockstepError)
        assert list(tmp_path.iterdir()) == []
