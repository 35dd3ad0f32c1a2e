"""An estimator: extremely randomised trees."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import ExtraTreesClassifier

from research.training.estimators import Estimator, Parameters, space_of


def _make(parameters: Parameters, seed: int) -> Any:
    return ExtraTreesClassifier(**parameters, n_jobs=1, random_state=seed)


EXTRA_TREES = Estimator(
    name="extra_trees",
    make=_make,
    space=space_of(
        n_estimators={"integer": (100, 800)},
        max_depth={"integer": (2, 12), "or_none": True},
        min_samples_leaf={"integer": (10, 200), "log": True},
    ),
)
