"""Kernels for fractal pivots and the zones they leave."""

from __future__ import annotations

from lockstep.compiled import kernel
from lockstep.features.inputs import Window


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
