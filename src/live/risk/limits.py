"""`Context`: what the gateway knows when it reviews an order.

`Limits`: what an order that opens a position may do, and the rules that say no.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Annotated, Self

from pydantic import Field, model_validator

from lockstep.live.messages import OrderIntent, Values
from lockstep.market.history import Market
from lockstep.market.instrument import traded_symbol
from lockstep.market.open_hours import is_open, open_time
from lockstep.settings import Settings
from lockstep.strategy.matching import CLOSE


@dataclass(frozen=True, kw_only=True)
class Context:
    """The desk at one moment; a value, so that a review can be repeated.

    now, due       UTC ns: the moment of the review, and when the order would be sent (`next_open`)
    positions      signed contracts by symbol, those of an ensemble's members by the names of their lanes, as
                   everywhere here
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
        """Return signed contracts of an instrument held or on the way, members of an ensemble netted.

        symbol   or the name of a lane that trades it
        """
        traded = traded_symbol(symbol)
        lanes = sorted({*self.positions, *self.pending})
        return sum(
            self.positions.get(each, 0.0) + self.pending.get(each, 0.0)
            for each in lanes
            if traded_symbol(each) == traded
        )


SECOND = 1_000_000_000

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Markets = Mapping[str, Market]


class Collar(Settings):
    """How far the newest price may be from the price that was decided on: `percent` of it, or `ticks`."""

    percent: Positive | None = None
    ticks: Positive | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.percent is None) == (self.ticks is None):
            raise ValueError("give either percent or ticks")
        return self

    def width(self, reference: float, tick: float) -> float:
        """Return the allowed distance in points."""
        if self.ticks is not None:
            return self.ticks * tick
        return abs(reference) * (self.percent or 0.0) / 100.0


class Limits(Settings):
    """Limits of everything that opens a position; exits have none.

    max_contracts         largest position of an instrument, in contracts; by_symbol replaces it for some
    max_total_contracts   sum of all positions without their signs
    max_notional, max_total_notional   the same in USD at the newest close, or None
    max_orders_per_day    orders of an instrument, exits counted, in its session day
    max_daily_loss        USD over all instruments, each since its last session close, open positions marked
    collar                see `Collar`
    stale_seconds         how old the newest bar may be, in seconds of open market
    """

    max_contracts: Positive
    by_symbol: Mapping[str, Positive] = {}
    max_total_contracts: Positive
    max_notional: Positive | None = None
    max_total_notional: Positive | None = None
    max_orders_per_day: Annotated[int, Field(ge=1)]
    max_daily_loss: Positive
    collar: Collar = Collar(percent=1.0)
    stale_seconds: Positive = 300.0


Rule = Callable[[OrderIntent, Context, Limits, Markets], str | None]


def superseded(intent: OrderIntent, context: Context, limits: Limits, markets: Markets) -> str | None:
    """Refuse while another version is to trade the instrument, or none: the present one may only leave."""
    return context.superseded.get(intent.symbol)


def unreconciled(intent: OrderIntent, context: Context, limits: Limits, markets: Markets) -> str | None:
    """Refuse while the position of this instrument was not found to be the broker's: mode live."""
    doubt = context.unreconciled.get(intent.symbol)
    return f"position of {intent.symbol}: {doubt}" if doubt else None


def clock(intent: OrderIntent, context: Context, limits: Limits, markets: Markets) -> str | None:
    """Refuse while the clock is not known to be right: mode live."""
    return f"the clock {context.clock}" if context.clock else None


def unknown_order(intent: OrderIntent, context: Context, limits: Limits, markets: Markets) -> str | None:
    """Refuse while an order of this instrument is UNKNOWN: it may stand at the broker."""
    if context.unknown & {intent.symbol, traded_symbol(intent.symbol)}:
        return f"an order of {intent.symbol} is UNKNOWN; resolve it with lockstep orders resolve"
    return None


def market_hours(intent: OrderIntent, context: Context, limits: Limits, markets: Markets) -> str | None:
    """Refuse an order that would be sent into a closed market."""
    session = markets[intent.symbol].session
    if is_open(session, context.due):
        return None
    return f"{intent.symbol} is closed when the order is due; session {session.template.name}"


def stale_data(intent: OrderIntent, context: Context, limits: Limits, markets: Markets) -> str | None:
    """Refuse on a newest bar that is too old, or from after the present time."""
    if intent.symbol not in context.last_bars:
        return f"no bar of {intent.symbol} yet"
    end, allowed = context.last_bars[intent.symbol][0], limits.stale_seconds * SECOND
    if end - context.now > allowed:
        return f"the clock is {(end - context.now) / SECOND:.0f} s behind the newest bar"
    age = open_time(markets[intent.symbol].session, end, context.now)
    if age > allowed:
        return f"newest bar is {age / SECOND:.0f} s old, allowed are {limits.stale_seconds:g}"
    return None


