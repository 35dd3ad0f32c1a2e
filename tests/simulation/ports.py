"""The engine's ports as the simulation sees them: every call is an effect at which the process may die."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from lockstep.errors import ModelError
from lockstep.live.brokers.protocol import Message, OnResult, OutboundBroker
from lockstep.live.events import Event
from lockstep.live.feeds.inbox import Inbox, Item, Receipt
from lockstep.live.journal import Journal
from lockstep.live.journal.rows import StoredSet
from lockstep.live.messages import Arrival, OrderIntent, SendResult, SetRecord, Wanted
from lockstep.live.operator.commands import Mailbox
from lockstep.live.operator.statement import StatementFile
from lockstep.live.risk.switches import Switches
from lockstep.live.status.watcher import Watcher
from lockstep.live.traded import TradedModel
from lockstep.market.history import SeriesKey
from lockstep.monitoring.alerts import Alert, Alerts

Result = TypeVar("Result")
FOREVER = 1e9
"""Seconds: how long the engine waits where nothing is due. A look every second would change nothing."""


class Killed(BaseException):
    """The process is gone; nothing that it still does counts."""


class Lifeline:
    """Whether the process lives. `passed(effect, when)` is told of every effect, and may raise Killed."""

    def __init__(self, passed: Callable[[str, str], None]) -> None:
        self.alive = True
        self._passed = passed

    def effect(self, name: str, action: Callable[[], Result]) -> Result:
        """Do something that the world can see."""
        self.reach(name, "before")
        result = action()
        self.reach(name, "after")
        return result

    def reach(self, name: str, when: str) -> None:
        """Come to a point at which the process may die; the dead go no further."""
        if not self.alive:
            raise Killed
        self._passed(name, when)


class MortalJournal:
    """The real journal; `committed` is told of every entry as soon as it is on disk."""

    def __init__(
        self, journal: Journal, line: Lifeline, committed: Callable[[SetRecord | Event], None]
    ) -> None:
        self._journal = journal
        self._line = line
        self._committed = committed

    def append_set(self, record: SetRecord) -> int:
        self._line.reach("journal set", "before")
        sequence = self._journal.append_set(record)
        self._committed(record)
        self._line.reach("journal set", "after")
        return sequence

    def append(self, *events: Event) -> tuple[int, ...]:
        effects = ["journal event", *(f"journal {event.kind}" for event in events)]
        for effect in effects:
            self._line.reach(effect, "before")
        sequences = self._journal.append(*events)
        for event in events:
            self._committed(event)
        for effect in effects:
            self._line.reach(effect, "after")
        return sequences

    def recorded(self, epoch: int) -> Iterator[StoredSet | Event]:
        for entry in self._journal.recorded(epoch):
            self._line.reach("replay", "before")
            yield entry


class MortalBroker:
    """A broker in front of which the process may die.

    `submitted` is told before the message is taken, `answered` of a result before the engine is.
    """

    def __init__(
        self,
        broker: OutboundBroker,
        line: Lifeline,
        submitted: Callable[[str, Message], None],
        answered: Callable[[SendResult], None],
    ) -> None:
        self._broker = broker
        self._line = line
        self._submitted = submitted
        self._answered = answered
        self.name, self.takes_net = broker.name, broker.takes_net

    def check(self, protected: Mapping[str, bool]) -> None:
        self._broker.check(protected)

    def message(self, intent: OrderIntent) -> Message:
        return self._broker.message(intent)

    def start(self, on_result: OnResult) -> None:
        def told(result: SendResult) -> None:
            if self._line.alive:
                self._answered(result)
                on_result(result)

        self._broker.start(told)

    @property
    def waiting(self) -> int:
        return self._broker.waiting

    @property
    def faults(self) -> int:
        return self._broker.faults

    def submit(self, intent: OrderIntent, message: Message) -> None:
        self._line.reach("submit", "before")
        self._submitted(intent.order_id, message)
        self._broker.submit(intent, message)
        self._line.reach("submit", "after")

    def stop(self, timeout: float) -> None:
        self._line.effect("broker stop", lambda: self._broker.stop(timeout))


class SimOutside:
    """Manifest and store are a dictionary; mailbox, statement and switches are the real ones."""

    def __init__(
        self,
        store: Store,
        mailbox: Mailbox,
        statement: StatementFile | None,
        switches: Switches,
        line: Lifeline,
        looked: Callable[[Mapping[str, Wanted]], None],
    ) -> None:
        self._store = store
        self._mailbox = mailbox
        self._statement = statement
        self._switches = switches
        self._line = line
        self._looked = looked

    def wanted(self) -> Mapping[str, Wanted]:
        found = dict(self._store.wanted)
        self._looked(found)
        return found

    def model(self, symbol: str, sha256: str) -> TradedModel:
        return self._line.effect("load", lambda: self._store.load(symbol, sha256))

    def commands(self) -> Sequence[Event]:
        fills = self._statement.read() if self._statement else []
        return [*self._mailbox.read(), *fills]

    def done(self, events: Sequence[Event]) -> None:
        if not events:
            return
        self._line.reach("done", "before")
        self._mailbox.done(events)
        self._line.reach("done", "between")
        if self._statement:
            self._statement.done([event for event in events if event.kind == "fill"])
        self._line.reach("done", "after")

    def halted(self) -> str | None:
        return self._switches.halt()


class Store:
    """A model store: which version is wanted, and which can be loaded."""

    def __init__(self) -> None:
        self.wanted: dict[str, Wanted] = {}
        self._models: dict[str, Callable[[], TradedModel]] = {}

    def register(self, sha256: str, make: Callable[[], TradedModel]) -> None:
        """Add a version by the SHA-256 of its file."""
        self._models[sha256] = make

    def remove(self, sha256: str) -> None:
        """Delete the file of a version."""
        self._models.pop(sha256, None)

    def load(self, symbol: str, sha256: str) -> TradedModel:
        """Return a version; ModelError where its file is not there."""
        if sha256 not in self._models:
            raise ModelError(f"{symbol}: no version of the store is the bundle {sha256[:12]}…; restore it")
        return self._models[sha256]()


class QuietWatcher(Watcher):
    """The real watcher without its status file."""

    def _write(self, now: int) -> None:
        self._written = now


class MortalWatcher:
    """A watcher at whose writes the process may die; `looks` is told when the engine looks outside."""

    def __init__(self, watcher: Watcher, line: Lifeline, looks: Callable[[], None]) -> None:
        self._watcher = watcher
        self._line = line
        self._looks = looks

    def decided(self, record: SetRecord, *, replayed: bool) -> None:
        self._line.effect("observe", lambda: self._watcher.decided(record, replayed=replayed))

    def happened(self, event: Event, *, replayed: bool) -> None:
        self._line.effect("observe", lambda: self._watcher.happened(event, replayed=replayed))

    def beat(self, *, now: int) -> None:
        self._looks()
        self._line.effect("status", lambda: self._watcher.beat(now=now))


class PromptAlerts(Alerts):
    """The real alerts with their throttle, without the thread: what may go is told at once."""

    def __init__(
        self,
        told: Callable[[Alert], None],
        sent: Callable[[Alert], None],
        scrub: Callable[[str], str],
    ) -> None:
        super().__init__((), scrub=scrub)
        self._told = told
        self._sent = sent

    def post(self, alert: Alert) -> None:
        self._told(alert)
        super().post(alert)

    def _enqueue(self, alerts: Any) -> None:
        for alert in alerts:
            self._sent(alert)


class SimInbox(Inbox):
    """The real inbox; waiting is what makes time pass."""

    def __init__(self, line: Lifeline, wait: Callable[[float, Callable[[], bool]], None]) -> None:
        super().__init__()
        self._line = line
        self._wait = wait

    def get(self, timeout: float | None) -> list[Item]:
        self._line.reach("wait", "before")
        self._wait(FOREVER if timeout is None else timeout, lambda: len(self) > 0)
        return super().get(0.0)


class SimFeed:
    """Bars from a sender that posts each one until it is answered, or from a file that is read again.

    rereads   after a restart all bars behind the newest journaled one are delivered again, as of a file; else
              those that were not answered, as by somebody who posts
    """

    name = "simulated"
    finished = False
    failure = None

    def __init__(self, keys: frozenset[SeriesKey], *, rereads: bool) -> None:
        self.keys = keys
        self._rereads = rereads
        self._log: list[tuple[SeriesKey, int, tuple[float, ...]]] = []
        self._open: list[tuple[int, Receipt]] = []
        self._answered: set[int] = set()
        self._inbox: Inbox | None = None
        self._clock: Callable[[], int] = lambda: 0
        self._offered: Callable[[Arrival], None] = lambda arrival: None

    def attach(self, clock: Callable[[], int], offered: Callable[[Arrival], None]) -> SimFeed:
        """Belong to a new process, which has not started the feed yet."""
        self._inbox, self._clock, self._offered, self._open = None, clock, offered, []
        return self

    def detach(self) -> None:
        """Belong to no process."""
        self.take_answers()
        self._inbox = None

    def start(self, inbox: Inbox, after: Mapping[SeriesKey, int]) -> None:
        self._inbox = inbox
        for number, (key, end, _) in enumerate(self._log):
            known = end <= after.get(key, end - 1)
            if not (known if self._rereads else number in self._answered):
                self._post(number)

    def stop(self) -> None:
        pass

    def deliver(self, key: SeriesKey, end: int, values: tuple[float, ...]) -> None:
        """Bring a bar; while no process takes it, it waits at the sender's."""
        self._log.append((key, end, values))
        if self._inbox is not None:
            self._post(len(self._log) - 1)

    def take_answers(self) -> list[tuple[SeriesKey, int, tuple[float, ...], str]]:
        """Return (series, end, values, outcome) of the bars that were answered since the last call."""
        taken, waiting = [], []
        for number, receipt in self._open:
            outcomes = receipt.wait(0.0)
            if outcomes is None:
                waiting.append((number, receipt))
            else:
                self._answered.add(number)
                taken.append((*self._log[number], outcomes[0]))
        self._open = waiting
        return taken

    def _post(self, number: int) -> None:
        key, end, values = self._log[number]
        arrival = Arrival(key, end, values, self._clock(), self.name)
        self._offered(arrival)
        assert self._inbox is not None
        self._open.append((number, self._inbox.submit([arrival])))
