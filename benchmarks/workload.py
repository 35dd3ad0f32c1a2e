"""The bars and features that all measurements use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lockstep.features.feature_registry import default_registry
from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import Timeframe
from lockstep.strategy.families.ibs import IbsConfig

BARS = 100_000
HOURLY = Timeframe.parse("1h")
_HOUR = 3_600_000_000_000
_FIRST = 1_104_800_400_000_000_000

FEATURES = 40
CONFIG = IbsConfig.model_validate(
    {
        "name": "bench",
        "timeframe": "1h",
        "direction": "both",
        "filters": [{"feature": "adx_14", "max": 60.0}],
        "max_bars": 12,
        "features": [
            "rsi_2",
            "rsi_14",
            "atr_14",
            "atr_pctile_14_252",
            "volume_pctile_20",
            "zscore_20",
            "pctb_20_2",
            "efficiency_ratio_10",
        ],
    }
)


def hourly_bars(count: int = BARS, *, symbol: str = "ES", seed: int = 7) -> Bars:
    """Return a seeded random walk on the tick grid over real CME hours, weekends and breaks left out."""
    session = load_instruments().session(symbol)
    hours = _FIRST + np.arange(2 * count, dtype=np.int64) * _HOUR
    ends = hours[session.in_session(hours, HOURLY)][:count]
    random = np.random.default_rng(seed)
    close = 2000.0 + np.cumsum(random.normal(0, 2.0, count))
    opened = np.concatenate(([close[0]], close[:-1])) + random.normal(0, 0.5, count)
    high = np.maximum(opened, close) + random.exponential(1.5, count)
    low = np.minimum(opened, close) - random.exponential(1.5, count)
    grid = [np.round(column * 4) / 4 for column in (opened, high, low, close)]
    names = ("open", "high", "low", "close")
    return Bars(
        symbol=symbol,
        timeframe=HOURLY,
        end=ends,
        **dict(zip(names, grid, strict=True)),
        volume=np.round(random.exponential(10_000, count)),
        source="benchmark",
    )


def history(bars: Bars) -> History:
    """Return a history of the bars and, as their pair, another walk at the same stamps."""
    book = load_instruments()
    pair = replace(hourly_bars(len(bars), seed=8), symbol="NQ")
    keys = {SeriesKey(each.symbol, HOURLY): each for each in (bars, pair)}
    return History(bars=keys, markets={key.symbol: book.market(key.symbol) for key in keys})


def feature_ids() -> tuple[str, ...]:
    """Return 40 ids, spread evenly over the whole catalogue, slow families included."""
    everything = default_registry().list()
    step = len(everything) / FEATURES
    return tuple(everything[int(number * step)] for number in range(FEATURES))
