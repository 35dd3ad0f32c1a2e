"""Uniqueness against a slow count of every bar; trades that stay against the sweep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY
from research.sweep.inputs import Chances
from research.sweep.kernels import FILL_DECISION
from research.sweep.run import trace
from research.training.round_trips import average_uniqueness, concurrency, uniqueness_weights
from research.training.threshold import choose_threshold, criterion, taken_trades
from support.training import config, spx_dataset, spx_history

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 15)), min_size=1, max_size=40)


def slow_uniqueness(intervals: list[tuple[int, int]]) -> list[float]:
    """Return the mean of 1 / (labels open) over the bars of each label, bar by bar."""
    found = []
    for first, last in intervals:
        shares = [1 / sum(a <= bar <= b for a, b in intervals) for bar in range(first, last + 1)]
        found.append(sum(shares) / len(shares))
    return found


@given(spans)
def test_uniqueness_is_the_mean_share_of_each_bar(drawn: list[tuple[int, int]]) -> None:
    intervals = [(start, start + length) for start, length in drawn]
    first, last = (np.array(each, dtype=np.int64) for each in zip(*intervals, strict=True))
    found = average_uniqueness(first, last)
    np.testing.assert_allclose(found, slow_uniqueness(intervals), rtol=1e-12)
    assert ((found > 0) & (found <= 1 + 1e-12)).all()
    assert np.isclose(uniqueness_weights(first, last).mean(), 1.0)


def test_concurrency_of_two_labels() -> None:
    first, last = np.array([1, 2]), np.array([3, 4])
    assert concurrency(first, last).tolist() == [0, 1, 2, 2, 1]
    assert average_uniqueness(first, last).tolist() == pytest.approx([2 / 3, 2 / 3])


def test_nothing_has_no_concurrency() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert concurrency(nothing, nothing).size == 0
    assert uniqueness_weights(nothing, nothing).size == 0


def test_accepting_all_gives_the_plain_strategy() -> None:
    dataset = spx_dataset()
    assert np.array_equal(taken_trades(dataset, np.ones(len(dataset), dtype=np.bool_)), dataset.taken)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
def test_kept_trades_are_those_of_the_sweep(seed: int, threshold: float) -> None:
    dataset, strategy = spx_dataset(), config().strategy
    chance = np.random.default_rng(seed).random(len(dataset))
    bars = len(spx_history().series(SeriesKey("SPX", DAILY)))
    chances = Chances.at(dataset.row, chance, bars=bars, threshold=threshold)
    fills = trace(strategy, spx_history(), "SPX", span=DateRange(), chances=chances).fills
    closed = fills[: len(fills) // 2 * 2 : 2, FILL_DECISION].astype(np.int64)
    assert dataset.row[taken_trades(dataset, chance >= threshold)].tolist() == closed.tolist()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from(["sharpe", "net_pnl", "profit_factor"]), st.floats(0.1, 0.9)
)
def test_the_chosen_threshold_is_the_best_that_keeps_enough(seed: int, name: str, keep: float) -> None:
    dataset = spx_dataset()
    chance = np.random.default_rng(seed).beta(4.0, 3.0, len(dataset))
    asked = config(threshold={"criterion": name, "keep": keep, "step": 0.05}).threshold
    chosen = choose_threshold(asked, dataset, chance)
    values = {}
    for threshold in asked.grid.tolist():
        taken = taken_trades(dataset, chance >= threshold)
        if threshold == 0.0 or taken.sum() >= keep * dataset.taken.sum():
            values[threshold] = criterion(name, dataset.net_return[taken])
    assert chosen == min(each for each, value in values.items() if value == max(values.values()))


def test_criteria_of_nothing_and_of_no_loss() -> None:
    nothing, won = np.zeros(0), np.array([0.01, 0.02])
    assert criterion("sharpe", nothing) == criterion("net_pnl", nothing) == -np.inf
    assert criterion("sharpe", won[:1]) == -np.inf
    assert criterion("sharpe", np.array([0.01, 0.01])) == -np.inf
    assert criterion("profit_factor", won) == np.inf
    assert criterion("profit_factor", np.array([0.02, -0.01])) == 2.0
    assert criterion("net_pnl", won) == pytest.approx(0.03)
