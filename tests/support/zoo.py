"""A model of the zoo that was trained on real bars, and a spec that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline

from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.market.asof import MaxAge
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.models.bundle import Bundle
from lockstep.models.golden import golden_vectors
from lockstep.models.store import ModelStore, column_id
from lockstep.strategy.bundled import bundled_strategy
from lockstep.strategy.families.rules import RulesConfig
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.zoo.learning import LearningBars
from research.zoo.model_spec import ModelSpec
from research.zoo.zoo import ModelZoo
from support.evidence import NOW, RECORD

COMP = SeriesKey("COMP", DAILY)
READ = ("ibs", "rsi_2", "ret_5", "atr_pctile_14_252")


def registered(store: ModelStore, bundle: Bundle) -> str:
    """Register a bundle and return the id of its column."""
    version = store.register(bundle, record=RECORD, by="test", now=NOW)
    sha256 = store.manifest().entry(bundle.symbol, version, bundle.name).sha256
    return column_id(bundle.symbol, version, sha256, name=bundle.name)


def volatility(history: History, *, pipeline: Any = None) -> Bundle:
    """Return a model of tomorrow's range of COMP, log of its share of the close, fitted on all its bars."""
    bars, registry = history.series(COMP), default_registry()
    batch = BatchFeatures(registry.plan(READ, COMP), history)
    label = np.log((bars.high - bars.low) / bars.close)[1:]
    rows = np.flatnonzero(np.isfinite(batch.matrix[:-1]).all(axis=1) & np.isfinite(label))
    model = HistGradientBoostingRegressor(max_iter=20, early_stopping=False, random_state=1)
    fitted = Pipeline([("model", model)]) if pipeline is None else pipeline
    fitted.fit(batch.matrix[rows], label[rows])
    dates = history.markets["COMP"].session.dates(bars.end[rows], DAILY)
    return Bundle(
        symbol="COMP",
        name="volatility_h1",
        task="volatility",
        output="value",
        horizon=1,
        target="log range of the next bar",
        pipeline=fitted,
        feature_ids=READ,
        fingerprints={each: registry.fingerprint(each) for each in READ},
        strategy={},
        threshold=None,
        training={
            "range": [str(dates[0]), str(dates[-1])],
            "label_range": [float(label[rows].min()), float(label[rows].max())],
        },
        metrics={},
        golden=golden_vectors(
            history, COMP, READ, fitted, bars.end[rows[[0, 99, -1]]], MaxAge(), output="value"
        ),
    )


def hybrid(column: str, calm: float) -> RulesConfig:
    """Return a spec that buys dips where the model expects a range below `calm`."""
    return RulesConfig.model_validate({
        "name": "calm dip",
        "long_entry": {"all": [{"id": "rsi_2", "below": 60}, {"id": column, "below": calm}]},
        "long_exit": {"any": [{"id": "rsi_2", "above": 65}, {"id": column, "above": calm}]},
        "max_bars": 10,
    })  # fmt: skip


def trading(config: RulesConfig, history: History) -> Bundle:
    """Return the bundle of a spec of COMP that trades as it is."""
    registry, ids = default_registry(), config.feature_ids
    stamps = history.series(COMP).end[[-200, -100]]
    return Bundle(
        symbol="COMP",
        target="",
        pipeline=None,
        feature_ids=ids,
        fingerprints={each: registry.fingerprint(each) for each in ids},
        strategy=bundled_strategy(config),
        threshold=None,
        training={},
        metrics={},
        golden=golden_vectors(history, COMP, ids, None, stamps, config.max_age.limits),
    )


def learning(history: History, start: str = "2005-01-03", end: str = "2008-12-31") -> LearningBars:
    """Return bars of COMP that a model of the zoo learns from."""
    return LearningBars.of(history, COMP, DateRange.of(start, end))


def spec(**changes: Any) -> ModelSpec:
    """Return a small spec that is trained in the blink of an eye, on no thread but its own."""
    asked: dict[str, Any] = {
        "task": "volatility",
        "features": ("ibs", "range_atr_14", "ret_5"),
        "estimator": "random_forest",
        "parameters": {"n_estimators": 4, "min_samples_leaf": 20},
    }
    return ModelSpec(**asked | changes)


def zoo_of(folder: Path, url: str | None = None) -> ModelZoo:
    """Return a zoo with a store, and a database where none is named, in a folder."""
    database = Database.open(url or f"sqlite:///{folder / 'trials.db'}")
    return ModelZoo(store=ModelStore(folder / "store"), ledger=Ledger(database), by="test", now=lambda: NOW)
