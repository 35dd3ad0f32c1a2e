"""What a model leans on: SHAP values, and what is worse once a column is shuffled.

SHAP values of trees: Lundberg and others (2020), From Local Explanations to Global Understanding with
Explainable AI for Trees, Nature Machine Intelligence 2, 56-67, where the extra is installed; of a linear
model they are its coefficients times the distance from the mean (Lundberg and Lee 2017, NeurIPS, sec. 4.2).

Shuffling answers two questions by one experiment. *Reliance* (how far the answer moves) needs no labels and
is never negative; it says what the model uses. *Importance* (how much larger the loss is on samples that it
did not see) says whether that use was worth it; Breiman (2001), Random Forests, Machine Learning 45, 5-32.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from lockstep.metrics import Floats, Integers
from research.statistics.bootstrap import block_length, resampled_means
from research.training.outcome import OuterWindow, TrainingOutcome

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
    """Explain the final model of a training, or return the sentence why that cannot be done here."""
    model = outcome.config.model
    if model.family not in _TREES or model.calibration != "none":
        return "SHAP values are computed for tree models without calibration."
    ids = [each for each in outcome.dataset.feature_ids if each in outcome.selected]
    return attribution_of(outcome.pipeline, ids, outcome.dataset.features[outcome.development])


def attribution_of(pipeline: Any, ids: Sequence[str], features: Floats) -> Attribution | str:
    """Explain a fitted pipeline, or return the sentence why that cannot be done here.

    ids        the features that its last step reads, in order
    features   float64 (n, k), what it was fitted on; at most 300 evenly spaced rows are explained

    Of an ensemble by seed they are the mean over its members; of a classifier's trees in the unit that they
    add up in, of a regressor's in that of the label.
    """
    rows = np.unique(np.linspace(0, len(features) - 1, min(_MOST_SAMPLES, len(features))).astype(np.int64))
    *before, (_, model) = pipeline.steps
    for _, transformer in before:
        features = transformer.transform(features)
    members = getattr(model, "members_", (model,))
    if all(hasattr(each, "coef_") for each in members):
        distance = features[rows] - features.mean(axis=0)
        parts = [distance * np.asarray(each.coef_, dtype=np.float64).reshape(-1) for each in members]
    else:
        try:
            shap: Any = importlib.import_module("shap")
        except ImportError:
            return "SHAP values need the package shap; run scripts/environment.sh requirements-dev.lock."
        parts = [_of_winning(shap.TreeExplainer(each).shap_values(features[rows])) for each in members]
    return _ranked(ids, features[rows], np.mean(parts, axis=0))


def _of_winning(values: Any) -> Floats:
    """Return the values for class 1, or of a regressor, float64 (n, k), whatever layout there is."""
    array = np.asarray(values, dtype=np.float64)
    return array[:, :, 1] if array.ndim == 3 else array


def _ranked(ids: Sequence[str], features: Floats, values: Floats) -> Attribution:
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


Refit = Callable[[OuterWindow, Integers], Any]
REPEATS = 5
_RESAMPLES = 400
_LEAST_SAMPLES = 8
_CLOSEST = 1e-6
_TAILS = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureImportance:
    """Per feature, most important first: mean rise of the loss when it is shuffled.

    low, high   95 % interval over the test samples, by the stationary bootstrap; nan for too few
    """

    ids: tuple[str, ...]
    mean: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, ids: Sequence[str], rises: Floats, seed: int) -> Self:
        """Rank features by their rises, float64 (k, n): of n test samples in the order of time."""
        low, high = _bounds(rises, seed)
        order = np.argsort(-rises.mean(axis=1), kind="stable")
        return cls(
            ids=tuple(ids[column] for column in order),
            mean=rises.mean(axis=1)[order],
            low=low[order],
            high=high[order],
        )


def rises(
    loss: Callable[[Floats], Floats], features: Floats, columns: Iterable[int], *, repeats: int, seed: int
) -> Floats:
    """Return by how much each sample's loss rises when a column is shuffled, mean over repeats, (k, n).

    loss      of rows float64 (r * n, k), the n samples r times: float64 (r, n)
    columns   that are read; of others nothing moves
    """
    before = loss(features)[0]
    found = np.zeros((features.shape[1], before.size))
    for column in columns:
        after = loss(_shuffled_rows(features, column, repeats=repeats, seed=seed))
        found[column] = after.mean(axis=0) - before
    return found


def shuffled(pipeline: Any, features: Floats, column: int, *, repeats: int, seed: int) -> Floats:
    """Return the chances of n samples with one column shuffled, float64 (repeats, n)."""
    rows = _shuffled_rows(features, column, repeats=repeats, seed=seed)
    return chances(pipeline, rows).reshape(repeats, -1)


def _shuffled_rows(features: Floats, column: int, *, repeats: int, seed: int) -> Floats:
    random = np.random.default_rng([seed, column])
    copies = np.tile(features, (repeats, 1, 1))
    for copy in copies:
        copy[:, column] = random.permutation(copy[:, column])
    return copies.reshape(-1, features.shape[1])


def chances(pipeline: Any, features: Floats) -> Floats:
    """Return column 1 of `predict_proba`, float64 (n,)."""
    return np.asarray(pipeline.predict_proba(features), dtype=np.float64)[:, 1]


def log_losses(probability: Floats, target: Integers) -> Floats:
    """Return each sample's log loss in nats, of the shape of `probability`; 0 and 1 are held 1e-6 away."""
    safe = np.clip(probability, _CLOSEST, 1.0 - _CLOSEST)
    return -np.log(np.where(target == 1, safe, 1.0 - safe))


def reliance(pipeline: Any, features: Floats, *, seed: int, repeats: int = REPEATS) -> Floats:
    """Return the mean absolute move of the chance when each column is shuffled, float64 (k,), >= 0."""
    before = chances(pipeline, features)
    return np.array(
        [
            np.abs(shuffled(pipeline, features, column, repeats=repeats, seed=seed) - before).mean()
            for column in range(features.shape[1])
        ]
    )


def importance(outcome: TrainingOutcome, refit: Refit, *, repeats: int = REPEATS) -> FeatureImportance:
    """Shuffle every feature in every outer test window, with that window's own model.

    `refit(window, target)` fits the window's model on its training samples with the labels `target` (n,).
    """
    parts = [_rises(outcome, window, refit, repeats) for window in outcome.windows]
    return FeatureImportance.of(outcome.dataset.feature_ids, np.concatenate(parts, axis=1), outcome.seed)


def _rises(outcome: TrainingOutcome, window: OuterWindow, refit: Refit, repeats: int) -> Floats:
    """Return each test sample's rise of the log loss, mean over repeats, float64 (k, m)."""
    data = outcome.dataset
    pipeline = refit(window, data.target)
    target = data.target[window.test]
    # A column that the selection dropped is not read: nothing moves.
    read = [column for column, name in enumerate(data.feature_ids) if name in window.selected]
    return rises(
        lambda rows: log_losses(chances(pipeline, rows).reshape(-1, target.size), target),
        data.features[window.test],
        read,
        repeats=repeats,
        seed=outcome.seed + window.number,
    )


def _bounds(rises: Floats, seed: int) -> tuple[Floats, Floats]:
    """Return the 95 % percentile interval of each row's mean; blocks keep the dependence in time."""
    if rises.shape[1] < _LEAST_SAMPLES:
        unknown = np.full(rises.shape[0], np.nan)
        return unknown, unknown
    means = resampled_means(rises.T, block=block_length(rises.T), resamples=_RESAMPLES, seed=seed)
    low, high = np.quantile(means, _TAILS, axis=0)
    return low, high