def price_collar(intent: OrderIntent, context: Context, limits: Limits, markets: Markets) -> str | None:
    """Refuse when the newest close has left the price that the decision was taken on."""
    latest = context.last_bars[intent.symbol][1][CLOSE]
    width = limits.collar.width(intent.reference, markets[intent.symbol].instrument.tick_size)
    if abs(latest - intent.reference) <= width:
        return None
    return f"newest close {latest:g} is more than {width:g} from {intent.reference:g}"


def orders_per_day(intent: OrderIntent, context: Context, limits: Limits, markets: Markets) -> str | None:
    """Refuse when the session day of the instrument has had its orders."""
    count = context.orders_today.get(intent.symbol, 0)
    if count < limits.max_orders_per_day:
        return None
    return f"{count} orders today, allowed are {limits.max_orders_per_day}"


def daily_loss(intent: OrderIntent, context: Context, limits: Limits, markets: Markets) -> str | None:
    """Refuse when all instruments together have lost what a day may lose; an unknown profit is no profit."""
    profit = sum(context.profit_today.values())
    if profit > -limits.max_daily_loss:
        return None
    return f"today's profit is {profit:.2f} USD, allowed is a loss of {limits.max_daily_loss:g}"


def position(intent: OrderIntent, context: Context, limits: Limits, markets: Markets) -> str | None:
    """Refuse a position of the instrument above its limit."""
    after = abs(context.exposure(intent.symbol) + intent.quantity)
    allowed = limits.by_symbol.get(traded_symbol(intent.symbol), limits.max_contracts)
    return None if after <= allowed else f"position would be {after:g} contracts, allowed are {allowed:g}"


def total_position(intent: OrderIntent, context: Context, limits: Limits, markets: Markets) -> str | None:
    """Refuse positions of all instruments together above their limit."""
    after = sum(map(abs, _exposures(intent, context).values()))
    if after <= limits.max_total_contracts:
        return None
    return f"all positions would be {after:g} contracts, allowed are {limits.max_total_contracts:g}"


def notional(intent: OrderIntent, context: Context, limits: Limits, markets: Markets) -> str | None:
    """Refuse a position of the instrument that is worth too much."""
    if limits.max_notional is None:
        return None
    after = _worth(intent.symbol, context.exposure(intent.symbol) + intent.quantity, context, markets)
    if after <= limits.max_notional:
        return None
    return f"position would be worth {after:.0f} USD, allowed are {limits.max_notional:.0f}"


def total_notional(intent: OrderIntent, context: Context, limits: Limits, markets: Markets) -> str | None:
    """Refuse positions of all instruments that together are worth too much."""
    if limits.max_total_notional is None:
        return None
    exposures = _exposures(intent, context)
    after = sum(_worth(symbol, size, context, markets) for symbol, size in exposures.items())
    if after <= limits.max_total_notional:
        return None
    return f"all positions would be worth {after:.0f} USD, allowed are {limits.max_total_notional:.0f}"


def _exposures(intent: OrderIntent, context: Context) -> dict[str, float]:
    """Return what each instrument would be, by the name of one of the lanes that trade it."""
    lanes = {traded_symbol(each): each for each in sorted({*context.positions, *context.pending})}
    lanes[traded_symbol(intent.symbol)] = intent.symbol
    after = {lane: context.exposure(lane) for _, lane in sorted(lanes.items())}
    after[intent.symbol] += intent.quantity
    return after


def _worth(symbol: str, contracts: float, context: Context, markets: Markets) -> float:
    """Return USD at the newest close: infinite for contracts of which no price is known."""
    if contracts == 0.0:
        return 0.0
    if symbol not in context.last_bars:
        return float("inf")
    return abs(contracts * context.last_bars[symbol][1][CLOSE]) * markets[symbol].instrument.multiplier


# In this order; the first that refuses is the reason. `price_collar` needs the bar that `stale_data` saw.
# Conditions may change while an order waits for the open; room was taken when it was let through.
CONDITIONS: tuple[tuple[str, Rule], ...] = (
    ("superseded", superseded),
    ("unknown_order", unknown_order),
    ("unreconciled", unreconciled),
    ("clock", clock),
    ("market_hours", market_hours),
    ("stale_data", stale_data),
    ("price_collar", price_collar),
    ("daily_loss", daily_loss),
)
ROOM: tuple[tuple[str, Rule], ...] = (
    ("orders_per_day", orders_per_day),
    ("position", position),
    ("total_position", total_position),
    ("notional", notional),
    ("total_notional", total_notional),
)
