"""The part of a history that the vectors at a few stamps depend on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.features.columns import pair_key, source_keys
from lockstep.features.plan import FeaturePlan
from lockstep.market.bars import Bars, Stamps
from lockstep.market.history import History, Market, SeriesKey

Rows = NDArray[np.int64]


def excerpt(history: History, plan: FeaturePlan, stamps: Stamps) -> History:
    """Return the bars of every window of `plan` at `stamps` (int64 (m,), ends of base bars, UTC ns).

    At these stamps, and only there, features over the excerpt have the bits of features over the whole
    history: what stands before a bar in its window stands before it here too.
    """
    rows = {key: _windows(history.series(key), stamps, plan.lookback(key)) for key in plan.keys}
    for key in plan.pair_keys:
        pair = pair_key(history.markets, key)
        joined = _as_of(history.series(pair), history.series(key).end[rows[key]])
        rows[pair] = np.union1d(rows.get(pair, joined), joined)
    keys = source_keys(plan, history.markets)
    bars = {key: _chosen(history.series(key), rows[key]) for key in keys}
    return History(bars=bars, markets=_markets(history, keys))


def _markets(history: History, keys: tuple[SeriesKey, ...]) -> dict[str, Market]:
    return {key.symbol: history.markets[key.symbol] for key in keys if key.symbol in history.markets}


def _as_of(bars: Bars, stamps: Stamps) -> Rows:
    """Return the row of the last bar at or before each stamp, however old, where there is one."""
    rows = np.searchsorted(bars.end, stamps, side="right").astype(np.int64) - 1
    return np.unique(rows[rows >= 0])


def _windows(bars: Bars, stamps: Stamps, lookback: int) -> Rows:
    last = _as_of(bars, stamps)
    rows = last[:, None] - np.arange(lookback)
    return np.unique(rows[rows >= 0])


def _chosen(bars: Bars, rows: Rows) -> Bars:
    columns: dict[str, Any] = {name: values[rows] for name, values in bars.columns().items()}
    return replace(bars, end=bars.end[rows], source="golden vectors", **columns)
