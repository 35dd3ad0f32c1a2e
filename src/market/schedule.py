"""`Schedule`: a stretch of a trading calendar as arrays that compiled code can search."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import CalendarError
from lockstep.market.bars import Stamps

DAY = 86_400_000_000_000
MINUTE = 60_000_000_000
_SECOND = 1_000_000_000

# Rows of Schedule.table, one column per session.
DATE, OPEN, CLOSE, NOMINAL_OPEN, NOMINAL_CLOSE = range(5)
# Rows of Schedule.offsets, one column per change of the offset from UTC.
SINCE, OFFSET = range(2)

_EARLIEST, _LATEST = 1680, 2260  # int64 nanoseconds, and a margin of a year on either side


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """Sessions of whole calendar years, so that every month in it is counted in full.

    table     int64 (5, m), rows DATE (days since 1970), OPEN, CLOSE (scheduled: special opens and early
              closes included), NOMINAL_OPEN and NOMINAL_CLOSE (the template's wall clock); UTC nanoseconds
    offsets   int64 (2, k), rows SINCE (UTC nanoseconds, rising) and OFFSET (local time minus UTC)
    first, last   stamps between these have their session, and its whole month, in the table
    """

    table: Stamps
    offsets: Stamps
    first: int
    last: int


def build_schedule(
    calendar: str, timezone: str, open_minute: int, close_minute: int, stamps: tuple[int, int]
) -> Schedule:
    """Return the schedule of the years around `stamps` (first, last; UTC nanoseconds).

    open_minute and close_minute count from local midnight of the session date (negative: the day
    before). CalendarError where the calendar is unknown or does not reach that far.
    """
    first_year, last_year = (_year(stamp) for stamp in stamps)
    start, stop = date(first_year - 1, 1, 1), date(last_year + 1, 12, 31)
    dates, opens, closes = _calendar_sessions(calendar, start, stop)
    offsets = utc_offsets(timezone, start - timedelta(days=2), stop + timedelta(days=2))
    midnight = dates * DAY
    nominal_open = to_utc(midnight + open_minute * MINUTE, offsets)
    nominal_close = to_utc(midnight + close_minute * MINUTE, offsets)
    # A calendar whose sessions are whole days (24/5) only says which days there are.
    opens = np.where(closes - opens == DAY, np.minimum(opens, nominal_open), opens)
    table = np.stack([
        dates,
        np.maximum(opens, nominal_open),
        np.minimum(closes, nominal_close),
        nominal_open,
        nominal_close,
    ])  # fmt: skip
    return Schedule(
        table=table,
        offsets=offsets,
        first=_nanoseconds(start + timedelta(days=31)),
        last=_nanoseconds(stop - timedelta(days=31)),
    )


def _year(stamp: int) -> int:
    year = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=stamp // 1000)).year
    if not _EARLIEST < year < _LATEST:
        raise CalendarError(f"year {year}: must be between {_EARLIEST} and {_LATEST}; check the stamps")
    return year


def _nanoseconds(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY


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
