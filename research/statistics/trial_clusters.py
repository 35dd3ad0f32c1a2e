"""Cluster trials that move together: a tree by average linkage, cut where the silhouette is best."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from lockstep.metrics import Floats, Integers

BATCH = 2_000
_CUTS = 12
# Kaufman and Rousseeuw (1990), Finding Groups in Data, p. 88: no substantial structure up to this silhouette.
_NO_STRUCTURE = 0.25


def cluster(units: Floats, least: float) -> tuple[Integers, float]:
    """Return the cluster of each row, int64 (n,), 0 ... count - 1, and the mean silhouette.

    units   float64 (n, d): different rows of length 1 (one may be zeros), whose products are correlations
    least   (0, 1): average correlation below which clusters are never merged

    The first `BATCH` rows are clustered; the rest joins the clusters with which it correlates by `least` on
    average, and what joins none is clustered next. The silhouette is that of the first batch, [-1, 1]; 0
    where nothing was merged, nan where one cluster holds all.
    """
    labels = np.full(units.shape[0], -1, dtype=np.int64)
    count, silhouette = 0, math.nan
    while (open_rows := np.flatnonzero(labels < 0)).size:
        batch, rest = open_rows[:BATCH], open_rows[BATCH:]
        found, score = _cluster_batch(units[batch], least)
        labels[batch] = found + count
        centres = _centres(units[batch], found)
        nearest, correlation = _nearest(units[rest], centres)
        joined = correlation >= least
        labels[rest[joined]] = nearest[joined] + count
        silhouette = silhouette if count else score
        count += centres.shape[0]
    return labels, silhouette


def _centres(units: Floats, labels: Integers) -> Floats:
    """Return the mean vector of each cluster: its product with a trial is their average correlation."""
    centres = np.zeros((int(labels.max()) + 1, units.shape[1]))
    np.add.at(centres, labels, units)
    return centres / np.bincount(labels)[:, None]


def _nearest(units: Floats, centres: Floats) -> tuple[Integers, Floats]:
    nearest = np.empty(units.shape[0], dtype=np.int64)
    correlation = np.empty(units.shape[0])
    for low in range(0, units.shape[0], BATCH):
        products = units[low : low + BATCH] @ centres.T
        nearest[low : low + BATCH] = products.argmax(axis=1)
        correlation[low : low + BATCH] = products.max(axis=1)
    return nearest, correlation


def _cluster_batch(units: Floats, least: float) -> tuple[Integers, float]:
    """Return labels (n,) and mean silhouette of the best cut of the tree of these trials."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    n = units.shape[0]
    if n == 1:
        return np.zeros(1, dtype=np.int64), math.nan
    apart = np.clip(1.0 - units @ units.T, 0.0, 2.0)
    np.fill_diagonal(apart, 0.0)
    tree = linkage(squareform(apart, checks=False), method="average")
    distance = np.sqrt(apart / 2.0)
    best, best_score = np.arange(n, dtype=np.int64), 0.0
    for height in _heights(tree[:, 2], 1.0 - least):
        labels = np.asarray(fcluster(tree, height, criterion="distance"), dtype=np.int64) - 1
        score = _mean_silhouette(distance, labels)
        if score > best_score:
            best, best_score = labels, score
    return best, math.nan if best.max() == 0 else best_score


def _heights(merges: Floats, highest: float) -> Iterator[float]:
    """Yield up to `_CUTS` different heights of merges at or below `highest`, lowest (most clusters) first."""
    admitted = np.unique(merges[merges <= highest])
    if admitted.size:
        picks = np.unique(np.linspace(0, admitted.size - 1, _CUTS).round().astype(np.int64))
        yield from admitted[picks].tolist()


def _mean_silhouette(distance: Floats, labels: Integers) -> float:
    """Mean silhouette of a cut, [-1, 1]; `_NO_STRUCTURE` for one cluster, which has none of its own.

    Rousseeuw (1987), Silhouettes, J. Computational and Applied Mathematics 20, 53-65: (b - a) / max(a, b), a
    and b the mean distances to one's own and to the nearest other cluster; 0 for a cluster of one.
    """
    if labels.max() == 0:
        return _NO_STRUCTURE
    sizes, row = np.bincount(labels), np.arange(labels.size)
    first = np.cumsum(sizes) - sizes
    sums = np.add.reduceat(distance[:, np.argsort(labels, kind="stable")], first, axis=1)
    own = sums[row, labels] / np.maximum(sizes[labels] - 1, 1)
    mean = sums / sizes
    mean[row, labels] = np.inf
    nearest = mean.min(axis=1)
    greater = np.maximum(own, nearest)
    defined = (sizes[labels] > 1) & (greater > 0)
    return float(np.divide(nearest - own, greater, where=defined, out=np.zeros_like(own)).mean())
