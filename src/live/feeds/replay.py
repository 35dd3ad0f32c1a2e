"""`ReplayFeed`: history as a live feed, at any speed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from itertools import groupby
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lockstep.errors import ConfigError
from lockstep.live.feeds.inbox import Inbox, Worker
from lockstep.live.feeds.protocol import FeedDesk, FeedSettings
from lockstep.live.messages import Arrival
from lockstep.market.history import History, SeriesKey

_SECOND = 1e9


def arrivals_of(history: History, origin: str = "replay") -> Iterator[Arrival]:
    """Yield every bar as if it was received at its end, those of one stamp sorted by series."""
    for bar_set in history.bar_sets():
        for key, values in sorted(bar_set.bars.items()):
            yield Arrival(key, bar_set.stamp, values, bar_set.stamp, origin)


class ReplayFeedSettings(FeedSettings):
    """History as a live feed, from the session date `start` to `end`; bars before `start` warm up.

    speed   how much faster than real time; None as fast as the engine takes them
    """

    kind: Literal["replay"] = "replay"
    start: date
    end: date | None = None
    speed: Annotated[float, Field(gt=0)] | None = None

    def feed(self, desk: FeedDesk) -> ReplayFeed:
        """See `FeedSettings`."""
        return ReplayFeed.of(self._until_end(desk.settled), speed=self.speed)

    def _until_end(self, settled: History) -> History:
        if self.end is None:
            return settled
        after = np.datetime64(self.end) + np.timedelta64(1, "D")
        bars = {key: each.rows(0, first_row(settled, key, after)) for key, each in settled.bars.items()}
        return History(bars=bars, markets=settled.markets)


def first_row(settled: History, key: SeriesKey, day: np.datetime64) -> int:
    """Return the first row of a series whose session date is `day` or later."""
    bars = settled.bars[key]
    dates = settled.markets[key.symbol].session.dates(bars.end, bars.timeframe)
    return int(np.searchsorted(dates, day))


class ReplayFeed:
    """Delivers arrivals in the order given, those received at one moment together. Time is `received`.

    speed   how much faster than their own time: 1 real time, 60 a minute per second; None as fast as the
            engine takes them. It changes no value and no `received`.
    """

    def __init__(
        self,
        arrivals: Iterable[Arrival],
        keys: Iterable[SeriesKey],
        *,
        name: str = "replay",
        speed: float | None = None,
    ) -> None:
        if speed is not None and not speed > 0:
            raise ConfigError(f"feed {name}: speed {speed}: must be positive, or none for full speed")
        self.name = name
        self.keys = frozenset(keys)
        self.finished = False
        self._arrivals = arrivals
        self._speed = speed
        self._after: Mapping[SeriesKey, int] = {}
        self._inbox = Inbox()
        self._worker = Worker(name, self._run)

    @classmethod
    def of(cls, history: History, *, name: str = "replay", speed: float | None = None) -> ReplayFeed:
        """Return a feed of all bars of a history; see `arrivals_of`."""
        return cls(arrivals_of(history, name), history.bars, name=name, speed=speed)

    @property
    def failure(self) -> str | None:
        """See `LiveFeed`."""
        return self._worker.failure

    def start(self, inbox: Inbox, after: Mapping[SeriesKey, int]) -> None:
        """See `LiveFeed`."""
        self._inbox, self._after = inbox, dict(after)
        self._worker.start()

    def stop(self) -> None:
        """See `LiveFeed`."""
        self._worker.stop()

    def _run(self) -> None:
        fresh = (each for each in self._arrivals if each.end > self._after.get(each.key, each.end - 1))
        began: tuple[int, float] | None = None
        for received, together in groupby(fresh, key=lambda each: each.received):
            began = began or (received, time.monotonic())
            if self._stopped_before(received, *began):
                return
            self._inbox.put(list(together))
        self.finished = True
        self._inbox.wake()

    def _stopped_before(self, received: int, first: int, began: float) -> bool:
        """Wait until a moment is due; return whether the feed was stopped."""
        due = 0.0 if self._speed is None else began + (received - first) / _SECOND / self._speed
        return self._worker.stopping.wait(max(due - time.monotonic(), 0.0))
