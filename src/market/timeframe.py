"""Timeframes: `15min`, `1h`, `1d`. One spelling each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lockstep.errors import ConfigError

NANOSECONDS_PER_MINUTE = 60_000_000_000
_SPELLING = re.compile(r"([1-9]\d*)(min|h|d)")
_MINUTES = {"min": 1, "h": 60}


@dataclass(frozen=True, order=True)
class Timeframe:
    """The length of a bar.

    `minutes` is the length in minutes, or 0 for one whole session (`1d`). A session is not a number
    of minutes: half-days and daylight saving change it.

    >>> Timeframe.parse("15min").minutes
    15
    >>> Timeframe.parse("1d").is_session
    True
    """

    minutes: int

    @classmethod
    def parse(cls, text: str) -> Timeframe:
        """Return the timeframe spelled `text`; ConfigError where it is not one.

        Whole hours are spelled in hours (`1h`, not `60min`), since the spelling is part of feature ids.
        """
        match = _SPELLING.fullmatch(text)
        if match is None:
            raise ConfigError(f"timeframe {text!r}: expected like 15min, 1h or 1d")
        count, unit = int(match.group(1)), match.group(2)
        if unit == "d":
            if count != 1:
                raise ConfigError(f"timeframe {text!r}: the longest is 1d, one session")
            return cls(0)
        timeframe = cls(count * _MINUTES[unit])
        if str(timeframe) != text:
            raise ConfigError(f"timeframe {text!r}: spelled {timeframe} here")
        if timeframe.minutes >= 24 * 60:
            raise ConfigError(f"timeframe {text!r}: intraday bars are shorter than 24h; use 1d")
        return timeframe

    @property
    def is_session(self) -> bool:
        """Whether a bar is one whole session."""
        return self.minutes == 0

    @property
    def nanoseconds(self) -> int:
        """Length in nanoseconds; 0 for a session."""
        return self.minutes * NANOSECONDS_PER_MINUTE

    def __str__(self) -> str:
        if self.is_session:
            return "1d"
        hours, rest = divmod(self.minutes, 60)
        return f"{self.minutes}min" if rest else f"{hours}h"


DAILY = Timeframe(0)
