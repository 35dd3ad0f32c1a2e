"""Ranges of session dates: what a backtest trades, where variants are trained, what stays sealed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Self

import numpy as np
from pydantic import model_serializer, model_validator

from lockstep.errors import ConfigError, NoBars
from lockstep.market.bars import Bars
from lockstep.market.history import Market
from lockstep.market.sessions import Dates
from lockstep.settings import Settings

Day = str | date | None
"""A session date as people give it: an ISO string, a date, or None for an end that is left open."""

# Stamps are nanoseconds in 64 bits: no bar is earlier or later.
FIRST, LAST = date(1678, 1, 1), date(2261, 12, 31)


class DateRange(Settings):
    """First and last session date, both inclusive; a file gives them as a pair `[2010-01-01, 2014-12-31]`.

    `DateRange()` is all there is. Bars before `start` fill the feature windows and are not traded.

    Example:
        >>> print(DateRange.of("2010-01-01", "2014-12-31"))
        2010-01-01 to 2014-12-31
        >>> DateRange.of(end="2014-12-31").overlaps(DateRange.of("2014-12-31"))
        True
    """

    start: date = FIRST
    end: date = LAST

    @classmethod
    def of(cls, start: Day = None, end: Day = None) -> Self:
        """Return a range from ISO strings or dates, None for an open end.

        ConfigError for a text that is no date, and for a range that ends before it starts.
        """
        first, last = as_day("start", start) or FIRST, as_day("end", end) or LAST
        if first > last:
            raise ConfigError(f"start {first}, end {last}: starts after it ends; swap the dates")
        return cls(start=first, end=last)

    @model_validator(mode="before")
    @classmethod
    def _from_pair(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and len(value) == 2:
            return {"start": value[0], "end": value[1]}
        if not isinstance(value, Mapping | DateRange):
            raise ValueError("need the first and the last date, such as [2010-01-01, 2014-12-31]")
        return value

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.start > self.end:
            raise ValueError(f"{self}: starts after it ends; turn the dates round")
        return self

    @model_serializer
    def _as_pair(self) -> list[str]:
        return [self.start.isoformat(), self.end.isoformat()]

    def __str__(self) -> str:
        start = "the start" if self.start == FIRST else self.start
        return f"{start} to {'the end' if self.end == LAST else self.end}"

    def overlaps(self, other: DateRange) -> bool:
        """Whether the two share a day."""
        return self.start <= other.end and other.start <= self.end

    def select(self, bars: Bars, market: Market) -> slice:
        """Return the rows of `bars` within the range; NoBars where there is none."""
        return self.rows(market.session.dates(bars.end, bars.timeframe), bars.source)

    def rows(self, dates: Dates, source: str) -> slice:
        """Return the rows of bars with these session dates, datetime64[D] (n,), likewise."""
        first = np.searchsorted(dates, np.datetime64(self.start))
        last = np.searchsorted(dates, np.datetime64(self.end), side="right")
        if first >= last:
            there = f"{dates[0]} to {dates[-1]}" if dates.size else "no bars at all"
            raise NoBars(f"{source}: nothing from {self}: it holds {there}")
        return slice(int(first), int(last))


def as_day(name: str, value: Day) -> date | None:
    """Return a session date from an ISO string or a date; ConfigError, naming it, for anything else."""
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ConfigError(f"{name} {value!r}: must be a date like 2024-01-31") from error
