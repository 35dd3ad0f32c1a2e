"""Invariants about orders: each leaves once, none is lost, no superseded model opens risk."""

from __future__ import annotations

from collections.abc import Mapping

from lockstep.live.brokers.protocol import Message
from lockstep.live.events import Event
from lockstep.live.messages import SendResult, SetRecord
from lockstep.strategy.matching import POSITION
from simulation.facts import EXIT, Facts, Order
from simulation.invariants import Invariant
from simulation.life import iso
from simulation.run import Run
from simulation.venues import SECOND

_ANSWERED_WITHIN = 900 * SECOND
_THREADS_WAKE = SECOND // 100


class SentOnce(Invariant):
    name = "sent once"
    sentence = "no order reaches a broker twice, under whatever id"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._decisions: dict[tuple[str, int, str], str] = {}

    def submitted(self, order_id: str, message: Message) -> None:
        order = self.facts.orders.get(order_id)
        if order is None:
            self.fail(f"{order_id} is sent, and no journaled set decided it")
            return
        if order.sent > 1:
            self.fail(f"{order_id} is sent for the {order.sent}. time")
        what = (order.symbol, order.decision, order.intent)
        if self._decisions.setdefault(what, order_id) != order_id:
            self.fail(f"{order_id} is the same decision as {self._decisions[what]}, which was sent")


class JournaledFirst(Invariant):
    name = "journaled first"
    sentence = "what leaves, and what is booked, is in the journal before"

    def submitted(self, order_id: str, message: Message) -> None:
        order = self.facts.orders.get(order_id)
        if order is None or not order.noted:
            self.fail(f"{order_id} leaves before its `send` is journaled")


class NoneLost(Invariant):
    name = "none lost"
    sentence = "each order is sent with one result, refused, expired or withdrawn, or it waits and is not due"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._sent_at: dict[str, int] = {}
        self._results: dict[str, int] = {}
        self._open: dict[str, Order] = {}

    def submitted(self, order_id: str, message: Message) -> None:
        self._sent_at[order_id] = self.facts.now

    def committed(self, entry: SetRecord | Event) -> None:
        if isinstance(entry, SetRecord):
            if self.facts.mode != "paper":
                self._open |= {each.order_id: each for each in self.facts.fresh if each.order_id}
            self._given_up(entry)
        elif entry.kind in ("acknowledged", "rejected", "unknown"):
            order_id = entry.order_id
            self._results[order_id] = self._results.get(order_id, 0) + 1
            if self._results[order_id] > 1:
                self.fail(f"{order_id} has a second result: {entry.kind} {entry.detail}")
            order = self._open.pop(order_id, None)
            if order is not None and not order.noted and entry.kind != "rejected":
                self.fail(f"{order_id} is {entry.kind} and was never sent")
        elif entry.kind == "withdrawn":
            self._open.pop(str(getattr(entry, "order_id", "")), None)

    def _given_up(self, record: SetRecord) -> None:
        """An order that was given up must be gone from the account by the next bar."""
        for lane in record.lanes:
            waiting = lane.state.waiting
            ended = self.facts.orders[waiting.order_id].ended if waiting is not None else ""
            if ended and waiting is not None:
                self.fail(f"{waiting.order_id} is {ended}, and {lane.symbol} goes on waiting for it")

    def idle(self) -> None:
        now = self.facts.now
        for order_id, order in self._open.items():
            due = self.facts.venues[order.symbol].next_open(order.decision)
            if order.waits and due <= now:
                self.fail(f"{order_id} is due since {iso(due)} and has not left")
            if order.noted and now - self._sent_at.get(order_id, now) > _ANSWERED_WITHIN:
                self.fail(f"{order_id} was sent at {iso(self._sent_at[order_id])} and has no result")

    def begun(self, run: Run) -> None:
        self._sent_at = dict.fromkeys(self._sent_at, -(2**62))

    def ended(self, run: Run, how: str) -> None:
        if how == "stopped":
            for order_id, order in self._open.items():
                if order.noted:
                    self.fail(f"{order_id} was sent, and the engine stopped without its result")


