"""Recursive averages over a finite window: exponential and Wilder means, true range, RSI.

A textbook recursion avg = (1 - a) * avg + a * x never forgets where it began. Here it runs over a stated
number of bars with normalised weights, so that it depends on those bars alone. The number is what brings
the weight of everything older below 1e-12, but at most max(400, 5 spans): an average over 200 bars then
misses a weight of e^-10, which is the price for a warm-up of 1,000 bars instead of 2,763.
"""

from __future__ import annotations

import numpy as np

from lockstep.compiled import kernel, python_source
from lockstep.features.inputs import Window

_NEGLIGIBLE = 1e-12
_ALWAYS_ALLOWED = 400
_SPANS = 5.0


@kernel
def recursion_bars(alpha: float) -> int:
    """Return how many bars a recursive average with weight 0 < alpha <= 1 runs over."""
    if alpha >= 1.0:
        return 1
    exact = np.ceil(np.log(_NEGLIGIBLE) / np.log(1.0 - alpha))
    compromise = np.ceil(_SPANS * (2.0 / alpha - 1.0))
    return int(min(exact, max(_ALWAYS_ALLOWED, compromise)))


def wilder_bars(period: int) -> int:
    """Return the number of values behind a Wilder average."""
    return python_source(recursion_bars)(1.0 / period)


def ema_bars(span: int) -> int:
    """Return the number of values behind an exponential average."""
    return python_source(recursion_bars)(2.0 / (span + 1.0))


def atr_bars(period: int) -> int:
    """Return the number of bars behind an average true range: one more, for the first previous close."""
    return wilder_bars(period) + 1


@kernel
def decayed_sum(values: Window, origin: float, decay: float) -> float:
    """Return the sum of decay**age * (value - origin), newest age 0, older to newer.

    Four steps at once: the chain of dependent operations, which sets the speed, is a quarter as long.
    """
    second = decay * decay
    third = second * decay
    fourth = second * second
    odd = values.size % 4
    total = 0.0
    for i in range(odd):
        total = total * decay + (values[i] - origin)
    for i in range(odd, values.size, 4):
        older = (values[i] - origin) * third + (values[i + 1] - origin) * second
        newer = (values[i + 2] - origin) * decay + (values[i + 3] - origin)
        total = total * fourth + (older + newer)
    return total


@kernel
def weight_sum(decay: float, count: int) -> float:
    """Return 1 + decay + ... + decay**(count - 1)."""
    return float((1.0 - decay ** float(count)) / (1.0 - decay))


@kernel
def decayed_mean(values: Window, decay: float) -> float:
    """Return the mean with weights decay**age; exactly the common value where all are equal."""
    newest = values[-1]
    return float(newest + decayed_sum(values, newest, decay) / weight_sum(decay, values.size))


@kernel
def recursive_mean(values: Window, alpha: float) -> float:
    """Return the recursive average of the last `recursion_bars(alpha)` values."""
    return decayed_mean(values[-recursion_bars(alpha) :], 1.0 - alpha)


@kernel
def ema(values: Window, span: int) -> float:
    """Return the exponential moving average, alpha = 2 / (span + 1), over its finite window."""
    return recursive_mean(values, 2.0 / (span + 1.0))


@kernel
def recursive_means(values: Window, alpha: float, count: int) -> Window:
    """Return the recursive average at each of the last `count` values, in one pass.

    The first of them has all values before it in the window as its history, the last has all.
    """
    origin = values[-1]
    decay = 1.0 - alpha
    earlier = values.size - count
    total = decayed_sum(values[:earlier], origin, decay)
    weight = weight_sum(decay, earlier)
    found = np.empty(count)
    for i in range(count):
        total = total * decay + (values[earlier + i] - origin)
        weight = weight * decay + 1.0
        found[i] = origin + total / weight
    return found


@kernel
def true_ranges(high: Window, low: Window, close: Window) -> Window:
    """Return the n - 1 true ranges: each bar's range, extended to the previous close."""
    found = np.empty(close.size - 1)
    for i in range(found.size):
        before = close[i]
        found[i] = max(high[i + 1], before) - min(low[i + 1], before)
    return found


@kernel
def average_true_range(high: Window, low: Window, close: Window, period: int) -> float:
    """Return Wilder's average true range, in points, over the last `atr_bars(period)` bars; >= 0."""
    alpha = 1.0 / period
    bars = recursion_bars(alpha) + 1
    return decayed_mean(true_ranges(high[-bars:], low[-bars:], close[-bars:]), 1.0 - alpha)


@kernel
def in_atr(distance: float, high: Window, low: Window, close: Window, period: int) -> float:
    """Return a distance in points as a multiple of the average true range; 0 where that is 0."""
    unit = average_true_range(high, low, close, period)
    return 0.0 if unit == 0.0 else distance / unit


@kernel
def relative_strength(close: Window, period: int) -> float:
    """Return Wilder's RSI, [0, 100], over the last wilder_bars(period) changes; 50 without any change."""
    alpha = 1.0 / period
    decay = 1.0 - alpha
    first = max(0, close.size - 1 - recursion_bars(alpha))
    gains = np.empty(close.size - 1 - first)
    losses = np.empty(gains.size)
    for i in range(gains.size):
        change = close[first + i + 1] - close[first + i]
        gains[i] = max(change, 0.0)
        losses[i] = max(-change, 0.0)
    gain = decayed_sum(gains, 0.0, decay)
    loss = decayed_sum(losses, 0.0, decay)
    return 50.0 if gain + loss == 0.0 else 100.0 * (gain / (gain + loss))
