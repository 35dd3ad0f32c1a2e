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


class BarsFeed(bt.feed.DataBase):
    """Feeds `bars` and knows the exact stamp of the bar that the engine stands on."""

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

    def _load(self) -> bool:
        if self._loaded == len(self._ends):
            return False
        lines = self.lines
        lines.datetime[0] = backtrader_days(self._ends[self._loaded])
        lines.open[0], lines.high[0], lines.low[0], lines.close[0] = self._prices[self._loaded]
        lines.volume[0] = self._volumes[self._loaded]
        lines.openinterest[0] = 0.0
        self._loaded += 1
        return True


def bars_feed(bars: Bars) -> Any:
    """Return a `BarsFeed` of `bars`, named by its symbol, with explicit timeframe and compression."""
    timeframe, compression = backtrader_timeframe(bars.timeframe)
    make: Any = BarsFeed  # Backtrader's metaclass takes what the type does not declare
    return make(bars=bars, name=bars.symbol, timeframe=timeframe, compression=compression)
