"""What the look-ahead check computes again and again, features and whole backtests, and where two differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.features.batch import BatchFeatures
from lockstep.features.columns import source_keys
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.market.bars import Flags, Stamps
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.strategy.backtrader.strategy import ParityStrategy
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.records import OrderRecord
from lockstep.strategy.veto import Veto
from research.backtest.records import POSITION, RunRecords
from research.backtest.run import run_backtest

Column = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Named columns of float64 (n,) or objects (n,), one row per bar; `end` int64 (n,), UTC nanoseconds."""

    end: Stamps
    columns: Mapping[str, Column]


Compute = Callable[[History], Observations]


@dataclass(frozen=True, kw_only=True)
class Move:
    """A value that differs: its column, the bar's end, and both values in words."""

    column: str
    stamp: int
    before: str
    after: str


def moves(before: Observations, after: Observations, cut: int) -> Iterator[Move]:
    """Yield, for every column, the earliest bar up to `cut` at which two observations differ, bit for bit.

    NaN equals NaN. Where the bars themselves differ, that alone is told, under the name `bars`.
    """
    rows, others = _known(before, cut), _known(after, cut)
    if not np.array_equal(before.end[:rows], after.end[:others]):
        yield _other_bars(before.end[:rows], after.end[:others])
        return
    for name, values in before.columns.items():
        found = np.flatnonzero(_differ(values[:rows], after.columns[name][:rows]))
        if found.size:
            row = int(found[0])
            told = _told(values[row], after.columns[name][row])
            yield Move(column=name, stamp=int(before.end[row]), before=told[0], after=told[1])


def _known(observed: Observations, cut: int) -> int:
    return int(np.searchsorted(observed.end, cut, side="right"))


def _other_bars(before: Stamps, after: Stamps) -> Move:
    stamp = int(np.setxor1d(before, after)[0])
    there, gone = "a bar", "no bar"
    words = (there, gone) if stamp in before else (gone, there)
    return Move(column="bars", stamp=stamp, before=words[0], after=words[1])


def _differ(before: Column, after: Column) -> Flags:
    if before.dtype.kind != "f":
        return np.asarray(before != after, dtype=np.bool_)
    bits = [np.ascontiguousarray(values, dtype=np.float64).view(np.int64) for values in (before, after)]
    return np.asarray((bits[0] != bits[1]) & ~(np.isnan(before) & np.isnan(after)))


def _told(before: object, after: object) -> tuple[str, str]:
    """Return both values in words, with as few digits as tell them apart."""
    if not (isinstance(before, float) and isinstance(after, float)):
        return str(before) or "none", str(after) or "none"
    short = f"{before:.6g}", f"{after:.6g}"
    return short if short[0] != short[1] else (repr(float(before)), repr(float(after)))


def servable_ids(registry: FeatureRegistry, history: History, traded: SeriesKey) -> tuple[str, ...]:
    """Return the registry's example ids for which all bars are in `history`."""

    def is_served(feature_id: str) -> bool:
        parsed = registry.parse(feature_id)
        if any(term.feature.needs_pair for term in parsed.terms) and not has_pair(history, traded):
            return False
        keys = source_keys(registry.plan((feature_id,), traded), history.markets)
        return all(key in history.bars for key in keys)

    return tuple(feature_id for feature_id in registry.list() if is_served(feature_id))


def has_pair(history: History, traded: SeriesKey) -> bool:
    """Whether the traded instrument declares a pair and `history` has its bars."""
    pair = history.markets[traded.symbol].instrument.pair
    return pair is not None and SeriesKey(pair, traded.timeframe) in history.bars


def features_of(
    config: StrategyConfig, registry: FeatureRegistry, ids: tuple[str, ...], traded: SeriesKey
) -> Compute:
    """Return the computation of all features, one column per id."""
    plan = registry.plan(ids, traded)

    def compute(history: History) -> Observations:
        batch = BatchFeatures(plan, history, max_age=config.max_age.limits)
        return Observations(end=batch.end, columns=dict(zip(ids, batch.matrix.T, strict=True)))

    return compute


def decisions_of(
    config: StrategyConfig,
    symbol: str,
    *,
    span: DateRange | None = None,
    veto: Veto | None = None,
    strategy: type[ParityStrategy] = ParityStrategy,
    registry: FeatureRegistry | None = None,
) -> Compute:
    """Return the computation of a whole backtest: vectors, decisions, fills and account, bar by bar."""

    def compute(history: History) -> Observations:
        result = run_backtest(
            config, history, symbol, span=span, veto=veto, strategy=strategy, registry=registry
        )
        return _observed(result.records, result.vector_ids)

    return compute


def _observed(records: RunRecords, ids: tuple[str, ...]) -> Observations:
    columns: dict[str, Column] = {
        f"decision vector {name}": records.vectors[:, i] for i, name in enumerate(ids)
    }
    columns["decision"] = np.array(records.reason.texts(), dtype=object)
    columns["probability"] = records.probabilities
    columns["fills"] = np.array(_fills(records), dtype=object)
    columns |= {name: records.marks[:, i] for i, name in enumerate(("position", "cash", "equity"), POSITION)}
    return Observations(end=records.stamps, columns=columns)


def _fills(records: RunRecords) -> list[str]:
    """Return, per bar, the orders filled in it, spelled so that every bit shows."""
    by_stamp: dict[int, list[str]] = defaultdict(list)
    for order in records.orders:
        if order.status == "completed":
            by_stamp[order.stamp].append(_fill(order))
    return ["; ".join(by_stamp[stamp]) for stamp in records.stamps.tolist()]


def _fill(order: OrderRecord) -> str:
    costs = order.commission + order.slippage
    return f"{order.intent} {float(order.quantity)!r} at {float(order.price)!r}, costs {float(costs)!r}"
