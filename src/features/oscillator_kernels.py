"""Kernels of the oscillators that need a recursion of their own: MACD, ADX, parabolic stop.

Kernels for fractal pivots and the zones they leave.
"""

from __future__ import annotations

import numpy as np

from lockstep.compiled import kernel
from lockstep.features.inputs import Window
from lockstep.features.recursions import (
    decayed_mean,
    decayed_sum,
    recursion_bars,
    weight_sum,
)


@kernel
def macd_histogram(close: Window, fast: int, slow: int, signal: int) -> float:
    """Return MACD line minus signal line, in points.

    Both averages are warmed up before the bars of the signal line, then run along together.
    """
    fast_alpha = 2.0 / (fast + 1.0)
    slow_alpha = 2.0 / (slow + 1.0)
    signal_alpha = 2.0 / (signal + 1.0)
    fast_decay = 1.0 - fast_alpha
    slow_decay = 1.0 - slow_alpha
    bars = recursion_bars(signal_alpha)
    first = close.size - bars
    fast_bars = recursion_bars(fast_alpha)
    slow_bars = recursion_bars(slow_alpha)
    origin = close[-1]
    fast_total = decayed_sum(close[first - fast_bars : first], origin, fast_decay)
    slow_total = decayed_sum(close[first - slow_bars : first], origin, slow_decay)
    fast_weight = weight_sum(fast_decay, fast_bars)
    slow_weight = weight_sum(slow_decay, slow_bars)
    line = np.empty(bars)
    for i in range(bars):
        fast_total = fast_total * fast_decay + (close[first + i] - origin)
        slow_total = slow_total * slow_decay + (close[first + i] - origin)
        fast_weight = fast_weight * fast_decay + 1.0
        slow_weight = slow_weight * slow_decay + 1.0
        line[i] = fast_total / fast_weight - slow_total / slow_weight
    return float(line[-1] - decayed_mean(line, 1.0 - signal_alpha))


@kernel
def directional_moves(high: Window, low: Window) -> tuple[Window, Window]:
    """Return the n - 1 upward and downward directional movements: the larger one counts, if positive."""
    up = np.empty(high.size - 1)
    down = np.empty(high.size - 1)
    for i in range(up.size):
        rise = high[i + 1] - high[i]
        fall = low[i] - low[i + 1]
        up[i] = rise if rise > max(fall, 0.0) else 0.0
        down[i] = fall if fall > max(rise, 0.0) else 0.0
    return up, down


@kernel
def directional_index(high: Window, low: Window, period: int) -> float:
    """Return Wilder's ADX, [0, 100]; the true range cancels out of |+DI - -DI| / (+DI + -DI).

    The second average runs over the last recursion_bars values, the first over all.
    """
    decay = 1.0 - 1.0 / period
    bars = recursion_bars(1.0 / period)
    up, down = directional_moves(high, low)
    earlier = up.size - bars
    plus = decayed_sum(up[:earlier], 0.0, decay)
    minus = decayed_sum(down[:earlier], 0.0, decay)
    net = np.empty(bars)
    both = np.empty(bars)
    for i in range(bars):
        plus = plus * decay + up[earlier + i]
        minus = minus * decay + down[earlier + i]
        net[i] = abs(plus - minus)
        both[i] = plus + minus
    for i in range(bars):
        net[i] = 100.0 * (net[i] / both[i]) if both[i] > 0.0 else 0.0
    return max(0.0, min(100.0, decayed_mean(net, decay)))


@kernel
def parabolic_stop(high: Window, low: Window, step: float, limit: float) -> float:
    """Return the parabolic stop that is in force during the newest bar, in points.

    Prices are read with the sign of the side (+1 long, -1 short), so that one set of rules serves both.
    """
    side = 1.0 if high[1] - high[0] >= low[0] - low[1] else -1.0
    stop = low[0] if side > 0.0 else -high[0]
    extreme = high[1] if side > 0.0 else -low[1]
    speed = step
    level = stop
    for i in range(1, high.size):
        weak = low[i] if side > 0.0 else -high[i]
        strong = high[i] if side > 0.0 else -low[i]
        weak_before = low[i - 1] if side > 0.0 else -high[i - 1]
        if weak <= stop:
            side = -side
            weak_before = low[i - 1] if side > 0.0 else -high[i - 1]
            weak, strong = -strong, -weak
            level = min(-extreme, weak, weak_before)
            extreme = strong
            speed = step
        else:
            level = stop
            if strong > extreme:
                extreme = strong
                speed = min(speed + step, limit)
        stop = min(level + speed * (extreme - level), weak, weak_before)
    return float(side * level)


@kernel
def is_pivot_high(high: Window, at: int, wing: int) -> bool:
    """Whether high[at] is above the `wing` highs on each side; a tie is no pivot."""
    for step in range(1, wing + 1):
        if high[at - step] >= high[at] or high[at + step] >= high[at]:
            return False
    return True


@kernel
def is_pivot_low(low: Window, at: int, wing: int) -> bool:
    """Whether low[at] is below the `wing` lows on each side; a tie is no pivot."""
    for step in range(1, wing + 1):
        if low[at - step] <= low[at] or low[at + step] <= low[at]:
            return False
    return True


@kernel
def overhead_supply(open: Window, high: Window, close: Window, wing: int) -> float:
    """Return the distance in points from the close up to the nearest supply zone; -1 without any.

    A zone is the upper shadow of a pivot high that no later close has exceeded; 0 within one.
    """
    newest = close[-1]
    highest_close = newest
    nearest = -1.0
    for age in range(1, high.size - wing):
        at = high.size - 1 - age
        if age >= wing and high[at] >= highest_close and is_pivot_high(high, at, wing):
            gap = max(0.0, max(open[at], close[at]) - newest)
            nearest = gap if nearest < 0.0 else min(nearest, gap)
        highest_close = max(highest_close, close[at])
    return nearest
