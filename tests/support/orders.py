"""Orders and contexts for tests of the gateway and of brokers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from lockstep.live.messages import OrderIntent
from lockstep.live.risk.limits import Context
from lockstep.market.config import load_instruments
from lockstep.market.history import Market

NONE = math.nan

# Wednesday 2024-03-06, 15:00 UTC (10:00 in New York): ES, NQ and SPY trade.
NOON = 1_709_737_200_000_000_000
SECOND = 1_000_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR


def markets(*symbols: str) -> dict[str, Market]:
    book = load_instruments()
    return {symbol: book.market(symbol) for symbol in symbols}


def intent(symbol: str = "ES", quantity: float = 1.0, *, opens: bool = True, **changes: Any) -> OrderIntent:
    """An order at 5,000 points with a stop 1 % away and a target of 20 points."""
    kind = "entry" if opens else "exit"
    terms = (quantity, 0.01, 0.0, 0.0, 20.0) if opens else (quantity, NONE, NONE, NONE, NONE)
    order = OrderIntent(
        order_id=f"1-live-{symbol}-{NOON}-{kind}-1",
        symbol=symbol,
        intent=kind,
        quantity=quantity,
        reference=5000.0,
        terms=terms,
        decision=NOON,
        reason="enter long" if opens else "exit signal",
        probability=0.62 if opens else NONE,
        version="v3",
    )
    return replace(order, **changes)


def context(**changes: Any) -> Context:
    """A quiet desk: flat, newest bars of ES and NQ one second old at 5,000."""
    bar = (NOON, (4990.0, 5010.0, 4985.0, 5000.0, 100.0))
    now = NOON + SECOND
    return replace(Context(now=now, due=now, last_bars={"ES": bar, "NQ": bar}), **changes)
