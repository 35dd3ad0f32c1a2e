"""Faults that are planted back into the engine: the simulator must find each of them.

A plant patches the engine while it is in use. It stands for a sentence: what went wrong, here or in a system
of this kind. It calls the engine's own code wherever it can, so that it is as small as the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from lockstep.errors import LiveError
from lockstep.live import engine as engines
from lockstep.live.backtrader import broker as inner_broker
from lockstep.live.backtrader.broker import GatedBroker, ReportedBroker
from lockstep.live.backtrader.recorder import LaneRecorder
from lockstep.live.brokers.send_queue import Outgoing, SendQueue
from lockstep.live.conditions import Conditions, Doubts
from lockstep.live.effects import Effects
from lockstep.live.engine import Engine
from lockstep.live.events import Event
from lockstep.live.feeds.synchroniser import Synchroniser
from lockstep.live.handover import Handover
from lockstep.live.journal import Journal
from lockstep.live.journal.rows import StoredSet
from lockstep.live.operator.open_orders import Standing
from lockstep.live.operator.statement import StatementFile
from lockstep.live.outbox import WAITING, Outbox
from lockstep.live.plausible import Bands
from lockstep.live.risk import gateway, limits, rollout
from lockstep.live.risk.gateway import DeskGate
from lockstep.live.risk.switches import Switches
from lockstep.live.status.watcher import Watcher
from lockstep.market.open_hours import next_open
from lockstep.secrets import Secrets
from lockstep.strategy.lane import LaneState
from lockstep.strategy.matching import execute

Install = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True, kw_only=True)
class Plant:
    """A fault: what it is, which invariants may notice, and how it is planted."""

    sentence: str
    noticed_by: tuple[str, ...]
    install: Install


def _patched(owner: Any, name: str, new: Any) -> Install:
    return lambda: patch.object(owner, name, new)


def _together(*installs: Install) -> Install:
    @contextmanager
    def install() -> Iterator[None]:
        with ExitStack() as stack:
            for each in installs:
                stack.enter_context(each())
            yield

    return install


def _without(rules: tuple[tuple[str, Any], ...], name: str) -> tuple[tuple[str, Any], ...]:
    return tuple((each, rule) for each, rule in rules if each != name)


# Models

_at = Conditions.at


def _trusting(field: str, nothing: object) -> Any:
    """Return `Conditions.at` that knows of no doubt of one kind."""

    def at(self: Conditions, now: int) -> Doubts:
        found: Any = {**_at(self, now), field: nothing}
        return found  # type: ignore[no-any-return]

    return at


def _swaps_in_position(self: Handover, seat: Any, position: float, *, waiting: bool) -> Any:
    return _ready(self, seat, 0.0, waiting=waiting)


_ready = Handover.ready


# Bars

_refusal = Synchroniser._refusal


def _corrects_the_quarantine(self: Synchroniser, arrival: Any) -> tuple[str, str]:
    found = self._quarantine.get(arrival.key, arrival.end)
    if found is not None and found.values != arrival.values:
        return "corrected", f"was {found.values}, now {arrival.values}; the first values stand"
    return _refusal(self, arrival)


_note = Synchroniser._note


def _drops_repeats(self: Synchroniser, irregularity: Any) -> None:
    if irregularity.kind != "duplicate":
        _note(self, irregularity)


# What leaves

_next, _done = SendQueue.next, SendQueue.done


def _one_at_a_time(self: SendQueue, now: float) -> Outgoing | None:
    return None if self._sending else _next(self, now)


def _first_come_first_served(self: SendQueue, now: float) -> Outgoing | None:
    if self._sending or not self._waiting:
        return None
    first = next(iter(self._waiting.values()))
    self._sending[first.intent.order_id] = self._waiting.pop(first.intent.order_id).intent
    return first


def _dies_of_silence(self: SendQueue, result: Any) -> None:
    if result.outcome != "unknown":
        _done(self, result)


_replay = Outbox.replay


def _forgets_what_left(self: Outbox, event: Event) -> None:
    if event.kind != "send":
        _replay(self, event)


def _sends_what_is_unknown(self: Outbox, event: Event) -> None:
    _replay(self, event)
    letter = self._letters.get(getattr(event, "order_id", ""))
    if event.kind == "unknown" and letter is not None:
        letter.status = WAITING


_init_outbox = Outbox.__init__


def _journals_afterwards(self: Outbox, broker: Any, commit: Any, **named: Any) -> None:
    held: list[Event] = []

    def later(event: Event) -> None:
        if event.kind == "send":
            held.append(event)
        else:
            commit(event)

    class Eager:
        def __getattr__(self, name: str) -> Any:
            return getattr(broker, name)

        def submit(self, intent: Any, message: Any) -> None:
            broker.submit(intent, message)
            commit(held.pop())

    eager: Any = Eager()
    _init_outbox(self, eager, later, **named)


_init_gated = GatedBroker.__init__


def _random_ids(self: GatedBroker, stage: Any, gate: Any, *, order_id: Any, **named: Any) -> None:
    """Return another id in every process; what differs here is its clock."""
    process = gate._now() // 1_000 % 997

    def anew(symbol: str, decision: int, intent: str) -> str:
        return f"{order_id(symbol, decision, intent)[:-1]}{process + 2}"

    _init_gated(self, stage, gate, order_id=anew, **named)


# The journal

_recorded = Journal.recorded


def _skips_the_last_set(self: Journal, epoch: int) -> Iterator[StoredSet | Event]:
    rows = list(_recorded(self, epoch))
    sets = [number for number, row in enumerate(rows) if isinstance(row, StoredSet)]
    yield from (row for number, row in enumerate(rows) if number != (sets[-1] if sets else -1))


# Fills

_init_statement, _take, _booked = StatementFile.__init__, LaneRecorder.take, ReportedBroker._booked


def _forgets_fills(self: StatementFile, path: Any, seen: Any = ()) -> None:
    _init_statement(self, path, ())


def _believes_everything(command: Event, **_: Any) -> Event:
    return command


def _needs_a_bar(self: LaneRecorder, state: LaneState) -> Any:
    if self._orders and self._decision is None:
        raise LiveError(f"{self.symbol}: orders without a decision; stop and read the journal")
    return _take(self, state)


_carry_out = Effects.carry_out


def _forgets_replayed_fills(self: Effects, event: Event, *, replayed: bool) -> None:
    before = list(self.reports._since)
    _carry_out(self, event, replayed=replayed)
    if replayed:
        self.reports._since[:] = before


def _keeps_the_exit(self: ReportedBroker, book: Any, fill: Any) -> None:
    kept = (book.working, book.terms)
    if fill.kind != "market":
        book.working = None
    _booked(self, book, fill)
    if fill.kind != "market":
        book.working, book.terms = kept


_protected = Standing._protected


def _expects_the_exit(self: Standing, fill: Any) -> Standing:
    return replace(_protected(self, fill), waiting=self.waiting)


def _rounds_against_nobody(account: Any, order: Any, price: float, costs: Any) -> Any:
    *rest, cash = execute(account, order, price, costs)
    return (*rest, cash + 0.02)


# Limits and switches


def _off_by_one(intent: Any, context: Any, allowed: Any, markets: Any) -> str | None:
    after = abs(context.exposure(intent.symbol) + intent.quantity)
    most = allowed.by_symbol.get(intent.symbol, allowed.max_contracts) + 1.0
    return None if after <= most else f"position would be {after:g} contracts, allowed are {most:g}"


_room = tuple((name, _off_by_one if name == "position" else rule) for name, rule in limits.ROOM)


def _remembered(name: str) -> Install:
    """Return a plant that reads a switch once in a process."""

    def install() -> AbstractContextManager[Any]:
        ask = getattr(Switches, name)
        known: dict[int, Any] = {}

        def remembering(self: Switches) -> Any:
            if id(self) not in known:
                known.clear()
                known[id(self)] = ask(self)
            return known[id(self)]

        return patch.object(Switches, name, remembering)

    return install


_review = DeskGate.review


def _counts_by_the_clock(self: DeskGate, intent: Any) -> Any:
    refusal = _review(self, intent)
    if refusal is None:
        session = self._markets[intent.symbol].session
        now = max(self._now(), intent.decision)
        if next_open(session, now) != next_open(session, intent.decision):
            self._days.ordered(intent.symbol, next_open(session, now))
    return refusal


PLANTS: Mapping[str, Plant] = {
    "superseded model opens": Plant(
        sentence="manage_out keeps the replaced or rolled-back model opening positions.",
        noticed_by=("no superseded model opens", "limits and switches"),
        install=_patched(gateway, "CONDITIONS", _without(limits.CONDITIONS, "superseded")),
    ),
    "waiting entry of a replaced model": Plant(
        sentence="An entry of the old model that waited for the open was filled after it was replaced.",
        noticed_by=("no superseded model opens",),
        install=_together(
            _patched(Engine, "_take_back_entry", lambda self, seat: None),
            _patched(gateway, "CONDITIONS", _without(limits.CONDITIONS, "superseded")),
        ),
    ),
    "swap in a position": Plant(
        sentence="Another version took over a position that its predecessor was to leave.",
        noticed_by=("handed over",),
        install=_patched(Handover, "ready", _swaps_in_position),
    ),
    "absurd bar traded": Plant(
        sentence="A live bar with high 1e308 was traded.",
        noticed_by=("only plausible bars",),
        install=_patched(Bands, "fault", lambda self, key, end, values, *, after=None: ""),
    ),
    "right bar refused": Plant(
        sentence="The correction of an absurd bar was refused.",
        noticed_by=("only plausible bars",),
        install=_patched(Synchroniser, "_refusal", _corrects_the_quarantine),
    ),
    "bar outside the calendar": Plant(
        sentence="A bar outside the calendar triggered a decision.",
        noticed_by=("decides on scheduled bars",),
        install=_patched(Synchroniser, "_has_session", lambda self, key, end: True),
    ),
    "repeated bars dropped": Plant(
        sentence="A bar that came again was dropped without a word.",
        noticed_by=("every bar accounted for",),
        install=_patched(Synchroniser, "_note", _drops_repeats),
    ),
    "one order at a time": Plant(
        sentence="The sender waited for one instrument's answer before it sent another one's exit.",
        noticed_by=("exits go first",),
        install=_patched(SendQueue, "next", _one_at_a_time),
    ),
    "exit behind entries": Plant(
        sentence="An exit was stuck behind entries.",
        noticed_by=("exits go first",),
        install=_patched(SendQueue, "next", _first_come_first_served),
    ),
    "dead worker": Plant(
        sentence="The sender's thread died of an answer, and the message never had a result.",
        noticed_by=("none lost",),
        install=_patched(SendQueue, "done", _dies_of_silence),
    ),
    "secret echoed": Plant(
        sentence="The webhook's path reaches journal and alert text when the server echoes it.",
        noticed_by=("no secret is written down",),
        install=_patched(Secrets, "scrub", lambda self, text: text),
    ),
    "roll-out sends nothing": Plant(
        sentence="A roll-out stage whose fraction of the usual size is less than one unit passes silently.",
        noticed_by=("a stage sends something",),
        install=_patched(rollout, "require_sizes", lambda *told: None),
    ),
    "entry before reconciliation": Plant(
        sentence="An entry left before positions were reconciled with the broker's statement.",
        noticed_by=("limits and switches",),
        install=_patched(Conditions, "at", _trusting("unreconciled", {})),
    ),
    "entry by a wrong clock": Plant(
        sentence="An entry left although the clock's offset was not checked, or too large.",
        noticed_by=("limits and switches",),
        install=_patched(Conditions, "at", _trusting("clock", "")),
    ),
    "irregular bars in silence": Plant(
        sentence="Corrections, duplicates and out-of-order bars were not alerted.",
        noticed_by=("people are told",),
        install=_patched(Watcher, "_irregular", lambda self, found, *, replayed: None),
    ),
    "sent again after a crash": Plant(
        sentence="A restart sent an order again that had left before the crash.",
        noticed_by=("sent once", "none lost"),
        install=_patched(Outbox, "replay", _forgets_what_left),
    ),
    "unknown order sent again": Plant(
        sentence="An order of which nobody knew what became was sent again after a restart.",
        noticed_by=("sent once", "none lost", "what is journaled replays"),
        install=_patched(Outbox, "replay", _sends_what_is_unknown),
    ),
    "journal after the effect": Plant(
        sentence="An order left before it was journaled.",
        noticed_by=("journaled first",),
        install=_patched(Outbox, "__init__", _journals_afterwards),
    ),
    "random order ids": Plant(
        sentence="Order ids were made anew by every process, so that a restart sent another order.",
        noticed_by=("what is journaled replays", "sent once"),
        install=_patched(GatedBroker, "__init__", _random_ids),
    ),
    "journal row skipped": Plant(
        sentence="A restart left out one row of the journal.",
        noticed_by=("what is journaled replays", "goes on", "none lost"),
        install=_patched(Journal, "recorded", _skips_the_last_set),
    ),
    "fill booked twice": Plant(
        sentence="A fill that was journaled before a crash was booked again after it.",
        noticed_by=("position is booked fills", "goes on"),
        install=_together(
            _patched(engines, "credible", _believes_everything),
            _patched(StatementFile, "__init__", _forgets_fills),
        ),
    ),
    "fill without a bar": Plant(
        sentence="A fill was booked when the bar of another instrument came, and the desk stopped for ever.",
        noticed_by=("goes on",),
        install=_patched(LaneRecorder, "take", _needs_a_bar),
    ),
    "rejection of a filled order": Plant(
        sentence="A broker rejected an order that had filled, and the desk stopped for ever.",
        noticed_by=("goes on", "none lost", "position is booked fills"),
        install=_patched(ReportedBroker, "withdraw", GatedBroker.withdraw),
    ),
    "replayed fills forgotten": Plant(
        sentence="After a restart a second report of a fill was believed, and the desk stopped for ever.",
        noticed_by=("goes on", "position is booked fills", "limits and switches"),
        install=_patched(Effects, "carry_out", _forgets_replayed_fills),
    ),
    "exit waits for ever": Plant(
        sentence="A stop closed a position, and the desk waited for the exit that was on its way for ever.",
        noticed_by=("a flat account waits for no exit",),
        install=_together(
            _patched(ReportedBroker, "_booked", _keeps_the_exit),
            _patched(ReportedBroker, "leaves", GatedBroker.leaves),
        ),
    ),
    "stop and exit both filled": Plant(
        sentence="A stop and a signal exit both filled, and the second fill was believed.",
        noticed_by=("goes on", "position is booked fills"),
        install=_patched(Standing, "_protected", _expects_the_exit),
    ),
    "two cents too many": Plant(
        sentence="A fill was booked with two cents more than it brought.",
        noticed_by=("equity to the cent",),
        install=_patched(inner_broker, "execute", _rounds_against_nobody),
    ),
    "limit off by one": Plant(
        sentence="A position was one contract above its limit.",
        noticed_by=("limits and switches",),
        install=_patched(gateway, "ROOM", _room),
    ),
    "kill switch cached": Plant(
        sentence="The kill switch was read once at the start.",
        noticed_by=("limits and switches",),
        install=_remembered("kill_switch"),
    ),
    "HALT cached": Plant(
        sentence="HALT was read once at the start.",
        noticed_by=("limits and switches",),
        install=_remembered("halt"),
    ),
    "orders counted by the clock": Plant(
        sentence="After a restart all orders of the epoch counted as today's, and entries were refused.",
        noticed_by=("limits and switches",),
        install=_patched(DeskGate, "review", _counts_by_the_clock),
    ),
}
"""Every plant by its name."""
