"""The stage between bar sets and Cerebro: feeds that wait until a whole set is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lockstep.live.messages import Release
from lockstep.market.history import SeriesKey
from lockstep.strategy.backtrader.feed import StampedFeed, backtrader_timeframe
from lockstep.strategy.matching import Bar


class BarSetStage:
    """Hands the bars of one set to the feeds of one Cerebro, round by round.

    A round begins when the first feed asks after the broker has run. `advance` is then called: it finishes
    what came of the set before, blocks until there is another one, and returns None at the end.
    """

    def __init__(self, advance: Callable[[], Release | None]) -> None:
        self._advance = advance
        self._present: Release | None = None
        self._ended = False
        self._in_round = False

    def present(self) -> Release | None:
        """Return the set of this round; None where no set will come any more."""
        if not self._in_round and not self._ended:
            self._present = self._advance()
            self._ended = self._present is None
            self._in_round = True
        return self._present

    def close_round(self) -> None:
        """Say that all feeds were asked: the broker runs, then the strategies."""
        self._in_round = False


class StageFeed(StampedFeed):
    """The feed of one traded series."""

    params = (("stage", None), ("key", None))
    in_step = True

    def __init__(self) -> None:
        super().__init__()
        self._stage: BarSetStage = self.p.stage
        self._key: SeriesKey = self.p.key
        self._taken: Release | None = None
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

    def next(self, datamaster: Any = None, ticks: bool = True) -> bool | None:
        """Step to the bar of the present set, once; None where it has none, False at the end."""
        return self.load()

    def load(self) -> bool | None:
        """Do what `next` does: no bar of a set is ever too early, and none is loaded before its time."""
        release = self._stage.present()
        if release is None:
            return False
        values = None if release is self._taken else release.bars.get(self._key)
        if values is None:
            return None
        self._taken, self._stamp = release, release.stamp
        self._prices = (values[0], values[1], values[2], values[3])
        self._write(self._stamp, self._prices, values[4])
        return True


def stage_feed(stage: BarSetStage, key: SeriesKey, *, name: str = "") -> Any:
    """Return a `StageFeed` named by its symbol or as said, with explicit timeframe and compression."""
    timeframe, compression = backtrader_timeframe(key.timeframe)
    make: Any = StageFeed
    return make(stage=stage, key=key, name=name or key.symbol, timeframe=timeframe, compression=compression)
