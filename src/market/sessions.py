"""Sessions: when a market is open, to which date a bar belongs, and the calendar columns of features."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import ConfigError
from lockstep.market.bars import Flags, Floats, Stamps
from lockstep.market.schedule import (
    CLOSE,
    DATE,
    DAY,
    MINUTE,
    NO_PAUSE,
    NOMINAL_CLOSE,
    OFFSET,
    OPEN,
    PAUSE_END,
    PAUSE_START,
    SINCE,
    Schedule,
    build_schedule,
    to_utc,
)
from lockstep.market.session_kernels import (
    fill_auto_close,
    fill_bucket_end,
    fill_clock_minutes,
    fill_columns,
    fill_dates,
    fill_in_session,
)
from lockstep.market.session_template import MINUTES_PER_DAY, SessionTemplate, clock_minute
from lockstep.market.timeframe import Timeframe

__all__ = ["CALENDAR_COLUMNS", "Dates", "Session", "SessionDay", "SessionTemplate"]

Dates = NDArray[np.datetime64]

CALENDAR_COLUMNS: tuple[str, ...] = (
    "day_of_week",
    "month",
    "day_of_month",
    "trading_day_of_month",
    "trading_days_left_in_month",
    "hour",
    "minute_of_session",
    "session_minutes",
    "in_session",
)

_ANY_STAMP = 946_684_800_000_000_000  # 2000; which schedule answers for no stamps does not matter


class SessionDay(NamedTuple):
    """One session of a calendar.

    date   days since 1970; open, close   as scheduled; after, nominal_close   bars that end after the one, at
           the latest at the other, belong to it; pause   its start and end, both before 1700 where there is
           none (UTC ns)
    """

    date: int
    open: int
    close: int
    after: int
    nominal_close: int
    pause: tuple[int, int] = (NO_PAUSE, NO_PAUSE)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """When the market trades: (from, to), one pair or two."""
        start, end = self.pause
        if start == NO_PAUSE:
            return ((self.open, self.close),)
        return ((self.open, start), (end, self.close))


class Session:
    """A session template with its calendar; stamps are int64 (n,), UTC nanoseconds, unless stated otherwise.

    The session date rolls at the nominal close, half-days included: a bar that ends in (nominal close of
    the previous session, nominal close of this one] belongs to this one. Where the hours of that time were
    longer than those of today (ES until 18 September 2015: to 17:15), so is the session that intraday bars
    belong to; session bars end at the nominal close of today in every year. The calendar is loaded on first
    use and grows as needed; CalendarError beyond its range.

    >>> import numpy as np
    >>> from lockstep.market import load_instruments
    >>> session = load_instruments().session_named("CME")
    >>> closes = session.nominal_close(np.array(["2024-03-08", "2024-03-11"], dtype="M8[D]"))
    >>> closes.astype("M8[ns]").astype("M8[m]")
    array(['2024-03-08T22:00', '2024-03-11T21:00'], dtype='datetime64[m]')
    """

    def __init__(self, template: SessionTemplate) -> None:
        self.template = template
        self._length = (template.close_minute - template.open_minute) * MINUTE
        self._schedule: Schedule | None = None
        self._asked: tuple[int, int] | None = None
        self._day = SessionDay(0, 0, 0, 0, 0)

    def __repr__(self) -> str:
        return f"Session({self.template.name})"

    def dates(self, end: Stamps, timeframe: Timeframe | None = None) -> Dates:
        """Return the session dates of bars, datetime64[D] (n,).

        Session bars (`timeframe` 1d) keep the date of their file, also where the calendar has no session.
        """
        schedule, out = self._covering(end), np.empty(end.size, dtype=np.int64)
        fill_dates(schedule.table, schedule.offsets, _own(end), _is_session(timeframe), out)
        return out.astype("M8[D]")

    def columns(self, end: Stamps, timeframe: Timeframe) -> dict[str, Floats]:
        """Return CALENDAR_COLUMNS by name, each float64 (n,), never NaN.

        day_of_week (0 Monday … 6), month, day_of_month   of the session date
        trading_day_of_month          scheduled sessions of that month up to and including the date
        trading_days_left_in_month    scheduled sessions of that month after the date; 0 on the last
        hour                          wall-clock hour of the bar's end, 0 … 23
        minute_of_session             minutes from the scheduled open to the bar's end (session bars: to
                                      the regular close), a pause included; negative before the open
        session_minutes               scheduled length, early closes and late opens respected, pause included
        in_session                    1 or 0, see `in_session`
        """
        return dict(zip(CALENDAR_COLUMNS, self._matrix(end, timeframe), strict=True))

    def column_row(self, end: int, timeframe: Timeframe) -> Floats:
        """Return CALENDAR_COLUMNS of one bar, float64 (9,): the bits of `columns`."""
        return self._matrix(np.array([end], dtype=np.int64), timeframe)[:, 0]

    def _matrix(self, end: Stamps, timeframe: Timeframe) -> Floats:
        schedule, out = self._covering(end), np.empty((len(CALENDAR_COLUMNS), end.size))
        steps = (self._length, timeframe.nanoseconds)
        fill_columns(schedule.table, schedule.offsets, _own(end), timeframe.is_session, *steps, out)
        return out

    def in_session(self, end: Stamps, timeframe: Timeframe) -> Flags:
        """Return whether scheduled open < end <= scheduled close, bool (n,); session bars always are.

        Bars within a pause are not. One that ends in a pause and began before it is.
        Which session bars exist is decided by the data: calendars lack days on which a market did open. A
        live one of a day without a session waits for the operator, see `lockstep.live.feeds.synchroniser`.
        """
        if timeframe.is_session:
            return np.ones(end.size, dtype=np.bool_)
        schedule, out = self._covering(end), np.empty(end.size, dtype=np.bool_)
        fill_in_session(schedule.table, _own(end), timeframe.nanoseconds, out)
        return out

    def clock_minutes(self, end: Stamps) -> Floats:
        """Return minutes from the regular open to each bar's end, float64 (n,): comparable with `minute_of`.

        Other than `minute_of_session` on days that open late.
        """
        schedule, out = self._covering(end), np.empty(end.size)
        fill_clock_minutes(schedule.table, _own(end), out)
        return out

    def scheduled_open(self, end: Stamps) -> Stamps:
        """Return the scheduled open of the session that each bar belongs to."""
        return self._lookup(end, OPEN)

    def scheduled_close(self, end: Stamps) -> Stamps:
        """Return the scheduled close of the session that each bar belongs to, early closes respected."""
        return self._lookup(end, CLOSE)

    def day(self, end: int) -> SessionDay:
        """Return the session that a bar which ends at `end` belongs to: what `dates` and the rest say of it.

        The newest answer is kept, since one moment after the other falls into the same session.
        """
        day = self._day
        if not day.after < end <= day.nominal_close:
            table = self._covering(np.array([end], dtype=np.int64)).table
            row = int(np.searchsorted(table[NOMINAL_CLOSE], end, side="left"))
            after = int(table[NOMINAL_CLOSE, row - 1])
            self._day = day = _session_day(table[:, row], after)
        return day

    def _lookup(self, end: Stamps, row: int) -> Stamps:
        table = self._covering(end).table
        return np.asarray(table[row, np.searchsorted(table[NOMINAL_CLOSE], end, side="left")])

    def days(self, dates: Dates) -> list[SessionDay]:
        """Return the sessions of these dates (datetime64[D]) that the calendar has."""
        days = dates.astype("M8[D]").astype(np.int64)
        table = self._covering(days * DAY).table
        rows = np.flatnonzero(np.isin(table[DATE], days))
        return [_session_day(table[:, row], int(table[NOMINAL_CLOSE, row - 1])) for row in rows]

    def nominal_close(self, dates: Dates) -> Stamps:
        """Return when session bars of dates (datetime64[D]) are complete, also on days without a session.

        The template's close, or where it says so the later moment at which the date rolls.
        """
        midnight = dates.astype("M8[D]").astype(np.int64) * DAY
        return to_utc(midnight + self.template.roll_minute * MINUTE, self._covering(midnight).offsets)

    def regular_close(self, dates: Dates) -> Stamps:
        """Return the close of today's hours at each date (datetime64[D]), without early closes."""
        midnight = dates.astype("M8[D]").astype(np.int64) * DAY
        return to_utc(midnight + self.template.close_minute * MINUTE, self._covering(midnight).offsets)

    def wall_clock(self, stamps: Stamps) -> list[str]:
        """Return moments as "2024-03-06 16:15" in the time zone of the session."""
        offsets = self._covering(stamps).offsets
        rows = np.searchsorted(offsets[SINCE], stamps, side="right") - 1
        local = stamps + offsets[OFFSET, np.maximum(rows, 0)]
        return [str(each).replace("T", " ") for each in local.view("M8[ns]").astype("M8[m]")]

    def scheduled_dates(self, first: np.datetime64, last: np.datetime64) -> Dates:
        """Return all session dates of the calendar from `first` to `last`, both included."""
        days = np.array([first, last], dtype="M8[D]").astype(np.int64)
        known = self._covering(days * DAY).table[0]
        return np.asarray(known[(known >= days[0]) & (known <= days[1])]).astype("M8[D]")

    def bucket_end(self, stamps: Stamps, timeframe: Timeframe, *, closed: Literal["left", "right"]) -> Stamps:
        """Return the end of the bar of `timeframe` that each stamp falls into.

        A stamp on a boundary belongs to the bar that ends there (`right`: stamps are bar ends) or to the
        one that begins there (`left`: stamps are bar opens, or ticks).
        """
        schedule, out = self._covering(stamps), np.empty(stamps.size, dtype=np.int64)
        step, right = timeframe.nanoseconds, closed == "right"
        fill_bucket_end(schedule.table, _own(stamps), step, self._phase, right, out)
        return out

    def minute_of(self, clock: str) -> float:
        """Return a wall-clock time "HH:MM" as minutes from the nominal open, 0 … length of the session.

        ConfigError where the session is closed at that time.
        """
        try:
            minute = clock_minute(clock) - self.template.open_minute
        except ValueError as error:
            raise ConfigError(str(error)) from error
        length = self._length // MINUTE
        inside = minute if minute <= length else minute - MINUTES_PER_DAY
        if not 0 <= inside <= length:
            raise ConfigError(
                f"clock time {clock!r}: session {self.template.name} is open from {self.template.open} "
                f"to {self.template.close} ({self.template.timezone}); choose a time inside"
            )
        return float(inside)

    def auto_close(self, end: Stamps, timeframe: Timeframe, cut_off: str) -> Flags:
        """Return whether a position has to be closed by an order of this bar, bool (n,).

        True from the decision bar of the session on. That is the last scheduled bar which ends at or
        before the cut-off (wall clock) and leaves a later scheduled bar in the session to fill in: on a
        half-day that closes before the cut-off, the last but one. ConfigError for session bars.
        """
        if timeframe.is_session:
            raise ConfigError(f"auto-close {cut_off!r} on 1d bars: needs intraday bars; drop it")
        schedule, out = self._covering(end), np.empty(end.size, dtype=np.bool_)
        limit = int(self.minute_of(cut_off)) * MINUTE
        fill_auto_close(schedule.table, _own(end), timeframe.nanoseconds, self._phase, limit, out)
        return out

    @property
    def _phase(self) -> int:
        """Nanoseconds from the point that buckets are counted from to the nominal open."""
        minutes = clock_minute(self.template.open) if self.template.grid == "clock" else 0
        return minutes * MINUTE

    def _covering(self, stamps: Stamps) -> Schedule:
        """Return a schedule around the stamps, loading more years where needed."""
        schedule = self._schedule
        if stamps.size == 0:
            return schedule or self._build(_ANY_STAMP, _ANY_STAMP)
        first, last = int(stamps.min()), int(stamps.max())
        if schedule is None or not schedule.first <= first <= last <= schedule.last:
            known = self._asked or (first, last)
            self._asked = (min(first, known[0]), max(last, known[1]))
            self._schedule = schedule = self._build(*self._asked)
        return schedule

    def _build(self, first: int, last: int) -> Schedule:
        return build_schedule(self.template, (first, last))


def _session_day(row: Stamps, after: int) -> SessionDay:
    date, opens, closes, nominal_close, start, end = row[
        [DATE, OPEN, CLOSE, NOMINAL_CLOSE, PAUSE_START, PAUSE_END]
    ].tolist()
    return SessionDay(date, opens, closes, after, nominal_close, (start, end))


def _is_session(timeframe: Timeframe | None) -> bool:
    return timeframe is not None and timeframe.is_session


def _own(stamps: Stamps) -> Stamps:
    """Return a plain copy: a read-only or strided array would make numba compile the kernel again."""
    return np.array(stamps, dtype=np.int64)
