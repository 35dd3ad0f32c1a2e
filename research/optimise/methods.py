"""Ways to share a portfolio's risk among its lanes: weights >= 0 that sum to 1.

`METHODS` is in the order of simplicity, the default first; among methods that cannot be told apart the
first is taken. `max_sharpe` is a control and never written: on noise it is what an error of the means makes
of them.

Sources: equal risk contribution: Maillard, Roncalli and Teiletche (2010), Journal of Portfolio Management
36(4), 60-70, by the cyclical descent of Griveau-Billion, Richard and Roncalli (2013), A fast algorithm for
computing high-dimensional risk parity portfolios; hierarchical risk parity: López de Prado (2016), Building
diversified portfolios that outperform out of sample, Journal of Portfolio Management 42(4), 59-69, with
single linkage; programmes with weights >= 0 as non-negative least squares: Lawson and Hanson (1974),
chapter 23.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.optimize import nnls
from scipy.spatial.distance import squareform

from lockstep.compiled import kernel
from lockstep.errors import ConfigError, DataError
from lockstep.metrics import SESSIONS_PER_YEAR, Floats
from research.factors.neutral import neutral_weights
from research.optimise.covariance import correlation_of, shrunk_covariance

Groups = tuple[tuple[int, ...], ...]

_TOLERANCE, _SWEEPS = 1e-14, 10_000


@dataclass(frozen=True, kw_only=True, eq=False)
class LaneRisk:
    """What a method is told of the lanes.

    pnl          float64 (T, n), per session, of one unit of each lane
    covariance   (n, n), per session, positive definite; see `shrunk_covariance`
    groups       columns that are one bet, as a partition; see `partition`
    names        of the lanes, for messages
    factors      float64 (T, k), moves of `factor_names`, to which weights are to be neutral; None: to none
    """

    pnl: Floats
    covariance: Floats
    groups: Groups
    names: tuple[str, ...]
    factors: Floats | None = None
    factor_names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        pnl: Any,
        names: Sequence[str],
        groups: Groups | None = None,
        factors: Floats | None = None,
        factor_names: Sequence[str] = (),
    ) -> Self:
        """Return what `pnl` says; without `groups` each lane is a bet of its own. DataError as there.

        >>> import numpy as np
        >>> pnl = np.random.default_rng(0).normal(size=(500, 2)) * [1.0, 3.0]
        >>> equal_risk(LaneRisk.of(pnl, ["ES", "CL"])).round(2)
        array([0.75, 0.25])
        """
        return cls(
            pnl=np.ascontiguousarray(pnl, dtype=np.float64),
            covariance=shrunk_covariance(pnl, names),
            groups=partition(names, {}) if groups is None else groups,
            names=tuple(names),
            factors=factors,
            factor_names=tuple(factor_names),
        )

    @cached_property
    def exposures(self) -> Floats:
        """Slopes of one unit of each lane on the factors, (n, k), by least squares with a constant."""
        assert self.factors is not None
        design = np.column_stack((np.ones(len(self.factors)), self.factors))
        return np.asarray(np.linalg.lstsq(design, self.pnl, rcond=None)[0][1:].T, dtype=np.float64)


def weights_of(method: Method, risk: LaneRisk) -> Floats:
    """Return a method's weights, (n,), or the nearest ones without an exposure to the factors, if any.

    ConfigError where no weights >= 0 are neutral.
    """
    weights = method(risk)
    if risk.factors is None:
        return weights
    return neutral_weights(weights, risk.exposures, risk.covariance, risk.factor_names)


def partition(names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> Groups:
    """Return the declared `groups` of lanes as columns, and each other lane as a group of its own.

    In the order of each group's first lane. ConfigError for a lane that is unknown or in two groups.
    """
    home: dict[str, str] = {}
    for group, members in groups.items():
        for name in members:
            if name not in names:
                raise ConfigError(f"group {group}: {name} is no lane; lanes are {', '.join(names)}")
            if name in home:
                raise ConfigError(f"lane {name}: in groups {home[name]} and {group}; put it in one of them")
            home[name] = group
    found: dict[tuple[bool, str], list[int]] = {}
    for column, name in enumerate(names):
        found.setdefault((name in home, home.get(name, name)), []).append(column)
    return tuple(map(tuple, found.values()))


def equal_risk(risk: LaneRisk) -> Floats:
    """Inverse volatility inside each group; equal contributions to risk between the groups, shrunk.

    A market that is traded under three names is one bet, however many lanes it has.
    """
    inside = np.zeros((len(risk.names), len(risk.groups)))
    for number, members in enumerate(risk.groups):
        columns = list(members)
        inside[columns, number] = _normalised(1 / np.sqrt(np.diag(risk.covariance)[columns]))
    bets = ["/".join(risk.names[each] for each in members) for members in risk.groups]
    return _normalised(inside @ equal_contributions(shrunk_covariance(risk.pnl @ inside, bets)))


def equal(risk: LaneRisk) -> Floats:
    """The same weight for each lane, in the units of its P&L."""
    return np.full(len(risk.names), 1 / len(risk.names))


def inverse_vol(risk: LaneRisk) -> Floats:
    """Weights by one over volatility; correlations are not asked."""
    return _normalised(1 / np.sqrt(np.diag(risk.covariance)))


def erc(risk: LaneRisk) -> Floats:
    """Equal contributions of all lanes to the portfolio's risk; groups are not asked."""
    return equal_contributions(risk.covariance)


