"""MACD, ADX and the parabolic stop against slow, obvious versions of themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lockstep.features import oscillator_kernels as kernels
from lockstep.features.recursions import ema_bars, wilder_bars
from support.interpreted import interpreted

Runner = Callable[[Callable[..., Any]], Callable[..., Any]]


@pytest.fixture(params=["compiled", "python"])
def run(request: pytest.FixtureRequest) -> Runner:
    return interpreted if request.param == "python" else lambda function: function


def walk(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(8)
    close = 500.0 + np.cumsum(random.integers(-9, 10, n)) / 4.0
    return close + random.integers(0, 9, n) / 4.0, close - random.integers(0, 9, n) / 4.0, close


def averages(values: np.ndarray, alpha: float) -> np.ndarray:
    """The textbook recursion, normalised, from the first value on."""
    found = np.empty(values.size)
    total = weight = 0.0
    for i, value in enumerate(values):
        total, weight = total * (1 - alpha) + value, weight * (1 - alpha) + 1.0
        found[i] = total / weight
    return found


@pytest.mark.parametrize(("fast", "slow", "signal"), [(12, 26, 9), (3, 10, 16), (1, 2, 1)])
def test_macd_histogram(run: Runner, fast: int, slow: int, signal: int) -> None:
    close = walk(ema_bars(slow) + ema_bars(signal))[2]
    line = averages(close, 2 / (fast + 1)) - averages(close, 2 / (slow + 1))
    expected = line[-1] - averages(line, 2 / (signal + 1))[-1]
    assert run(kernels.macd_histogram)(close, fast, slow, signal) == pytest.approx(expected, abs=1e-9)


def test_directional_moves(run: Runner) -> None:
    """Up only, down only, both (the larger counts), equal (neither), inside (neither)."""
    high = np.array([10.0, 12.0, 12.0, 15.0, 16.0, 15.0])
    low = np.array([8.0, 9.0, 7.0, 6.0, 5.0, 6.0])
    up, down = run(kernels.directional_moves)(high, low)
    np.testing.assert_array_equal(up, [2.0, 0.0, 3.0, 0.0, 0.0])
    np.testing.assert_array_equal(down, [0.0, 2.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("period", [1, 5, 14])
def test_directional_index(run: Runner, period: int) -> None:
    high, low, _ = walk(wilder_bars(period) * 6 // 5 + 1)
    up, down = interpreted(kernels.directional_moves)(high, low)
    plus, minus = averages(up, 1 / period), averages(down, 1 / period)
    both = np.where(plus + minus > 0, plus + minus, 1.0)
    expected = averages(100.0 * np.abs(plus - minus) / both, 1 / period)[-1]
    assert run(kernels.directional_index)(high, low, period) == pytest.approx(expected, abs=1e-8)


def test_no_direction_without_movement(run: Runner) -> None:
    flat = np.full(wilder_bars(5) * 6 // 5 + 1, 3.0)
    assert run(kernels.directional_index)(flat, flat, 5) == 0.0


def test_parabolic_stop_by_hand(run: Runner) -> None:
    """Long from the first low, 10.

    Bar 1 (12, 11): the extreme is 12, so 10 + 0.02 * 2 = 10.04, but at most the last two lows: 10.
    Bar 2 (14, 12): stop 10; new extreme 14, speed 0.04: 10 + 0.04 * 4 = 10.16.
    Bar 3 (13, 10): low 10 <= 10.16, so it turns; the stop is the extreme, 14, above both highs.
    Bar 4 (11, 9): short, extreme 10, speed 0.02: 14 + 0.02 * (10 - 14) = 13.92, but at least the highs
    of bars 2 and 3: 14.
    """
    high, low = np.array([11.0, 12.0, 14.0, 13.0, 11.0]), np.array([10.0, 11.0, 12.0, 10.0, 9.0])
    stop = run(kernels.parabolic_stop)
    assert stop(high[:2], low[:2], 0.02, 0.2) == 10.0
    assert stop(high[:3], low[:3], 0.02, 0.2) == 10.0
    higher = np.append(high[:3], 15.0), np.append(low[:3], 13.0)
    assert stop(*higher, 0.02, 0.2) == pytest.approx(10.16)
    assert stop(high[:4], low[:4], 0.02, 0.2) == 14.0
    assert stop(high, low, 0.02, 0.2) == 14.0


def test_parabolic_stop_is_symmetric(run: Runner) -> None:
    """Prices upside down give the stop upside down, once both have turned."""
    high, low, _ = walk(150)
    stop = run(kernels.parabolic_stop)
    assert stop(-low, -high, 0.02, 0.2) == pytest.approx(-stop(high, low, 0.02, 0.2), abs=1e-12)


def test_parabolic_speed_is_limited(run: Runner) -> None:
    """A long rise: the stop follows by `limit` of the distance at each bar, no faster."""
    high = np.arange(60.0) * 4.0 + 1.0
    stop = run(kernels.parabolic_stop)
    slow, fast = stop(high, high - 1.0, 0.02, 0.04), stop(high, high - 1.0, 0.02, 0.2)
    assert slow < fast < high[-1]
    assert slow == pytest.approx(high[-1] - 4.0 / 0.04, rel=0.2)
