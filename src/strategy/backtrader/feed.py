"""Backtrader feeds over `Bars`."""

from __future__ import annotations

from typing import Any

import backtrader as bt

from lockstep.market.bars import Bars
from lockstep.market.timeframe import Timeframe
from lockstep.strategy.matching import Bar

_NANOSECONDS_PER_DAY = 86_400_000_000_000
_DAYS_BEFORE_1970 = 719_163


def backtrader_days(end: int) -> float:
    """Return `end` (UTC ns) as Backtrader counts time: days since the year 1, a float.

    Such a float resolves about ten microseconds; Lockstep uses it to order feeds and nothing else.
    """
    return _DAYS_BEFORE_1970 + end / _NANOSECONDS_PER_DAY


def backtrader_timeframe(timeframe: Timeframe) -> tuple[int, int]:
    """Return Backtrader's (timeframe, compression)."""
    return (bt.TimeFrame.Days, 1) if timeframe.is_session else (bt.TimeFrame.Minutes, timeframe.minutes)


class StampedFeed(bt.feed.DataBase):
    """A feed that knows the exact stamp (UTC ns) and the prices of the bar that the engine stands on.

    It writes its lines itself and leaves out what Backtrader does beside: filters, time zones and date
    ranges, which no feed here has, and attributes for the tick, which only Backtrader's own broker reads.
    """

    in_step = False
    """Whether all feeds of a run step together: each has the bar of the same stamp, or none."""

    def __init__(self) -> None:
        super().__init__()
        lines = self.lines
        self._clock_line = lines[0]
        self._columns = (
            lines.datetime, lines.open, lines.high, lines.low, lines.close, lines.volume, lines.openinterest,
        )  # fmt: skip

    def __len__(self) -> int:
        return int(self._clock_line.lencount)

    def stamp(self) -> int:
        """Return the end (UTC ns) of the present bar."""
        raise NotImplementedError

    def prices(self) -> Bar:
        """Return (open, high, low, close) of the present bar."""
        raise NotImplementedError

    def _write(self, end: int, prices: Bar, volume: float) -> None:
        """Lengthen the lines by one bar, and step to it."""
        for line, value in zip(self._columns, (backtrader_days(end), *prices, volume, 0.0), strict=True):
            line.array.append(value)
            line._idx += 1
            line.lencount += 1

    def _tick_fill(self, force: bool = False) -> None:
        """Do nothing: nothing here reads ticks."""

    def _tick_nullify(self) -> None:
        """Do nothing: nothing here reads ticks."""


class BarsFeed(StampedFeed):
    """Feeds `bars`."""

    params = (("bars", None),)

    def __init__(self) -> None:
        super().__init__()
        bars: Bars = self.p.bars
        self._ends: list[int] = bars.end.tolist()
        prices = (column.tolist() for column in (bars.open, bars.high, bars.low, bars.close))
        self._prices: list[Bar] = list(zip(*prices, strict=True))
        self._volumes: list[float] = bars.volume.tolist()
        self._loaded = 0

    def stamp(self) -> int:
        """Return the end (UTC ns) of the present bar."""
        return self._ends[len(self) - 1]

    def prices(self) -> Bar:
        """Return (open, high, low, close) of the present bar."""
        return self._prices[len(self) - 1]

    def load(self) -> bool:
        """Step to the next bar; False where there is none."""
        row = self._loaded
        if row == len(self._ends):
            return False
        self._write(self._ends[row], self._prices[row], self._volumes[row])
        self._loaded += 1
        return True


def bars_feed(bars: Bars, *, name: str = "") -> Any:
    """Return a `BarsFeed` of `bars`, named by its symbol or as said, with its timeframe and compression."""
    timeframe, compression = backtrader_timeframe(bars.timeframe)
    make: Any = BarsFeed  # Backtrader's metaclass takes what the type does not declare
    return make(bars=bars, name=name or bars.symbol, timeframe=timeframe, compression=compression)
