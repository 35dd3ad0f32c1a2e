"""What must hold after every step: the base class, and the auditor that asks all of them.

An invariant is a class with a name, a sentence and some of the hooks of `Invariant`. It judges by `Facts`,
which come from the journal, the messages and the world; it never asks the engine what it believes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from lockstep.live.brokers.protocol import Message
from lockstep.live.clock_check import Measured
from lockstep.live.codec import content_of
from lockstep.live.events import Event
from lockstep.live.messages import Arrival, SendResult, SetRecord, Wanted
from lockstep.monitoring.alerts import Alert
from simulation.facts import Facts
from simulation.life import Life, iso
from simulation.run import Run


class Broken(BaseException):
    """An invariant does not hold; nothing that the engine catches may hide it."""

    def __init__(self, invariant: str, text: str) -> None:
        self.invariant = invariant
        self.text = text
        super().__init__(f"{invariant}: {text}")


class Invariant:
    """One thing that must hold. Subclasses override the hooks that they need.

    name       a few words, by which failures are told apart; sentence   what must hold, in words
    """

    name: ClassVar[str]
    sentence: ClassVar[str]

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def fail(self, text: str) -> None:
        """Say that it does not hold."""
        raise Broken(self.name, text)

    def begun(self, run: Run) -> None:
        """A process opened its journal and has its epoch."""

    def committed(self, entry: SetRecord | Event) -> None:
        """An entry is on disk; the facts know it already."""

    def submitted(self, order_id: str, message: Message) -> None:
        """An order was handed to the broker."""

    def left(self, order_id: str) -> None:
        """A message of an order begins to leave the house."""

    def answered(self, result: SendResult) -> None:
        """The broker has a result for the engine."""

    def looked(self, wanted: Mapping[str, Wanted]) -> None:
        """The engine saw which versions it is to trade."""

    def offered(self, arrival: Arrival) -> None:
        """A bar was brought to the engine."""

    def measured(self, measured: Measured) -> None:
        """The time server said how far the engine's clock is ahead."""

    def alert_posted(self, alert: Alert) -> None:
        """The engine wants people to know something."""

    def idle(self) -> None:
        """The engine has nothing to do and waits."""

    def ended(self, run: Run, how: str) -> None:
        """A process ended: `stopped`, `killed` or `failed`."""

    def finished(self) -> None:
        """The life is over; the journal is closed."""


_HOOKS = (
    "begun", "committed", "submitted", "left", "answered", "looked", "offered", "measured",
    "alert_posted", "idle", "ended", "finished",
)  # fmt: skip


class Audit:
    """Writes down what happens, keeps the facts, and asks every invariant after every step.

    trace    SHA-256 over everything that happened, in its order; lines   the same in words, where it is kept
    """

    def __init__(
        self, life: Life, invariants: tuple[type[Invariant], ...], *, keep: bool, now: Callable[[], int]
    ) -> None:
        self.facts = Facts(life)
        self.lines: list[str] = []
        self.broken: Broken | None = None
        self.steps = 0
        self._keep = keep
        self._now = now
        self._trace = hashlib.sha256()
        made = [each(self.facts) for each in invariants]
        self._hooks: dict[str, list[Callable[..., None]]] = {
            hook: [
                getattr(each, hook)
                for each in made
                if getattr(type(each), hook) is not getattr(Invariant, hook)
            ]
            for hook in _HOOKS
        }

    @property
    def trace(self) -> str:
        """Return the hash of everything that happened so far."""
        return self._trace.hexdigest()

    def note(self, text: str) -> None:
        """Write something down."""
        line = f"{iso(self._now())} {text}"
        self._trace.update(line.encode())
        if self._keep:
            self.lines.append(line)

    def _ask(self, hook: str, *told: Any) -> None:
        self.steps += 1
        if self.broken is not None:
            raise self.broken
        try:
            for each in self._hooks[hook]:
                each(*told)
        except Broken as broken:
            self.note(f"BROKEN {broken}")
            self.broken = broken
            raise

    def begun(self, run: Run) -> None:
        """Take a process that begins."""
        self.facts.begun(run)
        self.note("engine started")
        self._ask("begun", run)

    def committed(self, entry: SetRecord | Event) -> None:
        """Take an entry of the journal."""
        self.note(told(entry))
        self.facts.committed(entry)
        self._ask("committed", entry)

    def submitted(self, order_id: str, message: Message) -> None:
        """Take an order on its way to the broker."""
        self.note(f"broker is handed {order_id}")
        self.facts.submitted(order_id, message)
        self._ask("submitted", order_id, message)

    def left(self, order_id: str) -> None:
        """Take a message that begins to leave."""
        self.note(f"{order_id} leaves")
        self._ask("left", order_id)

    def answered(self, result: SendResult) -> None:
        """Take a result."""
        self.note(f"broker: {result.order_id} {result.outcome} {result.detail}")
        self._ask("answered", result)

    def looks(self) -> None:
        """Take that the engine begins to look outside."""
        self.facts.seen = self.facts.now

    def looked(self, wanted: Mapping[str, Wanted]) -> None:
        """Take a look at the manifest."""
        if wanted != self.facts.known:
            versions = (f"{symbol} {each.version or each.absence}" for symbol, each in wanted.items())
            self.note(f"manifest: {', '.join(versions)}")
        self.facts.looked(wanted)
        self._ask("looked", wanted)

    def offered(self, arrival: Arrival) -> None:
        """Take a bar that comes."""
        self.note(f"bar {arrival.key} {iso(arrival.end)} {arrival.values}")
        self._ask("offered", arrival)

    def measured(self, measured: Measured) -> None:
        """Take what a time server said."""
        self.note(f"the clock is {measured.ahead:+.3f} s ahead")
        self.facts.measured(measured)
        self._ask("measured", measured)

    def alert_posted(self, alert: Alert) -> None:
        """Take an alert before the throttle."""
        self._ask("alert_posted", alert)

    def alert_sent(self, alert: Alert) -> None:
        """Take an alert that went to people."""
        self.note(f"alert {alert.kind}: {alert.text}")

    def switched(self, name: str, *, on: bool) -> None:
        """Take that the operator made or removed the file of a switch."""
        if name == "halt":
            self.facts.halted = on
        else:
            self.facts.killed = on

    def idle(self) -> None:
        """Take that the engine waits."""
        self._ask("idle")

    def ended(self, run: Run, how: str) -> None:
        """Take the end of a process."""
        self.note(f"engine {how}{f': {run.error}' if run.error else ''}")
        self._ask("ended", run, how)

    def finished(self) -> None:
        """Take the end of the life."""
        self._ask("finished")


def told(entry: SetRecord | Event) -> str:
    """Return an entry of the journal in one line."""
    if isinstance(entry, Event):
        fields = content_of(entry).items()
        content = " ".join(f"{name}={value}" for name, value in fields if name != "message")
        return f"  journal: {entry.kind} {entry.symbol} {content}"
    lanes = "; ".join(
        f"{lane.symbol} {lane.reason} holds {lane.mark[1]:g} equity {lane.mark[3]:.2f} by {lane.bundle}"
        f"{' waits for ' + lane.state.waiting.order_id if lane.state.waiting else ''}"
        for lane in entry.lanes
    )
    irregular = "".join(f" [{each.kind} {each.key}]" for each in entry.release.irregularities)
    events = "".join(f" [{each.kind} {getattr(each, 'rule', '')}]" for each in entry.events)
    return f"  journal: set {iso(entry.release.stamp)} {lanes}{irregular}{events}"
