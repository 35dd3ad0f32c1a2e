"""Prices beside their neighbours: spikes that revert, and jumps that stay.

Both are measured in the true range that sessions around them have: a yardstick that grows and shrinks with
the market, and that one wild day does not move.
"""

from __future__ import annotations

import functools

import numpy as np

from lockstep.market.bars import Bars, Flags, Floats, Stamps
from lockstep.market.finding import Finding, counted, listed
from lockstep.market.sessions import Dates, Session

# In median true ranges of the sessions around. The largest real ones of the series that this was set with:
# 5.7 for a close (gold, 15 April 2013), 6.2 for a low (E-mini S&P, the night of 9 November 2016).
JUMP_RANGES = 8.0
SPIKE_RANGES = 8.0
_WINDOW = 61  # sessions
_REVERTS = 0.8
_LONGEST_WEEKEND = 6  # days
# Ratios of splits, and how near one must be.
_SPLITS = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50, 100)
_NEAR = 0.06


def price_findings(bars: Bars, dates: Dates, session: Session) -> list[Finding]:
    """Return spikes and jumps; `dates`: the session date of each bar."""
    if len(bars) < 3:
        return []
    positive = bool((np.minimum(bars.open, bars.close) > 0).all())
    logs = positive and bars.adjustment != "difference"
    scale = local_ranges(bars, dates, logs)
    change = np.diff(np.log(bars.close) if logs else bars.close, prepend=np.nan)
    change[0] = 0.0
    size = np.abs(change)
    beyond = (size > JUMP_RANGES * scale) & (scale > 0)
    back = np.append(-change[1:], 0.0) * np.sign(change) >= _REVERTS * size
    reverting = beyond & back
    returns = np.concatenate([[False], reverting[:-1]])
    spikes = reverting | _extremes(bars, scale, logs)
    jumps = np.flatnonzero(beyond & ~reverting & ~returns)
    return [*_spikes(bars, dates, np.flatnonzero(spikes)), *_jumps(bars, dates, jumps, session)]


def local_ranges(bars: Bars, dates: Dates, logs: bool) -> Floats:
    """Return the median true range of the 61 sessions around each bar's, in points or logarithms (n,)."""
    starts = np.flatnonzero(np.concatenate([[True], dates[1:] != dates[:-1]]))
    high, low = np.maximum.reduceat(bars.high, starts), np.minimum.reduceat(bars.low, starts)
    before = np.concatenate([bars.open[:1], bars.close[starts[1:] - 1]])
    high, low = np.maximum(high, before), np.minimum(low, before)
    if logs:
        # A low of zero is a fault to be found, not a range.
        ranges = np.where(low > 0, np.log(high) - np.log(np.where(low > 0, low, 1.0)), np.nan)
    else:
        ranges = high - low
    ranges[ranges == 0] = np.nan
    lengths = np.diff(np.append(starts, len(bars)))
    return np.repeat(_rolling_median(ranges), lengths)


def _rolling_median(values: Floats) -> Floats:
    """Return the median of a window around each value that shifts at the edges; 0 where all are NaN."""
    window = min(_WINDOW, values.size)
    views = np.lib.stride_tricks.sliding_window_view(values, window)
    ordered = np.sort(views, axis=1)  # NaN come last
    known = (~np.isnan(ordered)).sum(axis=1)
    rows = np.arange(views.shape[0])
    middle = np.where(known > 0, ordered[rows, np.maximum(known - 1, 0) // 2], 0.0)
    return np.asarray(middle[np.clip(np.arange(values.size) - window // 2, 0, middle.size - 1)])


def _extremes(bars: Bars, scale: Floats, logs: bool) -> Flags:
    """Return bars with a low or high far from their own body and from the bars beside them."""
    last = np.concatenate([bars.open[:1], bars.close[:-1]])
    following = np.append(bars.open[1:], bars.close[-1:])
    beside = (bars.open, bars.close, last, following)
    floor, ceiling = functools.reduce(np.minimum, beside), functools.reduce(np.maximum, beside)
    if not logs:
        depth = np.maximum(floor - bars.low, bars.high - ceiling)
        return np.asarray((depth > SPIKE_RANGES * scale) & (scale > 0))
    positive = bars.low > 0
    down = np.where(positive, np.log(floor) - np.log(np.where(positive, bars.low, 1.0)), np.inf)
    depth = np.maximum(down, np.log(bars.high) - np.log(ceiling))
    return np.asarray((depth > SPIKE_RANGES * scale) & (scale > 0))


def _spans(bars: Bars, rows: Stamps) -> tuple[tuple[int, int], ...]:
    return tuple((int(bars.end[max(row - 1, 0)]), int(bars.end[row])) for row in rows)


def _spikes(bars: Bars, dates: Dates, rows: Stamps) -> list[Finding]:
    if not rows.size:
        return []
    named = [f"{dates[row]} (low {bars.low[row]:g}, high {bars.high[row]:g}, close {bars.close[row]:g})"
             for row in rows]  # fmt: skip
    sentence = (
        f"{counted(rows.size, 'bar')} with a price that is impossible beside its neighbours: {listed(named)}"
    )
    where = str(dates[rows[0]])
    return [
        Finding(kind="spike", where=where, count=int(rows.size), sentence=sentence, spans=_spans(bars, rows))
    ]


def _jumps(bars: Bars, dates: Dates, rows: Stamps, session: Session) -> list[Finding]:
    if not rows.size:
        return []
    named = [_jump(bars, dates, int(row), session) for row in rows]
    yardstick = f"beyond {JUMP_RANGES:g} daily ranges of that time"
    sentence = f"{counted(rows.size, 'jump')} of the close {yardstick}: {listed(named)}"
    where = str(dates[rows[0]])
    return [
        Finding(kind="jump", where=where, count=int(rows.size), sentence=sentence, spans=_spans(bars, rows))
    ]


def _jump(bars: Bars, dates: Dates, row: int, session: Session) -> str:
    before, after = bars.close[row - 1], bars.close[row]
    share = f", {after / before - 1:+.1%}" if before > 0 and bars.adjustment != "difference" else ""
    return f"{dates[row]} ({before:g} to {after:g}{share}: {_cause(bars, dates, row, session)})"


def _cause(bars: Bars, dates: Dates, row: int, session: Session) -> str:
    """Return what a jump looks like: a split, a roll, or nothing that can be told."""
    before, opened = float(bars.close[row - 1]), float(bars.open[row])
    apart = int((dates[row] - dates[row - 1]).astype(np.int64))
    if apart > _LONGEST_WEEKEND:
        return f"over {apart} days without bars"
    futures = session.template.calendar == "CMES"
    if dates[row] == dates[row - 1] and not bars.timeframe.is_session:
        return "unexplained, within a session"
    if not futures and before > 0 and opened > 0:
        ratio = max(before / opened, opened / before)
        near = min(_SPLITS, key=lambda each: abs(ratio / each - 1))
        if abs(ratio / near - 1) < _NEAR:
            return f"looks like a {'split' if opened < before else 'reverse split'} of {near:g}"
        if bars.adjustment == "none" and 0.5 < opened / before < 1:
            return "unexplained; a special dividend would look like it"
    if futures and bars.adjustment == "none":
        return "at an open: a roll, or unexplained"
    return "unexplained"
