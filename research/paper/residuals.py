"""Fill residuals: what a fill cost beyond what the cost model says, in ticks and USD, positive against us."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from lockstep.market.instrument import Instrument
from lockstep.settings import Settings
from lockstep.strategy.matching import (
    NO_FILL,
    NO_ORDER,
    STOP_FILL,
    TARGET_FILL,
    Account,
    Bar,
    fee,
    market_price,
    match,
    opening_account,
    protective_fill,
)

MARKET = "market"
PROTECTIVE = {"stop": STOP_FILL, "target": TARGET_FILL}


class Residual(Settings):
    """One fill against the price that `match` gives on the settled bar.

    order        `market`, `stop` or `target`; quantity signed; price, model in points
    ticks, usd   of the price, positive where the fill was worse; commission in USD above the model's
    touched      whether the settled bar reaches the level; True for market orders
    """

    symbol: str
    stamp: int
    order: str
    quantity: float
    price: float
    model: float
    ticks: float
    usd: float
    commission: float
    touched: bool = True


class ResidualSummary(Settings):
    """Residuals of one symbol and kind of order; ticks per fill, USD in total."""

    symbol: str
    order: str
    fills: int
    mean_ticks: float
    median_ticks: float
    worst_ticks: float
    usd: float
    commission: float
    untouched: int


def market_model(quantity: float, bar: Bar, instrument: Instrument) -> float:
    """Return the price at which `match` fills a market order for `quantity` at the open of `bar`."""
    order = (quantity, *NO_ORDER[1:])
    return match(opening_account(0.0), order, bar, instrument.costs)[1]


def protective_model(
    order: str, account: Account, level: float, bar: Bar, instrument: Instrument
) -> tuple[float, bool]:
    """Return the price at which `match` fills a stop or target in `bar`, and whether the bar reaches it.

    Where the bar does not reach it, or reaches the other one first, the price is that of its level.
    """
    kind, price = protective_fill(account, bar, instrument.costs)
    if kind == PROTECTIVE[order]:
        return price, True
    slipped = order == "stop"
    at_level = market_price(-account[0], level, instrument.costs) if slipped else level
    return at_level, kind != NO_FILL


def residual(
    instrument: Instrument,
    *,
    stamp: int,
    order: str,
    quantity: float,
    price: float,
    model: float,
    commission: float,
    touched: bool = True,
) -> Residual:
    """Return the residual of one fill; commission is what was paid, USD."""
    worse = math.copysign(1.0, quantity) * (price - model)
    usual = fee(quantity, model, instrument.costs)
    return Residual(
        symbol=instrument.symbol,
        stamp=stamp,
        order=order,
        quantity=quantity,
        price=price,
        model=model,
        ticks=worse / instrument.tick_size,
        usd=worse * instrument.multiplier * abs(quantity),
        commission=commission - usual,
        touched=touched,
    )


def summaries(residuals: Iterable[Residual]) -> tuple[ResidualSummary, ...]:
    """Return one summary per symbol and kind of order, sorted by both."""
    groups: dict[tuple[str, str], list[Residual]] = {}
    for each in residuals:
        groups.setdefault((each.symbol, each.order), []).append(each)
    return tuple(_summary(symbol, order, group) for (symbol, order), group in sorted(groups.items()))


def _summary(symbol: str, order: str, group: Sequence[Residual]) -> ResidualSummary:
    ticks = np.array([each.ticks for each in group])
    return ResidualSummary(
        symbol=symbol,
        order=order,
        fills=len(group),
        mean_ticks=float(ticks.mean()),
        median_ticks=float(np.median(ticks)),
        worst_ticks=float(ticks.max()),
        usd=math.fsum(each.usd for each in group),
        commission=math.fsum(each.commission for each in group),
        untouched=sum(not each.touched for each in group),
    )
