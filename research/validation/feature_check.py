"""The desk's sanity check of features: one month, held against a second source, within 5 %."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from lockstep.errors import ConfigError, DataError
from lockstep.features.columns import source_keys
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.timeframe import Timeframe
from research.utils.data_loader import load_history
from research.validation.feature_comparison import RECOMPUTED, FeatureComparison
from research.validation.second_source import values_from
from research.validation.slow_features import slow_values

DEFAULT_IDS = ("ibs", "rsi_2", "volume_pctile_20")
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def check_features(
    symbol: str,
    month: str,
    data_dir: Path | None = None,
    *,
    ids: tuple[str, ...] = DEFAULT_IDS,
    against: Path | None = None,
    timeframe: Timeframe | None = None,
    source: str | None = None,
    registry: FeatureRegistry | None = None,
) -> FeatureComparison:
    """Compare features of `month` (YYYY-MM, by session date) with the file `against`, see `values_from`.

    Without a file they are computed once more by the formulas of `slow_features`. ConfigError on a month
    that is none, DataError where the bars do not reach it; otherwise as `load_history` and `values_from`.
    """
    if not _MONTH.fullmatch(month):
        raise ConfigError(f"month {month!r}: must be a month like 2018-12")
    if not ids:
        raise ConfigError("no feature to check: name at least one, like ibs")
    registry, book = registry or default_registry(), load_instruments()
    declared, _ = book.source(symbol, data_dir, timeframe=timeframe, name=source)
    frame = timeframe or declared.timeframe
    if frame is None:
        raise ConfigError(f"{symbol}: {declared.name} holds ticks; give the --timeframe of the bars to make")
    base = SeriesKey(symbol, frame)
    keys = source_keys(registry.plan(ids, base), book.markets)
    history = load_history(symbol, data_dir, timeframe=frame, context=keys, book=book, source=source)
    bars = history.series(base)
    ours = registry.matrix(ids, bars, history=history)
    if against is None:
        slow = {each: slow_values(registry.parse(each), bars.to_frame()) for each in ids}
        theirs = pd.DataFrame(slow, index=ours.index)
    else:
        theirs = values_from(against, ids, bars, history=history, source=declared, registry=registry)
    return _compared(history, base, month, ours, theirs, registry, against)


def _compared(
    history: History,
    base: SeriesKey,
    month: str,
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    registry: FeatureRegistry,
    against: Path | None,
) -> FeatureComparison:
    bars, market = history.series(base), history.markets[base.symbol]
    inside = [_in_month(frame, month, market, base.timeframe) for frame in (ours, theirs)]
    if not len(inside[0]):
        raise _not_there(bars, month, market)
    ends = inside[0].index.union(inside[1].index).rename("end")
    ours, theirs = (frame.reindex(ends) for frame in inside)
    return FeatureComparison(
        market=market,
        timeframe=base.timeframe,
        month=month,
        against=RECOMPUTED if against is None else against.name,
        bars=_in_month(bars.to_frame(), month, market, base.timeframe).reindex(ends),
        ours=ours,
        theirs=theirs,
        widths=pd.Series([_width(registry, str(each), ours, theirs) for each in ours], index=ours.columns),
    )


def _in_month(frame: pd.DataFrame, month: str, market: Market, timeframe: Timeframe) -> pd.DataFrame:
    end = pd.DatetimeIndex(frame.index).as_unit("ns").asi8
    dates = market.session.dates(end, timeframe)
    return frame.take(np.flatnonzero(dates.astype("M8[M]") == np.datetime64(month, "M")))


def _not_there(bars: Bars, month: str, market: Market) -> DataError:
    dates = market.session.dates(bars.end[[0, -1]], bars.timeframe)
    return DataError(
        f"{bars.source}: no bar in {month}: it has {dates[0]} to {dates[1]}; choose a month inside"
    )


def _width(registry: FeatureRegistry, each: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    terms = registry.parse(each).terms
    declared = terms[0].feature.high - terms[0].feature.low
    if len(terms) == 1 and np.isfinite(declared):
        return float(declared)
    return float(np.nanmax(np.abs([ours[each], theirs[each]]), initial=0.0))
