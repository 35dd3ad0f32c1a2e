"""What every feature of a registry must hold to; each check raises AssertionError naming the id."""

from __future__ import annotations

import numpy as np

from lockstep.features.batch import BatchFeatures
from lockstep.features.blocks import BarBlock
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.streaming import WindowFeatures
from lockstep.market.asof import MaxAge, asof_rows
from lockstep.market.bars import Floats
from lockstep.market.history import History, SeriesKey
from support.feature_histories import BASE, from_row, with_other_future

# One of each kind: never NaN and sometimes, short and long, bounded and not, with a calendar and with a pair.
MODIFIED = (
    "adx_14~1",
    "atr_14%252",
    "day_of_week~3",
    "ibs%20~1",
    "ibs~1",
    "obv_slope_20%5",
    "pair_log_ratio_z_20%10~2",
    "pair_ret_1~2",
    "realised_vol_20_252%30",
    "ret_1%1",
    "ret_1~1",
    "rsi_2%252~1",
    "supply_zone_distance_2_60_14%40",
    "volume_pctile_20~600",
)


def batch(
    registry: FeatureRegistry, ids: tuple[str, ...], history: History, base: SeriesKey = BASE
) -> Floats:
    """Return the matrix of `ids`: float64 (n, ids)."""
    return BatchFeatures(registry.plan(ids, base), history).matrix


def streamed(
    registry: FeatureRegistry, ids: tuple[str, ...], history: History, base: SeriesKey = BASE
) -> Floats:
    """Return the same, one bar set at a time."""
    source = WindowFeatures(registry.plan(ids, base), history.markets)
    rows = []
    for bar_set in history.bar_sets():
        source.push(bar_set)
        if base in bar_set.bars:
            rows.append(source.vector(bar_set.stamp))
    return np.array(rows)


def prepared(
    registry: FeatureRegistry, ids: tuple[str, ...], history: History, size: int, base: SeriesKey = BASE
) -> Floats:
    """Return the same, computed in blocks of `size` bar sets before they are pushed."""
    source = WindowFeatures(registry.plan(ids, base), history.markets)
    sets, rows = list(history.bar_sets()), []
    for first in range(0, len(sets), size):
        block = sets[first : first + size]
        source.prepare(BarBlock.of(block))
        for bar_set in block:
            source.push(bar_set)
            if base in bar_set.bars:
                rows.append(source.vector(bar_set.stamp))
    return np.array(rows)


def assert_same_bits(what: str, ids: tuple[str, ...], one: Floats, other: Floats) -> None:
    """Compare bit for bit, except that one NaN is as good as another."""
    assert one.shape == other.shape, what
    both_nan = np.isnan(one) & np.isnan(other)
    differ = (one.view(np.int64) != other.view(np.int64)) & ~both_nan
    if differ.any():
        row, column = np.argwhere(differ)[0]
        values = f"{one[row, column]!r}, {other[row, column]!r}"
        raise AssertionError(f"{ids[column]}: {what}: row {row}: {values}")


def check_batch_equals_streaming(
    registry: FeatureRegistry, ids: tuple[str, ...], history: History, base: SeriesKey = BASE
) -> None:
    one, other = batch(registry, ids, history, base), streamed(registry, ids, history, base)
    assert_same_bits("batch and streaming differ", ids, one, other)
    blocks = prepared(registry, ids, history, len(one) // 3 + 1, base)
    assert_same_bits("batch and prepared blocks differ", ids, one, blocks)


def check_blind_to_future(
    registry: FeatureRegistry, ids: tuple[str, ...], history: History, row: int, seed: int
) -> None:
    """Whatever happens after `row` changes nothing up to it."""
    one = batch(registry, ids, history)[: row + 1]
    other = batch(registry, ids, with_other_future(history, row, seed))[: row + 1]
    assert_same_bits("depends on later bars", ids, one, other)


def check_start_invariant(
    registry: FeatureRegistry, ids: tuple[str, ...], history: History, first: int
) -> None:
    """A history that begins later gives the same values, once its windows are full."""
    lookback = max(registry.plan(ids, BASE).lookback(key) for key in registry.plan(ids, BASE).keys)
    one = batch(registry, ids, history)[first + lookback - 1 :]
    other = batch(registry, ids, from_row(history, first))[lookback - 1 :]
    assert_same_bits("depends on where history begins", ids, one, other)


def check_range(registry: FeatureRegistry, feature_id: str, history: History) -> None:
    """Every value is within the declared range, and finite or NaN."""
    values = batch(registry, (feature_id,), history)
    known = values[~np.isnan(values)]
    (term,) = registry.parse(feature_id).terms
    assert np.isfinite(known).all(), f"{feature_id}: not finite"
    within = (known >= term.low) & (known <= term.high)
    assert within.all(), f"{feature_id}: {known[~within][0]!r} is outside its declared range"


def check_nan_rule(registry: FeatureRegistry, feature_id: str, history: History, *, positive: bool) -> None:
    """After warm-up NaN is for missing inputs and for what the declaration says: prices not positive."""
    values = batch(registry, (feature_id,), history)[:, 0]
    (term,) = registry.parse(feature_id).terms
    warm = np.arange(values.size) >= term.lookback - 1
    assert np.isnan(values[~warm]).all(), f"{feature_id}: a value before its window is full"
    if term.feature.nan == "never" or positive:
        complete = warm & _inputs_present(history, term.lookback) if term.feature.needs_pair else warm
        assert not np.isnan(values[complete]).any(), f"{feature_id}: NaN although its inputs are there"


def _inputs_present(history: History, lookback: int) -> np.ndarray:
    """Whether a pair bar that is not too old stands beside each of the last `lookback` bars."""
    end = history.bars[BASE].end
    (pair,) = (bars for key, bars in history.bars.items() if key != BASE)
    present = asof_rows(end, pair.end, MaxAge().nanoseconds(pair.timeframe)) >= 0
    missing = np.concatenate(([0], np.cumsum(~present)))
    rows = np.arange(end.size)
    return (missing[rows + 1] - missing[np.maximum(0, rows - lookback + 1)]) == 0
