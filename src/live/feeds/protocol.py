"""`LiveFeed`: where bars come from; `FeedSettings`: what makes one of a section of live.yml.

`SteadyClock`: wall time that never goes back.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field

from lockstep.live.feeds.inbox import Inbox
from lockstep.market.config import InstrumentBook
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import Timeframe
from lockstep.plugs import PlugSettings, ReadSecret

Clock = Callable[[], int]


class SteadyClock:
    """UTC nanoseconds of now, carried on by the monotonic clock where the wall clock is set back.

    A wall clock that is set forward, at boot or after a suspension, is followed. One clock is shared by all
    feeds and the engine, so that no grace period is stretched.
    """

    def __init__(self, wall: Clock = time.time_ns, monotonic: Clock = time.monotonic_ns) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def __call__(self) -> int:
        """Return now."""
        elapsed = self._monotonic()
        self._offset = max(self._offset, self._wall() - elapsed)
        return self._offset + elapsed


SECOND = 1_000_000_000

Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Pause = Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65_535)]


class LiveFeed(Protocol):
    """Delivers completed bars of `keys` to an inbox, from its own threads.

    To stop it, call `inbox.close()`, then `feed.stop()`: the former wakes a feed that waits for room.

    >>> from lockstep.live.feeds.replay import ReplayFeed
    >>> all(callable(getattr(ReplayFeed, name)) for name in ("start", "stop"))
    True
    """

    @property
    def name(self) -> str:
        """The feed's name in messages and in `Arrival.origin`."""

    @property
    def keys(self) -> frozenset[SeriesKey]:
        """The series that it delivers."""

    @property
    def finished(self) -> bool:
        """Whether the feed has delivered its last bar; consumed when `finished and not len(inbox)`."""

    @property
    def failure(self) -> str | None:
        """Why it ended before it was stopped, or None."""

    def start(self, inbox: Inbox, after: Mapping[SeriesKey, int]) -> None:
        """Begin; bars that end at or before `after` (newest journaled end by series) are left out."""

    def stop(self) -> None:
        """End; returns when no thread of the feed is running."""


@dataclass(frozen=True, kw_only=True)
class FeedDesk:
    """What a feed is made from.

    needs     the series that the models read, with the longest window of each in bars
    settled   bars of the history files: only a replay delivers them
    clock     UTC nanoseconds; the one clock of all feeds and the engine
    """

    needs: Mapping[SeriesKey, int]
    settled: History
    book: InstrumentBook
    clock: Clock
    secret: ReadSecret

    def timeframes(self, symbol: str) -> tuple[Timeframe, ...]:
        """Return the timeframes of a symbol that the models read, shortest first."""
        return tuple(sorted({key.timeframe for key in self.needs if key.symbol == symbol}))


class FeedSettings(PlugSettings):
    """An entry of `feeds` in live.yml; a subclass fixes `kind` and adds the feed's own keys."""

    @abstractmethod
    def feed(self, desk: FeedDesk) -> LiveFeed:
        """Return the feed; ConfigError or LiveError where it cannot be made as declared."""

    def sources(self) -> Sequence[str]:
        """Return the sources of instruments.yml by which it reads rows: they enter the epoch's hash."""
        return ()


def nanoseconds_of(seconds: float | None) -> int | None:
    """Return seconds of a configuration as nanoseconds."""
    return None if seconds is None else int(seconds * SECOND)