def hrp(risk: LaneRisk) -> Floats:
    """Hierarchical risk parity: lanes in the order of a tree of their distances, halved again and again."""
    if len(risk.names) == 1:
        return equal(risk)
    distances = np.sqrt(np.clip((1 - correlation_of(risk.covariance)) / 2, 0, None))
    tree = linkage(squareform(distances, checks=False), "single", optimal_ordering=True)
    weights = np.ones(len(risk.names))
    open_clusters = [leaves_list(tree)]
    while open_clusters:
        cluster = open_clusters.pop()
        halves = cluster[: cluster.size // 2], cluster[cluster.size // 2 :]
        first, second = (_cluster_variance(risk.covariance, half) for half in halves)
        weights[halves[0]] *= second / (first + second)
        weights[halves[1]] *= first / (first + second)
        open_clusters += [half for half in halves if half.size > 1]
    return weights


def _cluster_variance(covariance: Floats, members: Any) -> float:
    """Return the variance of a cluster whose lanes are weighted by one over their variance."""
    part = covariance[np.ix_(members, members)]
    weights = _normalised(1 / np.diag(part))
    return float(weights @ part @ weights)


def min_variance(risk: LaneRisk) -> Floats:
    """The least variance with weights >= 0."""
    return _normalised(_long_only(risk.covariance, np.ones(len(risk.names))))


def max_sharpe(risk: LaneRisk) -> Floats:
    """The control: the best Sharpe ratio in sample with weights >= 0; equal where no lane has gained."""
    weights = _long_only(risk.covariance, risk.pnl.mean(axis=0))
    return _normalised(weights) if weights.any() else equal(risk)


Method = Callable[[LaneRisk], Floats]
METHODS: Mapping[str, Method] = {
    "equal_risk": equal_risk,
    "equal": equal,
    "inverse_vol": inverse_vol,
    "erc": erc,
    "hrp": hrp,
    "min_variance": min_variance,
}
CONTROLS: Mapping[str, Method] = {"max_sharpe": max_sharpe}


def scaled(weights: Floats, covariance: Floats, target: float) -> Floats:
    """Return units of each lane, (n,): the weights times what gives `target`, USD of volatility a year.

    ConfigError for a target that is not positive, DataError for weights without risk.
    """
    if not (math.isfinite(target) and target > 0):
        raise ConfigError(f"volatility target {target}: must be a positive number of USD a year")
    variance = float(weights @ covariance @ weights)
    if not variance > 0:
        raise DataError(f"weights {weights.tolist()}: no risk to scale to {target:,.0f} USD a year")
    return weights * (target / math.sqrt(variance * SESSIONS_PER_YEAR))


def equal_contributions(covariance: Floats) -> Floats:
    """Return the weights, (n,), with w_i (S w)_i equal for all lanes, of a positive definite covariance.

    DataError where the descent does not come to rest, as for two lanes that cancel each other.
    """
    weights, settled = _descended(correlation_of(covariance), _TOLERANCE, _SWEEPS)
    if not settled:
        raise DataError(
            f"equal risk: no weights found in {_SWEEPS:,} sweeps: lanes that cancel each other have no equal "
            "contributions; leave one of them out"
        )
    return _normalised(weights / np.sqrt(np.diag(covariance)))


@kernel
def _descended(correlation: Floats, tolerance: float, sweeps: int) -> tuple[Floats, bool]:
    """Minimise w'Cw / 2 - sum(log w) / n one weight at a time; whether a sweep moved all by <= tolerance."""
    lanes = correlation.shape[0]
    weights = np.full(lanes, 1.0 / math.sqrt(lanes))
    for _ in range(sweeps):
        moved = 0.0
        for lane in range(lanes):
            others = 0.0
            for other in range(lanes):
                if other != lane:
                    others += correlation[lane, other] * weights[other]
            new = (math.sqrt(others * others + 4.0 / lanes) - others) / 2.0
            moved = max(moved, abs(new - weights[lane]) / new)
            weights[lane] = new
        if moved <= tolerance:
            return weights, True
    return weights, False


def _long_only(covariance: Floats, gains: Floats) -> Floats:
    """Return y >= 0, (n,), that minimises y'Sy / 2 - gains'y: least squares in the Cholesky factor."""
    deviations = np.sqrt(np.diag(covariance))
    lower = np.linalg.cholesky(correlation_of(covariance))
    found = nnls(lower.T, np.linalg.solve(lower, gains / deviations))[0]
    return np.asarray(found / deviations, dtype=np.float64)


def _normalised(weights: Floats) -> Floats:
    shares: Floats = weights / weights.sum()
    return shares
