"""`SessionTemplate`: the trading hours of a market, as `instruments.yml` declares them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationInfo, field_validator, model_validator

from lockstep.settings import Grown

_CLOCK = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
MINUTES_PER_DAY = 24 * 60

Pause = tuple[str, str] | None


def clock_minute(text: str) -> int:
    """Return minutes after midnight of a wall-clock time "HH:MM", 00:00 to 24:00; ValueError otherwise."""
    match = _CLOCK.fullmatch(text)
    minutes = -1 if match is None else int(match.group(1)) * 60 + int(match.group(2))
    if not 0 <= minutes <= MINUTES_PER_DAY:
        raise ValueError(f'clock time {text!r}: write it quoted, as "HH:MM" from "00:00" to "24:00"')
    return minutes


def _checked_clock(value: object) -> str:
    text = str(value)
    clock_minute(text)
    return text


class _Part(Grown):
    @field_validator("open", "close", "rolls", mode="before", check_fields=False)
    @classmethod
    def _is_clock(cls, value: object) -> str | None:
        return None if value is None else _checked_clock(value)

    @field_validator("pause", mode="before", check_fields=False)
    @classmethod
    def _is_pause(cls, value: object) -> Pause:
        if value is None:
            return None
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise ValueError(f'pause {value!r}: write it as [start, end], ["07:45", "08:30"]')
        return _checked_clock(value[0]), _checked_clock(value[1])


class EarlierHours(_Part):
    """Hours that were in force up to and including the session date `until`.

    open, close   None: the template's; pause   None: there was none
    """

    until: date
    open: str | None = None
    close: str | None = None
    pause: Pause = None


class SessionException(_Part):
    """A session that departs from the calendar: no session at all, or another open or close.

    A date that the calendar does not hold becomes a session. An open or close that is not given is the
    regular one of that date, whatever the calendar says.
    """

    date: date
    open: str | None = None
    close: str | None = None
    closed: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.closed and (self.open or self.close):
            raise ValueError(f"exception {self.date}: is closed and has hours; give one of them")
        return self


class SessionTemplate(_Part):
    """The regular session of a market; the calendar supplies the days, early closes and late opens.

    calendar      name of an exchange_calendars calendar
    timezone      IANA name; all times are wall clock there
    open, close   "HH:MM"; an open at or after the close is on the calendar day before the session date
    pause         [start, end] of a break within the session (grains: 07:45 to 08:30)
    rolls         when the session date changes and session bars are complete; None: at the close. Markets
                  whose daily bars are compared share it: grains close at 13:20 and roll at 16:00 Chicago.
    grid          where intraday buckets are counted from: `session`, the nominal open (futures: 18:00 +
                  n bars), or `clock`, local midnight (equities: 10:00, 11:00 …; the bar that ends at 10:00
                  also takes what a file has before the open at 09:30). The scheduled and the nominal
                  close end a bucket either way, and so does a pause that lasts to the bucket's end.
    earlier       hours that are no longer in force, by their last session date
    exceptions    dates on which the calendar is wrong for this market; YAML: {2025-01-09: {close: "09:30"}}
    """

    LATER: ClassVar[frozenset[str]] = frozenset({"pause", "rolls", "earlier", "exceptions"})

    name: str
    calendar: str
    timezone: str
    open: str
    close: str
    pause: Pause = None
    rolls: str | None = None
    grid: Literal["session", "clock"] = "session"
    earlier: tuple[EarlierHours, ...] = ()
    exceptions: tuple[SessionException, ...] = Field(default=(), repr=False)

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        return known_timezone(value)

    @field_validator("exceptions", mode="before")
    @classmethod
    def _by_date(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return [_dated(day, entry) for day, entry in value.items()]
        return value

    @field_validator("exceptions", "earlier")
    @classmethod
    def _in_order(cls, value: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        key = "date" if info.field_name == "exceptions" else "until"
        ordered = sorted(value, key=lambda each: getattr(each, key))
        days = [getattr(each, key) for each in ordered]
        for day, following in pairwise(days):
            if day == following:
                raise ValueError(f"{info.field_name}: {day} occurs twice; give it once")
        return tuple(ordered)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for hours in (self.today, *self.earlier):
            self._require_order(hours)
        if self.rolls and not self.close_minute <= self.roll_minute <= self.open_minute + MINUTES_PER_DAY:
            raise ValueError(f"rolls {self.rolls!r}: must lie between a close and the open that follows it")
        for each in self.exceptions:
            self._require_order(EarlierHours(until=each.date, open=each.open, close=each.close))
            self._require_inside(each)
        return self

    def _require_inside(self, exception: SessionException) -> None:
        regular = next((each for each in self.earlier if exception.date <= each.until), self.today)
        earliest, latest = self.hours(regular)
        opened, closed = self.hours(
            EarlierHours(until=exception.date, open=exception.open, close=exception.close)
        )
        if opened < earliest or closed > latest:
            raise ValueError(
                f"exception {exception.date}: {exception.open or self.open} to "
                f"{exception.close or self.close} is longer than the regular session; shorten it"
            )

    def _require_order(self, hours: EarlierHours) -> None:
        opened, closed = self.hours(hours)
        pause = self.pause_minutes(hours)
        points = [opened, *(pause or ()), closed]
        overlaps = closed > self.open_minute + MINUTES_PER_DAY
        if points != sorted(points) or opened == closed or overlaps or (pause and pause[0] == pause[1]):
            shown = f"{hours.open or self.open} to {hours.close or self.close}"
            raise ValueError(
                f"hours {shown}{f', pause {list(hours.pause)}' if hours.pause else ''}: "
                "a session opens, pauses and closes in this order, before the next one opens"
            )

    @property
    def today(self) -> EarlierHours:
        """The hours that are in force now, in the form of earlier ones."""
        return EarlierHours(until=date.max, pause=self.pause)

    @property
    def sessions_per_year(self) -> float:
        """How many sessions annualise: 252, or 365 for a market that never closes."""
        return 365.0 if self.calendar == "24/7" else 252.0

    @property
    def open_minute(self) -> int:
        """Minutes from local midnight of the session date to the open; negative on the day before."""
        return self._minute(self.open)

    @property
    def close_minute(self) -> int:
        """Minutes from local midnight of the session date to the close."""
        return clock_minute(self.close)

    @property
    def roll_minute(self) -> int:
        """Minutes from local midnight of the session date to the moment at which the date changes."""
        return clock_minute(self.rolls or self.close)

    def hours(self, hours: EarlierHours) -> tuple[int, int]:
        """Return (open, close) as minutes from local midnight of the session date."""
        close = clock_minute(hours.close or self.close)
        return self._minute(hours.open or self.open, close), close

    def pause_minutes(self, hours: EarlierHours) -> tuple[int, int] | None:
        """Return (start, end) of the pause, likewise, or None."""
        if hours.pause is None:
            return None
        start, end = (self._minute(text, clock_minute(hours.close or self.close)) for text in hours.pause)
        return start, end

    def _minute(self, text: str, close: int | None = None) -> int:
        """Return minutes from local midnight of the session date; the close and later are the day before."""
        minute = clock_minute(text)
        last = max(self.close_minute, close or 0)
        return minute - MINUTES_PER_DAY if minute >= last else minute


def _dated(day: object, entry: object) -> object:
    if isinstance(day, datetime | date) and isinstance(entry, Mapping):
        return {"date": day, **entry}
    raise ValueError(
        f'exceptions: {day!r}: {entry!r}: write a date and its hours, 2025-01-09: {{close: "09:30"}}'
    )


def known_timezone(name: str) -> str:
    """Return `name` if the time zone exists; ValueError otherwise."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"timezone {name!r}: unknown; use an IANA name like America/New_York") from error
    return name
