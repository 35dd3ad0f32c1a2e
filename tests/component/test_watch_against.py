"""A desk beside its backtest: equal to the cent on paper, apart by what was planted in its fills."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import DataError, ModelError
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.live.service import Service
from lockstep.models.store import ModelStore
from lockstep.monitoring.frozen import ExpectedMeasures
from operations.watch.against import live_against_backtest
from research.paper.against import AccountSide, compared
from research.report.theme import DARK
from support import desks, papers
from support.live_portfolios import PORTFOLIO, desk
from support.papers import SETS, WARM
from support.real_fills import TICK, live

MULTIPLIER = desks.load_markets()["COMP"].instrument.multiplier


def config(folder: Path, journal: Path, **changes: Any) -> LiveConfig:
    return LiveConfig.load(papers.config(folder, journal=str(journal), **changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of two versions of COMP."""
    made = tmp_path_factory.mktemp("desk")
    papers.store(made / "store", 0, 1)
    return made


@pytest.fixture(scope="module")
def store(folder: Path) -> ModelStore:
    return ModelStore(folder / "store")


@pytest.fixture(scope="module")
def paper(folder: Path, store: ModelStore) -> Path:
    return papers.traded(folder, papers.models(store)[0])


def test_a_paper_desk_equals_its_backtest_to_the_cent(folder: Path, paper: Path) -> None:
    found = live_against_backtest(config(folder, paper))
    (lane,) = found.lanes
    assert (found.mode, found.epochs, found.unsettled, found.notes) == ("paper", (1,), 0, ())
    assert (lane.name, lane.versions, lane.dates.size, lane.left_out) == ("COMP", ("v1",), SETS, 0)
    assert lane.live.trades == lane.backtest.trades > 10
    for one in (lane, found.desk):
        assert one.tracking_difference == 0.0
        assert math.isnan(one.information_ratio)
        assert not one.difference.any()
        assert one.live.net_profit != 0.0
        np.testing.assert_allclose(one.live.pnl, one.backtest.pnl, atol=0.005)
        for name in ("cagr", "sharpe", "max_drawdown_fraction", "net_profit", "contracts"):
            assert getattr(one.live, name) == pytest.approx(getattr(one.backtest, name), rel=1e-9)
    assert found.desk.live.net_profit == lane.live.net_profit


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


class Slipped:
    """Makes every fill of a recorded lane so many ticks worse, and its account poorer by what that costs."""

    def __init__(self, ticks: float) -> None:
        self.ticks, self.lost, self.fills = ticks, 0.0, 0

    def __call__(self, record: SetRecord) -> SetRecord:
        (lane,) = record.lanes
        filled = [each for each in lane.orders if each.status == "completed"]
        self.fills += len(filled)
        self.lost += sum(abs(each.quantity) for each in filled) * self.ticks * TICK * MULTIPLIER
        orders = tuple(
            replace(each, price=each.price + np.sign(each.quantity) * self.ticks * TICK)
            if each in filled
            else each
            for each in lane.orders
        )
        close, position, cash, equity = lane.mark
        mark = (close, position, cash - self.lost, equity - self.lost)
        *held, cash = lane.state.account
        state = replace(lane.state, account=(*held, cash - self.lost))
        return papers.with_lane(record, orders=orders, mark=mark, state=state)


@pytest.mark.parametrize("ticks", [0.0, 2.0])
def test_planted_slippage_is_the_difference(folder: Path, paper: Path, tmp_path: Path, ticks: float) -> None:
    slipped = Slipped(ticks)
    found = live_against_backtest(config(folder, papers.rewritten(paper, tmp_path / "x.db", slipped)))
    for one in (*found.lanes, found.desk):
        assert one.tracking_difference == pytest.approx(-slipped.lost)
        assert one.live.contracts == one.backtest.contracts == slipped.fills > 20
        assert one.live.net_profit == pytest.approx(one.backtest.net_profit - slipped.lost)
        if ticks:
            assert -math.inf < one.information_ratio < -1.0
            assert one.live.cagr < one.backtest.cagr
            assert one.live.max_drawdown_fraction > one.backtest.max_drawdown_fraction
        else:
            assert math.isnan(one.information_ratio)


