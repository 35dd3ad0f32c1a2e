"""Kernels over one window of values: means, spreads, ranks, extremes.

Every window is float64, oldest value first, and not empty. Sums run over deviations from the newest
value, so that equal values give exactly that value as their mean and exactly 0 as their deviation, and
so that adding a constant to all prices changes nothing but the last bits.
"""

from __future__ import annotations

import numpy as np

from lockstep.compiled import kernel
from lockstep.features.inputs import Window

_ROUNDING = 1e-12


@kernel
def mean(values: Window) -> float:
    """Return the arithmetic mean; exactly the common value where all are equal."""
    newest = values[-1]
    total = 0.0
    for i in range(values.size):
        total += values[i] - newest
    return float(newest + total / values.size)


@kernel
def deviation(values: Window) -> float:
    """Return the population standard deviation (divisor n), in two passes."""
    centre = mean(values)
    total = 0.0
    for i in range(values.size):
        total += (values[i] - centre) * (values[i] - centre)
    return float(np.sqrt(total / values.size))


@kernel
def noise(values: Window) -> float:
    """Return the size below which a deviation of `values` is rounding: 1e-12 of their magnitude.

    Differences of binary fractions of a tick (0.1 is none) are not exact. Without a floor, a series that
    rises by the same tick at every bar would be divided by a deviation made of rounding errors.
    """
    return float(_ROUNDING * max(abs(values[0]), abs(values[-1])))


@kernel
def ratio(numerator: float, denominator: float, neutral: float) -> float:
    """Return numerator / denominator, or `neutral` where the denominator is 0."""
    return neutral if denominator == 0.0 else numerator / denominator


@kernel
def standard_score(values: Window, floor: float) -> float:
    """Return (newest - mean) / population deviation; 0 where the deviation is at most `floor`."""
    spread = deviation(values)
    return 0.0 if spread <= floor else float((values[-1] - mean(values)) / spread)


@kernel
def percentile_rank(values: Window) -> float:
    """Return the share of the earlier values that lie below the newest, ties counting half. [0, 1].

    The divisor is the number of earlier values; a window of equal values gives 0.5.
    """
    newest = values[-1]
    below = 0
    equal = 0
    for i in range(values.size - 1):
        below += values[i] < newest
        equal += values[i] == newest
    return (below + 0.5 * equal) / (values.size - 1)


@kernel
def highest(values: Window) -> float:
    """Return the largest value."""
    best = values[0]
    for i in range(1, values.size):
        best = max(best, values[i])
    return float(best)


@kernel
def lowest(values: Window) -> float:
    """Return the smallest value."""
    best = values[0]
    for i in range(1, values.size):
        best = min(best, values[i])
    return float(best)


@kernel
def position(value: float, low: float, high: float, neutral: float) -> float:
    """Return where `value` lies between low (0) and high (1); `neutral` where high == low."""
    return neutral if high == low else (value - low) / (high - low)


@kernel
def changes(values: Window) -> Window:
    """Return the n - 1 differences between neighbours."""
    found = np.empty(values.size - 1)
    for i in range(found.size):
        found[i] = values[i + 1] - values[i]
    return found


@kernel
def simple_returns(values: Window) -> Window:
    """Return the n - 1 simple returns; NaN where the earlier value is not positive."""
    found = np.empty(values.size - 1)
    for i in range(found.size):
        found[i] = values[i + 1] / values[i] - 1.0 if values[i] > 0.0 else np.nan
    return found


@kernel
def correlation(first: Window, second: Window, first_floor: float, second_floor: float) -> float:
    """Return Pearson's correlation, [-1, 1]; 0 where a deviation is at most its floor."""
    first_spread = deviation(first)
    second_spread = deviation(second)
    if first_spread <= first_floor or second_spread <= second_floor:
        return 0.0
    shared = covariance(first, second) / first_spread / second_spread
    return max(-1.0, min(1.0, shared))


@kernel
def covariance(first: Window, second: Window) -> float:
    """Return the population covariance (divisor n)."""
    first_mean = mean(first)
    second_mean = mean(second)
    total = 0.0
    for i in range(first.size):
        total += (first[i] - first_mean) * (second[i] - second_mean)
    return total / first.size


@kernel
def least_squares_slope(values: Window) -> float:
    """Return the slope per step of the least-squares line through at least two values."""
    centre = 0.5 * (values.size - 1)
    newest = values[-1]
    shared = 0.0
    spread = 0.0
    for i in range(values.size):
        shared += (i - centre) * (values[i] - newest)
        spread += (i - centre) * (i - centre)
    return shared / spread
