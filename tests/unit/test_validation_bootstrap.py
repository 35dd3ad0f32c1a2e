"""Bootstrap intervals cover what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats, sharpe
from research.statistics.bootstrap import Interval, confidence_interval


def autocorrelated(random: np.random.Generator, periods: int, mean: float = 0.0) -> Floats:
    shocks = random.normal(size=periods + 50)
    out = np.empty(periods + 50)
    out[0] = shocks[0]
    for period in range(1, periods + 50):
        out[period] = 0.6 * out[period - 1] + shocks[period]
    return out[50:] + mean


def test_it_is_that_of_arch() -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    returns = np.random.default_rng(0).normal(0.05, 1.0, 200)
    ours = confidence_interval(returns, block=4, resamples=300, seed=3, level=0.9)
    theirs = bootstrap.StationaryBootstrap(4, returns, seed=3).conf_int(
        sharpe, 300, method="percentile", size=0.9
    )
    np.testing.assert_allclose([ours.low, ours.high], theirs.ravel())
    assert ours.estimate == sharpe(returns)
    assert (ours.level, ours.block) == (0.9, 4)


def test_it_covers_the_mean_of_dependent_returns_and_an_independent_one_does_not() -> None:
    random = np.random.default_rng(1)
    series = [autocorrelated(random, 300, mean=0.5) for _ in range(80)]

    def coverage(block: int | None) -> float:
        intervals = [confidence_interval(each, np.mean, block=block, resamples=200) for each in series]
        return float(np.mean([each.low <= 0.5 <= each.high for each in intervals]))

    assert coverage(None) > 0.85
    assert coverage(1) < 0.80


def test_equal_seeds_give_equal_intervals() -> None:
    returns = np.random.default_rng(2).normal(size=100)
    first = confidence_interval(returns, resamples=100, seed=1)
    assert first == confidence_interval(returns, resamples=100, seed=1)
    assert first != confidence_interval(returns, resamples=100, seed=2)


def test_any_statistic_will_do() -> None:
    returns = np.arange(50.0)
    found = confidence_interval(returns, lambda sample: float(np.median(sample)), block=5, resamples=200)
    assert found.low < found.estimate == 24.5 < found.high


def test_an_undefined_statistic_has_no_interval() -> None:
    found = confidence_interval(np.full(20, 0.01), resamples=10)
    assert isinstance(found, Interval)
    assert math.isnan(found.estimate)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_wrong_arguments_are_refused() -> None:
    returns = np.arange(20.0)
    with pytest.raises(ConfigError, match="level 1"):
        confidence_interval(returns, level=1.0)
    with pytest.raises(ConfigError, match="resamples 0"):
        confidence_interval(returns, resamples=0)
    with pytest.raises(ConfigError, match="block length 0"):
        confidence_interval(returns, block=0)
    with pytest.raises(DataError, match="5 rows: need at least 8"):
        confidence_interval(returns[:5])
