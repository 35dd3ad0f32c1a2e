"""`LiveFeed`: where bars come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from lockstep.live.feeds.inbox import Inbox
from lockstep.market.history import SeriesKey


class LiveFeed(Protocol):
    """Delivers completed bars of `keys` to an inbox, from threads of its own.

    A stop is `inbox.close()` first, then `feed.stop()`: a feed that waits for room is woken by the former.
    """

    @property
    def name(self) -> str:
        """What messages and `Arrival.origin` call it."""

    @property
    def keys(self) -> frozenset[SeriesKey]:
        """The series that it delivers."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to come; then all was delivered: `finished and not len(inbox)`."""

    @property
    def failure(self) -> str | None:
        """Why it ended before it was stopped, or None."""

    def start(self, inbox: Inbox, after: Mapping[SeriesKey, int]) -> None:
        """Begin; bars that end at or before `after` (newest journaled end by series) are left out."""

    def stop(self) -> None:
        """End; returns when no thread of the feed is running."""
