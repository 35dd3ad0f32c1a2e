"""A desk whose live.yml names a portfolio: what it trades, what it refuses, what the operator sees."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lockstep.errors import ConfigError, JournalError, LiveError, LockstepError
from lockstep.live.config import LiveConfig
from lockstep.live.epochs import live_hashes, successor
from lockstep.live.events import PortfolioResumed
from lockstep.live.journal import Journal
from lockstep.live.journal.export import Range, recorded
from lockstep.live.messages import SetRecord
from lockstep.live.operator.portfolio_cli import app
from lockstep.live.service import Service
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.loader import load_history
from lockstep.models.store import load_bundle
from lockstep.portfolio.config import load_portfolio_config
from lockstep.strategy.bundled import config_of, veto_of
from lockstep.strategy.config import VolatilitySize
from lockstep.strategy.matching import POSITION
from research.backtest.portfolio import PortfolioMember, run_portfolio
from research.backtest.run import context_keys
from support import desks, papers
from support.live_portfolios import LIMITS, PORTFOLIO, desk
from support.models import RECORD


def run(config: Path, **how: Any) -> None:
    with Service(config, mode=None, environment={}, **how) as service:
        service.run()


def sets_of(folder: Path, epoch: int = 1) -> list[SetRecord]:
    with Journal.open(folder / "live.db", readonly=True) as journal:
        assert journal.verify() == []
        return [each for each in journal.entries(epoch) if isinstance(each, SetRecord)]


def test_paper_is_its_backtest(tmp_path: Path) -> None:
    """The whole way: live.yml, store, warm-up, replay, one stop; and a backtest of the same file."""
    config = desk(tmp_path)
    run(config, stop_after=25)
    run(config)
    sets = sets_of(tmp_path)
    book, members = load_instruments(), {}
    store = papers.ModelStore(tmp_path / "store")
    portfolio = load_portfolio_config(tmp_path / "desk.yml", book)
    for symbol in portfolio.symbols:
        bundle = load_bundle(symbol, "v1", store=store)
        strategy = config_of(bundle)
        keys = context_keys(strategy, book.markets, symbol, veto=veto_of(bundle))
        history = load_history(symbol, timeframe=strategy.bars, context=keys)
        members[symbol] = PortfolioMember(
            strategy=strategy, history=history, veto=veto_of(bundle), model={"sha256": bundle.sha256}
        )
    result = run_portfolio(portfolio, members, book, span=DateRange.of(papers.START, papers.END))
    told = [each.settled for each in sets if each.settled is not None]
    assert [each.state.equity for each in told] == result.equity["equity"].tolist()
    proposals = [
        (each.symbol, each.stamp, each.place, each.base, each.quantity, each.rule)
        for settled in told
        for each in settled.proposals
    ]
    columns = ["symbol", "stamp", "place", "base", "quantity", "rule"]
    assert proposals == list(result.proposals[columns].itertuples(index=False, name=None))
    assert {rule for *_, rule in proposals} >= {"", "positions"}
    assert not any(event.kind == "refusal" for row in sets for event in row.events)


REFUSED: Mapping[str, tuple[Callable[[Path], Path], str]] = {
    "gateway: contracts": (
        lambda folder: desk(folder, limits={**LIMITS, "max_contracts": 1}),
        r"limits\.max_contracts 1: COMP: lanes\.max_contracts may be 2; raise the one",
    ),
    "gateway: contracts of a symbol": (
        lambda folder: desk(folder, limits={**LIMITS, "by_symbol": {"SPX": 0.5}}),
        r"limits\.by_symbol 0\.5: SPX: lanes\.max_contracts may be 1",
    ),
    "gateway: all contracts": (
        lambda folder: desk(folder, limits={**LIMITS, "max_total_contracts": 1}),
        r"limits\.max_total_contracts 1: the portfolio's limits\.max_total_contracts may be 2",
    ),
    "gateway: notional": (
        lambda folder: desk(folder, limits={**LIMITS, "max_notional": 1e5}),
        r"limits\.max_notional 100000: COMP: lanes\.weight_cap or limits\.max_gross may be 200000",
    ),
    "gateway: all notional": (
        lambda folder: desk(folder, limits={**LIMITS, "max_total_notional": 3e5}),
        r"limits\.max_total_notional 300000: the portfolio's limits\.max_gross may be 400000",
    ),
    "gateway: no limit beside it": (
        lambda folder: desk(
            folder,
            portfolio={"limits": {"max_positions": 1, "daily_loss": LOSS}, "groups": {}},
            limits={**LIMITS, "max_total_notional": 3e5},
        ),
        r"limits\.max_total_notional 300000: the portfolio has no such limit; set the portfolio's",
    ),
    "gateway: orders": (
        lambda folder: desk(folder, limits={**LIMITS, "max_daily_loss": 100.0}),
        r"limits\.max_daily_loss 100 USD: must be more than the portfolio's, which stops at a loss of 100",
    ),
    "gateway: loss without one": (
        lambda folder: desk(folder, portfolio={"limits": {"max_positions": 1, "max_gross": 1.0}}),
        r"limits\.max_daily_loss 1e\+09 USD: .* has no limits\.daily_loss",
    ),
    "a strategy file": (
        lambda folder: desk(
            folder, portfolio={"lanes": [{"symbol": "COMP", "strategy": "a.yml", "units": 1}], "groups": {}}
        ),
        r"desk\.yml: COMP trades the strategy file a\.yml; a desk trades versions of the model store",
    ),
    "other instruments": (
        lambda folder: desk(folder, instruments=[{"symbol": "COMP"}]),
        r"instruments are COMP production, the lanes of .* are COMP production, SPX production; leave",
    ),
    "another version": (
        lambda folder: desk(folder, instruments=[{"symbol": "COMP"}, {"symbol": "SPX", "version": "v1"}]),
        r"instruments are COMP production, SPX v1, the lanes of",
    ),
    "no portfolio and no instruments": (
        lambda folder: papers.config(folder, instruments=[]),
        r"instruments: nothing is traded; list at least one, or give a portfolio",
    ),
    "a weight for a fixed size": (
        lambda folder: desk(
            folder,
            portfolio={
                "lanes": [
                    {"symbol": "COMP", "version": "production", "weight": 0.5},
                    {"symbol": "SPX", "version": "production", "units": 3},
                ]
            },
        ),
        r"COMP: weight for a strategy whose size is fixed; give the lane units",
    ),
    "no such file": (
        lambda folder: papers.config(folder, instruments=[], portfolio=str(folder / "none.yml")),
        r"none\.yml",
    ),
}
LOSS = {"fraction": 0.0005}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_desk_cannot_trade_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    write, message = REFUSED[case]
    with pytest.raises(LockstepError, match=message) as refused:
        run(write(tmp_path), stop_after=1)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "live.db").is_file() or not sets_of_any(tmp_path)


def sets_of_any(folder: Path) -> list[Any]:
    with Journal.open(folder / "live.db", readonly=True) as journal:
        return [each for epoch in journal.epochs() for each in journal.entries(epoch.number)]


def test_a_changed_portfolio_needs_a_new_epoch_and_goes_on(tmp_path: Path) -> None:
    config = desk(tmp_path)
    run(config, stop_after=20)
    before = sets_of(tmp_path)[-1].settled
    assert before is not None
    desk(tmp_path, portfolio={"capital": 250_000.0})
    with pytest.raises(JournalError, match=r"portfolio changed since epoch 1 .* lockstep journal new-epoch"):
        run(config)
    with Journal.open(tmp_path / "live.db") as journal:
        epoch, _ = successor(
            journal, LiveConfig.load(config), hashes=live_hashes(config), reason="50,000 paid in", now=1
        )
        journal.begin_epoch(epoch)
    assert epoch.portfolio is not None
    state = epoch.portfolio.state
    assert state.equity == before.state.equity + 50_000.0
    assert state.baseline == before.state.baseline + 50_000.0
    assert state.lanes == before.state.lanes
    run(config, stop_after=10)
    first = sets_of(tmp_path, 2)[0].settled
    assert first is not None
    assert abs(first.state.equity - state.equity) < 5_000.0
    # Nothing was lost by paying in: no drawdown, and no loss of the day.
    assert abs(first.state.drawdown - before.state.drawdown) < 0.02


def test_a_lane_that_comes_takes_its_capital_from_the_reserve(tmp_path: Path) -> None:
    """And one that goes leaves there what its account holds: the equity is the same."""
    one = {"lanes": PORTFOLIO["lanes"][:1], "groups": {}}
    config = desk(tmp_path, portfolio=one)
    run(config, stop_after=15)
    while (state := sets_of(tmp_path)[-1].lanes[0].state).account[POSITION] or state.waiting:
        run(config, stop_after=1)
    found = []
    for number, portfolio in enumerate(({}, {"lanes": PORTFOLIO["lanes"][1:], "groups": {}})):
        desk(tmp_path, portfolio=portfolio)
        with Journal.open(tmp_path / "live.db") as journal:
            epoch, _ = successor(
                journal, LiveConfig.load(config), hashes=live_hashes(config), reason="lanes", now=number
            )
            journal.begin_epoch(epoch)
        assert epoch.portfolio is not None
        state = epoch.portfolio.state
        cash = sum(each.account[4] for each in epoch.states.values())
        found.append((state.equity, [each.symbol for each in state.lanes], state.reserve, cash))
    (equity, lanes, _, _), (later, alone, reserve, _) = found
    assert (lanes, alone) == (["COMP", "SPX"], ["SPX"])
    assert later == equity
    assert reserve > 0.0


def test_the_operator_sees_the_portfolio_and_ends_its_halt(tmp_path: Path) -> None:
    halting = {
        "limits": {**PORTFOLIO["limits"], "drawdown": {"window": 20, "halt": 0.0001}},
    }
    config = desk(tmp_path, portfolio=halting)
    runner, place = CliRunner(), ("--config", str(config))
    run(config, stop_after=40)
    halted = [each.settled.state.halted for each in sets_of(tmp_path) if each.settled is not None]
    assert halted[-1]
    told = json.loads(runner.invoke(app, ["show", "--json", *place]).stdout)
    assert (told["halted"], told["portfolio"], told["capital"]) == (True, "desk", 200_000.0)
    assert {"halted"} <= {each["rule"] for each in told["proposals"]}
    shown = runner.invoke(app, ["show", *place]).stdout
    assert "HALTED by its drawdown: lockstep portfolio resume" in shown
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["portfolio"]["halted"] == 1.0
    done = runner.invoke(app, ["resume", "--reason", "looked at it, me", *place])
    assert "the halt ends; NO ENGINE IS RUNNING" in done.stdout
    again = runner.invoke(app, ["resume", "--reason", "once more", *place])
    assert isinstance(again.exception, LiveError)
    run(config, stop_after=1)
    with Journal.open(tmp_path / "live.db", readonly=True) as journal:
        assert [each.reason for each in journal.events(PortfolioResumed)] == ["looked at it, me"]
        state = journal.newest_settled(1)
        assert state is not None
        assert not state.halted or state.drawdown >= 0.0001
        assert recorded(journal, "portfolio", Range()).num_rows == len(halted) + 1
        assert {"rule", "margin", "scale"} <= set(recorded(journal, "proposals", Range()).column_names)
    # A restart replays the end of the halt where it came.
    run(config, stop_after=1)


def test_a_halt_that_is_none_is_not_ended(tmp_path: Path) -> None:
    config = desk(tmp_path)
    run(config, stop_after=2)
    done = CliRunner().invoke(app, ["resume", "--reason", "x", "--config", str(config)])
    assert "is not halted" in str(done.exception)


def test_a_desk_without_a_portfolio_says_so(tmp_path: Path) -> None:
    papers.store(tmp_path / "store")
    config = papers.config(tmp_path)
    run(config, stop_after=2)
    done = CliRunner().invoke(app, ["show", "--config", str(config)])
    assert "its newest epoch trades no portfolio" in str(done.exception)
    assert all(each.settled is None for each in sets_of(tmp_path))


def test_a_lane_is_handed_over_to_a_version_that_fits_only(tmp_path: Path) -> None:
    """A new version with another kind of size does not fit its lane: the old one goes on, visibly."""
    config = desk(tmp_path)
    run(config, stop_after=20)
    store = papers.ModelStore(tmp_path / "store")
    risky = desks.bundle("COMP", seed=5, size=VolatilitySize(kind="volatility", target=0.1))
    store.register(risky, record=RECORD, by="me", now=papers.NOW)
    store.promote("COMP", "v2", by="me", now=papers.NOW, reason="test", force=True)
    run(config, stop_after=5)
    status = json.loads((tmp_path / "status.json").read_text())
    assert "units for a strategy whose size is" in status["pending_swaps"]["COMP"]
    fits = desks.bundle("COMP", seed=6)
    store.register(fits, record=RECORD, by="me", now=papers.NOW)
    store.promote("COMP", "v3", by="me", now=papers.NOW, reason="test", force=True)
    run(config)
    versions = json.loads((tmp_path / "status.json").read_text())["versions"]
    assert versions == {"COMP": "v3", "SPX": "v1"}
    # What the new version was admitted to is replayed.
    run(config)


def test_the_live_configuration_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="portfolio"):
        LiveConfig.load(papers.config(tmp_path, instruments=[], portfolio=7))
