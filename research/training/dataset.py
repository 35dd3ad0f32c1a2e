"""The samples that a veto learns from: every bar at which the configured strategy would enter.

A dataset as parquet: one row per sample, everything else in the file's metadata, with a schema version.

Columns `decision`, `entry`, `exit` (UTC), `row`, `side`, `net_pnl`, `net_return`, `taken`, `target`, `weight`
say what became of a sample; the features follow under their ids. Equal datasets give equal bytes.

Which features a model may read: registry ids, no price levels, nothing that rolls move.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lockstep.errors import TrainingError
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.features.invariance import price_levels, shift_sensitive
from lockstep.files import replace_file
from lockstep.identity import TRAINING, code_hash, json_digest
from lockstep.market.bars import Adjustment, Stamps
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.metrics import Floats, Integers
from lockstep.strategy.config import StrategyConfig
from research.experiments.evaluation import data_hash
from research.splits.labels import Labels, Mask
from research.training.config import StrategyRelease, TrainingConfig, hashed_strategy
from research.training.pipeline import Samples
from research.training.round_trips import RoundTrips, round_trips, uniqueness_weights


def model_ids(config: TrainingConfig, registry: FeatureRegistry, adjustment: Adjustment) -> tuple[str, ...]:
    """Return the ids that the model reads: those of the families, sorted, then the single ones, each once.

    A family stands for those of its ids that may be trained on. An id that is named by itself and may not
    is a TrainingError: a price level always; on `difference`-adjusted data whatever moves with a constant
    shift of all prices, unless the configuration allows it with a reason. The registry refuses what it
    does not know, outcomes of the trade among it.
    """
    named = config.features.ids
    registry.plan(named, SeriesKey(config.symbol, config.strategy.bars))
    members = [each for family in config.features.families for each in registry.list(family)]
    ids = tuple(dict.fromkeys((*members, *named)))
    unfit = dict.fromkeys(price_levels(ids, registry), "follows the level of prices")
    if _must_not_move(config, adjustment):
        moved = "moves when all prices are shifted, as each roll of difference-adjusted data does"
        unfit |= {each: moved for each in shift_sensitive(ids, registry) if each not in unfit}
    for each in named:
        if each in unfit:
            raise TrainingError(f"{config.symbol}: feature {each!r} {unfit[each]}; {_way_out(unfit[each])}")
    kept = tuple(each for each in ids if each not in unfit)
    if not kept:
        raise TrainingError(f"{config.symbol}: none of {len(ids)} features may be trained on; name others")
    return kept


def require_invariant_rules(
    config: TrainingConfig | StrategyRelease, registry: FeatureRegistry, adjustment: Adjustment
) -> None:
    """Raise TrainingError where the strategy's own rules move with the rolls of difference-adjusted data."""
    if not _must_not_move(config, adjustment):
        return
    strategy = config.strategy
    moving = [
        f"{name} percent"
        for name, distance in (("stop", strategy.stop), ("target", strategy.target))
        if distance is not None and distance.percent is not None
    ]
    moving += shift_sensitive(_ids_of_rules(strategy), registry)
    if moving:
        raise TrainingError(
            f"{config.symbol}: {', '.join(moving)}: moves when all prices are shifted, as each roll of "
            "difference-adjusted data does; use multiples of an ATR, or allow_shift_sensitive with a reason"
        )


def _ids_of_rules(strategy: StrategyConfig) -> tuple[str, ...]:
    """Return the ids of the strategy's rules; what is only recorded decides nothing."""
    return strategy.replaced(features=()).feature_ids


def _must_not_move(config: TrainingConfig | StrategyRelease, adjustment: Adjustment) -> bool:
    return adjustment == "difference" and config.allow_shift_sensitive is None


def _way_out(why: str) -> str:
    if why.startswith("moves"):
        return "drop it, or allow_shift_sensitive with a reason"
    return "use it relative to an average or an ATR"


# What of a training configuration the samples depend on.
_ASKED = ("symbol", "data", "strategy", "features", "label", "sample_weight", "allow_shift_sensitive")


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """n samples in order of decision, k features.

    features      float64 (n, k): the vector frozen at the decision, columns `feature_ids`, no NaN
    target        int64 (n,): 1 where the trade's net P&L is positive, else 0
    row           int64 (n,): the bar of the decision in the traded series; `decision` its end, UTC ns
    entry, exit   int64 (n,): ends of the bars of the entry and exit fills, UTC ns
    side          float64 (n,): +1 long, -1 short
    net_pnl       float64 (n,), USD; net_return float64 (n,), of the configured capital
    taken         bool (n,): the strategy without a veto was flat here and really entered
    weight        float64 (n,), mean 1: average uniqueness, or ones
    hashes        `config`, `data`, `features`, `code`: what the samples depend on
    unfinished    signals whose trade was open at the last bar; they are no samples
    """

    symbol: str
    feature_ids: tuple[str, ...]
    features: Floats
    target: Integers
    row: Integers
    decision: Stamps
    entry: Stamps
    exit: Stamps
    side: Floats
    net_pnl: Floats
    net_return: Floats
    taken: Mask
    weight: Floats
    hashes: Mapping[str, str]
    unfinished: int = 0

    @property
    def labels(self) -> Labels:
        """The label intervals [decision, exit], UTC ns."""
        return Labels.of(self.decision, self.exit)

    def __len__(self) -> int:
        return int(self.target.size)

    def subset(self, rows: Integers) -> Dataset:
        """Return some of the samples, in rising order."""
        chosen: dict[str, Any] = {
            each.name: getattr(self, each.name)[rows]
            for each in fields(self)
            if isinstance(getattr(self, each.name), np.ndarray)
        }
        return replace(self, **chosen)

    @property
    def samples(self) -> Samples:
        """What an estimator learns from."""
        return Samples(features=self.features, target=self.target, weight=self.weight, labels=self.labels)


