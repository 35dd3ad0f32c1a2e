"""`Inbox`: the one queue between the threads of feeds and the thread that decides.

`Worker`: the thread of a feed, and how it ended.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from lockstep.errors import FeedError, InboxClosed, InboxFull, LockstepError
from lockstep.live.messages import Arrival, Irregularity

Item = Arrival | Irregularity
Outcomes = tuple[str, ...]


class Receipt:
    """What became of the bars of one delivery, once the engine has written that down."""

    def __init__(self, bars: tuple[Arrival, ...]) -> None:
        self.bars = bars
        self._done = threading.Event()
        self._outcomes: Outcomes | None = None

    def wait(self, timeout: float | None) -> Outcomes | None:
        """Return one word per bar (see `Inbox.settle`); None after `timeout` seconds or without an answer."""
        self._done.wait(timeout)
        return self._outcomes

    def answer(self, outcomes: Outcomes | None) -> None:
        """Wake whoever waits; None: there will be no answer."""
        self._outcomes = outcomes
        self._done.set()


class Inbox:
    """A bounded queue of deliveries: whoever is too fast waits.

    Bars of one delivery stay together. The engine's loop is: `get`, offer each item to the synchroniser,
    release and journal what is ready, `settle`.

    capacity   deliveries that may wait, >= 1
    """

    def __init__(self, capacity: int = 1_024) -> None:
        self._capacity = max(capacity, 1)
        self._changed = threading.Condition()
        self._queue: deque[tuple[tuple[Item, ...], Receipt | None]] = deque()
        self._taken: list[Receipt] = []
        self._closed = False

    def __len__(self) -> int:
        """How many deliveries wait to be taken."""
        return len(self._queue)

    def put(self, items: Sequence[Item], timeout: float | None = None) -> None:
        """Deliver; nothing to deliver is a `wake`.

        InboxFull where there is no room within `timeout` seconds (None: wait), InboxClosed after `close`.
        """
        if items:
            self._append(tuple(items), None, timeout)
        else:
            self.wake()

    def wake(self) -> None:
        """Make `get` return; from any thread or signal handler, with or without room, also after `close`."""
        with self._changed:
            self._queue.append(((), None))
            self._changed.notify_all()

    def submit(self, items: Sequence[Item], timeout: float | None = None) -> Receipt:
        """Deliver as `put` does, and return the receipt that the engine answers when all is journaled."""
        receipt = Receipt(tuple(item for item in items if isinstance(item, Arrival)))
        self._append(tuple(items), receipt, timeout)
        return receipt

    def get(self, timeout: float | None) -> list[Item]:
        """Return all that was delivered, in order; [] where nothing came within `timeout` seconds.

        Also [] after `close`.
        """
        with self._changed:
            self._changed.wait_for(lambda: bool(self._queue) or self._closed, timeout)
            deliveries, self._queue = self._queue, deque()
            self._taken += [receipt for _, receipt in deliveries if receipt is not None]
            self._changed.notify_all()
        return [item for items, _ in deliveries for item in items]

    def settle(self, outcome: Callable[[Arrival], str | None]) -> None:
        """Answer the receipts of taken deliveries of which no bar waits any more.

        `outcome` says what became of a bar, None while it waits (`Synchroniser.outcome`). To be called when
        everything that was released or reported is journaled: the answer promises that.
        """
        waiting: list[Receipt] = []
        for receipt in self._taken:
            found = [outcome(arrival) for arrival in receipt.bars]
            if None in found:
                waiting.append(receipt)
            else:
                receipt.answer(tuple(each for each in found if each is not None))
        self._taken = waiting

    def close(self) -> None:
        """Refuse further deliveries and wake everybody; receipts without an answer stay without."""
        with self._changed:
            self._closed = True
            unanswered = [*self._taken, *(receipt for _, receipt in self._queue if receipt is not None)]
            self._changed.notify_all()
        for receipt in unanswered:
            receipt.answer(None)

    def _append(self, items: tuple[Item, ...], receipt: Receipt | None, timeout: float | None) -> None:
        with self._changed:
            room = self._changed.wait_for(lambda: len(self._queue) < self._capacity or self._closed, timeout)
            if self._closed:
                raise InboxClosed("the engine stopped reading; nothing was delivered")
            if not room:
                raise InboxFull(f"{self._capacity} deliveries wait for the engine; try again later")
            self._queue.append((items, receipt))
            self._changed.notify_all()


_PATIENCE = 10.0
_LOG = logging.getLogger(__name__)


class Worker:
    """Runs `loop` in a thread until it returns, is stopped or fails. `loop` looks at `stopping`."""

    def __init__(self, name: str, loop: Callable[[], None]) -> None:
        self.stopping = threading.Event()
        self._name = name
        self._loop = loop
        self._refusal: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"feed {name}", daemon=True)

    def start(self) -> None:
        """Start the thread; FeedError where it was started before."""
        if self._thread.ident is not None:
            raise FeedError(f"feed {self._name}: was started before; make a new one")
        self._thread.start()

    def stop(self) -> None:
        """Ask the loop to end and wait for it; FeedError where it does not."""
        self.stopping.set()
        if self._thread.ident is None:
            return
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            raise FeedError(f"feed {self._name}: did not stop within {_PATIENCE:g} s; close the inbox first")

    @property
    def failure(self) -> str | None:
        """Why the thread ended unasked, or None."""
        return self._refusal

    def _run(self) -> None:
        try:
            self._loop()
        except InboxClosed:
            pass
        except LockstepError as error:
            self._refusal = str(error)
        except Exception as error:
            _LOG.exception("feed %s: an unexpected error", self._name)
            self._refusal = f"an unexpected {type(error).__name__} ended its thread; see the log"
