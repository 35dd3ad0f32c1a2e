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
    PAUSE_END,
    PAUSE_START,
    REGULAR_CLOSE,
    REGULAR_OPEN,
    SINCE,
)

HOUR = 60 * MINUTE
# No session has this date, in days since 1970.
_NEVER = -(1 << 40)


@kernel
def session_of_end(table: Stamps, end: int) -> int:
    """Return the column of the session that a bar ending at `end` belongs to."""
    return int(np.searchsorted(table[NOMINAL_CLOSE], end, side="left"))


@kernel
def session_near(table: Stamps, row: int, end: int) -> int:
    """Return the same; `row` is where the bar before it was found, and most bars follow within a session."""
    if 0 < row < table.shape[1] and table[NOMINAL_CLOSE, row - 1] < end <= table[NOMINAL_CLOSE, row]:
        return row
    return session_of_end(table, end)


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
    row = 0
    for i in range(end.size):
        if session_bars:
            out[i] = (local_time(offsets, end[i]) - 1) // DAY
        else:
            row = session_near(table, row, end[i])
            out[i] = table[DATE, row]


@kernel
def is_inside(table: Stamps, row: int, end: int, step: int) -> bool:
    """Return whether a bar of the session `row` that ends at `end` holds trading of scheduled hours.

    One that ends in the pause does where it began before it: an hour from 07:00 with a pause from 07:45.
    """
    if not (table[OPEN, row] < end and end <= table[CLOSE, row]):
        return False
    start = table[PAUSE_START, row]
    return not (start < end and end <= table[PAUSE_END, row] and start <= end - step)


@kernel
def fill_in_session(table: Stamps, end: Stamps, step: int, out: Flags) -> None:
    """Write whether bars lie inside the scheduled session; `step`: their length."""
    row = 0
    for i in range(end.size):
        row = session_near(table, row, end[i])
        out[i] = is_inside(table, row, end[i], step)


@kernel
def fill_columns(
    table: Stamps,
    offsets: Stamps,
    end: Stamps,
    session_bars: bool,
    nominal_length: int,
    step: int,
    out: Floats,
) -> None:
    """Write CALENDAR_COLUMNS, in their order, to out (9, n).

    Session bars are measured by the hours of today, which are those that their ends follow.
    """
    row, known, month, day_of_month, of_month, left = 0, _NEVER, 0, 0, 0, 0
    for i in range(end.size):
        local = local_time(offsets, end[i])
        if session_bars:
            day = (local - 1) // DAY
            row = int(np.searchsorted(table[DATE], day, side="left"))
        else:
            row = session_near(table, row, end[i])
            day = table[DATE, row]
        if day != known:
            month, day_of_month, month_length = civil_date(day)
            first = day - day_of_month + 1
            so_far = int(np.searchsorted(table[DATE], day, side="right"))
            of_month = so_far - int(np.searchsorted(table[DATE], first, side="left"))
            left = int(np.searchsorted(table[DATE], first + month_length, side="left")) - so_far
            known = day
        out[0, i] = (day + 3) % 7
        out[1, i] = month
        out[2, i] = day_of_month
        out[3, i] = of_month
        out[4, i] = left
        out[5, i] = local % DAY // HOUR
        if not session_bars:
            out[6, i] = (end[i] - table[OPEN, row]) / MINUTE
            out[7, i] = (table[CLOSE, row] - table[OPEN, row]) / MINUTE
            out[8, i] = 1.0 if is_inside(table, row, end[i], step) else 0.0
        elif row == table.shape[1] or table[DATE, row] != day:
            out[6, i] = nominal_length / MINUTE
            out[7, i] = nominal_length / MINUTE
            out[8, i] = 1.0
        else:
            close = min(table[CLOSE, row], table[REGULAR_CLOSE, row])
            out[6, i] = (table[REGULAR_CLOSE, row] - table[OPEN, row]) / MINUTE
            out[7, i] = (close - table[OPEN, row]) / MINUTE
            out[8, i] = 1.0


@kernel
def fill_clock_minutes(table: Stamps, end: Stamps, out: Floats) -> None:
    """Write the minutes from the regular open to the end of bars: what a wall-clock time is compared with."""
    row = 0
    for i in range(end.size):
        row = session_near(table, row, end[i])
        out[i] = (end[i] - table[REGULAR_OPEN, row]) / MINUTE


@kernel
def before(stamp: int, boundary: int, closed_right: bool) -> bool:
    """Return whether what is stamped `stamp` lies before a boundary, with bars that end on it."""
    return stamp <= boundary if closed_right else stamp < boundary


@kernel
def grid_end(table: Stamps, row: int, stamp: int, step: int, phase: int, closed_right: bool) -> int:
    """Return the end of the bucket around `stamp` in the session `row`.

    Buckets are `step` long and counted from the nominal open less `phase`; the scheduled and the nominal
    close cut the ones that reach beyond them, and a pause those that would end within it. A stamp on a
    boundary is in the bucket that ends there (closed right) or begins there.
    """
    anchor, close = table[NOMINAL_OPEN, row] - phase, table[CLOSE, row]
    steps = -((anchor - stamp) // step) if closed_right else (stamp - anchor) // step + 1
    end = min(anchor + steps * step, table[NOMINAL_CLOSE, row])
    if before(stamp, close, closed_right):
        end = min(end, close)
    pause = table[PAUSE_START, row]
    if before(stamp, pause, closed_right) and pause < end and end <= table[PAUSE_END, row]:
        end = pause
    return int(end)


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

    cut_off counts from the regular open. The decision bar is the last one of the grid that ends at or
    before it and before the scheduled close: where that would lie in the pause, the bar which the pause ends.
    """
    row = 0
    for i in range(end.size):
        row = session_near(table, row, end[i])
        limit = min(table[REGULAR_OPEN, row] + cut_off, table[CLOSE, row] - 1)
        anchor = table[NOMINAL_OPEN, row] - phase
        decision = anchor + (limit - anchor) // step * step
        pause, resumed = table[PAUSE_START, row], table[PAUSE_END, row]
        within = pause < decision <= resumed
        cut = decision <= pause and decision + step <= resumed
        if pause <= limit and (within or cut):
            decision = pause
        out[i] = end[i] >= decision
