"""Measures of all windows at once are those of each window alone, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep import metrics

# The measure of all windows, and of one.
MEASURES: dict[str, tuple[Callable[..., Any], Callable[..., float]]] = {
    "sharpe": (
        lambda x, y, n: metrics.rolling_sharpe(x, n, 252, 1e-12),
        lambda x, y: metrics.sharpe(x, 252, 1e-12),
    ),
    "sortino": (
        lambda x, y, n: metrics.rolling_sortino(x, n, 252, 1e-12),
        lambda x, y: metrics.sortino(x, 252, resolution=1e-12),
    ),
    "volatility": (
        lambda x, y, n: metrics.rolling_volatility(x, n, 252),
        lambda x, y: metrics.volatility(x, 252),
    ),
    "beta": (lambda x, y, n: metrics.rolling_beta(x, y, n), metrics.beta),
}


def returns(seed: int, count: int) -> Any:
    """Series of `count` returns, (2, count): with still stretches, and values that are not finite."""
    random = np.random.default_rng(seed)
    both = random.normal(0.0003, 0.01, (2, count)) * random.choice([1.0, 1e-9, 1e6], (2, 1))
    for values in both if count else ():
        for start in random.integers(0, count, random.integers(0, 4)):
            values[start : start + 300] = random.choice([0.0, 0.01, -1e-13])
        if random.random() < 0.3:
            values[random.integers(0, count)] = random.choice([np.nan, np.inf])
    return both


def each_alone(measure: Callable[..., float], x: Any, y: Any, window: int) -> Any:
    out = np.full(x.size, np.nan)
    for stop in range(window, x.size + 1):
        out[stop - 1] = measure(x[stop - window : stop], y[stop - window : stop])
    return out


@pytest.mark.parametrize("name", MEASURES)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 900),
    window=st.sampled_from([1, 2, 3, 17, 126, 252, 365]),
)
@settings(max_examples=15)
def test_all_windows_at_once_are_each_window_alone(name: str, seed: int, count: int, window: int) -> None:
    x, y = returns(seed, count)
    rolled, alone = MEASURES[name]
    with np.errstate(invalid="ignore"):
        wanted = each_alone(alone, x, y, window)
    assert rolled(x, y, window).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("name", MEASURES)
def test_one_bit_of_one_window_is_seen(name: str) -> None:
    random = np.random.default_rng(5)
    x, y = random.normal(0, 0.01, (2, 600))
    rolled, alone = MEASURES[name]
    wanted = each_alone(alone, x, y, 252)
    assert rolled(x, y, 252).tobytes() == wanted.tobytes()
    wanted[400] = np.nextafter(wanted[400], 9.0)
    assert rolled(x, y, 252).tobytes() != wanted.tobytes()
