"""What became of each order, and which fills an account can still have: what the operator is told.

The engine books a fill that it is told of, and stops where no order is open that it could belong to. So a
report is held against the journal before it is posted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from lockstep.errors import LiveError, LockstepError
from lockstep.live.codec import content_of
from lockstep.live.events import (
    BarJudged,
    CommandRefused,
    Event,
    ExitWithoutBar,
    FillReported,
    OrderAcknowledged,
    OrderRejected,
    OrderResolved,
    OrderSent,
    OrderUnknown,
    OrderWithdrawn,
    PortfolioResumed,
    PositionSeen,
    Told,
)
from lockstep.live.messages import LaneState, Mode
from lockstep.live.operator.commands import FillCommand
from lockstep.live.quarantine import Quarantine, series_key
from lockstep.live.reconciliation import EngineAccount
from lockstep.live.units import OutwardUnits
from lockstep.strategy.decision import NAMES
from lockstep.strategy.lane import WaitingOrder
from lockstep.strategy.matching import (
    NO_ORDER,
    POSITION,
    QUANTITY,
    STOP,
    STOP_FRACTION,
    STOP_POINTS,
    TARGET,
    TARGET_FRACTION,
    TARGET_POINTS,
)
from lockstep.strategy.records import EXIT

UNKNOWN = "unknown"
WITHDRAWN = frozenset(("rejected", "not placed", "withdrawn"))
_Step = (
    OrderSent
    | OrderAcknowledged
    | OrderRejected
    | OrderUnknown
    | OrderResolved
    | OrderWithdrawn
    | FillReported
)
_FLAT = 0.0


class OrderName(NamedTuple):
    """The parts of an order id; the decision is the end of its bar, UTC ns."""

    symbol: str
    decision: int
    intent: str

    @classmethod
    def parse(cls, order_id: str) -> OrderName:
        """Return the parts; LiveError where it is no order id. Symbols may hold dashes."""
        _, *rest = order_id.split("-")
        if len(rest) < 5 or not rest[-3].isdigit():
            raise LiveError(f"order {order_id!r}: no order id; lockstep orders list shows them")
        return cls("-".join(rest[1:-3]), int(rest[-3]), rest[-2])


class OrderStep(NamedTuple):
    """Where a market order stands, since when (UTC ns), and what was said about it.

    state   `send`, `acknowledged`, `unknown`, `rejected`, `withdrawn`, `placed`, `not placed` or `filled`
    """

    state: str
    since: int
    detail: str


def last_steps(events: Iterable[Event]) -> dict[str, OrderStep]:
    """Return where each order stands that left the house, by order id, in the order in which they left."""
    steps: dict[str, OrderStep] = {}
    for event in events:
        if isinstance(event, _Step) and not (isinstance(event, FillReported) and event.order != "market"):
            steps[event.order_id] = OrderStep(_state(event), event.time, _detail(event))
    return steps


def _state(event: _Step) -> str:
    if isinstance(event, OrderResolved):
        return event.outcome.replace("_", " ")
    return "filled" if isinstance(event, FillReported) else event.kind


def _detail(event: _Step) -> str:
    match event:
        case FillReported():
            unit = "" if event.unit is None else f" {event.symbol} in {event.unit}"
            return f"{event.quantity:+g}{unit} at {event.price:.10g}"
        case OrderResolved():
            return event.reason
        case OrderSent():
            return ""
        case OrderAcknowledged() | OrderRejected() | OrderUnknown() | OrderWithdrawn():
            return event.detail


def require_unknown(steps: Mapping[str, OrderStep], order_id: str) -> None:
    """Raise LiveError unless the order is UNKNOWN and waits for the operator."""
    OrderName.parse(order_id)
    if order_id not in steps:
        unknown = ", ".join(key for key, step in steps.items() if step.state == UNKNOWN) or "none"
        raise LiveError(f"order {order_id}: the journal has none of this id; UNKNOWN are: {unknown}")
    state = steps[order_id].state
    if state == "send":
        raise LiveError(
            f"order {order_id}: is being sent; a running engine waits for its answer, "
            "a restart makes it UNKNOWN"
        )
    if state != UNKNOWN:
        raise LiveError(f"order {order_id}: is not UNKNOWN but {state}; there is nothing to resolve")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What an account holds and which orders of it may still fill.

    position     signed contracts; entry   decision stamp of the open trade, 0 when flat
    waiting      the market order that has not filled; protective   `stop`, `target` at the broker
    """

    symbol: str
    position: float = _FLAT
    entry: int = 0
    waiting: WaitingOrder | None = None
    protective: frozenset[str] = frozenset()

    @classmethod
    def of(cls, symbol: str, state: LaneState, since: Iterable[Event] = ()) -> Standing:
        """Return the standing of a recorded state, and of the events that were journaled after it."""
        levels = {"stop": state.account[STOP], "target": state.account[TARGET]}
        standing = cls(
            symbol=symbol,
            position=state.account[POSITION],
            entry=int(state.trade["decision"]) if state.trade else 0,
            waiting=state.waiting,
            protective=frozenset(kind for kind, level in levels.items() if not math.isnan(level)),
        )
        for event in since:
            standing = standing._heard(event)
        return standing

    def _heard(self, event: Event) -> Standing:
        if isinstance(event, ExitWithoutBar) and event.symbol == self.symbol:
            return replace(self, waiting=demanded_exit(event))
        if isinstance(event, FillReported) and event.symbol == self.symbol:
            return self.after(_fill_of(event))
        if isinstance(event, OrderRejected | OrderResolved | OrderWithdrawn) and _state(event) in WITHDRAWN:
            if self.waiting is not None and event.order_id == self.waiting.order_id:
                return replace(self, waiting=None)
        return self

    def after(self, fill: FillCommand) -> Standing:
        """Return the standing after a fill; LiveError where no order is open that it could belong to."""
        if fill.symbol != self.symbol or OrderName.parse(fill.order_id).symbol != self.symbol:
            raise LiveError(f"order {fill.order_id}: is not an order of {fill.symbol}; check the symbol")
        if fill.quantity == _FLAT:
            raise LiveError(f"order {fill.order_id}: quantity 0: a fill is signed, bought is positive")
        return self._filled(fill) if fill.order == "market" else self._protected(fill)

    def _filled(self, fill: FillCommand) -> Standing:
        waiting = self.waiting
        if waiting is None or waiting.order_id != fill.order_id:
            there = f"{waiting.order_id} waits" if waiting else "no order waits"
            raise LiveError(f"order {fill.order_id}: has no fill to come: of {self.symbol} {there} for one")
        asked = waiting.terms[QUANTITY]
        whole = waiting.intent == "exit"
        if fill.quantity * asked < 0 or abs(fill.quantity) > abs(asked) or (whole and fill.quantity != asked):
            raise LiveError(
                f"order {fill.order_id}: a fill of {fill.quantity:+g}, the order is {asked:+g} contracts"
                f"{' and closes the position' if whole else ''}; report the sum of its parts, signed"
            )
        if whole:
            return Standing(symbol=self.symbol)
        return replace(
            self,
            position=fill.quantity,
            entry=waiting.decision,
            waiting=None,
            protective=_protection(waiting),
        )

    def _protected(self, fill: FillCommand) -> Standing:
        name = OrderName.parse(fill.order_id)
        if fill.order not in self.protective or (name.intent, name.decision) != ("entry", self.entry):
            by = " and ".join(sorted(self.protective)) or "nothing"
            raise LiveError(
                f"order {fill.order_id}: no {fill.order} of it is at work: {self.symbol} holds "
                f"{self.position:+g} contracts, protected by {by}"
            )
        if fill.quantity != -self.position:
            raise LiveError(
                f"order {fill.order_id}: a {fill.order} of {fill.quantity:+g}, the position is "
                f"{self.position:+g}: an exit must close all of it; report the sum of partial fills, signed"
            )
        # An exit that is on its way finds nothing to close; should it fill, it is not ours to book.
        return Standing(symbol=self.symbol)


