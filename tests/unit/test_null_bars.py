"""Bars whose directions are drawn: what stays, what is drawn, and the size of a gate that stands on them."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from lockstep.errors import ConfigError
from lockstep.market.bars import Bars
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY, Timeframe
from research.statistics.null_bars import redrawn, redrawn_history
from research.statistics.null_replay import null_replay, null_shifts

KEY = SeriesKey("COMP", DAILY)
DAY = 86_400_000_000_000


@functools.cache
def history() -> History:
    return load_history("COMP", start="2004-01-02", end="2008-12-31")


def bars() -> Bars:
    return history().series(KEY)


def turned(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random(count) < 0.5


def moves(found: Bars) -> tuple[np.ndarray, ...]:
    """Return gap and change in logarithms, upper and lower wick, but of the first bar."""
    opened, high, low, closed = np.log([found.open, found.high, found.low, found.close])
    before = closed[:-1]
    wicks = high - np.maximum(opened, closed), np.minimum(opened, closed) - low
    return opened[1:] - before, closed[1:] - before, wicks[0][1:], wicks[1][1:]


class TestRedrawn:
    def test_nothing_turned_is_as_it_was(self) -> None:
        found = redrawn(bars(), np.zeros(len(bars()), dtype=bool))
        for name, values in bars().columns().items():
            assert np.allclose(found.columns()[name], values, rtol=1e-12)

    def test_what_turned_went_as_far_the_other_way(self) -> None:
        flags = turned(len(bars()))
        found = redrawn(bars(), flags)
        assert (found.end == bars().end).all()
        assert (found.volume == bars().volume).all()
        real, made, sign = moves(bars()), moves(found), np.where(flags[1:], -1.0, 1.0)
        for own, other in zip(made[:2], real[:2], strict=True):
            # All moves are shifted by one constant, so that the mean is what it was.
            rest = own - sign * other
            assert (
                len(np.unique(rest[flags[1:]].round(10))) == len(np.unique(rest[~flags[1:]].round(10))) == 1
            )
        upper, lower = (np.where(flags[1:], real[place], real[5 - place]) for place in (3, 2))
        assert np.allclose(made[2], upper, atol=1e-12)
        assert np.allclose(made[3], lower, atol=1e-12)

    def test_what_the_market_gave_stays(self) -> None:
        found = redrawn(bars(), turned(len(bars())))
        assert found.close[-1] == pytest.approx(bars().close[-1], rel=1e-12)
        assert moves(found)[0].mean() == pytest.approx(moves(bars())[0].mean(), abs=1e-6)

    def test_calm_and_wild_times_stay(self) -> None:
        """What is drawn are directions: sizes follow each other as they did, directions no more."""
        found = redrawn(bars(), turned(len(bars())))
        sizes = [np.abs(moves(each)[1]) for each in (bars(), found)]
        assert np.corrcoef(*sizes)[0, 1] > 0.99
        alike = np.sign(moves(bars())[1]) == np.sign(moves(found)[1])
        assert 0.45 < alike.mean() < 0.55

    @pytest.mark.parametrize("change", [{"adjustment": "difference"}, {"minus": 3_000.0}])
    def test_prices_that_are_no_measure_are_turned_in_points(self, change: dict[str, object]) -> None:
        below = change.pop("minus", 0.0)
        own = replace(
            bars(), **{name: bars().columns()[name] - below for name in ("open", "high", "low", "close")}
        )
        own, flags = replace(own, **change), turned(len(own))
        found = redrawn(own, flags)
        steps = [np.diff(each.close) for each in (own, found)]
        rest = steps[1] - np.where(flags[1:], -1.0, 1.0) * steps[0]
        assert len(np.unique(rest[flags[1:]].round(6))) == len(np.unique(rest[~flags[1:]].round(6))) == 1
        assert found.adjustment == own.adjustment


class TestHistory:
    def test_a_seed_is_one_history(self) -> None:
        one, again, other = (
            redrawn_history(history(), seed).series(KEY) for seed in ((7, 1), (7, 1), (7, 2))
        )
        assert one.content_hash == again.content_hash != other.content_hash
        assert other.content_hash != bars().content_hash

    def test_bars_of_one_moment_share_their_direction(self) -> None:
        """A pair's bars that are missing in between do not shift what is drawn for the others."""
        own, kept = bars(), np.arange(len(bars())) % 3 > 0
        columns = {name: values[kept] for name, values in own.columns().items()}
        pair = Bars(symbol="SPX", timeframe=DAILY, end=own.end[kept], **columns)
        both = replace(history(), bars={KEY: own, SeriesKey("SPX", DAILY): pair})
        made = redrawn_history(both, 3)
        signs = [
            np.sign((np.log(each.close / each.open) - np.log(real.close / real.open)).round(3))
            for each, real in ((made.series(KEY), own), (made.series(SeriesKey("SPX", DAILY)), pair))
        ]
        assert (signs[0][kept] == signs[1]).mean() > 0.98

    def test_a_longer_timeframe_beside_it_is_refused(self) -> None:
        hourly = Timeframe.parse("1h")
        hours = replace(bars(), timeframe=hourly)
        both = replace(history(), bars={KEY: bars(), SeriesKey("COMP", hourly): hours})
        with pytest.raises(
            ConfigError, match=r"bars of 1d, 1h: directions are drawn for bars of one timeframe"
        ):
            redrawn_history(both, 1)


