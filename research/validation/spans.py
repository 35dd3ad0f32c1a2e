"""Lengths of training and test windows: bars, days, months or years."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import numpy as np

from lockstep.errors import ConfigError

DAY = 86_400_000_000_000
_SPELLING = re.compile(r"(\d+)\s*([bdmy]?)")
_MONTHS = {"m": 1, "y": 12}


@dataclass(frozen=True)
class Span:
    """A positive length in one unit: `b` bars, `d` days of 24 hours, `m` or `y` calendar months or years."""

    length: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the span spelled as `4y`, `6m`, `90d`, `250b`, or `90` for days; ConfigError otherwise."""
        found = _SPELLING.fullmatch(text.strip().lower())
        if found is None or int(found[1]) == 0:
            raise ConfigError(f"span {text!r}: need a positive number and b, d, m or y, such as 4y or 90d")
        return cls(int(found[1]), found[2] or "d")

    def __str__(self) -> str:
        return f"{self.length}{self.unit}"

    @property
    def in_bars(self) -> bool:
        """Whether the span counts bars, not time."""
        return self.unit == "b"

    def after(self, position: int, times: int = 1) -> int:
        """Return `position` + `times` spans: a bar number for bars, else UTC nanoseconds.

        Calendar spans keep the day of the month, or take the month's last day where it is shorter; many
        years are added at once, so that a 29 February does not move all later windows.
        """
        count = self.length * times
        if self.in_bars:
            return position + count
        if self.unit == "d":
            return position + count * DAY
        return _plus_months(position, count * _MONTHS[self.unit])


def _plus_months(stamp: int, months: int) -> int:
    start = _month_start(stamp)
    days, time_of_day = divmod(stamp - _nanoseconds(start), DAY)
    target = start + np.timedelta64(months, "M")
    last_day = (_nanoseconds(target + np.timedelta64(1, "M")) - _nanoseconds(target)) // DAY - 1
    return _nanoseconds(target) + min(days, last_day) * DAY + time_of_day


def _month_start(stamp: int) -> np.datetime64:
    month: np.datetime64 = np.datetime64(stamp, "ns").astype("datetime64[M]")
    return month


def _nanoseconds(month: np.datetime64) -> int:
    return int(month.astype("datetime64[ns]").astype(np.int64))
