"""Netting: what the members of an ensemble want of one instrument in one bar set leaves as one order.

Inside, each member is a lane with an account, orders and fills of its own. Outside there is one position, so
buying for one member what is sold for another would only cost. See `docs/adr/0042-ensembles.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from lockstep.live.events import OrdersNetted
from lockstep.live.messages import OrderIntent
from lockstep.market.instrument import traded_symbol
from lockstep.strategy.matching import NO_ORDER

NET = "net"

OrderId = Callable[[str, int, str], str]


def netted(intents: Iterable[OrderIntent], order_id: OrderId) -> list[OrderIntent]:
    """Return the orders of one bar set as they leave: those of an ensemble's members as one per instrument.

    order_id   makes an id from (symbol, decision stamp, intent)

    Other orders stay as they are. A net order comes in the place of the first of its parts, also where its
    quantity is 0.
    """
    found: dict[str, list[OrderIntent]] = {}
    for each in intents:
        symbol = traded_symbol(each.symbol)
        found.setdefault(symbol if symbol != each.symbol else each.order_id, []).append(each)
    return [
        parts[0] if name == parts[0].order_id else net_of(parts, order_id(name, parts[0].decision, NET))
        for name, parts in found.items()
    ]


def net_of(parts: list[OrderIntent], order_id: str) -> OrderIntent:
    """Return the net order of some of one instrument's members, at least one."""
    first = parts[0]
    return OrderIntent(
        order_id=order_id,
        symbol=traded_symbol(first.symbol),
        intent=NET,
        quantity=math.fsum(each.quantity for each in parts),
        reference=first.reference,
        terms=NO_ORDER,
        decision=first.decision,
        reason=", ".join(f"{each.symbol} {each.reason}" for each in parts),
        probability=math.nan,
        version=", ".join(each.version for each in parts),
        parts=tuple(parts),
    )


def exits_of(net: OrderIntent) -> OrderIntent | None:
    """Return a net order without what opens something, None where nothing is left to send."""
    exits = [each for each in net.parts if not each.opens]
    left = net_of(exits, net.order_id) if exits else None
    return left if left is not None and left.quantity else None


def told(intents: Iterable[OrderIntent]) -> tuple[OrdersNetted, ...]:
    """Return the events that record net orders, by symbol."""
    nets = sorted((each for each in intents if each.parts), key=lambda each: each.symbol)
    return tuple(
        OrdersNetted(
            symbol=each.symbol,
            order_id=each.order_id,
            decision=each.decision,
            quantity=each.quantity,
            members={part.symbol: part.quantity for part in sorted(each.parts, key=lambda part: part.symbol)},
        )
        for each in nets
    )
