"""How bars are changed: a rising function of the price at a moment, put on the tick grid again.

Open, high, low and close of a bar go through one function that never falls, so that low <= open and
close <= high go on to hold; rounding to the nearest tick keeps them as well. Stamps and volumes stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from lockstep.errors import DataError
from lockstep.market.bars import Bars, Floats
from lockstep.market.continuous import require_one_contract
from lockstep.market.dates import DateRange
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.market.sessions import Dates
from research.backtest.portfolio import PortfolioMember

Change = Callable[[Bars, Market], Bars]
"""Changed bars of one series, given the market of its symbol."""


@dataclass(frozen=True, kw_only=True)
class StressWorld:
    """What is traded without any stress: the members of a portfolio, by lane, over `span`."""

    members: Mapping[str, PortfolioMember]
    span: DateRange

    def traded(self, symbol: str) -> Bars:
        """Return the bars that a symbol is traded on, the whole history."""
        return require_one_contract(self.members[symbol].history.series(self.key(symbol)), "stress")

    def key(self, symbol: str) -> SeriesKey:
        """Return which series a lane trades."""
        return SeriesKey(traded_symbol(symbol), self.members[symbol].strategy.bars)

    def market(self, symbol: str) -> Market:
        """Return the market of a lane."""
        return self.members[symbol].history.markets[traded_symbol(symbol)]

    def dates(self, symbol: str) -> Dates:
        """Return the session dates of the bars that a symbol is traded on, datetime64[D] (n,)."""
        bars = self.traded(symbol)
        return self.market(symbol).session.dates(bars.end, bars.timeframe)

    def rows(self, symbol: str) -> slice:
        """Return which of those bars are traded; NoBars where there is none."""
        return self.span.rows(self.dates(symbol), self.traded(symbol).source)

    def changed(self, changes: Mapping[str, Change], *, others: Change | None = None) -> Stressed:
        """Return the world with the bars of some symbols changed, in every series that a lane reads.

        others   what becomes of the bars of all other symbols; None: they stay
        """
        members = {}
        for symbol, member in self.members.items():
            history = member.history
            bars = {}
            for key, each in history.bars.items():
                change = changes.get(key.symbol, others)
                bars[key] = each if change is None else change(each, history.markets[key.symbol])
            members[symbol] = replace(member, history=replace(history, bars=bars))
        return Stressed(members=members, span=self.span)

    def on(self, change_markets: Callable[[Market], Market], symbols: frozenset[str]) -> Stressed:
        """Return the world with the markets of some symbols changed."""
        members = {}
        for symbol, member in self.members.items():
            history = member.history
            markets = {
                each: change_markets(market) if each in symbols else market
                for each, market in history.markets.items()
            }
            members[symbol] = replace(member, history=History(bars=history.bars, markets=markets))
        return Stressed(members=members, span=self.span)


@dataclass(frozen=True, kw_only=True)
class Stressed:
    """What a scenario makes of a world: the lanes that can trade it, over `span`.

    missing   by symbol, in a sentence, the lanes that lack the bars of the scenario; they trade nothing
    """

    members: Mapping[str, PortfolioMember]
    span: DateRange
    missing: Mapping[str, str] = field(default_factory=dict)


def on_ticks(prices: Floats, tick: float) -> Floats:
    """Return prices on the tick grid, the nearest ones.

    The arithmetic is that of `matching.on_grid`.

    >>> on_ticks(np.array([10.13, 10.25, -3.4]), 0.25).tolist()
    [10.25, 10.25, -3.5]
    """
    per_point = math.floor(1.0 / tick + 0.5) if tick < 1.0 else 1.0 / tick
    nearest = np.floor(prices * per_point + 0.5)
    return np.asarray(nearest / per_point if tick < 1.0 else nearest * tick)


def moved(prices: Floats, factor: Floats | float) -> Floats:
    """Return prices moved by `factor - 1` of their absolute value: below zero a fall is a fall, too.

    >>> moved(np.array([100.0, -10.0]), 0.5).tolist()
    [50.0, -15.0]
    """
    return np.where(prices < 0.0, prices * (2.0 - np.asarray(factor)), prices * factor)


def scaled(bars: Bars, factor: Floats | float, market: Market) -> Bars:
    """Return bars with every price moved as in `moved`, on the tick grid.

    factor   one for all, or float64 (n,), one for each bar; a bar with factor 1 stays as it is, to the bit

    DataError for a factor of 2 or more where a price is below zero: there it would turn the bar round.
    """
    factors = np.broadcast_to(np.asarray(factor, dtype=np.float64), (len(bars),))
    touched = factors != 1.0
    if bool(((bars.low < 0.0) & (factors >= 2.0)).any()):
        raise DataError(
            f"{bars.source}: a price is below zero, where a rise of 100 % or more means nothing; choose a "
            f"smaller shock, or leave {bars.symbol} out (symbols)"
        )
    tick = market.instrument.tick_size
    return with_prices(bars, lambda prices: np.where(touched, on_ticks(moved(prices, factors), tick), prices))


def with_prices(bars: Bars, change: Callable[[Floats], Floats]) -> Bars:
    """Return bars with `change` applied to open, high, low and close; BadBars where it puts them wrong."""
    return replace(
        bars, open=change(bars.open), high=change(bars.high), low=change(bars.low), close=change(bars.close)
    )


def gapped(stamp: int, factor: float) -> Change:
    """Return what ends bars with the first one that is complete at `stamp` (UTC ns) or later, at a gap.

    That bar opens at `factor` times its price and goes on from there. Bars that end earlier stay.
    """

    def change(bars: Bars, market: Market) -> Bars:
        row = int(np.searchsorted(bars.end, stamp))
        if row >= len(bars):
            return bars
        factors = np.ones(row + 1)
        factors[row] = factor
        return scaled(bars.rows(0, row + 1), factors, market)

    return change


def by_date(dates: Dates, factors: Floats) -> Change:
    """Return what scales the bars of each session date: `factors` float64 (d,) hold from `dates` (d,) on."""

    def change(bars: Bars, market: Market) -> Bars:
        own = market.session.dates(bars.end, bars.timeframe)
        place = np.searchsorted(dates, own, side="right") - 1
        return scaled(bars, np.where(place >= 0, factors[np.maximum(place, 0)], 1.0), market)

    return change


def require_positive(bars: Bars, rows: slice, what: str) -> None:
    """Raise DataError where a price in these rows is not positive: it has no logarithm."""
    low = bars.low[rows]
    if not bool((low > 0.0).all()):
        row = rows.start + int(np.argmin(low > 0.0))
        when = np.datetime_as_string(bars.end[row].view("M8[ns]"), unit="D")
        raise DataError(
            f"{bars.source}: {what} needs positive prices, low {bars.low[row]:g} on {when}; leave "
            f"{bars.symbol} out (symbols), or choose other dates"
        )
