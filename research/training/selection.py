"""Which features a fold keeps, found on its training samples only.

`mdi`: mean decrease in impurity of a forest. `clustered_permutation`: features that say the same are
clustered, and a cluster counts for what the out-of-fold log loss gains when all its columns are shuffled
together; alone, each of two equal columns would seem useless.

Source: López de Prado (2020), Machine Learning for Asset Managers, sections 4.3, 6.4 and 6.5.2.
"""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits

from lockstep.metrics import Floats, Integers
from research.splits.purged import PurgedKFold
from research.training.config import Selection
from research.training.pipeline import Samples, require_both_classes

_TREES, _LEAF = 200, 10
_FOLDS, _SHUFFLES = 3, 3
# Features whose ranks correlate by more than this are taken for one.
_ALIKE = 0.5


def selected_columns(selection: Selection, samples: Samples, *, seed: int, embargo: int) -> tuple[int, ...]:
    """Return the positions of the kept features, rising; all of them where nothing is selected."""
    k = samples.features.shape[1]
    if selection.kind == "none" or selection.keep >= k:
        return tuple(range(k))
    require_both_classes(samples.target, "feature selection")
    with threadpool_limits(1):
        if selection.kind == "mdi":
            ranked = np.argsort(-_forest(samples, seed).feature_importances_, kind="stable")
        else:
            ranked = _by_clusters(samples, seed, embargo)
    return tuple(sorted(ranked[: selection.keep].tolist()))


def _forest(samples: Samples, seed: int) -> RandomForestClassifier:
    forest = RandomForestClassifier(_TREES, min_samples_leaf=_LEAF, n_jobs=1, random_state=seed)
    return forest.fit(samples.features, samples.target, sample_weight=samples.weight)


def clusters(features: Floats) -> list[Integers]:
    """Return the columns of each cluster of features, float64 (n, k), by rank correlation, first first.

    A constant column is a cluster of its own.
    """
    ranks = rankdata(features, axis=0)
    centred = ranks - ranks.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    distance = 1.0 - np.abs(np.clip(np.einsum("ij,ik->jk", unit, unit), -1.0, 1.0))
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    label = fcluster(tree, 1.0 - _ALIKE, criterion="distance")
    found = [np.flatnonzero(label == each) for each in np.unique(label)]
    return sorted(found, key=lambda columns: int(columns[0]))


def _by_clusters(samples: Samples, seed: int, embargo: int) -> Integers:
    """Return all columns, those of the most important cluster first, as they stand within it."""
    groups = clusters(samples.features)
    loss = _losses(samples, groups, seed, embargo)
    return np.concatenate([groups[each] for each in np.argsort(-loss, kind="stable")])


def _losses(samples: Samples, groups: list[Integers], seed: int, embargo: int) -> Floats:
    """Return the mean gain in out-of-fold log loss when a cluster is shuffled, float64 (clusters,)."""
    random = np.random.default_rng(seed)
    total = np.zeros(len(groups))
    folds = PurgedKFold(_FOLDS, start=samples.labels.start, end=samples.labels.end, embargo=embargo)
    for number, (train, test) in enumerate(folds.split()):
        require_both_classes(samples.target[train], f"feature selection, fold {number}")
        forest, tested = _forest(samples.rows(train), seed), samples.rows(test)
        known = _loss(forest, tested.features, tested)
        for place, columns in enumerate(groups):
            for _ in range(_SHUFFLES):
                shuffled = tested.features.copy()
                shuffled[:, columns] = shuffled[random.permutation(len(tested))][:, columns]
                total[place] += _loss(forest, shuffled, tested) - known
    return total / (_FOLDS * _SHUFFLES)


def _loss(forest: RandomForestClassifier, features: Floats, samples: Samples) -> float:
    answer = forest.predict_proba(features)
    return float(log_loss(samples.target, answer, sample_weight=samples.weight, labels=[0, 1]))
