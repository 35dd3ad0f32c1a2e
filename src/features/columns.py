"""Input columns of one series: its bars, its calendar, its pair's bars as of each of its own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lockstep.errors import FeatureError
from lockstep.features.as_of import PAIR_PRICES, UNPAIRED, Moving
from lockstep.features.inputs import PAIR_SUFFIX
from lockstep.features.plan import FeaturePlan, needs_calendar, needs_pair
from lockstep.market.asof import MaxAge, asof_rows
from lockstep.market.bars import PRICE_COLUMNS, Floats
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.rolls import Rolls

PRICES = frozenset(PRICE_COLUMNS)


def market_of(markets: Mapping[str, Market], symbol: str, why: str) -> Market:
    """Return the market of `symbol`; FeatureError, saying what needs it, where it was not given."""
    if symbol not in markets:
        raise FeatureError(f"{why} of {symbol} need its market: pass history= with the market of {symbol}")
    return markets[symbol]


def pair_key(markets: Mapping[str, Market], key: SeriesKey) -> SeriesKey:
    """Return the series of the pair instrument of `key`; FeatureError where none is declared."""
    pair = market_of(markets, key.symbol, "pair features").instrument.pair
    if pair is None:
        raise FeatureError(f"pair features of {key.symbol}: no pair is declared in instruments.yml")
    return SeriesKey(pair, key.timeframe)


def source_keys(plan: FeaturePlan, markets: Mapping[str, Market]) -> tuple[SeriesKey, ...]:
    """Return every series whose bars the plan reads, pairs included, sorted."""
    pairs = (pair_key(markets, key) for key in plan.pair_keys)
    return tuple(sorted({*plan.keys, *pairs}))


def series_columns(
    history: History, key: SeriesKey, names: tuple[str, ...], max_age: MaxAge
) -> dict[str, Floats]:
    """Return the named input columns of `key`, each float64 (n,), read-only, pair columns with NaN gaps."""
    bars = history.series(key)
    columns = bars.columns()
    if needs_calendar(names):
        session = market_of(history.markets, key.symbol, "calendar features").session
        columns |= session.columns(bars.end, bars.timeframe)
    if needs_pair(names):
        pair = history.series(pair_key(history.markets, key))
        rows = asof_rows(bars.end, pair.end, max_age.nanoseconds(key.timeframe))
        for name, values in pair.columns().items():
            columns[name + PAIR_SUFFIX] = np.where(rows >= 0, np.append(values, np.nan)[rows], np.nan)
    return {name: _read_only(columns[name]) for name in names}


def moving_columns(
    history: History, key: SeriesKey, names: tuple[str, ...], max_age: MaxAge
) -> tuple[Moving, ...]:
    """Return the price columns of `key` that have to be seen from the contract of a window's last bar."""
    bars, found = history.series(key), []
    own = market_rolls(history.markets, key)
    if own is not None and not PRICES.isdisjoint(names):
        found.append(Moving(names=PRICE_COLUMNS, tick=own.tick, offsets=own.ticks(bars.end)))
    if needs_pair(names):
        pair = pair_key(history.markets, key)
        theirs = market_rolls(history.markets, pair)
        if theirs is not None:
            ends = history.series(pair).end
            rows = asof_rows(bars.end, ends, max_age.nanoseconds(key.timeframe))
            known = np.append(theirs.ticks(ends), UNPAIRED)
            found.append(Moving(names=PAIR_PRICES, tick=theirs.tick, offsets=known[rows]))
    return tuple(found)


def market_rolls(markets: Mapping[str, Market], key: SeriesKey) -> Rolls | None:
    """Return the rolls of a series, None where its bars are of one contract or were adjusted."""
    return markets[key.symbol].rolls if key.symbol in markets else None


def seen_columns(
    columns: Mapping[str, Floats], moving: tuple[Moving, ...], first: int, stop: int
) -> dict[str, Floats]:
    """Return rows first <= i < stop of the columns as the contract of the last one sees them."""
    found = {name: values[first:stop] for name, values in columns.items()}
    for each in moving:
        rows = each.rows(first, stop)
        found |= {name: _read_only(rows.seen(found[name])) for name in each.names if name in found}
    return found


def _read_only(values: Floats) -> Floats:
    """Make every column read-only, since numba compiles writable arrays apart."""
    array = np.ascontiguousarray(values, dtype=np.float64)
    array.setflags(write=False)
    return array
