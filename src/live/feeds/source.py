"""`InboxSource`: feeds, inbox and synchroniser as the one place that the engine waits at."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from lockstep.errors import EngineFault, LiveError
from lockstep.live.feeds.inbox import Inbox, Item
from lockstep.live.feeds.protocol import LiveFeed
from lockstep.live.feeds.synchroniser import END_OF_TIME, Synchroniser
from lockstep.live.messages import Arrival, Irregularity, Release, Values
from lockstep.live.quarantine import Quarantine
from lockstep.live.silence import Silence
from lockstep.market.history import SeriesKey

SECOND = 1_000_000_000

Known = Mapping[SeriesKey, Sequence[tuple[int, Values]]]


class InboxSource:
    """Blocks until a whole bar set is released.

    synchronise   makes the synchroniser, from the bars that the windows hold
    clock         wall time, UTC ns; None for replays, whose time is that of their newest bar
    silence       notices live series that fall silent
    beat          seconds after which `next` returns, at the latest, so that the engine looks outside
    """

    def __init__(
        self,
        feeds: Sequence[LiveFeed],
        synchronise: Callable[[Known], Synchroniser],
        *,
        inbox: Inbox | None = None,
        clock: Callable[[], int] | None = None,
        silence: Silence | None = None,
        beat: float = 1.0,
    ) -> None:
        self.inbox = Inbox() if inbox is None else inbox
        self._feeds = feeds
        self._synchronise = synchronise
        self._clock = clock
        self._silence = silence
        self._beat = beat
        self._synchroniser: Synchroniser | None = None
        self._event_time = 0
        self._items: deque[Item] = deque()
        self._drained = False

    def resume(self, known: Known, quarantine: Quarantine | None = None) -> None:
        """Begin to deliver what comes after the bars that the windows hold; see `Source`."""
        self._synchroniser = self._synchronise(known)
        after = {key: bars[-1][0] for key, bars in known.items() if bars}
        self._event_time = max(after.values(), default=0)
        self._synchroniser.restore(quarantine or Quarantine(), self.now())
        if self._silence is not None:
            self._silence.resume(after, self.now())
        for feed in self._feeds:
            feed.start(self.inbox, {key: after[key] for key in feed.keys if key in after})

    @property
    def finished(self) -> bool:
        """Whether no set will come any more."""
        return self._drained

    def now(self) -> int:
        """Return the time that graces run by."""
        return self._clock() if self._clock else self._event_time

    def next(self, until: int | None) -> Release | None:
        """Return the next released set; None at `until`, after a beat without one, or when woken."""
        synchroniser = self._running()
        ended = all(feed.finished for feed in self._feeds) and not len(self.inbox) and not self._items
        release = synchroniser.release(END_OF_TIME if ended else self.now())
        if release is not None or ended:
            self._drained = release is None
            return release
        self._require_health()
        if not self._items:
            self._items.extend(self.inbox.get(self._patience(until)))
        while self._items and release is None:
            if self._comes_first(until):
                return None
            self._offer_moment()
            release = synchroniser.release(self.now())
        return release

    def _comes_first(self, until: int | None) -> bool:
        """In a replay, let `until` be now where it lies before what was received next."""
        received = _moment(self._items[0])
        if self._clock or until is None or received is None or not self._event_time < until < received:
            return False
        self._event_time = until
        return True

    def _offer_moment(self) -> None:
        """Hand over what has come; of a replay one moment: its time never runs ahead of what was decided."""
        first = _moment(self._items[0])
        while self._items and (self._clock or _moment(self._items[0]) in (None, first)):
            item = self._items.popleft()
            if isinstance(item, Arrival):
                self._event_time = max(self._event_time, item.received)
                if self._silence is not None:
                    self._silence.heard(item)
            self._running().offer(item)

    def reports(self) -> tuple[Irregularity, ...]:
        """Return what was irregular since the last set; of a replay it comes with the next one."""
        if not self._clock:
            return ()
        silent = self._silence.overdue(self._clock()) if self._silence is not None else ()
        return (*self._running().take_reports(), *silent)

    def decide(self, key: SeriesKey, end: int, decision: str) -> None:
        """Carry out what the operator decided about a quarantined bar."""
        self._running().decide(key, end, decision)

    def settle(self) -> None:
        """Answer whoever delivered what is journaled by now."""
        self.inbox.settle(self._running().outcome)

    def wake(self) -> None:
        """Make `next` return."""
        self.inbox.wake()

    def close(self) -> None:
        """End all feeds."""
        self.inbox.close()
        for feed in self._feeds:
            feed.stop()

    def _running(self) -> Synchroniser:
        if self._synchroniser is None:
            raise LiveError("the source was asked before `resume`")
        return self._synchroniser

    def _patience(self, until: int | None) -> float:
        """Return for how many seconds to wait: the source of a replay is quick, a live one beats."""
        moments = [each for each in (self._running().due(self.now()), until) if each is not None]
        if self._clock is None or not moments:
            return self._beat
        return min(max(min(moments) - self.now(), 0) / SECOND, self._beat)

    def _require_health(self) -> None:
        for feed in self._feeds:
            if feed.failure:
                raise EngineFault(f"feed {feed.name}: {feed.failure}")


def _moment(item: Item) -> int | None:
    return item.received if isinstance(item, Arrival) else None
