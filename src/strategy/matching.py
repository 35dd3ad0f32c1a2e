"""Fills and accounting: one set of compiled rules for the simulated broker and the sweep.

All state is passed as flat tuples of floats, so that a compiled loop keeps it in registers:

    account   (position, entry price, stop, target, cash): contracts, signed; points; points or NaN; USD
    order     (quantity, stop fraction, stop points, target fraction, target points): a market order and
              the distances of its protective orders from the fill, fraction of |fill| plus points, NaN
              for none
    bar       (open, high, low, close) in points
    costs     (multiplier, tick size, slippage points, commission, rate, minimum): USD per point and
              contract; points; points per market or stop fill; USD per contract and side; fraction of the
              traded value; USD per order. A contract is also one share or one coin

Rules, in the order in which they apply within a bar:

1. A market order fills at the open, `slippage` against us, also outside the bar's range.
2. Stop and target work from the fill on, the rest of the entry bar included. A gap through either
   fills at the open; else the stop, when touched, comes before the target.
3. Stops cost `slippage` like market orders. Targets fill at their level or better and cost none.
"""

from __future__ import annotations

import math

import numpy as np

from lockstep.compiled import kernel
from lockstep.market.bars import Floats

Account = tuple[float, float, float, float, float]
Order = tuple[float, float, float, float, float]
Bar = tuple[float, float, float, float]
Costs = tuple[float, float, float, float, float, float]

POSITION, ENTRY_PRICE, STOP, TARGET, CASH = range(5)
QUANTITY, STOP_FRACTION, STOP_POINTS, TARGET_FRACTION, TARGET_POINTS = range(5)
OPEN, HIGH, LOW, CLOSE = range(4)
MULTIPLIER, TICK, SLIPPAGE, COMMISSION, RATE, MINIMUM = range(6)

NO_FILL, STOP_FILL, TARGET_FILL = 0, 1, 2

NO_ORDER: Order = (0.0, math.nan, math.nan, math.nan, math.nan)

_ON_GRID = 1e-6


def opening_account(cash: float) -> Account:
    """Return a flat account with `cash` USD."""
    return (0.0, math.nan, math.nan, math.nan, cash)


@kernel
def on_grid(price: float, tick: float, direction: float) -> float:
    """Return `price` on the tick grid: at or below it (direction < 0), at or above it (> 0).

    With direction 0 only a price that is on the grid but for rounding errors is moved, onto it exactly.
    """
    per_point = math.floor(1.0 / tick + 0.5) if tick < 1.0 else 1.0 / tick
    steps = price * per_point
    nearest = math.floor(steps + 0.5)
    if abs(steps - nearest) > _ON_GRID:
        if direction == 0.0:
            return price
        nearest = math.floor(steps) if direction < 0.0 else math.ceil(steps)
    return nearest / per_point if tick < 1.0 else nearest * tick


@kernel
def market_price(quantity: float, reference: float, costs: Costs) -> float:
    """Return the fill price of a market order for `quantity` contracts at `reference` points."""
    slipped = reference + costs[SLIPPAGE] if quantity > 0.0 else reference - costs[SLIPPAGE]
    return on_grid(slipped, costs[TICK], 0.0)


@kernel
def fee(quantity: float, price: float, costs: Costs) -> float:
    """Return the commission, USD >= 0, of filling `quantity` contracts (signed, not 0) at `price` points."""
    size = abs(quantity)
    value = abs(price) * costs[MULTIPLIER] * size
    return max(costs[MINIMUM], costs[COMMISSION] * size + costs[RATE] * value)


def fees(quantities: Floats, prices: Floats, costs: Costs) -> Floats:
    """Return `fee` of each of n fills, float64 (n,)."""
    return _fees(np.ascontiguousarray(quantities), np.ascontiguousarray(prices), costs)


@kernel
def _fees(quantities: Floats, prices: Floats, costs: Costs) -> Floats:
    found = np.empty(quantities.size)
    for i in range(quantities.size):
        found[i] = fee(quantities[i], prices[i], costs)
    return found


@kernel
def execute(account: Account, order: Order, price: float, costs: Costs) -> Account:
    """Return the account after `order` filled at `price`: flat becomes open, open becomes flat.

    The caller sends whole round trips: an order for an open position closes all of it.
    """
    paid = fee(order[QUANTITY], price, costs)
    if account[POSITION] != 0.0:
        profit = (price - account[ENTRY_PRICE]) * account[POSITION] * costs[MULTIPLIER]
        return (0.0, math.nan, math.nan, math.nan, account[CASH] + profit - paid)
    side = 1.0 if order[QUANTITY] > 0.0 else -1.0
    stop = price - side * (order[STOP_FRACTION] * abs(price) + order[STOP_POINTS])
    target = price + side * (order[TARGET_FRACTION] * abs(price) + order[TARGET_POINTS])
    return (
        order[QUANTITY],
        price,
        on_grid(stop, costs[TICK], -side) if stop == stop else math.nan,
        on_grid(target, costs[TICK], side) if target == target else math.nan,
        account[CASH] - paid,
    )


@kernel
def protective_fill(account: Account, bar: Bar, costs: Costs) -> tuple[int, float]:
    """Return (kind, price) of the protective order that fills in `bar`: NO_FILL and NaN for none.

    Comparisons with a level that is NaN are false, so an absent stop or target never fills.
    """
    position, stop, target = account[POSITION], account[STOP], account[TARGET]
    if position > 0.0:
        if bar[OPEN] <= stop:
            return STOP_FILL, market_price(-position, bar[OPEN], costs)
        if bar[OPEN] >= target:
            return TARGET_FILL, bar[OPEN]
        if bar[LOW] <= stop:
            return STOP_FILL, market_price(-position, stop, costs)
        if bar[HIGH] >= target:
            return TARGET_FILL, target
    elif position < 0.0:
        if bar[OPEN] >= stop:
            return STOP_FILL, market_price(-position, bar[OPEN], costs)
        if bar[OPEN] <= target:
            return TARGET_FILL, bar[OPEN]
        if bar[HIGH] >= stop:
            return STOP_FILL, market_price(-position, stop, costs)
        if bar[LOW] <= target:
            return TARGET_FILL, target
    return NO_FILL, math.nan


@kernel
def match(
    account: Account, order: Order, bar: Bar, costs: Costs
) -> tuple[Account, float, Account, int, float]:
    """Run one bar of an open market through the working orders.

    Returns (account after the market order, its fill price or NaN, account after the protective orders,
    kind of protective fill, its price or NaN).
    """
    market = math.nan
    if order[QUANTITY] != 0.0:
        market = market_price(order[QUANTITY], bar[OPEN], costs)
        account = execute(account, order, market, costs)
    kind, price = protective_fill(account, bar, costs)
    if kind == NO_FILL:
        return account, market, account, kind, price
    closing = (-account[POSITION], math.nan, math.nan, math.nan, math.nan)
    return account, market, execute(account, closing, price, costs), kind, price


@kernel
def equity(account: Account, price: float, multiplier: float) -> float:
    """Return cash plus the open position marked at `price`, in USD."""
    if account[POSITION] == 0.0:
        return account[CASH]
    return account[CASH] + (price - account[ENTRY_PRICE]) * account[POSITION] * multiplier
