"""The markets of the simulation: declared instruments, with their calendars as plain lists.

Questions of time are answered here by bisection in these lists and not by the engine's own code, so that
an invariant and the engine can disagree.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from collections.abc import Mapping

import numpy as np

from lockstep.market.config import load_instruments
from lockstep.market.history import Market, SeriesKey
from lockstep.market.timeframe import Timeframe
from lockstep.market.timetable import Timetable

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
FIRST, LAST = np.datetime64("2017-06-01"), np.datetime64("2021-06-30")

LEVELS: Mapping[str, float] = {
    "ES": 2_800.0,
    "NQ": 7_000.0,
    "SPY": 280.0,
    "CL": 60.0,
    "NG": 2.8,
    "BTC-USD": 8_000.0,
}
"""A usual price of each symbol that the simulation trades, in points."""


class Venue:
    """A symbol's market and its calendar; moments are UTC ns.

    dates    session dates, days since 1970; opens, closes   as scheduled, early closes respected
    rolls    nominal closes: a session date ends there
    """

    def __init__(self, symbol: str, market: Market) -> None:
        session = market.session
        dates = session.scheduled_dates(FIRST, LAST)
        rolls = session.nominal_close(dates)
        self.symbol = symbol
        self.market = market
        self.dates: list[int] = dates.astype(np.int64).tolist()
        self.rolls: list[int] = rolls.tolist()
        self.opens: list[int] = session.scheduled_open(rolls).tolist()
        self.closes: list[int] = session.scheduled_close(rolls).tolist()
        self._ends: dict[Timeframe, list[int]] = {}

    def ends(self, timeframe: Timeframe) -> list[int]:
        """Return when every scheduled bar of `timeframe` is complete, rising."""
        if timeframe not in self._ends:
            self._ends[timeframe] = self.rolls if timeframe.is_session else self._intraday(timeframe)
        return self._ends[timeframe]

    def _intraday(self, timeframe: Timeframe) -> list[int]:
        step, session = timeframe.nanoseconds, self.market.session
        inside = [
            np.append(np.arange(opens, closes, step, dtype=np.int64), closes - 1)
            for opens, closes in zip(self.opens, self.closes, strict=True)
        ]
        buckets = session.bucket_end(np.concatenate(inside), timeframe, closed="left")
        return [int(end) for end in np.unique(buckets)]

    def scheduled(self, timeframe: Timeframe, end: int) -> bool:
        """Return whether the calendar has a bar of `timeframe` that ends at `end`."""
        ends = self.ends(timeframe)
        index = bisect_left(ends, end)
        return index < len(ends) and ends[index] == end

    def off_calendar(self, timeframe: Timeframe, day: int) -> int | None:
        """Return a bar's end on the grid that the calendar does not have, from a day on; None far from one.

        A `1d` bar on a date without a session; an intraday one behind an early close.
        """
        session = self.market.session
        for candidate in range(day, day + 8):
            date = np.array([candidate], dtype="M8[D]")
            end = int(session.nominal_close(date)[0])
            if timeframe.is_session and not self.scheduled(timeframe, end):
                return end
            if not timeframe.is_session:
                after = int(session.bucket_end(np.array([end], dtype=np.int64), timeframe, closed="right")[0])
                if not self.scheduled(timeframe, after):
                    return after
        return None

    def session(self, moment: int) -> int:
        """Return the index of the session that `moment` belongs to: a nominal close belongs to its own."""
        return bisect_left(self.rolls, moment)

    def date(self, moment: int) -> int:
        """Return the session date of a moment, days since 1970."""
        return self.dates[self.session(moment)]

    def is_open(self, moment: int) -> bool:
        """Return whether the market trades: scheduled open <= moment < scheduled close."""
        index = bisect_right(self.opens, moment) - 1
        return index >= 0 and moment < self.closes[index]

    def next_open(self, moment: int) -> int:
        """Return `moment` in an open market, else the next scheduled open."""
        return moment if self.is_open(moment) else self.opens[bisect_left(self.opens, moment)]

    def open_time(self, start: int, stop: int) -> int:
        """Return for how many nanoseconds of [start, stop] the market was open."""
        total, index = 0, max(bisect_right(self.opens, start) - 1, 0)
        while index < len(self.opens) and self.opens[index] < stop:
            total += max(0, min(stop, self.closes[index]) - max(start, self.opens[index]))
            index += 1
        return total


@functools.cache
def markets() -> Mapping[str, Market]:
    """Return the market of every declared symbol."""
    return load_instruments().markets


@functools.cache
def venue(symbol: str) -> Venue:
    """Return the venue of a symbol; its calendar is read once in a process."""
    return Venue(symbol, markets()[symbol])


@functools.cache
def timetable(keys: frozenset[SeriesKey]) -> Timetable:
    """Return the timetable of some series: it keeps nothing but the calendar, so that desks may share it."""
    return Timetable({key: markets()[key.symbol].session for key in sorted(keys)})


def key_of(text: str) -> SeriesKey:
    """Return the series that is written `ES:1d`."""
    symbol, _, timeframe = text.rpartition(":")
    return SeriesKey(symbol, Timeframe.parse(timeframe))
