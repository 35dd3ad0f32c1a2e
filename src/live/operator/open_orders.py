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
from lockstep.live.messages import Event, LaneState, Mode
from lockstep.live.operator.commands import FillCommand
from lockstep.live.quarantine import Quarantine, decision_of
from lockstep.live.reconciliation import Account
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
_STEPS = frozenset(("send", "acknowledged", "rejected", "unknown", "resolved", "fill", "withdrawn"))
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
        told = event.content
        if event.kind not in _STEPS or (event.kind == "fill" and told["order"] != "market"):
            continue
        steps[str(told["order_id"])] = OrderStep(_state(event), event.time, _detail(event))
    return steps


def _state(event: Event) -> str:
    if event.kind == "resolved":
        return str(event.content["outcome"]).replace("_", " ")
    return "filled" if event.kind == "fill" else event.kind


def _detail(event: Event) -> str:
    told = event.content
    if event.kind == "fill":
        return f"{told['quantity']:+g} at {told['price']:.10g}"
    return str(told.get("detail") or told.get("reason") or "")


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
        if event.kind == "leave_now" and event.symbol == self.symbol:
            return replace(self, waiting=demanded_exit(event))
        if event.kind == "fill" and event.symbol == self.symbol:
            return self.after(_fill_of(event))
        gone = event.kind in ("rejected", "resolved", "withdrawn") and _state(event) in WITHDRAWN
        if gone and self.waiting is not None and event.content["order_id"] == self.waiting.order_id:
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
                f"{self.position:+g}: it must close all of it; report the sum of its parts, signed"
            )
        # An exit that is on its way finds nothing to close; should it fill, it is not ours to book.
        return Standing(symbol=self.symbol)


def demand(symbol: str, order_id: str, code: int, decision: int, state: LaneState) -> Event:
    """Return the event that sends an exit without a bar; `demanded_exit` is the order that it makes."""
    content = {"code": code, "decision": decision, "order_id": order_id, "quantity": -state.account[POSITION]}
    return Event(kind="leave_now", symbol=symbol, content=content)


def demanded_exit(event: Event) -> WaitingOrder:
    """Return the order of a `leave_now` event: an exit that was sent without a bar."""
    told = event.content
    return WaitingOrder(
        terms=(float(told["quantity"]), *NO_ORDER[1:]),
        decision=int(told["decision"]),
        intent=EXIT,
        reason=NAMES[int(told["code"])],
        probability=math.nan,
        order_id=str(told["order_id"]),
    )


class Reports:
    """The fills that a source of fills reported, as the engine hears of them."""

    def __init__(self) -> None:
        self._since: list[Event] = []
        self._fills: dict[str, list[tuple[int, float]]] = {}

    def add(self, event: Event) -> None:
        """Take a fill that is journaled; the account has it with the next bar."""
        self._since.append(event)
        fill = (int(event.content["stamp"]), float(event.content["quantity"]))
        self._fills.setdefault(event.symbol, []).append(fill)

    def booked(self) -> None:
        """Note that the accounts hold all fills so far."""
        self._since.clear()

    def require_open(self, event: Event, state: LaneState) -> None:
        """Raise LiveError where no order is open that a reported fill could belong to."""
        Standing.of(event.symbol, state, self._since).after(_fill_of(event))

    def account(self, symbol: str, state: LaneState, moment: int) -> Account:
        """Return what an account held at a moment (UTC ns), and what its waiting order would add."""
        standing = Standing.of(symbol, state, self._since)
        later = (quantity for stamp, quantity in self._fills.get(symbol, ()) if stamp > moment)
        return Account(
            position=standing.position - math.fsum(later),
            waiting=standing.waiting.terms[QUANTITY] if standing.waiting else _FLAT,
        )


def credible(
    command: Event, *, mode: Mode, states: Mapping[str, LaneState], reports: Reports, bars: Quarantine
) -> Event:
    """Return a command as it is; one about what cannot be, or is not there, becomes a bad command."""
    try:
        if command.kind in ("fill", "reconcile") and mode != "live":
            raise LiveError(f"mode {mode} simulates its fills and positions")
        if command.kind in ("fill", "reconcile") and command.symbol not in states:
            raise LiveError(f"{command.symbol}: is not traded here")
        if command.kind == "fill":
            reports.require_open(command, states[command.symbol])
        elif command.kind == "quarantine":
            bars.require_waiting(*decision_of(command)[:3])
    except LockstepError as error:
        content = {**command.content, "error": str(error)}
        return Event(kind="bad_command", symbol=command.symbol, content=content)
    return command


def _fill_of(event: Event) -> FillCommand:
    return FillCommand.model_validate(
        {name: value for name, value in event.content.items() if name != "command"}
    )


def _protection(entry: WaitingOrder) -> frozenset[str]:
    distances = {
        "stop": entry.terms[STOP_FRACTION] + entry.terms[STOP_POINTS],
        "target": entry.terms[TARGET_FRACTION] + entry.terms[TARGET_POINTS],
    }
    return frozenset(kind for kind, distance in distances.items() if not math.isnan(distance))
