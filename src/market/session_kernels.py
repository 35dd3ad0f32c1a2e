"""Compiled arithmetic on a `Schedule`: one set of kernels for whole files and for the newest bar.

`table` and `offsets` are those of `Schedule`; every kernel writes its answer to `out`.
"""

from __future__ import annotations

import numpy as np

from lockstep.compiled import kernel
from lockstep.market.bars import Flags, Floats, Stamps
from lockstep.market.schedule import (
    CLOSE,
    DATE,
    DAY,
    MINUTE,
    NOMINAL_CLOSE,
    NOMINAL_OPEN,
    OFFSET,
    OPEN,
    SINCE,
)

HOUR = 60 * MINUTE


@kernel
def session_of_end(table: Stamps, end: int) -> int:
    """Return the column of the session that a bar ending at `end` belongs to."""
    return int(np.searchsorted(table[NOMINAL_CLOSE], end, side="left"))


@kernel
def session_of_start(table: Stamps, stamp: int) -> int:
    """Return the column of the session that a moment, or a bar that opens at it, belongs to."""
    return int(np.searchsorted(table[NOMINAL_CLOSE], stamp, side="right"))


@kernel
def local_time(offsets: Stamps, stamp: int) -> int:
    """Return the wall clock as nanoseconds since 1970."""
    index = int(np.searchsorted(offsets[SINCE], stamp, side="right")) - 1
    return int(stamp + offsets[OFFSET, max(index, 0)])


@kernel
def civil_date(day: int) -> tuple[int, int, int]:
    """Return (month, day of the month, days in the month) of a day since 1970.

    Gregorian: the year is counted from March, so that the leap day is its last.
    """
    shifted = day + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    slot = (5 * of_year + 2) // 153
    day_of_month = of_year - (153 * slot + 2) // 5 + 1
    month = slot + 3 if slot < 10 else slot - 9
    if month == 2:
        following = year + 1
        leap = following % 4 == 0 and (following % 100 != 0 or following % 400 == 0)
        return month, day_of_month, 29 if leap else 28
    return month, day_of_month, 30 if month in (4, 6, 9, 11) else 31


@kernel
def fill_dates(table: Stamps, offsets: Stamps, end: Stamps, session_bars: bool, out: Stamps) -> None:
    """Write the session date of bars (days since 1970).

    Intraday: the first session whose nominal close is not before the end. Session bars: the wall-clock
    date, since a daily file may hold dates that the calendar does not know.
    """
    for i in range(end.size):
        if session_bars:
            out[i] = (local_time(offsets, end[i]) - 1) // DAY
        else:
            out[i] = table[DATE, session_of_end(table, end[i])]


@kernel
def fill_columns(
    table: Stamps, offsets: Stamps, end: Stamps, session_bars: bool, nominal_length: int, out: Floats
) -> None:
    """Write CALENDAR_COLUMNS, in their order, to out (9, n)."""
    for i in range(end.size):
        row = session_of_end(table, end[i])
        local = local_time(offsets, end[i])
        day = (local - 1) // DAY if session_bars else table[DATE, row]
        month, day_of_month, month_length = civil_date(day)
        first = day - day_of_month + 1
        so_far = np.searchsorted(table[DATE], day, side="right")
        out[0, i] = (day + 3) % 7
        out[1, i] = month
        out[2, i] = day_of_month
        out[3, i] = so_far - np.searchsorted(table[DATE], first, side="left")
        out[4, i] = np.searchsorted(table[DATE], first + month_length, side="left") - so_far
        out[5, i] = local % DAY // HOUR
        if session_bars and table[DATE, row] != day:
            out[6, i] = nominal_length / MINUTE
            out[7, i] = nominal_length / MINUTE
            out[8, i] = 1.0
        else:
            until = table[NOMINAL_CLOSE, row] if session_bars else end[i]
            out[6, i] = (until - table[OPEN, row]) / MINUTE
            out[7, i] = (table[CLOSE, row] - table[OPEN, row]) / MINUTE
            inside = table[OPEN, row] < end[i] and end[i] <= table[CLOSE, row]
            out[8, i] = 1.0 if session_bars or inside else 0.0


@kernel
def grid_end(table: Stamps, row: int, stamp: int, step: int, phase: int, closed_right: bool) -> int:
    """Return the end of the bucket around `stamp` in the session `row`.

    Buckets are `step` long and counted from the nominal open less `phase`; the scheduled and the nominal
    close cut the ones that reach beyond them. A stamp on a boundary is in the bucket that ends there
    (closed right) or begins there.
    """
    anchor, close = table[NOMINAL_OPEN, row] - phase, table[CLOSE, row]
    steps = -((anchor - stamp) // step) if closed_right else (stamp - anchor) // step + 1
    end = min(anchor + steps * step, table[NOMINAL_CLOSE, row])
    before_close = stamp <= close if closed_right else stamp < close
    return int(min(end, close) if before_close else end)


@kernel
def fill_bucket_end(
    table: Stamps, stamps: Stamps, step: int, phase: int, closed_right: bool, out: Stamps
) -> None:
    """Write the end of the bucket that each stamp falls into; step 0 means one session."""
    for i in range(stamps.size):
        row = session_of_end(table, stamps[i]) if closed_right else session_of_start(table, stamps[i])
        if step == 0:
            out[i] = table[NOMINAL_CLOSE, row]
        else:
            out[i] = grid_end(table, row, stamps[i], step, phase, closed_right)


@kernel
def fill_auto_close(table: Stamps, end: Stamps, step: int, phase: int, cut_off: int, out: Flags) -> None:
    """Write whether a bar is the decision bar of its session or a later one.

    cut_off counts from the nominal open. The decision bar is the last one of the grid that ends at or
    before it and before the scheduled close.
    """
    for i in range(end.size):
        row = session_of_end(table, end[i])
        limit = min(table[NOMINAL_OPEN, row] + cut_off, table[CLOSE, row] - 1)
        anchor = table[NOMINAL_OPEN, row] - phase
        out[i] = end[i] >= anchor + (limit - anchor) // step * step