def demand(symbol: str, order_id: str, code: int, decision: int, state: LaneState) -> ExitWithoutBar:
    """Return the event that sends an exit without a bar; `demanded_exit` is the order that it makes."""
    return ExitWithoutBar(
        symbol=symbol, code=code, decision=decision, order_id=order_id, quantity=-state.account[POSITION]
    )


def demanded_exit(event: ExitWithoutBar) -> WaitingOrder:
    """Return the order that an event sends without a bar."""
    return WaitingOrder(
        terms=(event.quantity, *NO_ORDER[1:]),
        decision=event.decision,
        intent=EXIT,
        reason=NAMES[event.code],
        probability=math.nan,
        order_id=event.order_id,
    )


class Reports:
    """The fills that a source of fills reported, as the engine hears of them."""

    def __init__(self) -> None:
        self._since: list[FillReported] = []
        self._fills: dict[str, list[tuple[int, float]]] = {}

    def add(self, event: FillReported) -> None:
        """Take a fill that is journaled; the account has it with the next bar."""
        self._since.append(event)
        self._fills.setdefault(event.symbol, []).append((event.stamp, event.quantity))

    def booked(self) -> None:
        """Note that the accounts hold all fills so far."""
        self._since.clear()

    def require_open(self, event: FillReported, state: LaneState) -> None:
        """Raise LiveError where no order is open that a reported fill could belong to."""
        Standing.of(event.symbol, state, self._since).after(_fill_of(event))

    def account(self, symbol: str, state: LaneState, moment: int) -> EngineAccount:
        """Return what an account held at a moment (UTC ns), and what its waiting order would add."""
        standing = Standing.of(symbol, state, self._since)
        later = (quantity for stamp, quantity in self._fills.get(symbol, ()) if stamp > moment)
        return EngineAccount(
            position=standing.position - math.fsum(later),
            waiting=standing.waiting.terms[QUANTITY] if standing.waiting else _FLAT,
        )


