"""Errors and probabilities of a Sharpe ratio, against simulation and at their limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from research.statistics.bootstrap import resampled_means
from research.statistics.sharpe import (
    SharpeSample,
    block_variance,
    deflated_sharpe,
    expected_maximum,
    minimum_backtest_length,
    minimum_track_record,
    one_sided_p_values,
    probabilistic_sharpe,
)
from support.sizes import autocorrelated, bound, sharpe_rejections


def test_the_standard_error_is_that_of_a_simulation() -> None:
    random = np.random.default_rng(3)
    # A shifted exponential law has skew 2 and kurtosis 9, far from normal.
    returns = random.exponential(size=(20_000, 250)) - 0.8
    ratios = returns.mean(axis=1) / returns.std(axis=1, ddof=1)
    stated = SharpeSample(ratio=0.2, periods=250, skew=2.0, kurtosis=9.0).standard_error
    assert ratios.std() == pytest.approx(stated, rel=0.03)
    assert SharpeSample(ratio=0.2, periods=250).standard_error > 1.1 * stated


def test_a_sample_is_measured_as_metrics_do() -> None:
    sample = SharpeSample.of([0.01, -0.02, 0.03, 0.0])
    assert sample.periods == 4
    assert sample.ratio == pytest.approx(0.005 / np.std([0.01, -0.02, 0.03, 0.0], ddof=1))
    assert sample.kurtosis >= 1 + sample.skew**2


@pytest.mark.parametrize("periods", [3, 50, 5000])
def test_a_single_trade_in_an_idle_sample_is_admitted(periods: int) -> None:
    """Two values only: kurtosis equals 1 + skew^2, but for rounding."""
    returns = np.zeros(periods)
    returns[1] = 0.0123
    sample = SharpeSample.of(returns)
    assert sample.kurtosis == pytest.approx(1 + sample.skew**2)
    assert 0.5 < probabilistic_sharpe(sample) <= 1.0


def test_returns_without_variance_give_nan() -> None:
    sample = SharpeSample.of([0.01, 0.01, 0.01])
    assert math.isnan(probabilistic_sharpe(sample))
    assert math.isnan(deflated_sharpe(sample, trials=5, variance=0.01))
    assert math.isnan(minimum_track_record(sample))


def test_nan_stays_nan() -> None:
    assert math.isnan(expected_maximum(math.nan))
    assert math.isnan(expected_maximum(5, math.nan))
    assert math.isnan(probabilistic_sharpe(SharpeSample(ratio=0.1, periods=9, skew=0.0, kurtosis=math.nan)))
    assert math.isnan(one_sided_p_values(np.array([math.nan]), 10)[0])


@pytest.mark.parametrize(("benchmark", "expected"), [(1.0, 0.5), (0.5, 1.0), (1.5, 0.0)])
def test_a_ratio_without_error_is_certain(benchmark: float, expected: float) -> None:
    sample = SharpeSample(ratio=1.0, periods=10, skew=2.0, kurtosis=5.0)
    assert sample.standard_error == 0.0
    assert probabilistic_sharpe(sample, benchmark) == expected


def test_one_trial_is_not_deflated() -> None:
    sample = SharpeSample(ratio=0.1, periods=500)
    assert expected_maximum(1) == 0.0
    assert deflated_sharpe(sample, trials=1, variance=0.02) == probabilistic_sharpe(sample)


def test_the_expected_maximum_rises_and_is_never_negative() -> None:
    values = [expected_maximum(trials) for trials in np.geomspace(1, 1e6, 200)]
    assert min(values) == 0.0
    assert (np.diff(values) >= 0).all()


def test_the_track_record_is_where_the_probability_reaches_the_confidence() -> None:
    sample = SharpeSample(ratio=0.08, periods=100, skew=-0.7, kurtosis=6.0)
    periods = math.ceil(minimum_track_record(sample, 0.01, 0.9))
    enough = SharpeSample(ratio=0.08, periods=periods, skew=-0.7, kurtosis=6.0)
    short = SharpeSample(ratio=0.08, periods=periods - 1, skew=-0.7, kurtosis=6.0)
    assert probabilistic_sharpe(short, 0.01) < 0.9 <= probabilistic_sharpe(enough, 0.01)
    assert minimum_track_record(sample, 0.08) == math.inf


def test_p_values_are_one_minus_psr() -> None:
    values = one_sided_p_values(np.array([0.0, 0.1]), 401)
    assert values[0] == pytest.approx(0.5)
    assert values[1] == pytest.approx(1 - probabilistic_sharpe(SharpeSample(ratio=0.1, periods=401)))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 periods"):
        SharpeSample(ratio=0.1, periods=1)
    with pytest.raises(ConfigError, match="not the excess"):
        SharpeSample(ratio=0.1, periods=9, kurtosis=0.0)
    with pytest.raises(DataError, match="1 rows"):
        SharpeSample.of([0.1])
    with pytest.raises(DataError, match=r"returns\[1\]: nan"):
        SharpeSample.of([0.1, math.nan])
    with pytest.raises(DataError, match="2 dimensions"):
        SharpeSample.of([[0.1, 0.2]])
    with pytest.raises(ConfigError, match="at least the one"):
        expected_maximum(0.5)
    with pytest.raises(ConfigError, match="must not be negative"):
        expected_maximum(5, -1.0)
    with pytest.raises(ConfigError, match=r"confidence 0\.5"):
        minimum_track_record(SharpeSample(ratio=0.1, periods=9), confidence=0.5)
    with pytest.raises(ConfigError, match="must be positive"):
        minimum_backtest_length(5, 0.0)


def test_the_variance_over_blocks_is_that_of_the_stationary_bootstrap() -> None:
    values = autocorrelated(np.random.default_rng(4), 300, 0.4)
    drawn = resampled_means(values[:, None], block=8, resamples=8000, seed=1)
    stated = block_variance(values, 8) * (1 - 15 / 300)
    assert 300 * drawn.var() == pytest.approx(stated, rel=0.05)


def test_the_variance_over_blocks_of_independent_values_is_theirs_on_average() -> None:
    random = np.random.default_rng(5)
    found = [block_variance(random.normal(size=200)) for _ in range(2000)]
    assert np.mean(found) == pytest.approx(1.0, abs=0.03)
    values = random.normal(size=200)
    assert block_variance(values, 1) == pytest.approx(values.var(ddof=1))


@pytest.mark.parametrize("phi", [0.0, 0.3])
def test_autocorrelated_noise_is_believed_at_the_stated_rate_over_blocks(phi: float) -> None:
    assert sharpe_rejections(SharpeSample.of_blocks, 1000, periods=500, phi=phi, seed=11) <= bound(1000) == 73


def test_autocorrelated_noise_is_believed_too_often_without_blocks() -> None:
    """The negative control, and the size of the error that the plain formula makes."""
    assert sharpe_rejections(SharpeSample.of, 1000, periods=500, phi=0.3, seed=11) > bound(1000)


def test_dependence_multiplies_every_variance() -> None:
    plain = SharpeSample(ratio=0.1, periods=401, skew=-0.5, kurtosis=5.0)
    twice = SharpeSample(ratio=0.1, periods=401, skew=-0.5, kurtosis=5.0, dependence=4.0)
    assert twice.standard_error == pytest.approx(2 * plain.standard_error)
    assert minimum_track_record(twice) - 1 == pytest.approx(4 * (minimum_track_record(plain) - 1))
    assert probabilistic_sharpe(twice) < probabilistic_sharpe(plain)


def test_returns_that_do_not_vary_depend_on_nothing() -> None:
    assert SharpeSample.of_blocks(np.full(20, 0.01)).dependence == 1.0
    alternating = SharpeSample.of_blocks(np.tile([0.02, -0.01], 50))
    assert 0 < alternating.standard_error < SharpeSample.of(np.tile([0.02, -0.01], 50)).standard_error


def test_blocks_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="block length 0"):
        block_variance(np.arange(20.0), 0)
    with pytest.raises(ConfigError, match="block length 21"):
        SharpeSample.of_blocks(np.arange(20.0), 21)
    with pytest.raises(DataError, match="7 rows: need at least 8"):
        SharpeSample.of_blocks(np.arange(7.0))
    with pytest.raises(ConfigError, match="dependence 0"):
        SharpeSample(ratio=0.1, periods=9, dependence=0.0)
