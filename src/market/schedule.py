"""`Schedule`: a stretch of a trading calendar as arrays that compiled code can search."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import CalendarError
from lockstep.market.bars import Stamps
from lockstep.market.session_template import EarlierHours, SessionTemplate

DAY = 86_400_000_000_000
MINUTE = 60_000_000_000
_SECOND = 1_000_000_000

# Rows of Schedule.table, one column per session.
(
    DATE,
    OPEN,
    CLOSE,
    NOMINAL_OPEN,
    NOMINAL_CLOSE,
    PAUSE_START,
    PAUSE_END,
    REGULAR_OPEN,
    REGULAR_CLOSE,
) = range(9)
# Start and end of the pause of a session that has none: no stamp lies in it.
NO_PAUSE = np.iinfo(np.int64).min
# Rows of Schedule.offsets, one column per change of the offset from UTC.
SINCE, OFFSET = range(2)

_EPOCH = date(1970, 1, 1)
_REGULAR = np.iinfo(np.int64).max  # an open or close that is the one of the hours in force
_EARLIEST, _LATEST = 1680, 2260  # int64 nanoseconds, and a margin of a year on either side


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """Sessions of whole calendar years, so that every month in it is counted in full.

    table     int64 (9, m), UTC nanoseconds but for the first row:
              DATE (days since 1970); OPEN and CLOSE as scheduled, early closes, late opens and exceptions
              included; NOMINAL_OPEN, where buckets are counted from, and NOMINAL_CLOSE, until when bars
              belong to the date: the hours of that time; PAUSE_START and PAUSE_END (NO_PAUSE: none);
              REGULAR_OPEN and REGULAR_CLOSE: the hours of today at that date
    offsets   int64 (2, k), rows SINCE (UTC nanoseconds, rising) and OFFSET (local time minus UTC)
    first, last   stamps between these have their session, and its whole month, in the table
    """

    table: Stamps
    offsets: Stamps
    first: int
    last: int


def build_schedule(template: SessionTemplate, stamps: tuple[int, int]) -> Schedule:
    """Return the schedule of the years around `stamps` (first, last; UTC nanoseconds).

    CalendarError where the calendar is unknown or does not reach that far.
    """
    first_year, last_year = (_year(stamp) for stamp in stamps)
    start, stop = date(first_year - 1, 1, 1), date(last_year + 1, 12, 31)
    offsets = utc_offsets(template.timezone, start - timedelta(days=2), stop + timedelta(days=2))
    found = _calendar_sessions(template.calendar, start, stop)
    dates, opens, closes = _with_exceptions(found, template, start, stop, offsets)
    hours = _hours(template, dates, offsets)
    # A calendar whose sessions are whole days (24/5) only says which days there are.
    regular = (opens == _REGULAR) | (closes - opens == DAY)
    opens = np.where(regular, hours[NOMINAL_OPEN], np.maximum(opens, hours[NOMINAL_OPEN]))
    closes = np.where(closes == _REGULAR, hours[CLOSE], np.minimum(closes, hours[CLOSE]))
    inside = (opens < hours[PAUSE_START]) & (hours[PAUSE_END] < closes)
    hours[[DATE, OPEN, CLOSE]] = dates, opens, closes
    hours[PAUSE_START:REGULAR_OPEN, ~inside] = NO_PAUSE
    return Schedule(
        table=hours,
        offsets=offsets,
        first=_nanoseconds(start + timedelta(days=31)),
        last=_nanoseconds(stop - timedelta(days=31)),
    )


def _with_exceptions(
    found: tuple[Stamps, Stamps, Stamps], template: SessionTemplate, start: date, stop: date, offsets: Stamps
) -> tuple[Stamps, Stamps, Stamps]:
    """Return dates, opens and closes of the calendar as the template corrects them; _REGULAR: as usual."""
    if not template.exceptions:
        return found
    days = {int(day): (int(opens), int(closes)) for day, opens, closes in zip(*found, strict=True)}
    for each in template.exceptions:
        if not start <= each.date <= stop:
            continue
        day = (each.date - _EPOCH).days
        if each.closed:
            days.pop(day, None)
            continue
        declared = EarlierHours(until=each.date, open=each.open, close=each.close)
        given = np.array(template.hours(declared), dtype=np.int64)
        opens, closes = to_utc(day * DAY + given * MINUTE, offsets).tolist()
        days[day] = (opens if each.open else _REGULAR, closes if each.close else _REGULAR)
    table = np.array([(day, *days[day]) for day in sorted(days)], dtype=np.int64).reshape(-1, 3)
    return table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy()


def _hours(template: SessionTemplate, dates: Stamps, offsets: Stamps) -> Stamps:
    """Return the table of regular sessions: CLOSE is that of the hours in force; DATE and OPEN are left 0."""
    table = np.zeros((REGULAR_CLOSE + 1, dates.size), dtype=np.int64)
    midnight = dates * DAY

    def utc(minute: int, days: NDArray[np.int64]) -> Stamps:
        return to_utc(days + minute * MINUTE, offsets)

    table[REGULAR_OPEN] = utc(template.open_minute, midnight)
    table[REGULAR_CLOSE] = utc(template.close_minute, midnight)
    rolls = utc(template.roll_minute, midnight)
    past = np.array([(each.until - _EPOCH).days for each in template.earlier], dtype=np.int64)
    # A session takes the first hours whose last date it does not exceed, else those of today.
    which = np.searchsorted(past, dates, side="left")
    for index, hours in enumerate((*template.earlier, template.today)):
        rows = np.flatnonzero(which == index)
        opened, closed = template.hours(hours)
        pause = template.pause_minutes(hours)
        table[NOMINAL_OPEN, rows] = utc(opened, midnight[rows])
        table[CLOSE, rows] = utc(closed, midnight[rows])
        table[NOMINAL_CLOSE, rows] = np.maximum(rolls[rows], table[CLOSE, rows])
        for row, minute in zip((PAUSE_START, PAUSE_END), pause or (), strict=False):
            table[row, rows] = utc(minute, midnight[rows])
        if pause is None:
            table[PAUSE_START:REGULAR_OPEN, rows] = NO_PAUSE
    return table


def _year(stamp: int) -> int:
    year = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=stamp // 1000)).year
    if not _EARLIEST < year < _LATEST:
        raise CalendarError(f"year {year}: must be between {_EARLIEST} and {_LATEST}; check the stamps")
    return year


def _nanoseconds(day: date) -> int:
    return (day - _EPOCH).days * DAY


# Several templates share a calendar, and the library takes long.
@functools.lru_cache(maxsize=32)
def _calendar_sessions(name: str, start: date, stop: date) -> tuple[Stamps, Stamps, Stamps]:
    """Return dates (days since 1970), scheduled opens and closes (UTC nanoseconds)."""
    from exchange_calendars import errors, get_calendar

    try:
        # Without an explicit range the library reaches back only twenty years.
        schedule = get_calendar(name, start=start.isoformat(), end=stop.isoformat()).schedule
    except (errors.CalendarError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CalendarError(f"calendar {name!r} from {start} to {stop}: {reason}") from error
    return (
        schedule.index.to_numpy().astype("M8[D]").astype(np.int64),
        _utc(schedule["open"]),
        _utc(schedule["close"]),
    )


def _utc(column: Any) -> Stamps:
    return np.asarray(column.dt.tz_localize(None).to_numpy().astype("M8[ns]").astype(np.int64))


def utc_offsets(timezone: str, start: date, stop: date) -> Stamps:
    """Return the offset changes of a time zone as `Schedule.offsets`, int64 (2, k)."""
    zone = ZoneInfo(timezone)
    first = int(datetime(start.year, start.month, start.day, tzinfo=UTC).timestamp())
    days = first + 86_400 * np.arange((stop - start).days + 1)
    offsets = [_offset_seconds(zone, int(day)) for day in days]
    changes = [(first, offsets[0])]
    for i in np.flatnonzero(np.diff(offsets)):
        changes.append((_change(zone, int(days[i]), int(days[i + 1])), offsets[i + 1]))
    return np.ascontiguousarray(np.array(changes, dtype=np.int64).T * _SECOND)


def _offset_seconds(zone: ZoneInfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """Return the first second with the offset of `after`, by bisection."""
    new = _offset_seconds(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if _offset_seconds(zone, middle) == new else (middle, after)
    return after


def to_utc(local: NDArray[np.int64], offsets: Stamps) -> Stamps:
    """Return UTC nanoseconds of wall-clock nanoseconds; an hour that occurs twice is either of them."""
    guess = local - _offset_at(local, offsets)
    return np.asarray(local - _offset_at(guess, offsets))


def _offset_at(stamps: Stamps, offsets: Stamps) -> Stamps:
    index = np.searchsorted(offsets[SINCE], stamps, side="right") - 1
    return np.asarray(offsets[OFFSET, np.maximum(index, 0)])
