"""How many independent trials a search really made, and what its winner is worth after them.

A grid of 10,000 variants is not 10,000 attempts: neighbours trade nearly the same days. Deflation needs the
number of independent attempts. Two answers are computed, and the greater one counts:

- **clusters**: trials that move together are clustered, and a cluster counts once. López de Prado and Lewis
  (2019), Detection of False Investment Strategies Using Unsupervised Learning Methods, Quantitative Finance
  19(9), 1555-1565 (ONC): correlation distance sqrt((1 - rho) / 2), number of clusters by silhouette. It sees
  any number of independent trials, but takes the choice *within* a cluster for none: the best of 200 variants
  that correlate by 0.9 lies 0.9 standard errors above zero by luck alone, and one cluster would forgive all
  of it.
- **implied**: the number of independent trials whose expected maximum equals that of normal variables with
  the correlation of these trials. It is what deflation asks for, and right within clusters; from a sketch of
  64 numbers it falls short for very many independent trials, because 64 dimensions have no room for them.

Choices made for the clusters, and why:

- *Not the participation ratio of eigenvalues.* (sum l)^2 / sum l^2 puts 500 copies of one trial plus 500
  independent ones at 4; the expected maximum of that search is that of 501. The error is to the unsafe side.
- *A tree with average linkage instead of k-means:* no seed, and one pass for every number of clusters.
- *A floor under the correlation* (`least`, 0.5): trials that correlate less on average are never merged,
  whatever the silhouette says. On independent trials every cut has a silhouette near zero and the best one is
  a matter of luck; with the floor the answer is the number of trials. Among the admitted cuts the mean
  silhouette decides, ties to more clusters; one single cluster stands unless a finer cut reaches a silhouette
  above 0.25.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats, Integers
from research.validation.arrays import finite
from research.validation.distinct import distinct_rows
from research.validation.sharpe import SharpeSample, deflated_sharpe, implied_trials
from research.validation.trial_clusters import BATCH, cluster

_DRAWS = 512
_NINE_DIGITS = 1e9


@dataclass(frozen=True, kw_only=True, eq=False)
class EffectiveTrials:
    """The independent trials among n.

    labels       int64 (n,): cluster of each trial, 0 ... clusters - 1
    clusters     number of clusters, 1 ... n
    implied      trials whose expected maximum equals that of these, >= 1, to about 5 %
    silhouette   mean silhouette of the cut, [-1, 1]; 0 where nothing was merged, nan for one cluster
    """

    labels: Integers
    clusters: int
    implied: float
    silhouette: float

    @property
    def number(self) -> float:
        """The effective number of trials: the greater of `clusters` and `implied`, at most n."""
        return min(float(self.labels.size), max(float(self.clusters), self.implied))

    def variance(self, ratios: Any) -> float:
        """Variance of the trials' Sharpe ratios, float64 (n,), every cluster weighing the same.

        The plain variance over all trials shrinks towards zero where most of a grid is one tight cluster, and
        with it the expected maximum. K / (K - 1) x mean over clusters of the mean squared distance to the
        mean of the cluster means, without K / (K - 1) for one cluster. nan where a ratio is nan (a trial
        that never traded has the ratio 0). DataError where the lengths differ.
        """
        values = np.asarray(ratios, dtype=np.float64)
        if values.shape != self.labels.shape:
            raise DataError(f"{values.size} Sharpe ratios, {self.labels.size} trials: need one each")
        sizes = np.bincount(self.labels)
        centre = (np.bincount(self.labels, values) / sizes).mean()
        squared = np.bincount(self.labels, (values - centre) ** 2) / sizes
        return float(squared.mean()) * self.clusters / max(1, self.clusters - 1)

    def deflated(self, winner: SharpeSample, ratios: Any, *, earlier: float = 0.0) -> float:
        """Deflated Sharpe ratio of `winner`, [0, 1], after these trials and `earlier` ones.

        ratios    float64 (n,): Sharpe ratios of all trials, per period, over the winner's periods
        earlier   >= 0: effective trials of earlier searches that the ledger counts for the same data

        The variance is at least 1 / (T - 1), the sampling error of a ratio without skill: the ratios of
        trials that move together lie closer than that, which makes none of them more certain.
        """
        if earlier < 0:
            raise ConfigError(f"earlier trials {earlier}: must not be negative; read the ledger")
        variance = max(self.variance(ratios), 1.0 / (winner.periods - 1))
        return deflated_sharpe(winner, trials=self.number + earlier, variance=variance)


def projection(periods: int, dimensions: int = 64, seed: int = 0) -> Floats:
    """Return the signs (+-1 / sqrt(dimensions)), float64 (periods, dimensions), that make a sketch.

    `returns.T @ projection(T)` is the sketch of trials, (n, dimensions). The cosine of two sketches estimates
    the cosine of the returns with a standard error of (1 - rho^2) / sqrt(dimensions): at most 0.125 for 64.
    Achlioptas (2003), Database-friendly Random Projections, J. Computer and System Sciences 66, 671-687.
    """
    signs = np.random.default_rng(seed).integers(0, 2, size=(periods, dimensions))
    return np.where(signs == 1, 1.0, -1.0) / math.sqrt(dimensions)


def effective_trials_of_returns(returns: Any, *, least: float = 0.5) -> EffectiveTrials:
    """Count trials by the correlation of their returns, float64 (T, n), T >= 3; see `effective_trials`."""
    values = finite(returns, "returns", dimensions=2, least=3)
    return effective_trials((values - values.mean(axis=0)).T, least=least)


def effective_trials(sketches: Any, *, least: float = 0.5) -> EffectiveTrials:
    """Count trials by the cosine of their sketches, float64 (n, d), or of centred returns (n, T).

    `least` in (0, 1) is the average correlation below which trials are never merged. Trials that are all
    zeros (they never traded) form one cluster; copies are merged first. Beyond `BATCH` different trials the
    labels depend on the order of the trials, see `trial_clusters.cluster`. DataError for values that are not
    finite.
    """
    if not 0 < least < 1:
        raise ConfigError(f"least correlation {least}: must be above 0 and below 1, such as 0.5")
    vectors = finite(sketches, "sketches", dimensions=2)
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    units = np.divide(vectors, norms, where=norms > 0, out=np.zeros_like(vectors))
    del sketches, vectors
    # Copies may come from another order of summation, so they are equal to nine digits, not bit for bit.
    rows, place = distinct_rows(units, lambda some: np.rint(some * _NINE_DIGITS).astype(np.int64))
    different = units[rows]
    del units
    labels, silhouette = cluster(different, least)
    labels = labels[place]
    return EffectiveTrials(
        labels=labels,
        clusters=int(labels.max()) + 1,
        implied=implied_trials(_expected_maximum(different)),
        silhouette=silhouette,
    )


def _expected_maximum(units: Floats) -> float:
    """Mean over draws of the greatest of n standard normal variables that correlate as the rows do, >= 0.

    `units` @ g with g normal has the covariance `units` @ `units`.T. Every draw is used with both signs, so
    that a single trial has exactly 0. The draws are the same for every search.
    """
    if units.shape[1] > units.shape[0]:
        # n rows span n dimensions at most: the same products from shorter rows, and far fewer draws.
        units = np.asarray(np.linalg.qr(units.T, mode="r"), dtype=np.float64).T
    draws = np.random.default_rng(0).standard_normal((units.shape[1], _DRAWS))
    high, low = np.full(_DRAWS, -math.inf), np.full(_DRAWS, math.inf)
    for first in range(0, units.shape[0], BATCH):
        values = units[first : first + BATCH] @ draws
        np.maximum(high, values.max(axis=0), out=high)
        np.minimum(low, values.min(axis=0), out=low)
    return float((high - low).mean()) / 2.0
