"""The stage between bar sets and Cerebro: feeds that wait until a whole set is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import backtrader as bt

from lockstep.live.messages import Release
from lockstep.market.history import SeriesKey
from lockstep.strategy.feed import backtrader_days, backtrader_timeframe
from lockstep.strategy.matching import Bar


class Stage:
    """Hands the bars of one set to the feeds of one Cerebro, round by round.

    A round begins when the first feed asks after the broker has run. `advance` is then called: it finishes
    what came of the set before, blocks until there is another one, and returns None at the end.
    """

    def __init__(self, advance: Callable[[], Release | None]) -> None:
        self._advance = advance
        self._present: Release | None = None
        self._ended = False
        self._in_round = False
        self._handed: set[SeriesKey] = set()

    def bar(self, key: SeriesKey) -> tuple[int, tuple[float, ...]] | None:
        """Return (stamp, values) of a series in the present set, once; None where it has no bar there."""
        if not self._in_round and not self._ended:
            self._present = self._advance()
            self._ended = self._present is None
            self._handed.clear()
            self._in_round = True
        if self._present is None or key in self._handed or key not in self._present.bars:
            return None
        self._handed.add(key)
        return self._present.stamp, self._present.bars[key]

    @property
    def ended(self) -> bool:
        """Whether no set will come any more."""
        return self._ended

    def close_round(self) -> None:
        """Say that all feeds were asked: the broker runs, then the strategies."""
        self._in_round = False


class StageFeed(bt.feed.DataBase):
    """The feed of one traded series; like `BarsFeed`, it knows the exact stamp of its bar."""

    params = (("stage", None), ("key", None))

    def __init__(self) -> None:
        super().__init__()
        self._stage: Stage = self.p.stage
        self._key: SeriesKey = self.p.key
        self._stamp = 0
        self._prices: Bar = (0.0, 0.0, 0.0, 0.0)

    def stamp(self) -> int:
        """Return the end (UTC ns) of the present bar."""
        return self._stamp

    def prices(self) -> Bar:
        """Return (open, high, low, close) of the present bar."""
        return self._prices

    def islive(self) -> bool:
        """Tell Backtrader not to preload."""
        return True

    def _load(self) -> bool | None:
        bar = self._stage.bar(self._key)
        if bar is None:
            return False if self._stage.ended else None
        self._stamp, values = bar
        self._prices = (values[0], values[1], values[2], values[3])
        lines = self.lines
        lines.datetime[0] = backtrader_days(self._stamp)
        lines.open[0], lines.high[0], lines.low[0], lines.close[0] = self._prices
        lines.volume[0] = values[4]
        lines.openinterest[0] = 0.0
        return True


def stage_feed(stage: Stage, key: SeriesKey) -> Any:
    """Return a `StageFeed` named by its symbol, with explicit timeframe and compression."""
    timeframe, compression = backtrader_timeframe(key.timeframe)
    make: Any = StageFeed
    return make(stage=stage, key=key, name=key.symbol, timeframe=timeframe, compression=compression)
