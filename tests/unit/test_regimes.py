"""Results by regime: by hand, flags and intervals in worlds where the truth is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lockstep.errors import ConfigError, DataError
from research.statistics.regimes import (
    FAILS,
    HOLDS,
    NOT_ENOUGH,
    RegimeResult,
    failing_regimes,
    regime_runs,
    results_by_regime,
)
from support.regime_worlds import rates, regimes, trades

NAN = math.nan


def of(results: tuple[RegimeResult, ...], name: str) -> RegimeResult:
    return next(each for each in results if each.name == name)


def alternating(runs: int, per_run: int, bull: float, bear: float, seed: int = 0) -> tuple[Any, Any, Any]:
    """Return (pnl, decided, regimes): runs of bull and bear in turn, a trade at every bar, some noise."""
    path = np.repeat(np.tile([1.0, -1.0], runs), per_run)
    noise = np.random.default_rng(seed).normal(0, 1, path.size)
    return np.where(path == 1.0, bull, bear) + noise, np.arange(path.size), path


def test_runs() -> None:
    assert regime_runs([NAN, 1, 1, 0, 0, 1, NAN, 1]).tolist() == [-1, 0, 0, 1, 1, 2, -1, 3]
    assert regime_runs([]).tolist() == []


def test_by_hand() -> None:
    """Bull: 1, 3 in one run, -1 in another: mean 1, sums 4 and -1 against means of 2 and 1."""
    path = [1, 1, -1, 1, NAN, 2]
    found = results_by_regime([1.0, 3.0, 5.0, -1.0, 100.0], [0, 1, 2, 3, 4], path)
    assert [each.name for each in found] == ["bull", "bear", "high volatility"]
    bull = of(found, "bull")
    assert (bull.trades, bull.runs, bull.net, bull.mean, bull.bars) == (3, 2, 3.0, 1.0, 0.6)
    assert (bull.win_rate, bull.profit_factor) == (2 / 3, 4.0)
    assert bull.verdict == NOT_ENOUGH
    volatile = of(found, "high volatility")
    assert (volatile.trades, volatile.runs, volatile.net) == (0, 0, 0.0)
    assert math.isnan(volatile.mean)


def test_the_error_leaves_out_one_run_after_the_other() -> None:
    """Oracle: the two-sample t-test of means of runs of one trade each is the clustered one."""
    pnl, decided, path = alternating(40, 1, 0.0, -0.2, seed=3)
    first, second = pnl[path == -1.0], pnl[path == 1.0]
    t = (first.mean() - second.mean()) / math.hypot(
        first.std(ddof=1) / math.sqrt(40), second.std(ddof=1) / math.sqrt(40)
    )
    found = of(results_by_regime(pnl, decided, path), "bear")
    assert found.p_value == pytest.approx(float(stats.t.cdf(t, 39)))


def test_a_strategy_that_loses_in_a_bear_market_only_fails_there() -> None:
    found = results_by_regime(*alternating(20, 5, 1.0, -1.0))
    assert failing_regimes(found) == ("bear",)
    assert of(found, "bear").high < 0.0 < of(found, "bull").low


def test_what_is_no_failure() -> None:
    """A smaller gain is none, and what loses everywhere is bad and fails in no regime."""
    assert failing_regimes(results_by_regime(*alternating(20, 5, 3.0, 1.0))) == ()
    assert failing_regimes(results_by_regime(*alternating(20, 5, -1.0, -1.0))) == ()
    assert {each.verdict for each in results_by_regime(*alternating(20, 5, -1.0, -1.0))} == {HOLDS}


@pytest.mark.parametrize(
    ("runs", "per_run", "verdict"), [(8, 4, FAILS), (7, 5, NOT_ENOUGH), (8, 3, NOT_ENOUGH)]
)
def test_thirty_trades_in_eight_runs_are_enough(runs: int, per_run: int, verdict: str) -> None:
    assert of(results_by_regime(*alternating(runs, per_run, 3.0, -3.0)), "bear").verdict == verdict


def test_trades_that_do_not_differ_are_not_tested() -> None:
    pnl, decided, path = alternating(20, 5, 0.0, 0.0)
    found = of(results_by_regime(np.full(pnl.size, -2.5), decided, path), "bear")
    assert (found.verdict, found.mean) == (NOT_ENOUGH, -2.5)
    assert math.isnan(found.low)


def test_it_is_the_same_again() -> None:
    drawn = np.random.default_rng(1)
    path = regimes(drawn)
    given = trades(drawn, path, edge=0.2, bear=0.0)
    assert results_by_regime(*given, path) == results_by_regime(*given, path)
    assert results_by_regime(*given, path) != results_by_regime(*given, path, seed=1)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (([1.0], [0, 1], [1.0, 1.0]), "1 results, 2 decisions"),
        (([1.0], [2], [1.0, 1.0]), "decided at bars 2 to 2, there are 2 bars"),
        (([1.0], [0], [3.0]), "code 3: known are -1, 0, 1, 2; use the feature"),
        (([NAN], [0], [1.0]), "results of trades"),
    ],
)
def test_bad_input(given: tuple[Any, Any, Any], rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        results_by_regime(*given)


def test_bad_settings() -> None:
    with pytest.raises(ConfigError, match="level 95"):
        results_by_regime([1.0], [0], [1.0], level=95)
    with pytest.raises(ConfigError, match="resamples 0"):
        results_by_regime([1.0], [0], [1.0], resamples=0)


def test_flags_on_noise_power_and_the_naive_flag() -> None:
    """At most 5 % of strategies that are equal everywhere are flagged; a t-test by trade flags many.

    The bounds hold what a true 5 % gives in 99 of 100 such samples; the rates of thousands are in
    benchmarks/results/regimes.json.
    """
    equal = rates(300, 5, edge=0.0, bear=0.0)
    assert equal["flagged"] <= stats.binom.ppf(0.99, 300, 0.05) / 300
    assert equal["naive"] > 0.2
    assert equal["covered"] > 0.92
    assert equal["tested"] > 0.9
    assert rates(100, 5, edge=0.2, bear=-0.5)["bear flagged"] > 0.85