def test_real_fills_are_those_of_the_account(folder: Path, store: ModelStore, tmp_path: Path) -> None:
    """The broker of this desk never reports a stop, so that its account goes a way of its own."""
    usual, worse = (
        live_against_backtest(config(folder, live(made(tmp_path / str(ticks)), store, ticks))).desk
        for ticks in (0.0, 3.0)
    )
    assert usual.tracking_difference != 0.0
    assert -math.inf < worse.information_ratio < usual.information_ratio < math.inf
    lost = usual.tracking_difference - worse.tracking_difference
    assert lost == pytest.approx(worse.live.contracts * 3.0 * TICK * MULTIPLIER)
    assert worse.live.cagr < usual.live.cagr
    assert worse.backtest.cagr == usual.backtest.cagr


def test_lanes_of_a_portfolio_are_answered_as_recorded_and_summed(tmp_path: Path) -> None:
    limits = {**PORTFOLIO["limits"], "daily_loss": {"fraction": 0.0005, "flatten": True}}
    path = desk(tmp_path, portfolio={"limits": limits})
    for stop in (30, None):
        with Service(path, mode=None, environment={}, stop_after=stop) as service:
            service.run()
    found = live_against_backtest(LiveConfig.load(path))
    assert [each.name for each in found.lanes] == ["COMP", "SPX"]
    assert found.desk.capital == PORTFOLIO["capital"]
    assert found.desk.live.trades == sum(each.live.trades for each in found.lanes) > 5
    assert found.desk.left_out > 0, "a flattened position is no backtest's"
    assert [each.tracking_difference for each in (*found.lanes, found.desk)] == [0.0, 0.0, 0.0]
    assert found.desk.live.net_profit == pytest.approx(sum(each.live.net_profit for each in found.lanes))
    rows = json.loads(json.dumps(found.rows))
    assert [each["name"] for each in rows] == ["COMP", "SPX", "desk"]


def test_what_came_after_a_session_is_in_no_number(folder: Path, paper: Path, tmp_path: Path) -> None:
    whole = live_against_backtest(config(folder, paper)).desk
    last = whole.dates[59]
    journal = papers.traded(tmp_path, papers.models(ModelStore(folder / "store"))[0], stop_after=60)
    ended = live_against_backtest(config(folder, journal)).desk
    for until in (last, whole.dates[60] - 1):
        found = live_against_backtest(config(folder, paper), until=until)
        assert found.unsettled == 0
        assert repr(found.desk.row) == repr(ended.row) != repr(whole.row)
        assert found.desk.live.pnl.tolist() == whole.live.pnl[:60].tolist()
    assert "no decision up to 2009-08-03" in refusal(folder, paper, until=whole.dates[0] - 1)


def test_a_figure_has_only_colours_with_a_dark_counterpart(folder: Path, paper: Path) -> None:
    found = live_against_backtest(config(folder, paper))
    drawn = found.figure("COMP")
    assert [each.name for each in drawn.data] == ["Backtest", "Live", "Difference"]
    assert {each.line.color for each in drawn.data} <= set(DARK)
    assert drawn.data[1].y[-1] == pytest.approx(found.desk.live.net_profit, abs=0.01)
    with pytest.raises(DataError, match="no lane ES; it has COMP, desk"):
        found.figure("ES")


def test_what_validation_expected_is_beside_it(folder: Path, paper: Path) -> None:
    expected = ExpectedMeasures(
        first="2005-01-03", last="2007-12-31", sessions=750, trades=100, capital=1e5, cagr=0.02, sharpe=1.1,
        max_drawdown_fraction=0.01, win_rate=0.6, trades_per_year=37.0, worst_session=-0.004,
        worst_session_pnl=-400.0, worst_trade_pnl=-950.0,
    )  # fmt: skip
    with_it = live_against_backtest(config(folder, paper), expected={"COMP": expected})
    row, desk_row = with_it.rows
    assert (row["expected_cagr"], row["expected_sharpe"]) == (0.02, 1.1)
    assert math.isnan(desk_row["expected_cagr"])


def test_one_session_has_no_ratio() -> None:
    side = AccountSide(
        pnl=np.array([1.0]), net_profit=1.0, trades=0, contracts=1.0, cagr=math.nan, sharpe=math.nan,
        max_drawdown_fraction=math.nan,
    )  # fmt: skip
    dates = np.array(["2020-01-02"], dtype="datetime64[D]")
    one = compared("X", (), dates, side, side, 1e5, 252.0, left_out=0, refused=0)
    assert math.isnan(one.information_ratio)
    assert one.tracking_difference == 0.0


