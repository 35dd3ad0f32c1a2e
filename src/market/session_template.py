"""`SessionTemplate`: the nominal trading hours of a market, as `instruments.yml` declares them."""

from __future__ import annotations

import re
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, field_validator

_CLOCK = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
MINUTES_PER_DAY = 24 * 60


def clock_minute(text: str) -> int:
    """Return minutes after midnight of a wall-clock time "HH:MM", 00:00 to 24:00; ValueError otherwise."""
    match = _CLOCK.fullmatch(text)
    minutes = -1 if match is None else int(match.group(1)) * 60 + int(match.group(2))
    if not 0 <= minutes <= MINUTES_PER_DAY:
        raise ValueError(f'clock time {text!r}: write it quoted, as "HH:MM" from "00:00" to "24:00"')
    return minutes


class SessionTemplate(BaseModel):
    """The nominal session of a market; the calendar supplies the days, early closes and late opens.

    calendar      name of an exchange_calendars calendar
    timezone      IANA name; open and close are wall clock there
    open, close   "HH:MM"; an open at or after the close is on the calendar day before the session date
    grid          where intraday buckets are counted from: `session`, the nominal open (futures: 18:00 +
                  n bars), or `clock`, local midnight (equities: 10:00, 11:00 …; the bar that ends at 10:00
                  also takes what a file has before the open at 09:30). The scheduled and the nominal
                  close end a bucket either way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    calendar: str
    timezone: str
    open: str
    close: str
    grid: Literal["session", "clock"] = "session"

    @field_validator("open", "close", mode="before")
    @classmethod
    def _is_clock(cls, value: object) -> str:
        text = str(value)
        clock_minute(text)
        return text

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        return known_timezone(value)

    @property
    def sessions_per_year(self) -> float:
        """How many sessions annualise: 252, or 365 for a market that never closes."""
        return 365.0 if self.calendar == "24/7" else 252.0

    @property
    def open_minute(self) -> int:
        """Minutes from local midnight of the session date to the open; negative on the day before."""
        minute = clock_minute(self.open)
        return minute - MINUTES_PER_DAY if minute >= self.close_minute else minute

    @property
    def close_minute(self) -> int:
        """Minutes from local midnight of the session date to the close."""
        return clock_minute(self.close)


def known_timezone(name: str) -> str:
    """Return `name` if the time zone exists; ValueError otherwise."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"timezone {name!r}: unknown; use an IANA name like America/New_York") from error
    return name
