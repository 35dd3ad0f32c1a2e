"""Faults that are planted back into the engine: the simulator must find each of them.

A plant patches the engine while it is in use. It stands for a sentence: what went wrong, here or in a system of
this kind. It calls the engine's own code wherever it can, so that it is as small as the fault.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from lockstep.live import limits
from lockstep.live.engine import Engine
from lockstep.live.gate import DeskGate
from lockstep.live.inner_broker import GatedBroker, ReportedBroker
from lockstep.live.journal import Journal
from lockstep.live.market_hours import next_open
from lockstep.live.messages import Event, SetRecord
from lockstep.live.outbox import WAITING, Outbox
from lockstep.live.statement import StatementFile
from lockstep.live.switches import Switches

Install = Callable[[], AbstractContextManager[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plant:
    """A fault: what it is, which invariants may notice, and how it is planted."""

    sentence: str
    noticed_by: tuple[str, ...]
    install: Install


def _replaced(owner: Any, name: str, new: Any) -> Install:
    return lambda: patch.object(owner, name, new)


def _together(
    *installs: Install,
) -> Install:
    @contextmanager
    def install() -> Iterator[None]:
        with ExitStack() as stack:
            for each in installs:
                stack.enter_context(each())
            yield

    return install


# Orders

_replay = Outbox.replay


def _forgets_what_left(self: Outbox, event: Event) -> None:
    if event.kind != "send":
        _replay(self, event)


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

        def submit(self, order_id: str, message: Any) -> None:
            broker.submit(order_id, message)
            commit(held.pop())

    _init_outbox(self, Eager(), later, **named)


_init_gated = GatedBroker.__init__
_processes = iter(range(10**9))


def _random_ids(
    self: GatedBroker, *arguments: Any, order_id: Callable[[str, int, str], str], **named: Any
) -> None:
    process = next(_processes)
    _init_gated(self, *arguments, order_id=lambda *what: f"{order_id(*what)[:-1]}{process}", **named)


def _sends_what_expired(self: Outbox, event: Event) -> None:
    _replay(self, event)
    letter = self._letters.get(event.content.get("order_id", ""))
    if event.kind == "unknown" and letter is not None:
        letter.status = WAITING


_settle = Outbox.settle


def _loses_results(self: Outbox, result: Any, now: int) -> Any:
    return None if result.outcome == "unknown" and result.attempts else _settle(self, result, now)


# The journal

_entries = Journal.entries


def _skips_a_row(self: Journal, epoch: int, *, after: int = 0) -> Iterator[SetRecord | Event]:
    rows = list(_entries(self, epoch, after=after))
    sets = [number for number, row in enumerate(rows) if isinstance(row, SetRecord)]
    yield from (row for number, row in enumerate(rows) if number != (sets[-1] if sets else -1))


# Fills


def _believes_everything(self: Engine, command: Event) -> Event:
    return command


_init_statement = StatementFile.__init__


def _forgets_fills(self: StatementFile, path: Any, seen: Any = ()) -> None:
    _init_statement(self, path, ())


def _books_at_once(self: ReportedBroker) -> None:
    self._stage.close_round()
    reported, self._reported = self._reported, []
    for feed, fill in reported:
        self._booked(self._books[feed], fill)


def _withdraws_what_filled(self: ReportedBroker, feed: Any, order_id: str) -> None:
    working = self._books[feed].working
    if working is not None and working.info.order_id == order_id:
        self.cancel(working)


_again = Engine._again


def _forgets_replayed_fills(self: Engine, event: Event) -> None:
    before = list(self._reported)
    _again(self, event)
    self._reported[:] = before


# Limits and switches


def _off_by_one(intent: Any, context: Any, allowed: Any, markets: Any) -> str | None:
    after = abs(context.exposure(intent.symbol) + intent.quantity)
    most = allowed.by_symbol.get(intent.symbol, allowed.max_contracts) + 1.0
    return None if after <= most else f"position would be {after:g} contracts, allowed are {most:g}"


def _rules_with(name: str, rule: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((each, rule if each == name else known) for each, known in limits.ROOM)


def _remembered(name: str) -> Any:
    ask = getattr(Switches, name)
    known: dict[Any, Any] = {}

    def remembering(self: Switches) -> Any:
        if self.kill_file not in known:
            known.clear()
            known[self.kill_file] = ask(self)
        return known[self.kill_file]

    return remembering


_review = DeskGate.review


def _counts_by_the_clock(self: DeskGate, intent: Any) -> Any:
    decided = intent.decision
    now = max(self._now(), decided)
    refusal = _review(self, intent)
    if refusal is None:
        session = self._markets[intent.symbol].session
        self._days._orders[intent.symbol] = self._days._orders[intent.symbol]
        if next_open(session, now) != next_open(session, decided):
            self._days.ordered(intent.symbol, next_open(session, now))
    return refusal


PLANTS: Mapping[str, Plant] = {
    "sent again after a crash": Plant(
        sentence="A restart sent an order again that had left before the crash.",
        noticed_by=("sent once", "none lost"),
        install=_replaced(Outbox, "replay", _forgets_what_left),
    ),
    "journal after the effect": Plant(
        sentence="An order left before it was journaled.",
        noticed_by=("journaled first",),
        install=_replaced(Outbox, "__init__", _journals_afterwards),
    ),
    "random order ids": Plant(
        sentence="Order ids were made anew by every process, so that a restart sent another order.",
        noticed_by=("what is journaled replays", "sent once"),
        install=_replaced(GatedBroker, "__init__", _random_ids),
    ),
    "unknown order resent": Plant(
        sentence="An order of which nobody knew what became was sent again after a restart.",
        noticed_by=("sent once",),
        install=_replaced(Outbox, "replay", _sends_what_expired),
    ),
    "result lost": Plant(
        sentence="A message to the broker ended without a result.",
        noticed_by=("none lost",),
        install=_replaced(Outbox, "settle", _loses_results),
    ),
    "journal row skipped": Plant(
        sentence="A restart left out one row of the journal.",
        noticed_by=("what is journaled replays", "goes on", "none lost"),
        install=_replaced(Journal, "entries", _skips_a_row),
    ),
    "fill booked twice": Plant(
        sentence="A fill that was journaled before a crash was booked again after it.",
        noticed_by=("position is booked fills", "goes on"),
        install=_together(
            _replaced(Engine, "_credible", _believes_everything),
            _replaced(StatementFile, "__init__", _forgets_fills),
        ),
    ),
    "fill booked without a bar": Plant(
        sentence="A fill was booked when the bar of another instrument came, and the desk stopped for ever.",
        noticed_by=("goes on", "position is booked fills"),
        install=_replaced(ReportedBroker, "next", _books_at_once),
    ),
    "rejection of a filled order": Plant(
        sentence="A broker rejected an order that had filled, and the desk stopped for ever.",
        noticed_by=("goes on", "none lost"),
        install=_replaced(ReportedBroker, "withdraw", _withdraws_what_filled),
    ),
    "replayed fills forgotten": Plant(
        sentence="After a restart a second report of a fill was believed, and the desk stopped for ever.",
        noticed_by=("goes on", "position is booked fills"),
        install=_replaced(Engine, "_again", _forgets_replayed_fills),
    ),
    "limit off by one": Plant(
        sentence="A position was one contract above its limit.",
        noticed_by=("limits and switches",),
        install=_replaced(limits, "ROOM", _rules_with("position", _off_by_one)),
    ),
    "kill switch cached": Plant(
        sentence="The kill switch was read once at the start.",
        noticed_by=("limits and switches",),
        install=lambda: patch.object(Switches, "kill_switch", _remembered("kill_switch")),
    ),
    "HALT cached": Plant(
        sentence="HALT was read once at the start.",
        noticed_by=("limits and switches",),
        install=lambda: patch.object(Switches, "halt", _remembered("halt")),
    ),
    "orders counted by the clock": Plant(
        sentence="After a restart all orders of the epoch counted as today's, and entries were refused.",
        noticed_by=("limits and switches",),
        install=_replaced(DeskGate, "review", _counts_by_the_clock),
    ),
}
"""Every plant by its name."""
