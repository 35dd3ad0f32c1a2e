"""The training report for machines: the numbers behind every figure, with a schema version."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from research.training.importance import Attribution, FeatureImportance
from research.training.outcome import TrainingOutcome
from research.training.probabilities import Calibration
from research.training.report_data import TrainingReport, WindowResult
from research.training.report_sections import provenance_of

SCHEMA = 1


def report_json(data: TrainingReport) -> str:
    """Return the report as JSON, null where a number is not defined; no time, host or path is in it."""
    return json.dumps(_plain(_content(data)), indent=1, allow_nan=False) + "\n"


def _content(data: TrainingReport) -> dict[str, Any]:
    outcome = data.outcome
    return {
        "schema_version": SCHEMA,
        "symbol": outcome.dataset.symbol,
        "config": outcome.config.model_dump(mode="json"),
        "provenance": provenance_of(outcome),
        "samples": _samples(data),
        "out_of_sample": {
            "first": str(data.windows[0].first),
            "last": str(data.windows[-1].last),
            "with_veto": data.runs.filtered.measures,
            "without_veto": data.runs.unfiltered.measures,
            "windows": [_window(each) for each in data.windows],
        },
        "calibration": _calibration(data.calibration),
        "roc_area": None if data.roc is None else data.roc.area,
        "average_precision": None if data.precision_recall is None else data.precision_recall.area,
        "base_rate": data.base_rate,
        "threshold": _threshold(data),
        "importance": _importance(data.importance),
        "shap": _attribution(data.attribution),
        "search": _search(outcome),
        "luck": {
            "trainings": data.deflation.trials,
            "best_of_noise": data.deflation.chance,
            "deflated_sharpe": data.deflation.dsr,
            "pbo": None if data.overfitting is None else data.overfitting.probability,
        },
    }


def _samples(data: TrainingReport) -> dict[str, Any]:
    outcome = data.outcome
    return {
        "all": len(outcome.dataset),
        "development": outcome.development.size,
        "hold_out": outcome.hold_out.size,
        "taken": int(outcome.dataset.taken.sum()),
        "unfinished": outcome.dataset.unfinished,
        "won_by_year": {str(year): list(found) for year, found in data.won_by_year.items()},
    }


def _calibration(found: Calibration) -> dict[str, Any]:
    return {
        "error": found.error,
        "predicted": found.predicted,
        "observed": found.observed,
        "low": found.low,
        "high": found.high,
        "count": found.count,
    }


def _threshold(data: TrainingReport) -> dict[str, Any]:
    curve = data.thresholds
    return {
        "chosen": data.outcome.threshold,
        "vetoes_nothing": list(data.outcome.idle),
        "threshold": curve.threshold,
        "trades": curve.trades,
        "net_pnl": curve.net_pnl,
    }


def _importance(found: FeatureImportance) -> list[dict[str, Any]]:
    rows = zip(found.ids, found.mean, found.low, found.high, strict=True)
    return [{"feature": name, "mean": mean, "low": low, "high": high} for name, mean, low, high in rows]


def _search(outcome: TrainingOutcome) -> dict[str, Any]:
    return {
        "parameters": dict(outcome.parameters),
        "failed": outcome.failed,
        "stopped": outcome.stopped,
        "steps": [
            {
                "number": each.number,
                "score": each.score,
                "threshold": each.threshold,
                "parameters": dict(each.parameters),
            }
            for each in outcome.steps
        ],
    }


def _window(found: WindowResult) -> dict[str, Any]:
    return {
        "number": found.window.number,
        "first": str(found.first),
        "last": str(found.last),
        "train_samples": found.window.train.size,
        "test_samples": found.window.test.size,
        "threshold": found.window.threshold,
        "parameters": dict(found.window.parameters),
        "with_veto": found.filtered.measures,
        "without_veto": found.unfiltered.measures,
    }


def _attribution(found: Attribution | str) -> Any:
    if isinstance(found, str):
        return found
    return [
        {"feature": name, "mean": mean, "direction": slope}
        for name, mean, slope in zip(found.ids, found.mean, found.slope, strict=True)
    ]


def _plain(value: Any) -> Any:
    """Return the value in JSON's own types; nan and infinities become null."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
