"""Commands on orders: `list`, `resolve`, `fill`. They read the journal and post to the engine's mailbox."""

from __future__ import annotations

import hashlib
import json as json_
import time as clock
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from lockstep.errors import LiveError
from lockstep.live.events import FillReported
from lockstep.live.operator.commands import FillCommand, ReconcileCommand, ResolveCommand
from lockstep.live.operator.desk import OperatorDesk
from lockstep.live.operator.journal_cli import iso
from lockstep.live.operator.open_orders import UNKNOWN, OrderName, OrderStep, Standing, require_unknown
from lockstep.live.operator.statement import utc_nanoseconds
from lockstep.live.units import inside
from lockstep.market.command_line import App, LiveFile, OneSymbol
from lockstep.settings import validated
from lockstep.strategy.matching import QUANTITY

app = App(no_args_is_help=True)

_SETTLED = frozenset(("rejected", "not placed", "withdrawn", "filled"))


class OrderOutcome(StrEnum):
    """What became of an UNKNOWN order."""

    placed = "placed"
    not_placed = "not_placed"


class FilledOrder(StrEnum):
    """Which order filled: the market order itself, or the stop or target that an entry left at the broker."""

    market = "market"
    stop = "stop"
    target = "target"


@app.command("list")
def show(
    config: LiveFile,
    every: Annotated[bool, typer.Option("--all", help="Include settled orders of the epoch.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show orders that wait, are in flight, UNKNOWN or unfilled, and the positions they lead to."""
    told = listing(OperatorDesk.read(config), every=every)
    if json:
        typer.echo(json_.dumps(told, indent=2))
        return
    typer.echo(f"epoch {told['epoch']} ({told['mode']}); engine {told['engine']}")
    for order in told["orders"]:
        typer.echo(f"{order['state']:<13} {order['order_id']}  {order['detail']}".rstrip())
    for each in told["positions"]:
        held = "" if each["position"] is None else f"{each['position']:+g}"
        typer.echo(f"{'position':<13} {each['symbol']} {held} {each['note']}".rstrip())
    for name in told["posted"]:
        typer.echo(f"{'in mailbox':<13} {name}")
    if not told["orders"]:
        typer.echo("no open order")


@app.command()
def resolve(
    order_id: Annotated[str, typer.Argument(help="An UNKNOWN order, as `list` shows it.")],
    outcome: Annotated[OrderOutcome, typer.Option(help="What the broker shows.")],
    reason: Annotated[str, typer.Option(help="Where that was seen, and by whom.")],
    *,
    config: LiveFile,
) -> None:
    """Resolve an UNKNOWN order; its instrument may enter again."""
    desk = OperatorDesk.read(config)
    require_unknown(desk.orders, order_id)
    if not reason.strip():
        raise LiveError(f"order {order_id}: no reason; say where its outcome was seen, and by whom")
    name = f"resolve-{order_id}"
    if name in dict(desk.posted):
        raise LiveError(f"order {order_id}: its resolution is in the mailbox already; {desk.taken}")
    desk.post(ResolveCommand(order_id=order_id, outcome=outcome.value, reason=reason), name)
    typer.echo(f"{order_id}: resolved as {outcome.value}; {desk.taken}")
    if outcome is OrderOutcome.placed and desk.epoch.mode == "live":
        typer.echo("report its fill as soon as it has one: orders.py fill")


@app.command()
def fill(
    order_id: Annotated[str, typer.Option(help="Order id; for a stop or target, that of its entry.")],
    symbol: OneSymbol,
    quantity: Annotated[float, typer.Option(help="Contracts, signed: bought is positive.")],
    price: Annotated[float, typer.Option(help="Mean price of the fill in points, from the statement.")],
    commission: Annotated[float, typer.Option(min=0, help="Commission of the whole fill, USD.")],
    time: Annotated[str, typer.Option(help="When it filled, ISO with offset: 2026-03-06T14:10:03Z.")],
    order: Annotated[FilledOrder, typer.Option(help="market, stop or target.")] = FilledOrder.market,
    fill_id: Annotated[str, typer.Option(help="The statement's id; default: derived from the fill.")] = "",
    *,
    config: LiveFile,
) -> None:
    """Report a complete fill at the real broker; reporting it twice changes nothing."""
    desk = OperatorDesk.read(config)
    stamp = utc_nanoseconds(time, f"order {order_id}")
    facts = (order_id, symbol, order.value, quantity, price, commission, stamp)
    digest = hashlib.sha256(json_.dumps(facts).encode()).hexdigest()[:16]
    told = {"fill_id": fill_id or digest, "order_id": order_id, "symbol": symbol, "order": order.value,
            "quantity": quantity, "price": price, "commission": commission, "stamp": stamp}  # fmt: skip
    command = validated(FillCommand, told, where=f"fill of {order_id}").inside(desk.units.known)
    if _known(desk, command):
        typer.echo(f"{order_id}: this fill was reported before; nothing is done")
        return
    require_expected(desk, command, now=clock.time_ns())
    # Names are read in their order, and an entry must be booked before the stop that it placed.
    rank = 0 if order is FilledOrder.market else 1
    desk.post(command, f"fill-{stamp:020d}-{rank}-{digest}")
    typer.echo(f"{order_id}: fill of {quantity:+g} {symbol} at {price:.10g} reported; {desk.taken}")


@app.command()
def reconcile(
    symbol: OneSymbol,
    position: Annotated[
        float, typer.Option(help="All that the broker shows of it, in contracts, signed; 0 for flat.")
    ],
    reason: Annotated[str, typer.Option(help="Where that was seen, and by whom.")],
    *,
    config: LiveFile,
) -> None:
    """Confirm the broker's position (mode live); if it matches the engine's, entries are allowed again."""
    desk, now = OperatorDesk.read(config), clock.time_ns()
    if desk.epoch.mode != "live":
        raise LiveError(
            f"{symbol}: mode {desk.epoch.mode} simulates its positions; there is no broker's side"
        )
    if not reason.strip():
        raise LiveError(f"{symbol}: no reason; say where the position was seen, and by whom")
    seen = inside(desk.units.known, symbol, position)
    held = desk.standing(seen.symbol).position
    if not desk.running:
        raise LiveError(f"{symbol}: no engine is running; confirm its position after the start")
    command = ReconcileCommand(
        symbol=seen.symbol, position=seen.quantity, stamp=now, reason=reason, unit=seen.unit
    )
    desk.post(command, f"reconcile-{seen.symbol}-{now}")
    agrees = "which agrees" if held == seen.quantity else "and nothing is opened until both agree"
    ours = f"{held:+g}" if seen.unit is None else f"{held:+g} {seen.symbol}"
    typer.echo(f"{symbol}: the broker holds {position:+g}, the engine {ours}, {agrees}; {desk.taken}")


def require_expected(desk: OperatorDesk, fill: FillCommand, *, now: int) -> None:
    """Raise LiveError where the engine could not book the fill: it would stop."""
    if desk.epoch.mode != "live":
        raise LiveError(
            f"fill of {fill.order_id}: mode {desk.epoch.mode} simulates its fills; none is reported"
        )
    desk.units.require_told(fill.order_id, fill.symbol, fill.unit)
    desk.standing(fill.symbol).after(fill)
    decided = OrderName.parse(fill.order_id).decision
    if not decided <= fill.stamp <= now:
        raise LiveError(
            f"fill of {fill.order_id}: time {iso(fill.stamp)}: must be between the decision at "
            f"{iso(decided)} and now"
        )
    later = [each for each in desk.posted_fills(fill.symbol) if each.stamp > fill.stamp]
    if later:
        raise LiveError(
            f"fill of {fill.order_id}: a later one, of {iso(later[0].stamp)}, waits in the mailbox; report "
            "the oldest first"
        )


def _known(desk: OperatorDesk, fill: FillCommand) -> bool:
    journaled = {event.fill_id for event in desk.events if isinstance(event, FillReported)}
    return fill.fill_id in journaled | {each.fill_id for each in desk.posted_fills(fill.symbol)}


def listing(desk: OperatorDesk, *, every: bool) -> dict[str, Any]:
    """Return the orders, positions and posted commands of a desk as plain JSON, UNKNOWN orders first."""
    steps = desk.orders
    orders: list[dict[str, str]] = [
        {"order_id": order_id, "state": _spelled(step.state), "since": iso(step.since), "detail": step.detail}
        for order_id, step in steps.items()
        if every or step.state not in _SETTLED
    ]
    positions: list[dict[str, Any]] = []
    for symbol in (each.symbol for each in desk.config.instruments):
        try:
            standing = desk.standing(symbol)
        except LiveError as error:
            positions.append({"symbol": symbol, "position": None, "note": f"unclear: {error}"})
            continue
        orders += _waiting(standing, steps)
        if standing.position:
            unit = desk.units.of(symbol, opens=False)
            held = [] if unit is None else [f"{unit.count(standing.position):+g} {unit.symbol}"]
            note = " ".join([*held, " and ".join(sorted(standing.protective))]).strip()
            positions.append({"symbol": symbol, "position": standing.position, "note": note})
    return {
        "epoch": desk.epoch.number,
        "mode": desk.epoch.mode,
        "engine": "is running" if desk.running else "is not running",
        "orders": sorted(orders, key=lambda order: order["state"] != UNKNOWN.upper()),
        "positions": positions,
        "posted": [name for name, _ in desk.posted],
    }


def _waiting(standing: Standing, steps: Mapping[str, OrderStep]) -> list[dict[str, str]]:
    order = standing.waiting
    if order is None or order.order_id in steps:
        return []
    detail = f"{order.terms[QUANTITY]:+g} contracts, not sent yet"
    return [{"order_id": order.order_id, "state": "waiting", "since": iso(order.decision), "detail": detail}]


def _spelled(state: str) -> str:
    return {UNKNOWN: UNKNOWN.upper(), "send": "sending"}.get(state, state)
