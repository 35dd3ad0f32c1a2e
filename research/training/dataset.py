"""The samples that a veto learns from: every bar at which the configured strategy would enter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from lockstep.errors import TrainingError
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.bars import Adjustment, Stamps
from lockstep.market.history import History, SeriesKey
from lockstep.metrics import Floats, Integers
from lockstep.strategy.ibs_decision import IbsConfig
from research.backtest import Span
from research.experiments.evaluation import data_hash
from research.training.code import training_digest
from research.training.config import TrainingConfig
from research.training.pipeline import Samples
from research.training.round_trips import RoundTrips, round_trips
from research.training.uniqueness import uniqueness_weights
from research.training.vector import model_ids, require_invariant_rules
from research.validation.labels import Labels, Mask

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


def widened(strategy: IbsConfig, ids: tuple[str, ...]) -> IbsConfig:
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
    span = Span(start=config.data.start, end=config.data.end)
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
    asked = config.model_dump(mode="json", include=set(_ASKED), exclude={"strategy": {"name"}})
    return {
        "config": _sha256([asked[name] for name in _ASKED]),
        "data": data_hash(history, config.symbol),
        "features": _sha256([(each, registry.fingerprint(each)) for each in ids]),
        "code": training_digest(),
    }


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
