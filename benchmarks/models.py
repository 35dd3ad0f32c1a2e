"""What a model costs in live: one answer of a forest, and a rollback."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from benchmarks.measure import Measured, once, ratio
from benchmarks.workload import history, hourly_bars
from lockstep.features.feature_registry import default_registry
from lockstep.market.asof import MaxAge
from lockstep.market.history import SeriesKey
from lockstep.models import Bundle, ModelStore, TrainingRecord, golden_vectors
from lockstep.models.estimators import ColumnSelector
from lockstep.models.predictor import predictor

_TREES = 200
_COLUMNS = 40
_ROWS = 600
_CALLS = 2000
_IDS = ("ibs", "rsi_2")
_WHEN = datetime(2024, 1, 1, tzinfo=UTC)


def fitted(columns: int) -> tuple[Pipeline, Any]:
    """Return a forest of 200 trees on invented samples, and its features."""
    draw = np.random.default_rng(1)
    features = draw.normal(size=(_ROWS, columns))
    target = (features[:, 0] + draw.normal(size=_ROWS) > 0).astype(np.int64)
    model = RandomForestClassifier(_TREES, min_samples_leaf=10, n_jobs=1, random_state=1)
    selector = ColumnSelector(tuple(range(columns)))
    return Pipeline([("select", selector), ("model", model)]).fit(features, target), features


def one_row() -> Measured:
    """Measure one answer against scikit-learn's."""
    pipeline, features = fitted(_COLUMNS)
    row, ask = features[:1].copy(), predictor(pipeline).predict_proba

    def many() -> None:
        for _ in range(_CALLS):
            ask(row)

    times, slow, fast = ratio(lambda: pipeline.predict_proba(row), many)
    note = f"{fast / _CALLS * 1e6:.1f} us against {slow * 1e3:.1f} ms, same bits"
    return Measured(
        what=f"one answer, {_TREES} trees", value=times * _CALLS, unit="times scikit-learn", promise=100,
        note=note, more_is_better=True,
    )  # fmt: skip


def rolling_back() -> Measured:
    """Measure `rollback_model.py` as a process."""
    with tempfile.TemporaryDirectory() as folder:
        _two_versions(ModelStore(Path(folder)))
        command = [sys.executable, "scripts/rollback_model.py", "ES", "--reason", "bench", "--store", folder]
        value = once(lambda: subprocess.run(command, env=os.environ, capture_output=True, check=True))
    return Measured(what="rollback, the whole process", value=value, unit="s", promise=1)


def _two_versions(store: ModelStore) -> None:
    bars, registry = hourly_bars(), default_registry()
    pipeline, _ = fitted(len(_IDS))
    base = SeriesKey(bars.symbol, bars.timeframe)
    bundle = Bundle(
        symbol="ES", pipeline=pipeline, feature_ids=_IDS, threshold=0.5, training={}, metrics={},
        fingerprints={each: registry.fingerprint(each) for each in _IDS},
        strategy={"family": "IbsConfig", "config": {}, "config_hash": ""},
        golden=golden_vectors(history(bars), base, _IDS, pipeline, bars.end[-3:], MaxAge()),
    )  # fmt: skip
    record = TrainingRecord(code_hash="", config={}, data_hashes={}, seed=1, python="", versions={})
    for threshold in (0.5, 0.6):
        version = store.register(replace(bundle, threshold=threshold), record=record, by="bench", now=_WHEN)
        store.promote("ES", version, by="bench", now=_WHEN, reason="bench", force=True)
