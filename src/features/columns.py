"""Input columns of one series: its bars, its calendar, its pair's bars as of each of its own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lockstep.errors import FeatureError
from lockstep.features.inputs import PAIR_SUFFIX
from lockstep.features.plan import FeaturePlan, needs_calendar, needs_pair
from lockstep.market.asof import MaxAge, asof_rows
from lockstep.market.bars import Floats
from lockstep.market.history import History, Market, SeriesKey


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


def _read_only(values: Floats) -> Floats:
    """Make every column read-only, since numba compiles writable arrays apart."""
    array = np.ascontiguousarray(values, dtype=np.float64)
    array.setflags(write=False)
    return array
