"""A random forest that only answers: the bits of scikit-learn's, at two thirds of its time.

On a few hundred samples scikit-learn spends as long around a tree (cloning, signatures, settings) as in it. A
search step throws its forests away, so here the same trees are grown from the same draws, one after the
other, by scikit-learn's public tree. Whether the installed scikit-learn gives the same bits is found out once
per process; where it does not, nobody uses this.
"""

from __future__ import annotations

import functools

import numpy as np
from sklearn import config_context
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from lockstep.metrics import Floats, Integers
from research.training.space import Parameters

_MOST = np.iinfo(np.int32).max
_OF_THE_FOREST = ("n_estimators", "max_samples", "class_weight")


def forest_answers(
    parameters: Parameters, features: Floats, target: Integers, weight: Floats, tested: Floats, *, seed: int
) -> Floats:
    """Return the chance of class 1 for each row of `tested`, float64 (m,).

    parameters   `n_estimators`, `max_samples` (a share), `class_weight` (None or `balanced_subsample`), and
                 what the trees take
    features     float64 (n, k); target int64 (n,), 0 or 1, both there; weight float64 (n,), above 0
    """
    rows, queries = (np.ascontiguousarray(each, dtype=np.float32) for each in (features, tested))
    of_tree = {name: value for name, value in parameters.items() if name not in _OF_THE_FOREST}
    balanced = parameters["class_weight"] is not None
    labels = target.astype(np.float64)
    drawn, chance = max(int(parameters["max_samples"] * weight.sum()), 1), weight / np.sum(weight)
    random = np.random.RandomState(seed)
    total = np.zeros((len(queries), 2))
    with config_context(skip_parameter_validation=True, assume_finite=True):
        for _ in range(parameters["n_estimators"]):
            tree = DecisionTreeClassifier(**of_tree, random_state=random.randint(_MOST))
            own = np.random.RandomState(tree.random_state)
            counts = _counts(target, own.choice(target.size, drawn, replace=True, p=chance), balanced)
            tree.fit(rows, labels, sample_weight=counts, check_input=False)
            total += tree.predict_proba(queries, check_input=False)
    total /= parameters["n_estimators"]
    answers: Floats = np.ascontiguousarray(total[:, 1])
    return answers


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
    return all(_same(each, features, target, weight) for each in (None, "balanced_subsample"))


def _same(class_weight: str | None, features: Floats, target: Integers, weight: Floats) -> bool:
    parameters = {
        "n_estimators": 7,
        "max_depth": 4,
        "min_samples_leaf": 3,
        "max_features": "sqrt",
        "max_samples": 0.7,
        "class_weight": class_weight,
    }
    forest = RandomForestClassifier(**parameters, n_jobs=1, random_state=5)
    known = forest.fit(features, target, sample_weight=weight).predict_proba(features)[:, 1]
    found = forest_answers(parameters, features, target, weight, features, seed=5)
    return bool(np.array_equal(known, found))
