"""`Context`: what the gateway knows when it reviews an order."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

from lockstep.live.messages import OrderIntent, Values


@dataclass(frozen=True, kw_only=True)
class Context:
    """The desk at one moment; a value, so that a review can be repeated.

    now, due       UTC ns: the moment of the review, and when the order would be sent (`next_open`)
    positions      signed contracts by symbol
    pending        signed contracts of entries that were let through and have not filled, by symbol
    last_bars      (end, values) of the newest bar of each traded instrument
    orders_today   orders let through in the instrument's session day; profit_today   USD, see `SessionDays`
    unknown        symbols with an order of which nobody knows what became
    superseded     symbols whose model is to be replaced, with what is known about it
    unreconciled   symbols whose position is not known to be the broker's, with what is known about it
    clock          why the clock is not to be trusted, empty where it is
    reviewed       ids of all orders that were let through before
    """

    now: int
    due: int
    positions: Mapping[str, float] = field(default_factory=dict)
    pending: Mapping[str, float] = field(default_factory=dict)
    last_bars: Mapping[str, tuple[int, Values]] = field(default_factory=dict)
    orders_today: Mapping[str, int] = field(default_factory=dict)
    profit_today: Mapping[str, float] = field(default_factory=dict)
    unknown: Set[str] = frozenset()
    superseded: Mapping[str, str] = field(default_factory=dict)
    unreconciled: Mapping[str, str] = field(default_factory=dict)
    clock: str = ""
    reviewed: Set[str] = frozenset()

    def exposure(self, symbol: str) -> float:
        """Return signed contracts held or on the way."""
        return self.positions.get(symbol, 0.0) + self.pending.get(symbol, 0.0)

    def after(self, intent: OrderIntent) -> Context:
        """Return the context in which `intent` was let through: the next order sees it."""
        symbol, count = intent.symbol, self.orders_today.get(intent.symbol, 0)
        added = self.pending.get(symbol, 0.0) + (intent.quantity if intent.opens else 0.0)
        return replace(
            self,
            pending={**self.pending, symbol: added},
            orders_today={**self.orders_today, symbol: count + 1},
            reviewed=self.reviewed | {intent.order_id},
        )
