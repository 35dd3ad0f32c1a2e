"""What is known of a desk from outside: by its journal, its messages and the world, never by its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lockstep.live.brokers.protocol import Message
from lockstep.live.messages import Arrival, Event, LaneRecord, LaneState, SendResult, SetRecord, Values
from lockstep.market.history import SeriesKey
from lockstep.strategy.matching import POSITION, QUANTITY
from simulation.life import Life
from simulation.venues import Venue, key_of, venue

if TYPE_CHECKING:
    from simulation.run import Run

ENTRY, EXIT = "entry", "exit"
CAPITAL = 100_000.0


@dataclass(kw_only=True)
class Order:
    """One order that a bar set decided, and what became of it.

    order_id   empty where it was refused at once; refused   rule and detail
    sent       how often the broker was handed it; noted   whether its `send` is journaled
    result     outcome of the message; ended   why it will not be sent, or is no longer expected
    """

    symbol: str
    intent: str
    quantity: float
    decision: int
    bundle: str
    reference: float
    order_id: str = ""
    refused: tuple[str, str] | None = None
    noted: bool = False
    sent: int = 0
    result: str = ""
    ended: str = ""
    filled: bool = False
    message: Message = field(default_factory=dict)

    @property
    def opens(self) -> bool:
        """Whether it opens a position."""
        return self.intent == ENTRY

    @property
    def waits(self) -> bool:
        """Whether it has not left, and may."""
        return not (self.refused or self.noted or self.ended or self.filled)


@dataclass
class Facts:
    """The state of the desk as an auditor writes it down. Moments are UTC ns.

    sets     how many bar sets are journaled; states   newest recorded state by symbol
    orders   by order id; decided   those that were not refused; fresh   those of the newest set, in order
    known    (version, SHA-256) in production, as the engine last saw it
    closes   (end, close) of the newest bar of each traded symbol
    """

    life: Life
    run: Run | None = None
    sets: int = 0
    events: list[Event] = field(default_factory=list)
    history: list[SetRecord] = field(default_factory=list)
    states: dict[str, LaneState] = field(default_factory=dict)
    lanes: dict[str, LaneRecord] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    fresh: list[Order] = field(default_factory=list)
    decided: list[Order] = field(default_factory=list)
    known: dict[str, tuple[str, str]] = field(default_factory=dict)
    bundles: dict[str, str] = field(default_factory=dict)
    closes: dict[str, tuple[int, float]] = field(default_factory=dict)
    booked: dict[str, float] = field(default_factory=dict)
    unbooked: dict[str, list[Event]] = field(default_factory=dict)
    fraction: float = 1.0
    halted: bool = False
    killed: bool = False
    venues: Mapping[str, Venue] = field(default_factory=dict)
    series: Mapping[str, SeriesKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.venues = {each.symbol: venue(each.symbol) for each in self.life.traders}
        self.series = {each.symbol: key_of(each.series) for each in self.life.traders}
        self.fraction = self.life.desk.fraction

    @property
    def now(self) -> int:
        """What the engine's clock says."""
        assert self.run is not None
        return self.run.clock()

    @property
    def mode(self) -> str:
        """The mode of the desk."""
        return self.life.desk.mode

    # What the journal says

    def committed(self, entry: SetRecord | Event) -> None:
        """Take an entry that is on disk."""
        if isinstance(entry, SetRecord):
            self._set(entry)
        else:
            self.events.append(entry)
            self._event(entry)

    def _set(self, record: SetRecord) -> None:
        self.sets += 1
        self.history.append(record)
        stamp = record.release.stamp
        refusals = {each.content["order_id"]: each for each in record.events if each.kind == "refusal"}
        for symbol, key in self.series.items():
            if key in record.release.bars:
                self.closes[symbol] = (stamp, record.release.bars[key][3])
        self.fresh = [order for lane in record.lanes for order in self._orders_of(lane, stamp, refusals)]
        self.decided += [order for order in self.fresh if not order.refused]
        for lane in record.lanes:
            self._lane(lane)

    def _orders_of(self, lane: LaneRecord, stamp: int, refusals: Mapping[str, Event]) -> list[Order]:
        """Return the order that a lane decided in this set, refused ones too."""

        def order(intent: str, quantity: float) -> Order:
            return Order(
                symbol=lane.symbol,
                intent=intent,
                quantity=quantity,
                decision=stamp,
                bundle=lane.bundle,
                reference=lane.mark[0],
            )

        waiting = lane.state.waiting
        if waiting is not None and waiting.decision == stamp:
            found = order(waiting.intent, waiting.terms[QUANTITY])
            found.order_id = waiting.order_id
            self.orders[waiting.order_id] = found
            return [found]
        canceled = (each for each in lane.orders if each.status == "canceled" and each.decision == stamp)
        refused = []
        for refusal in refusals.values():
            if refusal.symbol == lane.symbol:
                told = next(canceled)
                found = order(told.intent, told.quantity)
                found.refused = (refusal.content["rule"], refusal.content["detail"])
                refused.append(found)
        return refused

    def _lane(self, lane: LaneRecord) -> None:
        self.lanes[lane.symbol], self.states[lane.symbol] = lane, lane.state
        for order in lane.orders:
            if order.status == "completed" and order.intent in (ENTRY, EXIT):
                self._filled(lane.symbol, order.decision, order.intent)

    def _filled(self, symbol: str, decision: int, intent: str) -> None:
        for order in reversed(self.decided):
            if (order.symbol, order.decision, order.intent) == (symbol, decision, intent):
                order.filled = True
                return

    def _event(self, event: Event) -> None:
        order = self.orders.get(str(event.content.get("order_id", "")))
        kind = event.kind
        if kind == "fill":
            self.booked[event.symbol] = self.booked.get(event.symbol, 0.0) + event.content["quantity"]
        elif kind == "rollout":
            self.fraction = float(event.content["fraction"])
        elif kind == "swap":
            self.bundles[event.symbol] = event.content["to_sha256"]
        if order is None:
            return
        if kind == "send":
            order.noted = True
        elif kind in ("acknowledged", "rejected", "unknown"):
            order.result = kind
            if kind == "rejected":
                order.ended = str(event.content.get("detail", "")) or kind
        elif kind == "resolved":
            order.result = "resolved"
            order.ended = "" if event.content["outcome"] == "placed" else "not placed"
        elif kind == "fill" and event.content["order"] == "market":
            order.filled = True
        elif kind == "withdrawn":
            order.ended = str(event.content.get("reason", kind))

    # What the world says

    def submitted(self, order_id: str, message: Message) -> None:
        """Take an order that was handed to the broker."""
        order = self.orders.get(order_id)
        if order is not None:
            order.sent += 1
            order.message = message

    def answered(self, result: SendResult) -> None:
        """Take a broker's result, before the engine has it."""

    def looked(self, productions: Mapping[str, tuple[str, str]]) -> None:
        """Take what the engine saw in the manifest."""
        self.known = dict(productions)

    def offered(self, arrival: Arrival) -> None:
        """Take a bar that was brought to the engine."""

    # What follows from it

    def exposure(self, symbol: str) -> float:
        """Return signed contracts that are held, or that an entry on its way may add."""
        state = self.states.get(symbol)
        if state is None:
            return 0.0
        return state.account[POSITION] + self.pending(symbol, state)

    def pending(self, symbol: str, state: LaneState) -> float:
        """Return signed contracts of the entry that a state waits for, unless it was given up since."""
        waiting = state.waiting
        if waiting is None or waiting.intent != ENTRY or self.orders[waiting.order_id].ended:
            return 0.0
        return waiting.terms[QUANTITY]

    def capital(self, symbol: str) -> float:
        """Return the USD that the account of a symbol begins with."""
        return CAPITAL

    def unknown(self) -> set[str]:
        """Return the symbols with an order that may or may not be at the broker."""
        return {order.symbol for order in self.orders.values() if order.result == "unknown"}

    def decider(self, symbol: str, decision: int) -> str:
        """Return the bundle that decided the entry of a symbol at a stamp."""
        for order in reversed(self.decided):
            if (order.symbol, order.decision, order.intent) == (symbol, decision, ENTRY):
                return order.bundle
        return ""

    def values_of(self, key: SeriesKey, end: int) -> Values | None:
        """Return the true bar of a series, or None where there was none."""
        found = self.life.bars.get(str(key), {}).get(end)
        return None if found is None else (*found, 100.0)