def credible(
    command: Told | CommandRefused,
    *,
    mode: Mode,
    halted: bool,
    states: Mapping[str, LaneState],
    reports: Reports,
    bars: Quarantine,
    units: OutwardUnits,
) -> Told | CommandRefused:
    """Return a command as it is; one about what cannot be, or is not there, is refused.

    halted   whether a drawdown has halted the portfolio
    """
    try:
        if isinstance(command, FillReported | PositionSeen) and mode != "live":
            raise LiveError(f"mode {mode} simulates its fills and positions")
        if isinstance(command, FillReported | PositionSeen) and command.symbol not in states:
            raise LiveError(f"{command.symbol}: is not traded here")
        if isinstance(command, FillReported):
            units.require_told(command.order_id, command.symbol, command.unit)
            reports.require_open(command, states[command.symbol])
        elif isinstance(command, PortfolioResumed) and not halted:
            raise LiveError("portfolio: is not halted, there is nothing to end")
        elif isinstance(command, BarJudged):
            bars.require_waiting(series_key(command.key), command.end, command.values)
    except LockstepError as error:
        given = {name: value for name, value in content_of(command).items() if name != "command"}
        return CommandRefused(symbol=command.symbol, command=command.command, given=given, error=str(error))
    return command


def _fill_of(event: FillReported) -> FillCommand:
    content = content_of(event)
    del content["command"]
    return FillCommand.model_validate(content)


def _protection(entry: WaitingOrder) -> frozenset[str]:
    distances = {
        "stop": entry.terms[STOP_FRACTION] + entry.terms[STOP_POINTS],
        "target": entry.terms[TARGET_FRACTION] + entry.terms[TARGET_POINTS],
    }
    return frozenset(kind for kind, distance in distances.items() if not math.isnan(distance))