def refusal(folder: Path, journal: Path, error: type[Exception] = DataError, **arguments: Any) -> str:
    with pytest.raises(error) as caught:
        live_against_backtest(config(folder, journal), **arguments)
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_bad_journals_are_refused_in_one_line(
    folder: Path, paper: Path, store: ModelStore, tmp_path: Path
) -> None:
    with Journal.open(tmp_path / "empty.db"):
        pass
    assert "it has no epoch yet" in refusal(folder, tmp_path / "empty.db")
    assert "no epochs [7]; it has 1" in refusal(folder, paper, epochs=[7])
    with Journal.open(tmp_path / "idle.db") as journal:
        journal.begin_epoch(
            desks.first_epoch({"COMP": papers.models(store)[0]}, desks.history(WARM + SETS), WARM)
        )
    assert "no decision yet" in refusal(folder, tmp_path / "idle.db")
    papers.store(tmp_path / "store", 7)
    assert "no version of the store is the bundle" in refusal(tmp_path, paper, ModelError)


@pytest.mark.parametrize("policy", ["adopt", "manage_out", "flatten"])
def test_swaps_are_followed(folder: Path, store: ModelStore, tmp_path: Path, policy: str) -> None:
    old, new = papers.models(store)

    def promoted(_: Journal) -> desks.FakeOutside:
        outside = desks.FakeOutside(models={each.bundle.sha256: each for each in (old, new)})
        outside.production = {"COMP": (new.bundle.version, new.bundle.sha256)}
        return outside

    path = papers.traded(tmp_path, old, stop_after=60)
    papers.traded(tmp_path, old, outside=promoted, policies={"COMP": policy})
    (lane,) = live_against_backtest(config(folder, path)).lanes
    assert lane.versions == ("v1", "v2")
    assert (lane.tracking_difference, lane.live.trades) == (0.0, lane.backtest.trades)
    assert lane.live.trades > 5


def test_only_epochs_of_one_mode_are_read(
    folder: Path, paper: Path, store: ModelStore, tmp_path: Path
) -> None:
    """A live desk that was a paper one: its newest mode counts, unless the caller names other epochs."""
    path = live(tmp_path, store, 3.0)
    with Journal.open(paper, readonly=True) as before, Journal.open(path) as journal:
        (epoch,) = before.epochs()
        journal.begin_epoch(replace(epoch, number=2))
        for entry in before.entries(1):
            if isinstance(entry, SetRecord):
                journal.append_set(entry)
            else:
                journal.append(entry)
    newest = live_against_backtest(config(folder, path))
    assert (newest.mode, newest.epochs, newest.desk.tracking_difference) == ("paper", (2,), 0.0)
    named = live_against_backtest(config(folder, path), epochs=[1])
    assert (named.mode, named.epochs) == ("live", (1,))
    assert named.desk.tracking_difference != 0.0
    assert "1 is live, 2 is paper; choose those of one" in refusal(folder, path, epochs=[1, 2])


def test_epochs_that_go_back_in_time_are_compared_one_by_one(
    folder: Path, paper: Path, store: ModelStore, tmp_path: Path
) -> None:
    path = papers.traded(tmp_path, papers.models(store)[0])
    with Journal.open(paper, readonly=True) as before, Journal.open(path) as journal:
        (epoch,) = before.epochs()
        journal.begin_epoch(replace(epoch, number=2))
        journal.append_set(next(each for each in before.entries(1) if isinstance(each, SetRecord)))
    assert "compare epochs one by one" in refusal(folder, path)
    assert live_against_backtest(config(folder, path), epochs=[1]).desk.tracking_difference == 0.0


def test_decisions_wait_for_their_settled_bars(
    folder: Path, paper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ending(last: int) -> Any:
        return lambda *_: desks.history(last)

    monkeypatch.setattr("operations.watch.against.settled_history", ending(WARM + 70))
    found = live_against_backtest(config(folder, paper))
    assert (found.desk.dates.size, found.unsettled) == (70, SETS - 70)
    assert found.desk.tracking_difference == 0.0
    monkeypatch.setattr("operations.watch.against.settled_history", ending(WARM - 1))
    said = refusal(folder, paper)
    assert "settled bars end at" in said
    assert "before its first decision; give newer files" in said
