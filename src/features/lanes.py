"""Long windows side by side: drivers of the features whose recursions take most of a long history's time.

A recursion over one window is a chain in which each step waits for the one before. Here the windows of
neighbouring bars go through the same steps next to each other, so that the processor works on several at a
time. Each window's own steps are those of `recursions.py`, in the same order: the values are the same to the
bit (`tests/property/test_lanes.py`). Live trading, one bar at a time, has nothing to gain from it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lockstep.compiled import kernel, python_source
from lockstep.features.driver import Driver, driver
from lockstep.features.feature import Feature
from lockstep.features.inputs import Window
from lockstep.features.oscillator_kernels import directional_moves
from lockstep.features.recursions import recursion_bars, true_ranges, weight_sum

_LANES = 128


def batch_driver(feature: Feature) -> Driver:
    """Return what computes a feature over a long history: its driver, or one with windows side by side."""
    drive = _DRIVERS.get(feature.name)
    ours = python_source(feature.compute).__module__.startswith("lockstep.features.catalogue.")
    return drive if ours and drive is not None else driver(feature)


@kernel
def lane_sums(values: Window, count: int, origins: Window, decay: float, totals: Window) -> None:
    """Write `decayed_sum(values[lane : lane + count], origins[lane], decay)` to totals, for each lane."""
    second = decay * decay
    third = second * decay
    fourth = second * second
    lanes = totals.size
    odd = count % 4
    for lane in range(lanes):
        totals[lane] = 0.0
    for i in range(odd):
        only = values[i : i + lanes]
        for lane in range(lanes):
            totals[lane] = totals[lane] * decay + (only[lane] - origins[lane])
    for i in range(odd, count, 4):
        first = values[i : i + lanes]
        next_ = values[i + 1 : i + 1 + lanes]
        later = values[i + 2 : i + 2 + lanes]
        last = values[i + 3 : i + 3 + lanes]
        for lane in range(lanes):
            origin = origins[lane]
            older = (first[lane] - origin) * third + (next_[lane] - origin) * second
            newer = (later[lane] - origin) * decay + (last[lane] - origin)
            totals[lane] = totals[lane] * fourth + (older + newer)


@kernel
def table_sums(table: Window, decay: float, totals: Window) -> None:
    """Write the same of each column of a table (count, lanes), with its last row as origin, to totals."""
    second = decay * decay
    third = second * decay
    fourth = second * second
    count, lanes = table.shape
    odd = count % 4
    origins = table[count - 1]
    for lane in range(lanes):
        totals[lane] = 0.0
    for i in range(odd):
        only = table[i]
        for lane in range(lanes):
            totals[lane] = totals[lane] * decay + (only[lane] - origins[lane])
    for i in range(odd, count, 4):
        first, next_, later, last = table[i], table[i + 1], table[i + 2], table[i + 3]
        for lane in range(lanes):
            origin = origins[lane]
            older = (first[lane] - origin) * third + (next_[lane] - origin) * second
            newer = (later[lane] - origin) * decay + (last[lane] - origin)
            totals[lane] = totals[lane] * fourth + (older + newer)


@kernel
def not_full(lookback: int, start: int, stop: int, out: Window, at: int) -> int:
    """Write NaN to bars whose window is not full and return the first bar whose window is."""
    first = max(start, lookback - 1)
    for i in range(start, min(first, stop)):
        out[at + i - start] = np.nan
    return first


@kernel
def drive_rsi(close: Window, period: int, lookback: int, start: int, stop: int, out: Window, at: int) -> None:
    """Write `relative_strength` at bars start <= i < stop to out[at:]; see `driver_source`."""
    decay = 1.0 - 1.0 / period
    count = lookback - 1
    gains, losses = np.empty(_LANES + count - 1), np.empty(_LANES + count - 1)
    origins, gain, loss = np.zeros(_LANES), np.empty(_LANES), np.empty(_LANES)
    for i in range(not_full(lookback, start, stop, out, at), stop, _LANES):
        lanes = min(_LANES, stop - i)
        seen = close[i - count : i + lanes]
        for k in range(lanes + count - 1):
            change = seen[k + 1] - seen[k]
            gains[k] = max(change, 0.0)
            losses[k] = max(-change, 0.0)
        lane_sums(gains, count, origins, decay, gain[:lanes])
        lane_sums(losses, count, origins, decay, loss[:lanes])
        for lane in range(lanes):
            both = gain[lane] + loss[lane]
            out[at + i - start + lane] = 50.0 if both == 0.0 else 100.0 * (gain[lane] / both)


@kernel
def drive_atr(
    high: Window, low: Window, close: Window,
    period: int, lookback: int, start: int, stop: int, out: Window, at: int,
) -> None:  # fmt: skip
    """Write `average_true_range` at bars start <= i < stop to out[at:]."""
    decay = 1.0 - 1.0 / period
    count = lookback - 1
    weight = weight_sum(decay, count)
    totals = np.empty(_LANES)
    for i in range(not_full(lookback, start, stop, out, at), stop, _LANES):
        lanes = min(_LANES, stop - i)
        first, last = i - count, i + lanes
        ranges = true_ranges(high[first:last], low[first:last], close[first:last])
        newest = ranges[count - 1 :]
        lane_sums(ranges, count, newest, decay, totals[:lanes])
        for lane in range(lanes):
            out[at + i - start + lane] = newest[lane] + totals[lane] / weight


@kernel
def drive_atr_pctile(
    high: Window, low: Window, close: Window,
    period: int, window: int, lookback: int, start: int, stop: int, out: Window, at: int,
) -> None:  # fmt: skip
    """Write the rank of the average true range among the last `window` ones to out[at:]."""
    decay = 1.0 - 1.0 / period
    count = lookback - 1
    earlier = count - window
    totals, below, equal = np.empty(_LANES), np.empty(_LANES), np.empty(_LANES)
    averages = np.empty((window, _LANES))
    for i in range(not_full(lookback, start, stop, out, at), stop, _LANES):
        lanes = min(_LANES, stop - i)
        first, last = i - count, i + lanes
        ranges = true_ranges(high[first:last], low[first:last], close[first:last])
        newest = ranges[count - 1 :]
        lane_sums(ranges, earlier, newest, decay, totals[:lanes])
        weight = weight_sum(decay, earlier)
        for k in range(window):
            added, found = ranges[earlier + k : earlier + k + lanes], averages[k]
            weight = weight * decay + 1.0
            for lane in range(lanes):
                totals[lane] = totals[lane] * decay + (added[lane] - newest[lane])
                found[lane] = newest[lane] + totals[lane] / weight
        ranked = averages[window - 1]
        for lane in range(lanes):
            below[lane] = 0.0
            equal[lane] = 0.0
        for k in range(window - 1):
            found = averages[k]
            for lane in range(lanes):
                below[lane] += 1.0 if found[lane] < ranked[lane] else 0.0
                equal[lane] += 1.0 if found[lane] == ranked[lane] else 0.0
        for lane in range(lanes):
            out[at + i - start + lane] = (below[lane] + 0.5 * equal[lane]) / (window - 1)


@kernel
def drive_adx(
    high: Window, low: Window, close: Window,
    period: int, lookback: int, start: int, stop: int, out: Window, at: int,
) -> None:  # fmt: skip
    """Write `directional_index` at bars start <= i < stop to out[at:]."""
    decay = 1.0 - 1.0 / period
    bars = recursion_bars(1.0 / period)
    count = lookback - 1
    earlier = count - bars
    weight = weight_sum(decay, bars)
    origins = np.zeros(_LANES)
    plus, minus, totals = np.empty(_LANES), np.empty(_LANES), np.empty(_LANES)
    table = np.empty((bars, _LANES))
    for i in range(not_full(lookback, start, stop, out, at), stop, _LANES):
        lanes = min(_LANES, stop - i)
        up, down = directional_moves(high[i - count : i + lanes], low[i - count : i + lanes])
        lane_sums(up, earlier, origins, decay, plus[:lanes])
        lane_sums(down, earlier, origins, decay, minus[:lanes])
        for k in range(bars):
            rise, fall = up[earlier + k : earlier + k + lanes], down[earlier + k : earlier + k + lanes]
            net = table[k]
            for lane in range(lanes):
                plus[lane] = plus[lane] * decay + rise[lane]
                minus[lane] = minus[lane] * decay + fall[lane]
                both = plus[lane] + minus[lane]
                share = 100.0 * (abs(plus[lane] - minus[lane]) / both)
                net[lane] = share if both > 0.0 else 0.0
        table_sums(table, decay, totals)
        newest = table[bars - 1]
        for lane in range(lanes):
            out[at + i - start + lane] = max(0.0, min(100.0, newest[lane] + totals[lane] / weight))


_DRIVERS: dict[str, Callable[..., None]] = {
    "rsi": drive_rsi,
    "atr": drive_atr,
    "atr_pctile": drive_atr_pctile,
    "adx": drive_adx,
}