class Superseded(Invariant):
    name = "no superseded model opens"
    sentence = "a model that is replaced or rolled back opens no position, however its successor waits"

    def committed(self, entry: SetRecord | Event) -> None:
        if not isinstance(entry, SetRecord):
            return
        for order in self.facts.fresh:
            if order.opens and not order.refused:
                self._require(order.symbol, order.bundle, "decides to open")
        if self.facts.mode == "live":
            return
        for lane in entry.lanes:
            for each in lane.orders:
                if each.status == "completed" and each.intent == "entry":
                    decided = self.facts.decider(lane.symbol, each.decision)
                    self._require(lane.symbol, decided, "opens by an order that waited")

    def submitted(self, order_id: str, message: Message) -> None:
        order = self.facts.orders.get(order_id)
        if order is not None and order.opens:
            self._require(order.symbol, order.bundle, f"sends {order_id}")

    def _require(self, symbol: str, bundle: str, does: str) -> None:
        if self.facts.superseded(symbol, bundle):
            wanted = self.facts.known[symbol]
            self.fail(f"{symbol}: {bundle} {does}, and what is wanted is {wanted.version or wanted.absence}")


class Handed(Invariant):
    name = "handed over"
    sentence = "a version takes over as its policy says, decides from the next bar on, and nobody else does"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._policies = {each.symbol: each.handover for each in facts.life.traders}
        self._present: dict[str, str] = {}

    def begun(self, run: Run) -> None:
        if not self._present and run.epoch is not None:
            self._present = dict(run.epoch.bundles)

    def committed(self, entry: SetRecord | Event) -> None:
        if isinstance(entry, SetRecord):
            for lane in entry.lanes:
                if lane.bundle != self._present[lane.symbol]:
                    self.fail(
                        f"{lane.symbol} is decided by {lane.bundle}, not by {self._present[lane.symbol]}"
                    )
        elif entry.kind == "swap":
            self._swapped(entry)

    def _swapped(self, event: Event) -> None:
        symbol = event.symbol
        held = self.facts.held.get(symbol, 0.0)
        if held and self._policies[symbol] != "adopt":
            self.fail(
                f"{symbol}: swapped by policy {self._policies[symbol]} while {held:+g} contracts are held"
            )
        known = self.facts.known.get(symbol)
        if known is not None and known.sha256 != event.to_sha256:
            self.fail(f"{symbol}: {event.to_version} takes over, and {known.version} is wanted")
        self._present[symbol] = event.to_sha256


class ExitsGoFirst(Invariant):
    name = "exits go first"
    sentence = "an exit leaves as soon as nothing of its own instrument is on its way"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._waiting: dict[str, Order] = {}
        self._leaving: dict[str, Order] = {}
        self._free: dict[str, int] = {}

    def begun(self, run: Run) -> None:
        self._waiting.clear()
        self._leaving.clear()

    def submitted(self, order_id: str, message: Message) -> None:
        if self.facts.mode == "live":
            order = self._waiting[order_id] = self.facts.orders[order_id]
            self._free.setdefault(order.symbol, self.facts.now)
            self._free[order.symbol] = max(self._free[order.symbol], self.facts.now)

    def left(self, order_id: str) -> None:
        order = self._waiting.pop(order_id)
        if not order.opens:
            self._require_prompt(order_id, order)
        self._leaving[order_id] = order

    def answered(self, result: SendResult) -> None:
        self._waiting.pop(result.order_id, None)
        order = self._leaving.pop(result.order_id, None)
        if order is not None:
            self._free[order.symbol] = self.facts.now
        for order_id, other in self._waiting.items():
            if not other.opens:
                self._require_prompt(order_id, other)

    def _require_prompt(self, order_id: str, order: Order) -> None:
        busy = any(each.symbol == order.symbol for each in self._leaving.values())
        waited = self.facts.now - self._free[order.symbol]
        if not busy and waited > _THREADS_WAKE:
            self.fail(f"{order_id} could have left {waited / SECOND:.3f} s ago")


class FlatWaitsForNoExit(Invariant):
    name = "a flat account waits for no exit"
    sentence = "an exit whose position is gone, by a stop or a target, is given up with it"

    def committed(self, entry: SetRecord | Event) -> None:
        if isinstance(entry, SetRecord):
            for lane in entry.lanes:
                waiting = lane.state.waiting
                if waiting is not None and waiting.intent == EXIT and not lane.state.account[POSITION]:
                    self.fail(f"{lane.symbol} is flat and waits for {waiting.order_id}")


RULES: Mapping[str, type[Invariant]] = {
    each.name: each
    for each in (SentOnce, JournaledFirst, NoneLost, ExitsGoFirst, FlatWaitsForNoExit, Superseded, Handed)
}
