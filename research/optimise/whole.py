"""Whole contracts nearest to the units that a method wants, nearest in the risk of the difference.

Minimise (q - x)' S (q - x), USD^2, over whole q between 0 and a cap, within budgets such as gross exposure
or margin. In the Cholesky factor of S that is the closest point of a lattice: depth first, the nearest
number of each lane first, cut where the part that is decided costs more than the best so far. Schnorr and
Euchner (1994), Lattice basis reduction, Mathematical Programming 66, 181-199.

A budget that binds moves the optimum away from x, and a cut around x would cut nothing. So the search goes
around the optimum of the problem *without* whole numbers: with its multipliers the Lagrangian is a bound
below every allowed q, whatever their rounding errors, since any multiplier >= 0 gives one. They come by
least distance programming: Lawson and Hanson (1974), Solving Least Squares Problems, chapter 23.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from lockstep.compiled import kernel
from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats, Integers

MOST_LANES = 12
MOST_NODES = 5_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class WholeContracts:
    """The answer.

    quantities   int64 (n,)
    distance     USD: volatility per session of the difference from what was wanted
    exact        whether nothing allowed is nearer; if not, the best of single and pair moves, or of a search
                 that was ended after `MOST_NODES` steps
    """

    quantities: Integers
    distance: float
    exact: bool


def whole_contracts(
    wanted: Any, covariance: Any, most: Any, costs: Any = None, budgets: Any = None
) -> WholeContracts:
    """Return the allowed whole contracts nearest to `wanted`.

    wanted       float64 (n,), >= 0: units of each lane
    covariance   float64 (n, n), USD^2 per contract and session, positive definite
    most         (n,), whole numbers >= 0: the cap of each lane
    costs        float64 (m, n), >= 0: what a contract takes of each budget, USD
    budgets      float64 (m,), >= 0, USD

    Exact up to 12 lanes unless the search is ended, by single and pair moves above; see `exact`. DataError
    or ConfigError for other shapes or signs.

    >>> whole_contracts([1.4, 0.6], [[4.0, 1.0], [1.0, 1.0]], [5, 5]).quantities
    array([1, 1])
    """
    x, matrix, caps, takes, limits = _checked(wanted, covariance, most, costs, budgets)
    # The riskiest lane is decided first: it leaves the fewest numbers within the best so far.
    order = np.argsort(np.diag(matrix), kind="stable")
    x, matrix, caps, takes = x[order], matrix[np.ix_(order, order)], caps[order], takes[:, order]
    found = _below(x, caps, takes, limits)
    _improved(found, x, matrix, caps, takes, limits)
    exact = x.size <= MOST_LANES
    if exact:
        centre, floor, prices = _relaxed(x, matrix, caps, takes, limits)
        upper = np.ascontiguousarray(np.linalg.cholesky(matrix).T)
        nodes = _searched(found, x, centre, floor, prices, matrix, upper, caps, takes, limits, MOST_NODES)
        exact = nodes <= MOST_NODES
    quantities = np.empty_like(found)
    quantities[order] = found
    return WholeContracts(
        quantities=quantities, distance=math.sqrt(_cost(found.astype(np.float64), x, matrix)), exact=exact
    )


def _below(x: Floats, caps: Integers, takes: Floats, limits: Floats) -> Integers:
    """Return allowed numbers to begin with: as much of what is wanted as budgets hold, rounded down."""
    used = takes @ x
    over = used > limits
    part = float((limits[over] / used[over]).min()) if over.any() else 1.0
    found = np.minimum(np.floor(part * x), caps).astype(np.int64)
    return found if (takes @ found <= limits).all() else np.zeros_like(found)


def _checked(wanted: Any, covariance: Any, most: Any, costs: Any, budgets: Any) -> tuple[Any, ...]:
    x = np.ascontiguousarray(wanted, dtype=np.float64)
    matrix = np.ascontiguousarray(covariance, dtype=np.float64)
    caps = np.ascontiguousarray(most, dtype=np.float64)
    takes = np.zeros((0, x.size)) if costs is None else np.ascontiguousarray(costs, dtype=np.float64)
    limits = np.zeros(0) if budgets is None else np.ascontiguousarray(budgets, dtype=np.float64)
    lanes = x.size
    if x.shape != (lanes,) or (matrix.shape, caps.shape) != ((lanes, lanes), (lanes,)) or not lanes:
        raise DataError(
            f"whole contracts: units {x.shape}, covariance {matrix.shape}, caps {caps.shape}: "
            "need (n,), (n, n), (n,)"
        )
    if takes.shape != (limits.size, lanes):
        raise DataError(
            f"whole contracts: costs {takes.shape} for {limits.size} budgets of {lanes} lanes: need (m, n)"
        )
    for name, values in (("units", x), ("caps", caps), ("costs", takes), ("budgets", limits)):
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ConfigError(f"whole contracts: {name} {values.tolist()}: must be finite and not negative")
    if (caps != np.floor(caps)).any():
        raise ConfigError(f"whole contracts: caps {caps.tolist()}: must be whole numbers")
    if not np.isfinite(matrix).all() or np.linalg.eigvalsh(matrix)[0] <= 0:
        raise DataError("whole contracts: the covariance is not positive definite; shrink it first")
    return x, matrix, caps.astype(np.int64), takes, limits


def _relaxed(
    x: Floats, matrix: Floats, caps: Integers, takes: Floats, limits: Floats
) -> tuple[Floats, float, Floats]:
    """Return (centre, floor, prices): q costs floor + (q - centre)' S (q - centre) + what is idle.

    prices   (n + m,), >= 0, USD^2 per contract below a cap, and per USD of a budget that is left
    """
    sides = np.vstack([np.eye(x.size), takes])
    bounds = np.concatenate([caps.astype(np.float64), limits])
    lower = np.linalg.cholesky(matrix)
    # In u = L'(q - x), by rows of length 1: minimise |u| where rows u <= bounds - sides x.
    rows = np.linalg.solve(lower, sides.T).T
    lengths = np.linalg.norm(rows, axis=1)
    lengths[lengths == 0] = 1.0
    room = (bounds - sides @ x) / lengths
    if (room >= 0).all():
        return x, 0.0, np.zeros(bounds.size)
    scale = float(np.abs(room).max())
    system = np.vstack([-(rows / lengths[:, None]).T, -room / scale])
    aim = np.zeros(x.size + 1)
    aim[-1] = 1.0
    free, residual = nnls(system, aim)
    multipliers = 2 * scale * free / max(residual**2, np.finfo(np.float64).tiny) / lengths
    centre = x - np.linalg.solve(matrix, sides.T @ multipliers) / 2
    floor = _cost(centre, x, matrix) + float(multipliers @ (sides @ centre - bounds))
    return centre, floor, multipliers


@kernel
def _cost(q: Floats, x: Floats, matrix: Floats) -> float:
    """(q - x)' S (q - x), in the order of the lanes."""
    total = 0.0
    for row in range(x.size):
        part = 0.0
        for column in range(x.size):
            part += matrix[row, column] * (q[column] - x[column])
        total += part * (q[row] - x[row])
    return max(total, 0.0)


