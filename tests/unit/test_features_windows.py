"""Kernels over one window, compiled and as Python, against values worked out by hand or by numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lockstep.features import windows
from support.interpreted import interpreted

Runner = Callable[[Callable[..., Any]], Callable[..., Any]]

WINDOWS = arrays(np.float64, st.integers(2, 40), elements=st.integers(-4_000, 4_000).map(lambda k: k / 4.0))


@pytest.fixture(params=["compiled", "python"])
def run(request: pytest.FixtureRequest) -> Runner:
    return interpreted if request.param == "python" else lambda function: function


def window(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


@given(values=WINDOWS)
@settings(max_examples=40, deadline=None)
def test_moments_agree_with_numpy(values: np.ndarray) -> None:
    assert windows.mean(values) == pytest.approx(values.mean(), rel=1e-12, abs=1e-9)
    assert windows.deviation(values) == pytest.approx(values.std(), rel=1e-12, abs=1e-12)
    assert windows.highest(values) == values.max()
    assert windows.lowest(values) == values.min()
    other = values[::-1].copy()
    covariance = np.mean((values - values.mean()) * (other - other.mean()))
    assert windows.covariance(values, other) == pytest.approx(covariance, rel=1e-9, abs=1e-9)
    slope = np.polyfit(np.arange(values.size), values, 1)[0]
    assert windows.least_squares_slope(values) == pytest.approx(slope, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("value", [0.1, -37.63, 4_100.13, 1e15, 3e-7])
def test_equal_values_have_no_deviation_at_all(run: Runner, value: float) -> None:
    equal = np.full(37, value)
    assert run(windows.mean)(equal) == value
    assert run(windows.deviation)(equal) == 0.0
    assert run(windows.standard_score)(equal, 0.0) == 0.0


def test_standard_score(run: Runner) -> None:
    """Mean 2, population deviation sqrt(2): the newest is sqrt(2) deviations up."""
    values = window(0.0, 1.0, 2.0, 3.0, 4.0)
    assert run(windows.standard_score)(values, 0.0) == pytest.approx(np.sqrt(2.0))
    assert run(windows.standard_score)(values, 1.5) == 0.0


def test_noise_is_measured_at_the_ends(run: Runner) -> None:
    assert run(windows.noise)(window(-200.0, 1e9, 100.0)) == pytest.approx(2e-10)


def test_ratio_and_position_have_a_neutral_value(run: Runner) -> None:
    assert run(windows.ratio)(3.0, 4.0, 9.0) == 0.75
    assert run(windows.ratio)(3.0, 0.0, 9.0) == 9.0
    assert run(windows.position)(3.0, 1.0, 5.0, 0.5) == 0.5
    assert run(windows.position)(4.0, 1.0, 5.0, 0.5) == 0.75
    assert run(windows.position)(4.0, 4.0, 4.0, 0.3) == 0.3


def test_percentile_rank_counts_ties_half(run: Runner) -> None:
    """Of four earlier values two lie below 3 and one is equal: 2.5 / 4."""
    assert run(windows.percentile_rank)(window(1.0, 2.0, 3.0, 4.0, 3.0)) == 0.625
    assert run(windows.percentile_rank)(window(5.0, 5.0, 5.0)) == 0.5
    assert run(windows.percentile_rank)(window(1.0, 2.0)) == 1.0
    assert run(windows.percentile_rank)(window(2.0, 1.0)) == 0.0


def test_extremes(run: Runner) -> None:
    values = window(2.0, -1.0, 7.0, 3.0)
    assert run(windows.highest)(values) == 7.0
    assert run(windows.lowest)(values) == -1.0


def test_changes_and_returns(run: Runner) -> None:
    np.testing.assert_array_equal(run(windows.changes)(window(1.0, 4.0, 2.0)), [3.0, -2.0])
    returns = run(windows.simple_returns)(window(2.0, 3.0, 0.0, 5.0))
    np.testing.assert_array_equal(returns, [0.5, -1.0, np.nan])


def test_correlation(run: Runner) -> None:
    first = window(1.0, 2.0, 3.0, 5.0)
    assert run(windows.correlation)(first, -2.0 * first, 0.0, 0.0) == pytest.approx(-1.0, abs=1e-15)
    assert run(windows.correlation)(first, window(1.0, 1.0, 1.0, 1.0), 0.0, 0.0) == 0.0
    assert run(windows.correlation)(window(1.0, 1.0, 1.0, 1.0), first, 0.0, 0.0) == 0.0
    second = window(2.0, 1.0, 4.0, 3.0)
    assert run(windows.correlation)(first, second, 0.0, 0.0) == pytest.approx(
        np.corrcoef(first, second)[0, 1]
    )


def test_slope_of_a_line(run: Runner) -> None:
    assert run(windows.least_squares_slope)(window(5.0, 7.0, 9.0, 11.0)) == pytest.approx(2.0)
    assert run(windows.covariance)(window(0.0, 2.0), window(0.0, 4.0)) == 2.0
