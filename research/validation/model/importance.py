"""What the model leans on: probabilities after one column is shuffled, against those before.

Two questions, one experiment. *Reliance* (how far the probability moves) needs no labels and is never
negative; it says what the model uses. *Importance* (how much worse the probability is on samples that it did
not see) says whether that use was worth it; Breiman (2001), Random Forests, Machine Learning 45, 5-32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.metrics import Floats, Integers
from research.training.outcome import OuterWindow, TrainingOutcome
from research.validation.resampling import block_length, resampled_means

Refit = Callable[[OuterWindow, Integers], Any]
REPEATS = 5
_RESAMPLES = 400
_LEAST_SAMPLES = 8
_CLOSEST = 1e-6
_TAILS = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True, eq=False)
class Importance:
    """Per feature, most important first: mean rise of the log loss when it is shuffled, nats.

    low, high   95 % interval over the test samples, by the stationary bootstrap; nan for too few
    """

    ids: tuple[str, ...]
    mean: Floats
    low: Floats
    high: Floats


def shuffled(pipeline: Any, features: Floats, column: int, *, repeats: int, seed: int) -> Floats:
    """Return the chances of n samples with one column shuffled, float64 (repeats, n)."""
    random = np.random.default_rng([seed, column])
    copies = np.tile(features, (repeats, 1, 1))
    for copy in copies:
        copy[:, column] = random.permutation(copy[:, column])
    return chances(pipeline, copies.reshape(-1, features.shape[1])).reshape(repeats, -1)


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


def importance(outcome: TrainingOutcome, refit: Refit, *, repeats: int = REPEATS) -> Importance:
    """Shuffle every feature in every outer test window, with that window's own model.

    `refit(window, target)` fits the window's model on its training samples with the labels `target` (n,).
    """
    parts = [_rises(outcome, window, refit, repeats) for window in outcome.windows]
    rises = np.concatenate(parts, axis=1)
    low, high = _bounds(rises, outcome.seed)
    order = np.argsort(-rises.mean(axis=1), kind="stable")
    return Importance(
        ids=tuple(outcome.dataset.feature_ids[column] for column in order),
        mean=rises.mean(axis=1)[order],
        low=low[order],
        high=high[order],
    )


def _rises(outcome: TrainingOutcome, window: OuterWindow, refit: Refit, repeats: int) -> Floats:
    """Return each test sample's rise of the log loss, mean over repeats, float64 (k, m)."""
    data = outcome.dataset
    pipeline = refit(window, data.target)
    features, target = data.features[window.test], data.target[window.test]
    before = log_losses(chances(pipeline, features), target)
    rises = np.zeros((features.shape[1], target.size))
    for column, name in enumerate(data.feature_ids):
        # A column that the selection dropped is not read: nothing moves.
        if name in window.selected:
            after = shuffled(pipeline, features, column, repeats=repeats, seed=outcome.seed + window.number)
            rises[column] = log_losses(after, target).mean(axis=0) - before
    return rises


def _bounds(rises: Floats, seed: int) -> tuple[Floats, Floats]:
    """Return the 95 % percentile interval of each row's mean; blocks keep the dependence in time."""
    if rises.shape[1] < _LEAST_SAMPLES:
        unknown = np.full(rises.shape[0], np.nan)
        return unknown, unknown
    means = resampled_means(rises.T, block=block_length(rises.T), resamples=_RESAMPLES, seed=seed)
    low, high = np.quantile(means, _TAILS, axis=0)
    return low, high