@kernel
def _improved(q: Integers, x: Floats, matrix: Floats, caps: Integers, takes: Floats, limits: Floats) -> None:
    """Move `q` by one contract of one or two lanes, always by the best move, until none is better."""
    lanes = x.size
    used = np.zeros(limits.size)
    slope = np.zeros(lanes)
    for row in range(lanes):
        for column in range(lanes):
            slope[row] += 2.0 * matrix[row, column] * (q[column] - x[column])
    for budget in range(limits.size):
        for lane in range(lanes):
            used[budget] += takes[budget, lane] * q[lane]
    least = 1e-12 * (_cost(np.zeros(lanes), x, matrix) + 1e-300)
    while True:
        best, first, up, second, other_up = -least, -1, 0, -1, 0
        for one in range(lanes):
            for step in (1, -1):
                if not 0 <= q[one] + step <= caps[one]:
                    continue
                alone = step * slope[one] + matrix[one, one]
                if alone < best and _fits(used, takes, limits, one, step, one, 0):
                    best, first, up, second, other_up = alone, one, step, one, 0
                for two in range(one + 1, lanes):
                    for move in (1, -1):
                        if not 0 <= q[two] + move <= caps[two]:
                            continue
                        both = (
                            alone
                            + move * slope[two]
                            + matrix[two, two]
                            + 2.0 * step * move * matrix[one, two]
                        )
                        if both < best and _fits(used, takes, limits, one, step, two, move):
                            best, first, up, second, other_up = both, one, step, two, move
        if first < 0:
            return
        q[first] += up
        q[second] += other_up
        for lane in range(lanes):
            slope[lane] += 2.0 * (matrix[lane, first] * up + matrix[lane, second] * other_up)
        for budget in range(limits.size):
            used[budget] = 0.0
            for lane in range(lanes):
                used[budget] += takes[budget, lane] * q[lane]


