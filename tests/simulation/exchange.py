"""What really becomes of orders: positions and fills at the exchange, which the desk only hears of."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lockstep.live.messages import Values
from simulation.clock import QUIET
from simulation.venues import SECOND, Venue

_FILL_TAKES = SECOND
_BEFORE_THE_END = 30 * SECOND
_COMMISSION = 1.25


class Fill(NamedTuple):
    """A fill at the exchange; order_id is that of the entry for a stop or a target. Units as everywhere."""

    fill_id: str
    order_id: str
    symbol: str
    kind: str
    quantity: float
    price: float
    commission: float
    stamp: int


@dataclass
class Holding:
    """One symbol's account at the broker: signed contracts, and the protective orders at work.

    closed   what the last fill that closed it bought or sold
    """

    quantity: float = 0.0
    entry: str = ""
    since: int = 0
    stop: float = math.nan
    target: float = math.nan
    closed: float = 0.0
    fills: int = 0


@dataclass
class Exchange:
    """Takes what a broker places, fills it at true prices, and tells `filled` of each fill.

    prices   by symbol: (end, bar) of the traded series, rising, whether they reach the desk or not
    placed   order ids that stand, or stood, at the exchange
    """

    venues: Mapping[str, Venue]
    prices: Mapping[str, list[tuple[int, Values]]]
    now: Callable[[], int]
    at: Callable[[int, Callable[[], object]], None]
    filled: Callable[[Fill], None]
    holdings: dict[str, Holding] = field(default_factory=dict)
    placed: list[str] = field(default_factory=list)

    def place(
        self, symbol: str, message: Mapping[str, Any], *, share: float = 1.0, turns: bool = False
    ) -> None:
        """Take an order as the broker's message words it; it fills when the market trades.

        share   of its quantity that will be filled; the rest is cancelled
        turns   whether an exit fills although nothing is held any more
        """
        order_id = message["extras"]["orderId"]
        self.placed.append(order_id)
        moment = self.venues[symbol].next_open(self.now()) + _FILL_TAKES
        self.at(moment, lambda: self._fill(symbol, order_id, message, share, turns=turns))

    def bar(self, symbol: str, end: int, values: Values) -> None:
        """Let a true bar trade through the protective orders of a symbol."""
        holding = self.holdings.get(symbol)
        if holding is None or holding.quantity == 0.0 or holding.since >= end:
            return
        kind, price = _touched(holding, values)
        if kind:
            self._close(symbol, holding, kind, price, end - _BEFORE_THE_END)

    def _fill(
        self, symbol: str, order_id: str, message: Mapping[str, Any], share: float, *, turns: bool
    ) -> object:
        if message["action"] == "exit":
            self._exit(symbol, order_id, turns=turns)
        else:
            self._enter(symbol, order_id, message, share)
        return QUIET

    def _exit(self, symbol: str, order_id: str, *, turns: bool) -> None:
        holding, price = self.holdings.setdefault(symbol, Holding()), self._price(symbol)
        if holding.quantity:
            self._close(symbol, holding, "market", price, self.now(), order_id)
        elif turns and holding.closed:
            holding.quantity = holding.closed
            self._tell(symbol, holding, order_id, "market", holding.closed, price, self.now())

    def _enter(self, symbol: str, order_id: str, message: Mapping[str, Any], share: float) -> None:
        holding, price = self.holdings.setdefault(symbol, Holding()), self._price(symbol)
        side = 1.0 if message["action"] == "buy" else -1.0
        step = self.venues[symbol].market.instrument.size_step
        quantity = max(round(float(message["quantity"]) * share / step), 1) * step
        holding.quantity += side * quantity
        holding.entry, holding.since = order_id, self.now()
        tick = self.venues[symbol].market.instrument.tick_size
        holding.stop = _level(message.get("stopLoss"), price, -side, tick)
        holding.target = _level(message.get("takeProfit"), price, side, tick)
        self._tell(symbol, holding, order_id, "market", side * quantity, price, self.now())

    def _close(
        self, symbol: str, holding: Holding, kind: str, price: float, stamp: int, order_id: str = ""
    ) -> None:
        quantity = holding.closed = -holding.quantity
        order_id = order_id or holding.entry
        holding.quantity, holding.stop, holding.target = 0.0, math.nan, math.nan
        self._tell(symbol, holding, order_id, kind, quantity, price, stamp)

    def _tell(
        self,
        symbol: str,
        holding: Holding,
        order_id: str,
        kind: str,
        quantity: float,
        price: float,
        stamp: int,
    ) -> None:
        holding.fills += 1
        fill_id = f"{symbol}-{holding.fills}"
        commission = _COMMISSION * abs(quantity)
        self.filled(Fill(fill_id, order_id, symbol, kind, quantity, price, commission, stamp))

    def _price(self, symbol: str) -> float:
        """Return the open of the bar that is in the making, or the last price there was."""
        bars = self.prices[symbol]
        index = bisect_left(bars, (self.now(), ()))
        return bars[index][1][0] if index < len(bars) else bars[-1][1][3]


def _touched(holding: Holding, bar: Values) -> tuple[str, float]:
    """Return the protective order that a bar fills, the stop before the target, with its price."""
    _, high, low, *_ = bar
    long = holding.quantity > 0.0
    if (low <= holding.stop) if long else (high >= holding.stop):
        return "stop", holding.stop
    if (high >= holding.target) if long else (low <= holding.target):
        return "target", holding.target
    return "", math.nan


def _level(part: Mapping[str, Any] | None, price: float, side: float, tick: float) -> float:
    if part is None:
        return math.nan
    distance = float(price * part["percent"] / 100.0 if "percent" in part else part["amount"])
    return round((price + side * distance) / tick) * tick
