"""Recursive averages over finite windows, against the plain recursion written out here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.features import recursions
from support.interpreted import interpreted

Runner = Callable[[Callable[..., Any]], Callable[..., Any]]


@pytest.fixture(params=["compiled", "python"])
def run(request: pytest.FixtureRequest) -> Runner:
    return interpreted if request.param == "python" else lambda function: function


def plain_average(values: np.ndarray, alpha: float) -> float:
    """Oldest to newest, with normalised weights: the definition."""
    total = weight = 0.0
    for value in values:
        total = total * (1.0 - alpha) + value
        weight = weight * (1.0 - alpha) + 1.0
    return total / weight


def walk(n: int, seed: int = 3) -> np.ndarray:
    return 1_000.0 + np.cumsum(np.random.default_rng(seed).integers(-8, 9, n)) / 4.0


@pytest.mark.parametrize(
    ("alpha", "bars"),
    [
        (1.0, 1),  # nothing but the newest value
        (1.0 / 2.0, 40),  # RSI-2: ln 1e-12 / ln 0.5 = 39.9
        (1.0 / 14.0, 373),  # ATR-14: below 400, so exact
        (1.0 / 20.0, 400),  # exact would be 539; 5 spans are 195
        (2.0 / 201.0, 1_000),  # EMA-200: 5 spans
        (1.0 / 200.0, 1_995),  # ATR-200 is an EMA of span 399
    ],
)
def test_recursion_bars(run: Runner, alpha: float, bars: int) -> None:
    assert run(recursions.recursion_bars)(alpha) == bars


def test_lookbacks_are_what_the_kernels_use() -> None:
    for period in (1, 2, 5, 14, 20, 50, 200):
        assert recursions.wilder_bars(period) == recursions.recursion_bars(1.0 / period)
        assert recursions.ema_bars(period) == recursions.recursion_bars(2.0 / (period + 1.0))
        assert recursions.atr_bars(period) == recursions.wilder_bars(period) + 1


@given(n=st.integers(1, 60), period=st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_decayed_mean_is_the_plain_recursion(n: int, period: int) -> None:
    """Four steps at once are the same sum, whatever is left over by four."""
    values = walk(n)
    alpha = 1.0 / period
    found = recursions.decayed_mean(values, 1.0 - alpha)
    assert found == pytest.approx(plain_average(values, alpha), rel=1e-13)


def test_python_and_compiled_sums_agree(run: Runner) -> None:
    values = walk(23)
    expected = sum(0.9 ** (22 - i) * (values[i] - 1_000.0) for i in range(23))
    assert run(recursions.decayed_sum)(values, 1_000.0, 0.9) == pytest.approx(expected, rel=1e-12)
    assert run(recursions.weight_sum)(0.9, 23) == pytest.approx(sum(0.9**i for i in range(23)))
    assert run(recursions.decayed_sum)(values[:0], 0.0, 0.9) == 0.0


@pytest.mark.parametrize("value", [0.1, -37.63, 1e15])
def test_equal_values_average_to_themselves(run: Runner, value: float) -> None:
    assert run(recursions.ema)(np.full(500, value), 20) == value
    np.testing.assert_array_equal(run(recursions.recursive_means)(np.full(90, value), 0.1, 30), value)


@pytest.mark.parametrize("span", [2, 12, 26])
def test_ema_forgets_where_it_began(run: Runner, span: int) -> None:
    """The window is long enough for the textbook recursion, begun much earlier, to 1e-9."""
    values = walk(1_500)
    alpha = 2.0 / (span + 1.0)
    assert run(recursions.ema)(values, span) == pytest.approx(plain_average(values, alpha), rel=1e-9)


def test_recursive_means_are_the_averages_bar_by_bar(run: Runner) -> None:
    values = walk(60)
    found = run(recursions.recursive_means)(values, 0.2, 7)
    expected = [plain_average(values[: 54 + i], 0.2) for i in range(7)]
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    np.testing.assert_array_equal(run(recursions.recursive_means)(values, 1.0, 5), values[-5:])


def test_true_ranges_reach_to_the_previous_close(run: Runner) -> None:
    """A plain bar, a gap up (10 -> 15) and a gap down (15 -> 4)."""
    high, low = np.array([11.0, 12.0, 16.0, 5.0]), np.array([9.0, 9.5, 14.0, 3.0])
    close = np.array([10.0, 10.0, 15.0, 4.0])
    np.testing.assert_array_equal(run(recursions.true_ranges)(high, low, close), [2.5, 6.0, 12.0])


def test_average_true_range_by_hand(run: Runner) -> None:
    """Wilder with period 2 over ranges 2.5, 6, 12: weights 1/4, 1/2, 1 -> 15.625 / 1.75."""
    high, low = np.array([11.0, 12.0, 16.0, 5.0]), np.array([9.0, 9.5, 14.0, 3.0])
    close = np.array([10.0, 10.0, 15.0, 4.0])
    unit = run(recursions.average_true_range)(high, low, close, 2)
    assert unit == pytest.approx(15.625 / 1.75)
    assert run(recursions.in_atr)(3.0, high, low, close, 2) == pytest.approx(3.0 / unit)


def test_no_range_no_multiple(run: Runner) -> None:
    flat = np.full(50, 37.63)
    assert run(recursions.average_true_range)(flat, flat, flat, 3) == 0.0
    assert run(recursions.in_atr)(5.0, flat, flat, flat, 3) == 0.0


def test_relative_strength_by_hand(run: Runner) -> None:
    """Changes +1, -1, +2 with period 2: gains 1/4 + 2, losses 1/2 -> 100 * 2.25 / 2.75."""
    close = np.array([10.0, 11.0, 10.0, 12.0])
    assert run(recursions.relative_strength)(close, 2) == pytest.approx(100.0 * 2.25 / 2.75)
    assert run(recursions.relative_strength)(np.full(4, 10.0), 2) == 50.0
    assert run(recursions.relative_strength)(np.arange(4.0), 2) == 100.0
    assert run(recursions.relative_strength)(-np.arange(4.0), 2) == 0.0