# --- Size and power of a rank among replays, for rules that remember ---

BARS, MEMORIES, WORLDS, REPLAYS, HOLD = 1_500, (20, 60, 120, 200), 300, 19, 2


def made(returns: np.ndarray) -> Bars:
    close = 2_000.0 * np.exp(np.cumsum(returns))
    opened = np.concatenate(([2_000.0], close[:-1]))
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    end = DAY * np.arange(1, returns.size + 1)
    return Bars(
        symbol="COMP", timeframe=DAILY, end=end, open=opened, high=high, low=low, close=close,
        volume=np.ones(returns.size),
    )  # fmt: skip


def signals(returns: np.ndarray) -> np.ndarray:
    """Return after which bars the last so many went far up, or far down: float64 (rules, n)."""
    total, found = np.concatenate(([0.0], np.cumsum(returns))), []
    for memory in MEMORIES:
        past = np.full(returns.size, np.nan)
        past[memory - 1 :] = total[memory:] - total[:-memory]
        low, high = np.nanquantile(past, (0.2, 0.8))
        found += [past < low, past > high]
    return np.array(found, dtype=np.float64)


def best_of(rules: np.ndarray, returns: np.ndarray) -> float:
    """Return the greatest fitness of all rules, long and short: that of six folds, as of a session."""
    held = np.zeros_like(rules)
    for delay in range(1, HOLD + 1):
        held[:, delay:] = np.maximum(held[:, delay:], rules[:, :-delay])
    folds = (held * returns)[:, int(0.4 * returns.size) :].reshape(len(rules), 6, -1)
    # A rule may be true in other folds only.
    ratios = folds.mean(axis=2) / (folds.std(axis=2) + 1e-12)
    errors = ratios.std(axis=1, ddof=1) / math.sqrt(6.0)
    return float((np.abs(ratios.mean(axis=1)) - errors).max())


def significant(worlds: int, *, shifted: bool, edge: float = 0.0) -> int:
    """Return how often the best rule of a world is better than in all of its replays."""
    found = 0
    for number in range(worlds):
        returns = 0.01 * np.random.default_rng([3, number]).standard_t(5, BARS)
        if edge:
            for place in range(MEMORIES[0], BARS):
                returns[place] += edge * np.sign(returns[place - MEMORIES[0] : place].sum())
        own, rules = made(returns), signals(returns)

        def search(draw: int, own: Bars = own, rules: np.ndarray = rules, number: int = number) -> float:
            real = np.diff(np.log(own.close), prepend=np.log(own.open[0]))
            if not draw:
                return best_of(rules, real)
            if shifted:
                return best_of(np.roll(rules, draw, axis=1), real)
            drawn = redrawn(own, np.random.default_rng([4, number, draw]).random(BARS) < 0.5)
            other = np.diff(np.log(drawn.close), prepend=np.log(drawn.open[0]))
            return best_of(signals(other), other)

        draws = null_shifts(BARS, replays=REPLAYS, seed=number) if shifted else range(1, 1 + REPLAYS)
        found += null_replay(search, draws).p_value <= 0.05
    return found


@pytest.mark.no_cover
def test_rules_that_remember_keep_their_size_and_moved_decisions_do_not() -> None:
    bound = int(binom.ppf(0.999, WORLDS, 0.05))
    found = significant(WORLDS, shifted=False), significant(WORLDS, shifted=True)
    assert found[0] <= bound < found[1]


@pytest.mark.no_cover
def test_an_edge_is_seen() -> None:
    assert significant(20, shifted=False, edge=-0.003) >= 16
