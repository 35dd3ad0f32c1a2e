"""Equal rows of large tables, found by a digest of each instead of by sorting whole rows.

What a computation says per bar, and where two of them differ up to a cut.

How many independent trials a search really made, and what its winner is worth after them.

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import ConfigError, DataError
from lockstep.market.bars import Flags, Stamps
from lockstep.market.history import History
from lockstep.metrics import Floats, Integers
from research.statistics.sharpe import SharpeSample, deflated_sharpe, finite, implied_trials
from research.statistics.trial_clusters import BATCH, cluster

_ROWS = 4_096
_SORTED = 4


def _as_it_is(table: NDArray[Any]) -> Integers:
    return table


def distinct_rows(
    table: NDArray[Any], whole: Callable[[NDArray[Any]], Integers] = _as_it_is
) -> tuple[Integers, Integers]:
    """Return a row of each kind, int64 (k,), and the kind of every row, int64 (n,), of a table (n, d).

    whole   makes int64 (m, d) of some rows: rows are equal where these numbers are; asked for parts of the
            table, so that a copy of all of it is never needed

    Kinds are in the order of their first columns, whatever the order of the rows.
    """
    parts = [slice(first, first + _ROWS) for first in range(0, len(table), _ROWS)]
    digests = np.concatenate([_digests(whole(table[part])) for part in parts])
    _, rows, kinds = np.unique(digests, return_index=True, return_inverse=True)
    like = rows[kinds]
    if not all(np.array_equal(whole(table[part]), whole(table[like[part]])) for part in parts):
        # One pair of different rows in some 10^19 shares a digest.
        _, rows, kinds = np.unique(whole(table), axis=0, return_index=True, return_inverse=True)
    few = whole(table[rows, :_SORTED])
    order = np.lexsort(few.T[::-1])
    return rows[order], np.argsort(order)[kinds.ravel()]


def _digests(numbers: Integers) -> NDArray[np.uint64]:
    words = np.ascontiguousarray(numbers).view(np.uint64) * _factors(numbers.shape[1])
    digests: NDArray[np.uint64] = _mixed(words).sum(axis=1, dtype=np.uint64)
    return digests


def _factors(count: int) -> NDArray[np.uint64]:
    drawn = np.random.default_rng(0).integers(0, 2**63, count, dtype=np.uint64)
    return drawn * np.uint64(2) + np.uint64(1)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(29))
    return mixed * np.uint64(0x9E37_79B9_7F4A_7C15)


Column = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Named columns of float64 (n,) or objects (n,), one row per bar; `end` int64 (n,), UTC nanoseconds."""

    end: Stamps
    columns: Mapping[str, Column]


Compute = Callable[[History], Observations]


@dataclass(frozen=True, kw_only=True)
class Move:
    """A value that differs: its column, the bar's end, and both values in words."""

    column: str
    stamp: int
    before: str
    after: str


def moves(before: Observations, after: Observations, cut: int) -> Iterator[Move]:
    """Yield, for every column, the earliest bar up to `cut` at which two observations differ, bit for bit.

    NaN equals NaN. Where the bars themselves differ, that alone is told, under the name `bars`.
    """
    rows, others = _known(before, cut), _known(after, cut)
    if not np.array_equal(before.end[:rows], after.end[:others]):
        yield _other_bars(before.end[:rows], after.end[:others])
        return
    for name, values in before.columns.items():
        found = np.flatnonzero(_differ(values[:rows], after.columns[name][:rows]))
        if found.size:
            row = int(found[0])
            told = _told(values[row], after.columns[name][row])
            yield Move(column=name, stamp=int(before.end[row]), before=told[0], after=told[1])


def _known(observed: Observations, cut: int) -> int:
    return int(np.searchsorted(observed.end, cut, side="right"))


def _other_bars(before: Stamps, after: Stamps) -> Move:
    stamp = int(np.setxor1d(before, after)[0])
    there, gone = "a bar", "no bar"
    words = (there, gone) if stamp in before else (gone, there)
    return Move(column="bars", stamp=stamp, before=words[0], after=words[1])


def _differ(before: Column, after: Column) -> Flags:
    if before.dtype.kind != "f":
        return np.asarray(before != after, dtype=np.bool_)
    bits = [np.ascontiguousarray(values, dtype=np.float64).view(np.int64) for values in (before, after)]
    return np.asarray((bits[0] != bits[1]) & ~(np.isnan(before) & np.isnan(after)))


def _told(before: object, after: object) -> tuple[str, str]:
    """Return both values in words, with as few digits as tell them apart."""
    if not (isinstance(before, float) and isinstance(after, float)):
        return str(before) or "none", str(after) or "none"
    short = f"{before:.6g}", f"{after:.6g}"
    return short if short[0] != short[1] else (repr(float(before)), repr(float(after)))


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
