"""Small models on invented bars, ready to be bundled, registered and spoilt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import Pipeline

from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.asof import MaxAge
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.models.bundle import Bundle
from lockstep.models.estimators import ColumnSelector
from lockstep.models.golden import golden_vectors
from lockstep.models.libraries import library_versions
from lockstep.models.sources import new_key, read_key, sign, trust
from lockstep.models.store import ModelStore
from lockstep.models.tasks import PROBABILITY, STATE, VALUE, Output
from support.evidence import NOW, RECORD, evidence
from support.scenarios import daily_bars, history_of

__all__ = [
    "NOW",
    "RECORD",
    "asking_for_validation",
    "bare_bundle",
    "evidence",
    "forest",
    "history",
    "make_bundle",
    "ranges",
    "samples",
    "unchanged",
    "vouched",
    "zoo_bundle",
]

BASE = SeriesKey("ES", DAILY)
IDS = ("ibs", "rsi_2", "ret_5", "day_of_week")


@cache
def history(symbol: str = "ES", bars: int = 700) -> History:
    """Return daily bars of a random walk on a quarter's tick."""
    draw = np.random.default_rng(11)
    close = 4000 + np.cumsum(draw.integers(-40, 41, bars)) * 0.25
    open_ = close + draw.integers(-20, 21, bars) * 0.25
    high = np.maximum(open_, close) + draw.integers(0, 20, bars) * 0.25
    low = np.minimum(open_, close) - draw.integers(0, 20, bars) * 0.25
    rows = np.stack((open_, high, low, close), axis=1).tolist()
    return history_of(daily_bars(rows, symbol=symbol))


@cache
def samples(symbol: str = "ES") -> tuple[Any, Any, Any]:
    """Return stamps, features and a target that depends on the first two features."""
    batch = BatchFeatures(default_registry().plan(IDS, SeriesKey(symbol, DAILY)), history(symbol))
    complete = np.isfinite(batch.matrix).all(axis=1)
    features = batch.matrix[complete]
    noise = np.random.default_rng(3).normal(size=len(features))
    target = (features[:, 0] + features[:, 1] / 100 + 0.3 * noise < 1).astype(np.int64)
    return batch.end[complete], features, target


def forest(trees: int = 12, seed: int = 5, **settings: Any) -> Pipeline:
    """Return a fitted forest behind a choice of columns."""
    model = RandomForestClassifier(trees, min_samples_leaf=10, random_state=seed, n_jobs=1, **settings)
    pipeline = Pipeline([("select", ColumnSelector((2, 0, 1))), ("model", model)])
    _, features, target = samples()
    return pipeline.fit(features, target)


def make_bundle(
    *,
    symbol: str = "ES",
    pipeline: Any = None,
    threshold: float = 0.55,
    registry: FeatureRegistry | None = None,
    stamps: Sequence[int] | None = None,
    **changes: Any,
) -> Bundle:
    """Return a bundle of `pipeline`, a small forest by default."""
    fitted = forest() if pipeline is None else pipeline
    known = registry or default_registry()
    base = SeriesKey(symbol, DAILY)
    chosen = samples(symbol)[0][[5, 80, 81, 300]] if stamps is None else stamps
    golden = golden_vectors(history(symbol), base, IDS, fitted, chosen, MaxAge(), registry=known)
    values: dict[str, Any] = {
        "symbol": symbol,
        "pipeline": fitted,
        "feature_ids": IDS,
        "fingerprints": {each: known.fingerprint(each) for each in IDS},
        "strategy": {"family": "IbsConfig", "config": {"entry": [0.0, 0.2]}, "config_hash": "4" * 64},
        "threshold": threshold,
        "training": {
            "range": ("2024-01-08", "2026-01-08"),
            "seed": 7,
            "versions": library_versions(fitted),
        },
        "metrics": {"roc_auc": 0.61, "profit_factor": float("inf")},
        "golden": golden,
    }
    return Bundle(**{**values, **changes})


def bare_bundle(symbol: str = "ES", **changes: Any) -> Bundle:
    """Return the bundle of a strategy that trades without a model."""
    stamps = samples(symbol)[0][[5, 80, 81, 300]]
    golden = golden_vectors(history(symbol), SeriesKey(symbol, DAILY), IDS, None, stamps, MaxAge())
    without = {"target": "", "threshold": None, "golden": golden, "schema": 3}
    return replace(make_bundle(symbol=symbol), pipeline=None, **without, **changes)


@cache
def ranges(symbol: str = "ES") -> Any:
    """Return the bars' ranges, in hundreds of points, one bar ahead of `samples`: a value to predict."""
    stamps, _, _ = samples(symbol)
    bars = history(symbol).series(SeriesKey(symbol, DAILY))
    ahead = np.append((bars.high - bars.low)[1:], 0.0) / 100.0
    return ahead[np.searchsorted(bars.end, stamps)]


def zoo_bundle(*, pipeline: Any = None, output: Output = VALUE, symbol: str = "ES", **changes: Any) -> Bundle:
    """Return a model of the zoo: of tomorrow's range, of its chance to rise, or of the state of either."""
    fitted = pipeline
    stamps, features, _ = samples(symbol)
    if fitted is None:
        of_values = RandomForestRegressor(6, min_samples_leaf=10, random_state=5, n_jobs=1)
        fitted = of_values.fit(features, ranges(symbol)) if output == VALUE else forest()
    base, registry = SeriesKey(symbol, DAILY), default_registry()
    values: dict[str, Any] = {
        "symbol": symbol,
        "name": {VALUE: "volatility_h1", STATE: "regime_h5", PROBABILITY: "direction_h1"}[output],
        "task": {VALUE: "volatility", STATE: "regime", PROBABILITY: "direction"}[output],
        "output": output,
        "horizon": 5 if output == STATE else 1,
        "target": "what tomorrow brings",
        "pipeline": fitted,
        "feature_ids": IDS,
        "fingerprints": {each: registry.fingerprint(each) for each in IDS},
        "strategy": {},
        "threshold": None,
        "training": {
            "range": ("2024-01-08", "2026-01-08"),
            "label_range": [float(ranges(symbol).min()), float(ranges(symbol).max())],
        },
        "metrics": {"loss": 0.02},
    }
    chosen = {**values, **changes}
    if "golden" not in chosen:
        chosen["golden"] = golden_vectors(
            history(symbol), base, IDS, fitted, stamps[[5, 80, 81, 300]], MaxAge(), output=output
        )
    return Bundle(**chosen)


def asking_for_validation(store: ModelStore) -> ModelStore:
    """Return the store with a policy that asks for a validation and for nothing else."""
    store.folder.mkdir(parents=True, exist_ok=True)
    (store.folder / "policy.json").write_text('{"promotion": ["validation"]}')
    return store


def unchanged(store: ModelStore) -> Callable[[], None]:
    """Return a check that the store's files are those of now."""

    def content() -> dict[str, bytes]:
        files = (path for path in store.folder.rglob("*") if path.is_file() and path.suffix != ".lock")
        return {str(path): path.read_bytes() for path in files}

    before = content()

    def check() -> None:
        assert content() == before

    return check


def vouched(source: ModelStore, target: ModelStore) -> ModelStore:
    """Return `source`, signed as it is now with a key that `target` trusts."""
    path = target.folder.parent / f"{source.folder.name}.key"
    key = read_key(path) if path.exists() else new_key(path)
    sign(source.folder, key)
    trust(target.folder, source.folder.name, path)
    return source
