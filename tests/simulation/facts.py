"""What is known of a desk from outside: by its journal, its messages and the world, never by its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lockstep.live.brokers.protocol import Message
from lockstep.live.clock_check import Measured
from lockstep.live.events import (
    Event,
    ExitWithoutBar,
    FillReported,
    OrderAcknowledged,
    OrderEvent,
    OrderRejected,
    OrderResolved,
    OrderSent,
    OrderUnknown,
    OrderWithdrawn,
    PositionAgreed,
    PositionDiffers,
    RolloutMoved,
)
from lockstep.live.messages import LaneRecord, LaneState, SetRecord, Wanted
from lockstep.market.history import SeriesKey
from lockstep.strategy.matching import POSITION, QUANTITY
from simulation.life import Life
from simulation.venues import HOUR, Venue, key_of, venue

if TYPE_CHECKING:
    from simulation.run import Run

ENTRY, EXIT = "entry", "exit"
CAPITAL = 100_000.0
_CLOCK_COUNTS = 12 * HOUR
_CLOCK_MAY_BE_OFF = 1.0


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

    sets       how many bar sets are journaled; states   newest recorded state by symbol
    held       signed contracts by symbol; waiting   the order that may still fill, by symbol
    shown      whether the newest record of a symbol shows all of its fills
    orders     by order id; decided   those that were not refused; fresh   those of the newest set, in order
    known      the version to trade by symbol, as the engine last saw it
    closes     (end, close) of the newest bar of each traded symbol
    unbooked   fills that are journaled and that the next set books, mode live
    agreed     by symbol, the session date in which this run found its position to be the broker's
    clock      (moment, seconds ahead) of the newest measurement of this run
    seen       when the engine last looked outside
    """

    life: Life
    run: Run | None = None
    sets: int = 0
    states: dict[str, LaneState] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, Order] = field(default_factory=dict)
    shown: dict[str, bool] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    fresh: list[Order] = field(default_factory=list)
    decided: list[Order] = field(default_factory=list)
    known: dict[str, Wanted] = field(default_factory=dict)
    closes: dict[str, tuple[int, float]] = field(default_factory=dict)
    unbooked: list[Event] = field(default_factory=list)
    agreed: dict[str, int] = field(default_factory=dict)
    clock: tuple[int, float] | None = None
    seen: int = 0
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
            self._event(entry)

    def _set(self, record: SetRecord) -> None:
        self.sets += 1
        stamp = record.release.stamp
        refusals = {each.order_id: each for each in record.events if each.kind == "refusal"}
        for symbol, key in self.series.items():
            if key in record.release.bars:
                self.closes[symbol] = (stamp, record.release.bars[key][3])
        self._book()
        self.fresh = [order for lane in record.lanes for order in self._orders_of(lane, stamp, refusals)]
        self.decided += [order for order in self.fresh if not order.refused]
        for lane in record.lanes:
            self._lane(lane)

    def _book(self) -> None:
        """Book what was reported since the last set, whether it has a bar of the instrument or not."""
        for fill in self.unbooked:
            self.held[fill.symbol] = self.held.get(fill.symbol, 0.0) + fill.quantity
            self.shown[fill.symbol] = False
            if fill.order == "market":
                self.waiting.pop(fill.symbol, None)
        self.unbooked.clear()

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
                found.refused = (refusal.rule, refusal.detail)
                refused.append(found)
        return refused

    def _lane(self, lane: LaneRecord) -> None:
        symbol, state = lane.symbol, lane.state
        self.states[symbol], self.shown[symbol] = state, True
        for each in lane.orders:
            if each.status == "completed" and each.intent in (ENTRY, EXIT):
                self._filled(symbol, each.decision, each.intent)
        self.held[symbol] = state.account[POSITION]
        self.waiting.pop(symbol, None)
        if state.waiting is not None:
            self.waiting[symbol] = self.orders[state.waiting.order_id]

    def _filled(self, symbol: str, decision: int, intent: str) -> None:
        for order in reversed(self.decided):
            if (order.symbol, order.decision, order.intent) == (symbol, decision, intent):
                order.filled = True
                return

    def _event(self, event: Event) -> None:
        if isinstance(event, FillReported):
            self.unbooked.append(event)
        elif isinstance(event, RolloutMoved):
            self.fraction = event.fraction
        elif isinstance(event, ExitWithoutBar):
            self._leaves(event)
        elif isinstance(event, PositionAgreed):
            self.agreed[event.symbol] = self.venues[event.symbol].date(event.time)
        elif isinstance(event, PositionDiffers):
            self.agreed.pop(event.symbol, None)
        if isinstance(event, OrderEvent) and event.order_id in self.orders:
            self._step(self.orders[event.order_id], event)

    def _leaves(self, event: ExitWithoutBar) -> None:
        """Take an exit that no bar decided: HALT asks for it while the bars are quarantined."""
        order = Order(
            symbol=event.symbol,
            intent=EXIT,
            quantity=event.quantity,
            decision=event.decision,
            bundle="",
            reference=0.0,
            order_id=event.order_id,
        )
        self.orders[order.order_id] = self.waiting[event.symbol] = order
        self.decided.append(order)

    def _step(self, order: Order, event: OrderEvent) -> None:
        match event:
            case OrderSent():
                order.noted = True
            case OrderAcknowledged() | OrderRejected() | OrderUnknown():
                order.result = event.kind
                if isinstance(event, OrderRejected):
                    self._give_up(order, event.detail or event.kind)
            case OrderResolved():
                if order.result == "unknown":
                    order.result = "resolved"
                    if event.outcome == "not_placed":
                        self._give_up(order, "not placed")
            case FillReported():
                order.filled = order.filled or event.order == "market"
            case OrderWithdrawn():
                self._give_up(order, f"{event.rule}: {event.detail}", everywhere=True)

    def _give_up(self, order: Order, why: str, *, everywhere: bool = False) -> None:
        """Expect nothing more of an order, unless its fill was reported already.

        everywhere   also where fills are simulated, whatever became of the message
        """
        if not order.filled and (everywhere or self.mode == "live"):
            order.ended = why
            if self.waiting.get(order.symbol) is order:
                del self.waiting[order.symbol]

    # What the world says

    def submitted(self, order_id: str, message: Message) -> None:
        """Take an order that was handed to the broker."""
        order = self.orders.get(order_id)
        if order is not None:
            order.sent += 1
            order.message = message

    def begun(self, run: Run) -> None:
        """Take a process that begins: what the one before knew of clock and broker is forgotten."""
        self.run, self.clock = run, None
        self.agreed.clear()

    def looked(self, wanted: Mapping[str, Wanted]) -> None:
        """Take what the engine saw in the manifest."""
        self.known = dict(wanted)

    def measured(self, measured: Measured) -> None:
        """Take what a time server said of the clock."""
        self.clock = (self.now, abs(measured.ahead) + measured.error)

    # What follows from it

    def superseded(self, symbol: str, bundle: str) -> bool:
        """Return whether the engine knows that another version than `bundle`, or none, is to be traded."""
        return symbol in self.known and self.known[symbol].sha256 != bundle

    def unreconciled(self, symbol: str, moment: int) -> bool:
        """Return whether the position is not known to be the broker's in the session day of a moment."""
        return self.mode == "live" and self.agreed.get(symbol) != self.venues[symbol].date(moment)

    def clock_in_doubt(self) -> bool:
        """Return whether the clock was not found right by this run, within twelve hours."""
        if self.mode != "live":
            return False
        if self.clock is None:
            return True
        moment, off = self.clock
        return self.now - moment > _CLOCK_COUNTS or off > _CLOCK_MAY_BE_OFF

    def decider(self, symbol: str, decision: int) -> str:
        """Return the bundle that decided the entry of a symbol at a stamp."""
        for order in reversed(self.decided):
            if (order.symbol, order.decision, order.intent) == (symbol, decision, ENTRY):
                return order.bundle
        return ""

    def capital(self, symbol: str) -> float:
        """Return the USD that the account of a symbol begins with."""
        return CAPITAL

    def unknown(self) -> set[str]:
        """Return the symbols with an order that may or may not be at the broker."""
        return {order.symbol for order in self.orders.values() if order.result == "unknown"}
