"""Test windows as one account: what trades when, what a roll-over does, and what the figures are of."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep import metrics
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.families.ibs import IbsConfig
from research.backtest.run import run_backtest
from research.experiments import accounts
from research.experiments.accounts import (
    TIMING,
    Course,
    Leg,
    SymbolAccount,
    backtrader_course,
    legs_of,
    timing_measures,
    trade,
)
from research.experiments.evaluation import Data
from research.experiments.kept_returns import sample_of_moments
from research.experiments.verification import backtrader
from research.ledger.database import Database
from research.ledger.tables import METRICS
from research.splits.ranges import TrainTestWindow
from research.statistics.sharpe import probabilistic_sharpe
from research.sweep.run import sweep
from support.experiments import plan, toy_lab

DAY = 86_400_000_000_000


def dates(first: str, last: str) -> DateRange:
    return DateRange.model_validate([first, last])


def window(first: str, last: str) -> TrainTestWindow:
    """A window whose test range is given; what it trains on does not matter here."""
    return TrainTestWindow(train=dates("2000-01-03", "2009-12-31"), test=dates(first, last))


HALVES = [
    window("2010-01-01", "2010-06-30"),
    window("2010-07-01", "2010-12-31"),
    window("2011-01-01", "2011-06-30"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    lab = toy_lab(Database.open(f"sqlite:///{tmp_path_factory.mktemp('accounts') / 'x.db'}"))
    return lab.data(plan(), "COMP")


class TestLegs:
    def test_neighbours_alike_are_one(self) -> None:
        assert legs_of(HALVES, [3, 3, 3]) == [Leg(variant=3, dates=dates("2010-01-01", "2011-06-30"))]
        assert legs_of(HALVES, [3, 3, 4]) == [
            Leg(variant=3, dates=dates("2010-01-01", "2010-12-31")),
            Leg(variant=4, dates=dates("2011-01-01", "2011-06-30")),
        ]

    def test_windows_that_overlap_end_where_the_next_begins(self) -> None:
        found = legs_of([window("2010-01-01", "2010-12-31"), window("2010-07-01", "2011-06-30")], [1, 2])
        assert [each.dates for each in found] == [
            dates("2010-01-01", "2010-06-30"), dates("2010-07-01", "2011-06-30"),
        ]  # fmt: skip

    def test_a_gap_is_no_part_of_the_account(self) -> None:
        apart = legs_of([HALVES[0], HALVES[2]], [1, 1])
        assert len(apart) == 2
        account = SymbolAccount(
            symbol="ES", legs=tuple(apart), metrics={}, capital=1.0, days=np.empty(0), equity=np.empty(0)
        )
        assert account.dates == "2010-01-01 to 2010-06-30, 2011-01-01 to 2011-06-30"


class Scripted:
    """An engine that earns 1 USD a bar in a position, on two bars per weekday, and is told its positions.

    script   by capital, which names the configuration here: (first bar, last bar) of each trade, counted from
             the first day of 2010
    """

    def __init__(self, script: dict[float, list[tuple[int, int]]]) -> None:
        self.script = script
        self.asked: list[tuple[float, str, str]] = []

    def __call__(self, config: IbsConfig, data: Data, span: DateRange) -> Course:
        start, end = np.datetime64(str(span.start)), np.datetime64(str(span.end))
        self.asked.append((config.capital, str(start), str(end)))
        every = np.arange("2010-01-01", "2010-12-31", dtype="datetime64[D]")
        bars = np.flatnonzero((np.repeat(every, 2) >= start) & (np.repeat(every, 2) <= end))
        taken = [(a, b) for a, b in self.script[config.capital] if bars[0] <= a <= bars[-1]]
        held = np.array([any(a <= bar < b for a, b in taken) for bar in bars])
        stamp = lambda bar: (bar + 1) * DAY // 2  # noqa: E731
        return Course(
            capital=config.capital,
            metrics={},
            end=stamp(bars),
            day=np.repeat(every, 2)[bars],
            equity=config.capital + np.cumsum(held.astype(float)),
            position=held.astype(float),
            held_over=held.astype(float),
            close=np.full(bars.size, 50.0),
            opening=50.0,
            points=False,
            entry=np.array([stamp(a) for a, _ in taken], dtype=np.int64),
            exit=np.array([stamp(b) if b <= bars[-1] else 0 for _, b in taken], dtype=np.int64),
            pnl=np.array([float(min(b, bars[-1]) - a) for a, b in taken]),
            held=np.array([float(min(b, bars[-1]) - a) for a, b in taken]),
        )


def scripted(legs: list[Leg], script: dict[float, list[tuple[int, int]]], data: Data) -> SymbolAccount:
    base = plan().strategy
    return trade(legs, lambda number: base.replaced(capital=100.0 + (number or 0)), data, Scripted(script))


class TestRollOver:
    """Bars are counted from 0; day d has bars 2 d and 2 d + 1; the first leg has days 0 to 9."""

    LEGS = (
        Leg(variant=0, dates=dates("2010-01-01", "2010-01-10")),
        Leg(variant=1, dates=dates("2010-01-11", "2010-01-20")),
    )

    def test_a_position_is_managed_out_and_the_next_variant_starts_the_session_after(
        self, data: Data
    ) -> None:
        # Open over the boundary until bar 24 (day 12); the new one would have been in from bar 21 to 30.
        account = scripted(list(self.LEGS), {100.0: [(2, 5), (15, 24)], 101.0: [(21, 30), (32, 36)]}, data)
        assert [str(each.dates) for each in account.legs] == [
            "2010-01-01 to 2010-01-13", "2010-01-14 to 2010-01-20",
        ]  # fmt: skip
        assert account.metrics["net_profit"] == 3 + 9 + 4
        assert account.metrics["trades"] == 3
        assert account.days.size == account.equity.size == 20
        assert account.equity[-1] == 116.0

    def test_what_it_would_enter_after_its_exit_belongs_to_nobody(self, data: Data) -> None:
        account = scripted(list(self.LEGS), {100.0: [(15, 22), (23, 40)], 101.0: []}, data)
        assert account.metrics["net_profit"] == 7
        assert account.metrics["trades"] == 1
        assert account.equity[-1] == 107.0

    def test_a_position_that_is_never_left_takes_the_rest(self, data: Data) -> None:
        account = scripted(list(self.LEGS), {100.0: [(15, 999)], 101.0: [(25, 30)]}, data)
        assert len(account.legs) == 1
        assert account.metrics["trades"] == 0
        assert account.dates == "2010-01-01 to 2010-01-20"

    def test_its_exit_is_looked_for_step_by_step(self, data: Data) -> None:
        engine = Scripted({100.0: [(15, 240)], 101.0: [(290, 292)]})
        base = plan().strategy
        legs = [self.LEGS[0], Leg(variant=1, dates=dates("2010-01-11", "2010-12-30"))]
        account = trade(legs, lambda number: base.replaced(capital=100.0 + (number or 0)), data, engine)
        assert [end for _, _, end in engine.asked] == ["2010-01-10", "2010-02-19", "2010-06-19", "2010-12-30"]
        assert account.metrics["net_profit"] == 225 + 2
        assert account.legs[0].dates.end == date(2010, 5, 1)

    def test_flat_at_the_boundary_nothing_is_carried(self, data: Data) -> None:
        account = scripted(list(self.LEGS), {100.0: [(2, 5)], 101.0: [(25, 30)]}, data)
        assert [each.dates for each in account.legs] == [each.dates for each in self.LEGS]
        assert account.metrics["net_profit"] == 3 + 5

    def test_a_window_without_a_choice_stays_flat(self, data: Data) -> None:
        legs = [Leg(variant=None, dates=dates("2010-01-04", "2010-01-10")), self.LEGS[1]]
        account = scripted(legs, {101.0: [(35, 38)]}, data)
        assert account.metrics["net_profit"] == 3
        assert account.days[0] == np.datetime64("2010-01-04")


class TestEngine:
    def test_a_fixed_variant_is_one_run_to_the_last_bit(self, data: Data) -> None:
        config = plan().strategy
        legs = legs_of(HALVES, [0, 0, 0])
        account = trade(legs, lambda _: config, data, backtrader_course)
        once = run_backtest(
            config, data.history, "COMP", span=DateRange.of(date(2010, 1, 1), date(2011, 6, 30))
        )
        timed = {name: account.metrics[name] for name in TIMING}
        assert account.metrics == {name: once.metrics[name] for name in METRICS} | timed
        assert account.equity[-1] == once.equity["equity"].iloc[-1]

    def test_the_winner_is_run_once_to_be_verified_and_shown(
        self, data: Data, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[tuple[StrategyConfig, DateRange]] = []

        def counted(config: StrategyConfig, history: History, symbol: str, *, span: DateRange) -> Any:
            made.append((config, span))
            return run_backtest(config, history, symbol, span=span)

        monkeypatch.setattr(accounts, "run_backtest", counted)
        first, second, third = (dates(f"2010-{month}-01", f"2010-{month}-28") for month in ("03", "04", "05"))
        config = plan().strategy
        larger = config.replaced(capital=2 * config.capital)
        with accounts.first_runs_kept():
            kept = [backtrader_course(config, data, span) for span in (first, second, third)]
            assert backtrader(config, data, second)["net_profit"] == kept[1].metrics["net_profit"]
            assert backtrader_course(config, data, first) is kept[0]
            assert len(made) == 3
            assert backtrader_course(config, data, third) is not kept[2]
            assert backtrader_course(larger, data, first).capital == larger.capital
            other = replace(data, hash="of other bars")
            assert backtrader_course(config, other, first) is not kept[0]
        assert backtrader_course(config, data, first) is not kept[0]
        assert len(made) == 7

    @pytest.mark.no_cover
    @pytest.mark.parametrize("short", [False, True])
    def test_timing_is_that_of_the_sweep(self, data: Data, short: bool) -> None:
        """Two computations of what the returns have beyond a constant position: bars, and sums of a sweep."""
        changes = {"direction": "both", "target": {"percent": 1.0}} if short else {}
        config = plan().strategy.replaced(entry=(0.0, 0.4), stop={"percent": 0.8}, **changes)
        span = DateRange.of(date(2010, 1, 1), date(2011, 6, 30))
        found = backtrader(config, data, span)
        swept = sweep([config], data.history, "COMP", span=span)
        sums, beta = swept.timing[0, :4], swept.timing[0, 4]
        sample = sample_of_moments(np.array([swept.blocks[0, :, 2].sum(), *sums]))
        scale = found["sharpe"] / found["sharpe_session"]
        assert found["timing_sharpe"] == pytest.approx(sample.ratio * scale, rel=1e-9)
        assert found["timing_p"] == pytest.approx(1 - probabilistic_sharpe(sample), rel=1e-6)
        assert found["beta"] == pytest.approx(beta, rel=1e-12)
        assert abs(found["timing_sharpe"] - found["sharpe"]) > 0.01
        assert (
            found["net_profit"] == run_backtest(config, data.history, "COMP", span=span).metrics["net_profit"]
        )

    def test_a_position_that_never_changes_leaves_no_timing(self, data: Data) -> None:
        """All its returns are the market's, however much it rose."""
        course = backtrader_course(plan().strategy, data, DateRange.of(date(2010, 1, 1), date(2011, 6, 30)))
        market = np.diff(course.close, prepend=course.opening) / np.append(course.opening, course.close[:-1])
        unit = data.history.markets["COMP"].instrument.multiplier
        always = replace(
            course,
            held_over=2.0 * course.capital / unit / course.close,
            equity=course.capital * (1.0 + 2.0 * np.cumsum(market)),
        )
        assert metrics.sharpe(2.0 * market, 252.0) > 0.5
        found = timing_measures([always], course.day, data)
        assert found["beta"] == pytest.approx(2.0)
        assert np.isnan([found["timing_sharpe"], found["timing_p"]]).all()

    def test_the_time_between_two_stretches_is_not_the_account_s(self, data: Data) -> None:
        config = plan().strategy
        apart = trade(legs_of([HALVES[0], HALVES[2]], [0, 0]), lambda _: config, data, backtrader_course)
        assert len(apart.stretches) == 2
        growth = apart.equity[-1] / apart.capital
        per_year = data.history.markets["COMP"].session.template.sessions_per_year
        expected = growth ** (per_year / apart.metrics["sessions"]) - 1
        assert apart.metrics["cagr"] == pytest.approx(expected)
        assert apart.metrics["sessions"] == apart.days.size

    def test_changing_variants_make_one_account_without_overlaps(self, data: Data) -> None:
        """The account's measures once more, from its own equity and from the trades of plain runs."""
        wide, narrow = (plan().strategy.replaced(entry=(0.0, high), max_bars=20) for high in (0.6, 0.15))
        configs = {0: wide, 1: narrow}
        courses: list[Any] = []

        def engine(config: IbsConfig, data: Data, span: DateRange) -> Course:
            courses.append(backtrader_course(config, data, span))
            return courses[-1]

        account = trade(legs_of(HALVES, [0, 1, 0]), lambda number: configs[number or 0], data, engine)
        curve = metrics.curve_from(account.capital, account.equity)
        returns = metrics.period_returns(curve, account.capital)
        per_year = data.history.markets["COMP"].session.template.sessions_per_year
        assert account.metrics["sharpe"] == pytest.approx(metrics.sharpe(returns, per_year))
        assert account.metrics["net_profit"] == pytest.approx(account.equity[-1] - account.capital)
        windows = [
            backtrader_course(configs[number], data, each.test)
            for number, each in zip((0, 1, 0), HALVES, strict=True)
        ]
        assert windows[-1].position[-1] == 0, "its last trade is open: its profit is no trade's"
        assert len(courses) > 3, "no position was open at a boundary: nothing was tested"
        for before, after in zip(account.legs, account.legs[1:], strict=False):
            assert before.dates.end < after.dates.start
        # The same trades from plain runs over each leg: those entered before the window's end.
        trades, profit = 0, 0.0
        for leg, original in zip(account.legs, windows, strict=True):
            run = backtrader_course(configs[leg.variant or 0], data, leg.dates)
            mine = (run.exit > 0) & (run.entry <= original.end[-1])
            trades, profit = trades + int(mine.sum()), profit + float(run.pnl[mine].sum())
        assert account.metrics["trades"] == trades
        assert account.metrics["net_profit"] == pytest.approx(profit, abs=0.01)
        # The mean over windows, which was once shown as the account's, is another number.
        mean = np.mean([each.metrics["max_drawdown_fraction"] for each in windows])
        assert account.metrics["max_drawdown_fraction"] > mean


def test_accounts_go_with_their_experiment(tmp_path: Path) -> None:
    from research.experiments.account_store import kept

    lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'x.db'}"))
    record = lab.run(plan(walk_forward="1y/6m/6m", top=2))
    labels = [label for label, _ in kept(lab.store, record)]
    assert len(labels) == 4
    assert labels[0] == "chosen by sharpe"
    lab.store.delete(record.id)
    assert kept(lab.store, record) == []
