"""The reference of a bundle: made by one function, the same each time; off without support."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest

from benchmarks.alarm_worlds import WON, paths, rates, reference_of, stamps, wins
from lockstep.errors import ConfigError, DataError
from lockstep.monitoring.readings import of_calibration, of_profit, of_ranks, of_wins
from lockstep.monitoring.reference import MonitoringReference
from lockstep.monitoring.reference_outcomes import EVERY, ReferenceOutcomes, monitoring_reference
from lockstep.monitoring.resampling import block_length, block_rows
from lockstep.monitoring.thresholds import watch_threshold

BUNDLE = "ab" * 32
NO_SIGNALS = dict.fromkeys(("signal_times", "probabilities", "won", "forecasts", "followings"), ())


def outcomes(count: int = 300) -> ReferenceOutcomes:
    rng = np.random.default_rng(3)
    won = (rng.random(count) < WON).astype(np.int64)
    profits = np.where(won, rng.gamma(2.0, 50.0, count), -rng.gamma(2.0, 55.0, count))
    forecasts = profits / 200 + rng.normal(0, 1, count)
    times = stamps(count, 40)
    return ReferenceOutcomes(
        trade_times=times, profits=profits, signal_times=times, probabilities=rng.uniform(0.5, 0.74, count),
        won=won, forecasts=forecasts, followings=profits,
    )  # fmt: skip


@functools.cache
def whole() -> MonitoringReference:
    return monitoring_reference(outcomes(), bundle=BUNDLE, seed=1)


def made(**changes: Any) -> MonitoringReference:
    return monitoring_reference(dataclasses.replace(outcomes(), **changes), bundle=BUNDLE, seed=1)


def test_it_has_a_reference_for_every_stream_and_is_the_same_each_time() -> None:
    found = whole()
    assert [each.stream for each in found.streams] == ["win_rate", "pnl", "calibration", "ic"]
    assert found.off == ()
    assert found.model_dump_json() == made().model_dump_json()
    assert found.digest != monitoring_reference(outcomes(), bundle=BUNDLE, seed=2).digest


def test_floors_are_lower_bounds_in_the_units_of_their_streams() -> None:
    given, found = outcomes(), whole()
    for each in found.streams:
        assert 0 < each.floor < each.estimate
    win, pnl, calibration, ic = found.streams
    assert win.estimate == of_wins(given.profits).mean()
    assert win.estimate - win.floor == pytest.approx(0.84 * np.sqrt(0.62 * 0.38 / 300), rel=0.25)
    low, high = np.quantile(given.profits, (0.01, 0.99))
    assert pnl.natural(pnl.estimate) == pytest.approx(np.clip(given.profits, low, high).mean())
    assert calibration.floor <= 0.485
    assert calibration.natural(calibration.estimate) == pytest.approx(
        (given.won - given.probabilities).mean()
    )
    assert ic.natural(ic.estimate) == pytest.approx(np.corrcoef(*[
        np.argsort(np.argsort(each)) for each in (given.forecasts, given.followings)
    ])[0, 1], abs=0.02)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "stream", "words"),
    [
        ({"won": np.ones(300, dtype=np.int64)}, "calibration", "one class only"),
        (NO_SIGNALS, "calibration", "outcomes of 0 moments"),
        ({"forecasts": (), "followings": ()}, "ic", "0 forecasts, 50"),
        ({"forecasts": np.zeros(300)}, "ic", "all 300 outcomes are equal"),
        ({"profits": np.full(300, 5.0)}, "win_rate", "all 300 outcomes are equal"),
        ({"profits": np.full(300, 5.0)}, "pnl", "do not vary"),
        ({"trade_times": np.full(300, 10**18)}, "win_rate", "outcomes of 1 moments"),
    ],
)
def test_a_stream_without_support_is_off_with_the_reason(
    changes: dict[str, Any], stream: Any, words: str
) -> None:
    found = made(**changes)
    assert found.of(stream) is None
    assert any(each.startswith(f"{stream}: ") and words in each for each in found.off)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"probabilities": np.full(300, np.nan)}, "probability 0 of 300: nan"),
        ({"probabilities": np.full(300, 1.2)}, "probability 0: 1.2: must lie in"),
        ({"won": np.full(300, 2)}, "must be 0 or 1"),
        ({"profits": np.full(300, np.inf)}, "must be finite"),
        ({"trade_times": stamps(300, 120)[::-1]}, "rising"),
        ({"signal_times": stamps(299, 120)}, "299 times of 300"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        made(**changes)


def test_wins_in_runs_are_bet_on_by_block() -> None:
    random = np.random.default_rng(1)
    every = [reference_of(wins(random, 1, rates(400, 0), 0.25)[0], 120, each).every for each in range(12)]
    alone = [reference_of(wins(random, 1, rates(400, 0), 0.0)[0], 120, each).every for each in range(12)]
    assert every.count(EVERY) >= 11
    assert alone.count(1) >= 8


def test_trades_of_one_moment_count_as_their_mean() -> None:
    given = outcomes(200)
    doubled = {"trade_times": np.repeat(given.trade_times, 2)}
    same = monitoring_reference(
        dataclasses.replace(given, profits=np.repeat(given.profits, 2), **doubled), bundle=BUNDLE
    ).of("win_rate")
    assert same == monitoring_reference(given, bundle=BUNDLE).of("win_rate")
    other = np.stack((given.profits, -given.profits), axis=1).ravel()
    found = monitoring_reference(dataclasses.replace(given, profits=other, **doubled), bundle=BUNDLE)
    assert found.of("win_rate") is None
    assert "win_rate: all 200 outcomes are equal" in found.off[0]


def test_threshold_knows_that_wins_come_in_runs() -> None:
    x = wins(np.random.default_rng(4), 1, rates(400, 0), 0.4)[0]
    shares = (0.05, 0.1, 0.14, 0.2, 0.3)
    apart, together = (
        watch_threshold(x, per_year=120, bets=shares, every=1, seed=1, block=each) for each in (1, None)
    )
    assert together > 1.5 * apart


@pytest.mark.parametrize("per_year", [3, 8])
def test_few_trades_a_year_do_not_raise_watch_too_often(per_year: int) -> None:
    """Peaks of such years are few numbers, and one of them may be that of many years."""
    x = wins(np.random.default_rng(4), 1, rates(400, 0), 0.0)[0]
    shares = (0.05, 0.1, 0.14, 0.2, 0.3)
    at = watch_threshold(x, per_year=per_year, bets=shares, every=1, seed=1)
    years = wins(np.random.default_rng(5), 4_000, np.full(per_year, x.mean()), 0.0)
    peaks = paths(years, float(x.mean()), per_year, shares).max(axis=1)
    assert (peaks >= at).mean() <= 0.065
    assert (peaks >= at * (1.0 - 1e-6)).mean() > 0.065 or per_year > 3


def test_a_longer_year_shows_a_smaller_decay() -> None:
    x = wins(np.random.default_rng(5), 1, rates(400, 0), 0.0)[0]
    falls = [reference_of(x, per_year, 1).visible_fall for per_year in (60, 120, 250)]
    assert all(each is not None for each in falls)
    assert falls == sorted(falls, reverse=True, key=lambda each: each or 0.0)
    assert falls[0] != falls[2]
    assert reference_of(x, 4, 1).visible_fall is None


def test_the_visible_decay_is_seen_in_one_year_of_two() -> None:
    x = wins(np.random.default_rng(6), 1, rates(400, 0), 0.0)[0]
    bar = reference_of(x, 120, 1)
    assert bar.visible_fall is not None
    low = bar.estimate - bar.visible_fall
    fallen = wins(np.random.default_rng(7), 2_000, np.full(120, low), 0.0)
    seen = (paths(fallen, bar.floor, 120, bar.alarm_bets, every=bar.every).max(axis=1) >= 20).mean()
    assert 0.4 < seen < 0.62


def test_blocks_are_neighbours_round_the_end() -> None:
    rows = block_rows(np.random.default_rng(1), 10, draws=200, size=9, block=3)
    assert rows.shape == (200, 9)
    assert set(np.unique(rows)) == set(range(10))
    steps = np.diff(rows.reshape(200, 3, 3), axis=2)
    assert set(np.unique(steps)) == {1, -9}
    assert [block_length(each) for each in (1, 8, 9, 1_000)] == [1, 2, 3, 10]
    with pytest.raises(ConfigError, match="each must be >= 1"):
        block_rows(np.random.default_rng(1), 10, draws=1, size=9, block=0)


def test_readings() -> None:
    assert of_profit([-9.0, 9.0], -1.0, 1.0).tolist() == [0.0, 1.0]
    with pytest.raises(DataError, match="must vary"):
        of_profit([1.0], 1.0, 1.0)
    assert of_calibration([0.0, 1.0, 1.0], [0, 1, 0]).tolist() == [0.5, 0.5, 0.0]
    with pytest.raises(DataError, match="2 probabilities of 1"):
        of_calibration([0.5, 0.5], [1])
    grid = (0.0, 1.0, 1.0, 1.0, 2.0)
    ranks = of_ranks([0.0, 1.0, 2.0, 5.0], np.full(4, 9.0), forecasts=grid, followings=(0.0, 1.0))
    assert ranks.tolist() == [0.0, 0.5, 1.0, 1.0]
