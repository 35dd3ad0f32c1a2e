"""Training without waiting: small forests on embedded bars, and datasets that are written by hand."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from lockstep.market.history import History
from lockstep.models.estimators import ColumnSelector
from lockstep.settings import validated
from research.training.config import TrainingConfig
from research.training.dataset import Dataset, build_dataset
from research.training.outcome import OuterWindow, SearchStep, TrainingOutcome
from research.training.run import load_training_history

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
DAY = 86_400_000_000_000
START = int(np.datetime64("2010-01-04T21:00", "ns").astype(np.int64))

STRATEGY: dict[str, Any] = {
    "name": "small",
    "entry": [0.0, 0.25],
    "max_bars": 10,
    "stop": {"percent": 3.0},
    "filters": [{"feature": "rsi_2", "max": 70.0}],
}
SMALL_FOREST: dict[str, Any] = {
    "family": "random_forest",
    "space": {
        "n_estimators": {"integer": [5, 15]},
        "max_depth": {"integer": [2, 4], "or_none": True},
        "min_samples_leaf": {"integer": [5, 20], "log": True},
    },
}


def noon() -> datetime:
    return NOON


def config(**changes: Any) -> TrainingConfig:
    """Return a training of SPX that takes a second: few trees, few steps, two outer windows."""
    content: dict[str, Any] = {
        "symbol": "SPX",
        "data": {"start": "2008-01-02", "end": "2018-12-31"},
        "strategy": STRATEGY,
        "features": {"ids": ["ibs", "rsi_2", "zscore_20", "ret_1", "volume_pctile_20", "day_of_week"]},
        "model": SMALL_FOREST,
        "search": {"trials": 3, "initial": 2},
        "validation": {"groups": 4, "test_groups": 2, "embargo_days": 3, "walk_forward": "4y/2y/2y"},
        "hold_out": {"start": "2017-01-03"},
        **changes,
    }
    return validated(TrainingConfig, content, where="small training")


@functools.cache
def spx_history() -> History:
    return load_training_history(config())


@functools.cache
def spx_dataset() -> Dataset:
    return build_dataset(config(), spx_history())


def invented(n: int = 240, k: int = 4, *, seed: int = 1, every: int = 5, held: int = 3) -> Dataset:
    """Return n samples, one each `every` days and each `held` days long; the first feature says who wins."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, k))
    won = (features[:, 0] + random.normal(scale=0.5, size=n) > 0).astype(np.int64)
    decision = START + DAY * every * np.arange(n, dtype=np.int64)
    pnl = np.where(won == 1, 500.0, -400.0) + random.normal(scale=50.0, size=n)
    return Dataset(
        symbol="SPX",
        feature_ids=("ibs", "rsi_2", "zscore_20", "ret_1", "day_of_week", "ibs_prev")[:k],
        features=features,
        target=(pnl > 0).astype(np.int64),
        row=every * np.arange(n, dtype=np.int64),
        decision=decision,
        entry=decision + DAY,
        exit=decision + DAY * held,
        side=np.ones(n),
        net_pnl=pnl,
        net_return=pnl / 100_000.0,
        taken=np.ones(n, dtype=np.bool_),
        weight=np.ones(n),
        hashes={"config": "c", "data": "d", "features": "f", "code": "k"},
    )


def invented_config(**changes: Any) -> TrainingConfig:
    """Return a configuration that fits `invented`: 240 samples, five days apart."""
    scheme = {"groups": 4, "test_groups": 2, "embargo_days": 3, "walk_forward": "1y/6m/6m"}
    return config(**{"validation": scheme, "hold_out": {"start": "2012-10-01"}, **changes})


def small_outcome() -> TrainingOutcome:
    """Return an outcome that was put together without a search: one window, two steps, a small forest."""
    data, settings = invented(), invented_config()
    rows = np.arange(len(data))

    def step(number: int) -> SearchStep:
        return SearchStep(
            number=number,
            parameters={"n_estimators": 5, "max_depth": None, "max_samples": 0.7},
            score=-0.7 + number / 100,
            split_scores=np.array([-0.7, -0.6]),
            threshold=0.5,
            probabilities=np.linspace(0.2, 0.8, 150),
            seconds=0.1,
        )

    steps = (step(0), step(1))
    window = OuterWindow(
        number=0, train=rows[:100], test=rows[100:150], steps=steps, parameters=steps[1].parameters,
        threshold=0.5, selected=data.feature_ids[:2], probabilities=np.linspace(0.3, 0.7, 50),
    )  # fmt: skip
    model = RandomForestClassifier(5, random_state=0, n_jobs=1, max_depth=3)
    pipeline = Pipeline([("select", ColumnSelector((0, 1))), ("model", model)])
    return TrainingOutcome(
        config=settings, dataset=data, development=rows[:150], hold_out=rows[160:], windows=(window,),
        steps=steps, parameters=steps[1].parameters, threshold=0.5, selected=data.feature_ids[:2],
        pipeline=pipeline.fit(data.features[:150], data.target[:150]), seed=4,
    )  # fmt: skip