@kernel
def _fits(used: Floats, takes: Floats, limits: Floats, one: int, step: int, two: int, move: int) -> bool:
    for budget in range(limits.size):
        if used[budget] + takes[budget, one] * step + takes[budget, two] * move > limits[budget]:
            return False
    return True


@kernel
def _searched(
    best: Integers,
    x: Floats,
    centre: Floats,
    floor: float,
    prices: Floats,
    matrix: Floats,
    upper: Floats,
    caps: Integers,
    takes: Floats,
    limits: Floats,
    most_nodes: int,
) -> int:
    """Replace `best` by the nearest allowed point; return the tries, at most most_nodes + 1."""
    lanes = x.size
    least = _cost(best.astype(np.float64), x, matrix)
    q = np.zeros(lanes)
    partial = np.zeros(lanes + 1)
    middle = np.zeros(lanes)
    below, above = np.zeros(lanes, dtype=np.int64), np.zeros(lanes, dtype=np.int64)
    used = np.zeros((lanes + 1, limits.size))
    nodes, lane, entering = 0, lanes - 1, True
    while lane < lanes:
        if entering:
            shift = 0.0
            for later in range(lane + 1, lanes):
                shift += upper[lane, later] * (q[later] - centre[later])
            middle[lane] = centre[lane] - shift / upper[lane, lane]
            below[lane] = min(max(math.floor(middle[lane]), -1), caps[lane])
            above[lane] = below[lane] + 1
            entering = False
        down, up = below[lane] >= 0, above[lane] <= caps[lane]
        if not (down or up):
            lane += 1
            continue
        if down and (not up or middle[lane] - below[lane] <= above[lane] - middle[lane]):
            number = below[lane]
            below[lane] -= 1
        else:
            number = above[lane]
            above[lane] += 1
        nodes += 1
        if nodes > most_nodes:
            return nodes
        step = upper[lane, lane] * (number - middle[lane])
        partial[lane] = partial[lane + 1] + step * step
        if floor + partial[lane] >= least:
            lane += 1
            continue
        idle = 0.0
        for each in range(lane, lanes):
            idle += prices[each] * (caps[each] - (q[each] if each > lane else number))
        allowed = True
        for budget in range(limits.size):
            used[lane, budget] = used[lane + 1, budget] + takes[budget, lane] * number
            reach = used[lane, budget]
            for each in range(lane):
                reach += takes[budget, each] * caps[each]
            idle += prices[lanes + budget] * max(0.0, limits[budget] - reach)
            if used[lane, budget] > limits[budget]:
                allowed = False
        if not allowed:
            above[lane] = caps[lane] + 1
            continue
        if floor + partial[lane] + idle >= least:
            continue
        q[lane] = number
        if lane > 0:
            lane -= 1
            entering = True
            continue
        cost = _cost(q, x, matrix)
        if cost < least:
            least = cost
            for each in range(lanes):
                best[each] = int(q[each])
    return nodes
