"""SHAP values of a forest, where the extra is installed.

Lundberg and others (2020), From Local Explanations to Global Understanding with Explainable AI for Trees,
Nature Machine Intelligence 2, 56-67.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.metrics import Floats
from research.training.outcome import TrainingOutcome

_MOST_SAMPLES = 300
_TREES = ("random_forest", "lightgbm", "xgboost", "hist_gradient_boosting")


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution:
    """Mean absolute SHAP value per feature, largest first, in units of the model's output.

    ids     the k features that the final model reads
    mean    float64 (k,), over at most 300 evenly spaced samples that it was fitted on
    slope   float64 (k,), [-1, 1]: rank correlation of the feature with its value: which way it pushes
    """

    ids: tuple[str, ...]
    mean: Floats
    slope: Floats


def attribution(outcome: TrainingOutcome) -> Attribution | str:
    """Explain the final model, or return the sentence why that cannot be done here."""
    model = outcome.config.model
    if model.family not in _TREES or model.calibration != "none":
        return "SHAP values are computed for tree models without calibration."
    try:
        shap: Any = importlib.import_module("shap")
    except ImportError:
        return "SHAP values need the package shap; run scripts/environment.sh requirements-dev.lock."
    rows = outcome.development
    chosen = rows[np.unique(np.linspace(0, rows.size - 1, min(_MOST_SAMPLES, rows.size)).astype(np.int64))]
    *before, (_, estimator) = outcome.pipeline.steps
    features = outcome.dataset.features[chosen]
    for _, transformer in before:
        features = transformer.transform(features)
    values = _of_winning(shap.TreeExplainer(estimator).shap_values(features))
    return _ranked(outcome, features, values)


def _of_winning(values: Any) -> Floats:
    """Return the values for class 1, float64 (n, k), whatever layout the model family has."""
    array = np.asarray(values, dtype=np.float64)
    return array[:, :, 1] if array.ndim == 3 else array


def _ranked(outcome: TrainingOutcome, features: Floats, values: Floats) -> Attribution:
    ids = [each for each in outcome.dataset.feature_ids if each in outcome.selected]
    mean = np.abs(values).mean(axis=0)
    order = np.argsort(-mean, kind="stable")
    slope = np.array([_rank_correlation(features[:, k], values[:, k]) for k in range(len(ids))])
    return Attribution(ids=tuple(ids[k] for k in order), mean=mean[order], slope=slope[order])


def _rank_correlation(one: Floats, other: Floats) -> float:
    """Return Spearman's correlation; 0 where one of the two does not vary."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    ranks = [np.argsort(np.argsort(each, kind="stable"), kind="stable") for each in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