def widened(strategy: StrategyConfig, ids: tuple[str, ...]) -> StrategyConfig:
    """Return the strategy with a vector that also holds the model's ids, as it trades under the veto."""
    return strategy.replaced(features=tuple(dict.fromkeys((*strategy.features, *ids))))


def build_dataset(
    config: TrainingConfig, history: History, *, registry: FeatureRegistry | None = None
) -> Dataset:
    """Return the samples of a history: the bars at which the strategy, flat and without veto, would enter.

    A bar needs a complete vector, the model's ids included, as it does live. Each sample is followed to its
    own exit; trades that are open at the last bar are left out and counted.

    TrainingError where a feature or a rule may not be trained on (see `vector.py`), or nothing is signalled;
    UnknownFeature, DataError and NoBars where ids, bars or dates are missing.
    """
    registry = registry or default_registry()
    if config.symbol not in history.markets:
        loaded = ", ".join(sorted(history.markets))
        raise TrainingError(
            f"training of {config.symbol}: the bars are of {loaded}; load those of the config"
        )
    adjustment = adjustment_of(history, SeriesKey(config.symbol, config.strategy.bars))
    require_invariant_rules(config, registry, adjustment)
    ids = model_ids(config, registry, adjustment)
    strategy = widened(config.strategy, ids)
    key = SeriesKey(config.symbol, strategy.bars)
    plan = registry.plan(strategy.feature_ids, key)
    matrix = BatchFeatures(plan, history, max_age=strategy.max_age.limits).matrix
    complete: Mask = np.logical_not(np.isnan(matrix).any(axis=1))
    span = DateRange.of(config.data.start, config.data.end)
    trades = round_trips(
        config.strategy,
        history,
        config.symbol,
        complete=complete,
        rows=span.select(history.series(key), history.markets[config.symbol]),
        span=span,
    )
    columns = [plan.ids.index(each) for each in ids]
    features = np.ascontiguousarray(matrix[trades.row][:, columns])
    if not trades.row.size:
        raise TrainingError(
            f"{config.symbol}: the strategy gives no signal with a finished trade; widen entries or dates"
        )
    return _assembled(config, history, ids, features, trades, registry)


def adjustment_of(history: History, traded: SeriesKey) -> Adjustment:
    """Return `difference` where any series of the history is adjusted so, else that of the traded one."""
    if any(bars.adjustment == "difference" for bars in history.bars.values()):
        return "difference"
    return history.series(traded).adjustment


def _assembled(
    config: TrainingConfig,
    history: History,
    ids: tuple[str, ...],
    features: Floats,
    trades: RoundTrips,
    registry: FeatureRegistry,
) -> Dataset:
    end = history.series(SeriesKey(config.symbol, config.strategy.bars)).end
    instrument = history.markets[config.symbol].instrument
    net_pnl = trades.net_pnl(instrument.costs)
    weighted = config.sample_weight == "uniqueness"
    return Dataset(
        symbol=config.symbol,
        feature_ids=ids,
        features=features,
        target=(net_pnl > 0.0).astype(np.int64),
        row=trades.row,
        decision=end[trades.row],
        entry=end[trades.entry],
        exit=end[trades.exit],
        side=np.sign(trades.quantity),
        net_pnl=net_pnl,
        net_return=net_pnl / config.strategy.capital,
        taken=trades.taken,
        weight=uniqueness_weights(trades.entry, trades.exit) if weighted else np.ones(trades.row.size),
        hashes=_hashes(config, history, ids, registry),
        unfinished=trades.unfinished,
    )


def _hashes(
    config: TrainingConfig, history: History, ids: tuple[str, ...], registry: FeatureRegistry
) -> dict[str, str]:
    asked = config.model_dump(mode="json", include=set(_ASKED), exclude={"strategy"})
    asked["strategy"] = hashed_strategy(config.strategy)
    return {
        "config": json_digest([*(asked[name] for name in _ASKED), *config.strategy.family_code]),
        "data": data_hash(history, config.symbol),
        "features": json_digest([(each, registry.fingerprint(each)) for each in ids]),
        "code": code_hash(TRAINING),
    }


def dates_of(dataset: Dataset, rows: Integers) -> DateRange:
    """Return the days (UTC) from the first decision to the last exit of some samples."""
    ends = np.array([dataset.decision[rows[0]], dataset.exit[rows].max()])
    first, last = ends.astype("datetime64[ns]").astype("datetime64[D]").tolist()
    return DateRange(start=first, end=last)


SCHEMA = 1
_KEY = b"lockstep"
_STAMPS = ("decision", "entry", "exit")
_VALUES = ("row", "side", "net_pnl", "net_return", "taken", "target", "weight")


def save_dataset(dataset: Dataset, path: Path) -> Path:
    """Write the file in one step and return its path; StoreFailure where the disk refuses."""
    stream = io.BytesIO()
    pq.write_table(_table(dataset), stream)
    replace_file(path, stream.getvalue())
    return path


def _table(dataset: Dataset) -> pa.Table:
    stamps = {name: pa.array(getattr(dataset, name), pa.timestamp("ns", tz="UTC")) for name in _STAMPS}
    values = {name: getattr(dataset, name) for name in _VALUES}
    features = {each: dataset.features[:, column] for column, each in enumerate(dataset.feature_ids)}
    described = {
        "schema": SCHEMA,
        "symbol": dataset.symbol,
        "feature_ids": dataset.feature_ids,
        "hashes": dict(dataset.hashes),
        "unfinished": dataset.unfinished,
    }
    table = pa.table({**stamps, **values, **features})
    return table.replace_schema_metadata({_KEY: json.dumps(described, sort_keys=True).encode()})
