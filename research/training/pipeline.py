"""One fitted Pipeline from the training samples of one fold, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from lockstep.errors import TrainingError
from lockstep.floats import require_still_exact
from lockstep.metrics import Floats, Integers
from lockstep.models.columns import ColumnSelector
from research.training.config import Model
from research.training.estimators import make_estimator, preparation
from research.training.space import Parameters
from research.validation.labels import Labels
from research.validation.purged import PurgedKFold


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """What an estimator learns from: n samples in order of decision, k features.

    features   float64 (n, k); target int64 (n,), 0 or 1; weight float64 (n,)
    labels     their intervals [decision, exit], UTC ns
    """

    features: Floats
    target: Integers
    weight: Floats
    labels: Labels

    def rows(self, rows: Integers) -> Self:
        """Return some of the samples, in rising order."""
        return type(self)(
            features=np.ascontiguousarray(self.features[rows]),
            target=self.target[rows],
            weight=self.weight[rows],
            labels=Labels(self.labels.start[rows], self.labels.end[rows]),
        )

    def __len__(self) -> int:
        return int(self.target.size)


def require_both_classes(target: Integers, what: str) -> None:
    """Raise TrainingError, naming `what`, where all samples won or all lost."""
    if np.unique(target).size < 2:
        won = "won" if target.size and target[0] else "lost"
        raise TrainingError(
            f"{what}: all {target.size} samples {won}: a model needs both; widen the entry, take longer "
            "training spans or fewer groups"
        )


def fit_pipeline(
    model: Model,
    parameters: Parameters,
    samples: Samples,
    columns: Sequence[int],
    *,
    seed: int,
    embargo: int,
) -> Pipeline:
    """Return `Pipeline(select, ..., model)` fitted on the samples.

    columns   positions of the features that the selection kept
    embargo   nanoseconds, between the folds of the calibration

    TrainingError where the samples, or those of a calibration fold, are of one class; FloatModeError where a
    library of the estimator has changed how the processor computes.
    """
    require_both_classes(samples.target, "training samples")
    estimator = make_estimator(model.family, parameters, seed)
    if model.calibration != "none":
        estimator = CalibratedClassifierCV(
            estimator,
            method=model.calibration,
            cv=_calibration_folds(samples, model.calibration_folds, embargo),
            n_jobs=1,
            ensemble=False,
        )
    pipeline = Pipeline(
        [("select", ColumnSelector(tuple(columns))), *preparation(model.family), ("model", estimator)]
    )
    with threadpool_limits(1):
        pipeline.fit(samples.features, samples.target, model__sample_weight=samples.weight)
    require_still_exact()
    if model.calibration != "none":
        # The folds are arrays as long as the training data; a bundle has no use for them.
        estimator.cv = None
    return pipeline


def _calibration_folds(samples: Samples, count: int, embargo: int) -> list[tuple[Integers, Integers]]:
    folds = PurgedKFold(count, start=samples.labels.start, end=samples.labels.end, embargo=embargo)
    found = list(folds.split())
    for number, (train, _) in enumerate(found):
        require_both_classes(samples.target[train], f"calibration fold {number}")
    return found


def probabilities(pipeline: Any, features: Floats) -> Floats:
    """Return the chance of a win for each row, float64 (n,), for features (n, k)."""
    with threadpool_limits(1):
        return np.ascontiguousarray(pipeline.predict_proba(features)[:, 1], dtype=np.float64)
