"""One fitted Pipeline from the training samples of one fold, and nothing else.

A random forest that only answers: the bits of scikit-learn's, at a quarter to two thirds of its time.

On a few hundred samples scikit-learn spends longer around a tree (cloning, signatures, validation) than in
it. A search step throws its forests away, so here the same trees are grown from the same draws, one after the
other, by the builder inside scikit-learn's tree. Its names are private to scikit-learn and may change:
whether the installed version gives the same bits is found out once per process, and where it does not, nobody
uses this.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from lockstep.errors import TrainingError
from lockstep.floats import require_still_exact
from lockstep.metrics import Floats, Integers
from lockstep.models.estimators import ColumnSelector
from research.splits.labels import Labels
from research.splits.purged import PurgedKFold
from research.training.config import ModelSettings
from research.training.estimators import Parameters, make_estimator, preparation


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
            f"{what}: all {target.size} samples {won}: a model needs wins and losses; widen the entry, "
            "take longer training spans or fewer groups"
        )


def fit_pipeline(
    model: ModelSettings,
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


_MOST = np.iinfo(np.int32).max
# How a changed interior of scikit-learn shows.
_CHANGED = (ImportError, AttributeError, TypeError, ValueError)
_CHECKED: tuple[Parameters, ...] = tuple(
    {
        "n_estimators": 7,
        "max_depth": depth,
        "min_samples_leaf": 3,
        "max_features": features,
        "max_samples": 0.7,
        "class_weight": class_weight,
    }
    for depth, features, class_weight in (
        (4, "sqrt", None),
        (None, "log2", "balanced_subsample"),
        (3, 0.5, "balanced_subsample"),
    )
)


def can_answer(parameters: Parameters) -> bool:
    """Whether `forest_answers` takes these parameters as scikit-learn would, with the installed version.

    What a user's space may hold besides is left to scikit-learn: counts where the default space has shares,
    shares where it has counts, other weights of the classes.
    """
    return (
        parameters.keys() >= _CHECKED[0].keys()
        and type(parameters["min_samples_leaf"]) is int
        and type(parameters["max_samples"]) is float
        and (type(parameters["max_features"]) is float or parameters["max_features"] in ("sqrt", "log2"))
        and parameters["class_weight"] in (None, "balanced_subsample")
        and agrees_with_scikit_learn()
    )


def forest_answers(
    parameters: Parameters, features: Floats, target: Integers, weight: Floats, tested: Floats, *, seed: int
) -> Floats:
    """Return the chance of class 1 for each row of `tested`, float64 (m,).

    parameters   `n_estimators`, `max_samples` (a share), `class_weight` (None or `balanced_subsample`),
                 `max_depth`, `min_samples_leaf` and `max_features` (a share, `sqrt` or `log2`)
    features     float64 (n, k); target int64 (n,), 0 or 1, both there; weight float64 (n,), above 0
    """
    rows, queries = (np.ascontiguousarray(each, dtype=np.float32) for each in (features, tested))
    labels = np.ascontiguousarray(target.reshape(-1, 1), dtype=np.float64)
    balanced = parameters["class_weight"] is not None
    drawn, chance = max(int(parameters["max_samples"] * weight.sum()), 1), weight / np.sum(weight)
    # What `RandomState.choice` computes anew in every call.
    cumulated = chance.cumsum()
    cumulated /= cumulated[-1]
    random, own = np.random.RandomState(seed), np.random.RandomState(0)
    classes = np.array([2], dtype=np.intp)
    tree_of, builder = _builder(parameters, rows.shape[1], classes, own)
    total = np.zeros(len(queries))
    for _ in range(parameters["n_estimators"]):
        of_tree = random.randint(_MOST)
        own.seed(of_tree)
        picked = cumulated.searchsorted(own.random_sample(drawn), side="right")
        counts = _counts(target, picked, balanced)
        own.seed(of_tree)
        tree = tree_of(rows.shape[1], classes, 1)
        builder.build(tree, rows, labels, counts)
        total += tree.predict(queries)[:, 1]
    answers: Floats = total / parameters["n_estimators"]
    return answers


def _builder(parameters: Parameters, width: int, classes: Any, own: np.random.RandomState) -> tuple[Any, Any]:
    """Return scikit-learn's class of trees and a builder that draws from `own` when it begins a tree."""
    criterion, splitter, tree = (
        importlib.import_module(f"sklearn.tree.{each}") for each in ("_criterion", "_splitter", "_tree")
    )
    leaf, depth = parameters["min_samples_leaf"], parameters["max_depth"]
    tried = _tried_features(parameters["max_features"], width)
    best = splitter.BestSplitter(criterion.Gini(1, classes), tried, leaf, 0.0, own, None)
    deepest = _MOST if depth is None else depth
    return tree.Tree, tree.DepthFirstTreeBuilder(best, max(2, 2 * leaf), leaf, 0.0, deepest, 0.0)


def _tried_features(asked: float | str, width: int) -> int:
    """Return how many features a split tries."""
    if isinstance(asked, str):
        return max(1, int({"sqrt": np.sqrt, "log2": np.log2}[asked](width)))
    return max(1, int(asked * width))


def _counts(target: Integers, picked: Integers, balanced: bool) -> Floats:
    """Return how often each sample was drawn, float64 (n,), times the weight of its class where asked for."""
    counts = np.bincount(picked, minlength=target.size).astype(np.float64)
    if balanced:
        of_class = np.bincount(target[picked], minlength=2)
        with np.errstate(divide="ignore"):
            share = picked.size / (np.count_nonzero(of_class) * of_class)
        counts *= np.where(of_class > 0, share, 0.0)[target]
    return counts


@functools.cache
def agrees_with_scikit_learn() -> bool:
    """Whether the installed scikit-learn grows the same forests, bit for bit, on samples made for it."""
    random = np.random.default_rng(0)
    features, weight = random.normal(size=(60, 4)), random.uniform(0.5, 1.5, 60)
    target = (features[:, 0] + random.normal(size=60) > 0).astype(np.int64)
    try:
        return all(_same(each, features, target, weight) for each in _CHECKED)
    except _CHANGED:
        return False


def _same(parameters: Parameters, features: Floats, target: Integers, weight: Floats) -> bool:
    forest = RandomForestClassifier(**parameters, n_jobs=1, random_state=5)
    known = forest.fit(features, target, sample_weight=weight).predict_proba(features)[:, 1]
    found = forest_answers(parameters, features, target, weight, features, seed=5)
    return bool(np.array_equal(known, found))
