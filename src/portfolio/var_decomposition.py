"""Where a portfolio's risk comes from: contributions that add up to the whole.

Value at risk, expected shortfall and volatility are homogeneous of degree one in the positions, so that
Euler's theorem shares them out. Sources: Tasche (1999), Risk contributions and performance measurement; for
the normal law Garman (1996), Improving on VaR, Risk 9; for Cornish-Fisher Boudt, Peterson and Croux (2008),
Estimation and decomposition of downside risk for portfolios with non-normal returns, Journal of Risk 11.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.errors import DataError
from lockstep.metrics.arrays import Floats
from lockstep.metrics.returns import expected_shortfall
from lockstep.portfolio.var import (
    DECAY,
    DEFAULT,
    Method,
    TailRisk,
    bend,
    ewma_covariance,
    level_of,
    normal_tail,
    scenario_rows,
    scenarios,
    shape_of,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class VarDecomposition:
    """Risk of a portfolio by lane; every array is float64 (lanes,), USD.

    total         of all positions
    alone         of each position without the others
    component     its share: they add up to the total; below 0 where it makes the whole safer
    marginal      what one more contract adds, at the margin; of a lane without a position, too
    incremental   what the total would fall by without the position
    """

    symbols: tuple[str, ...]
    tail: float
    method: Method
    total: TailRisk
    alone_var: Floats
    alone_es: Floats
    component_var: Floats
    component_es: Floats
    marginal_var: Floats
    marginal_es: Floats
    incremental_var: Floats
    incremental_es: Floats


def var_decomposition(
    changes: Any,
    positions: Any,
    symbols: Sequence[str],
    tail: float = 0.05,
    *,
    method: Method = DEFAULT,
    decay: float = DECAY,
) -> VarDecomposition:
    """Return value at risk and expected shortfall by lane.

    changes     float64 (T, n): USD that one contract of each lane earned in each session, oldest first
    positions   (n,): contracts, signed; symbols: their names

    The component of a historical value at risk is what the lane lost in one session, that of the quantile: it
    adds up, and it jumps from day to day. Expected shortfall averages over the tail; share out that one.
    DataError as of `calculate_var`, and for other numbers of names or positions than columns.

    >>> import numpy as np
    >>> changes = np.random.default_rng(0).normal(size=(300, 2)) * [500.0, 200.0]
    >>> found = var_decomposition(changes, [2.0, -1.0], ["ES", "NQ"], 0.01, method="normal")
    >>> bool(abs(found.component_var.sum() - found.total.var) < 1e-9 * found.total.var)
    True
    """
    unit = scenario_rows(changes, tail, method)
    held = np.asarray(positions, dtype=np.float64)
    if held.shape != (unit.shape[1],) or len(symbols) != held.size or not np.isfinite(held).all():
        raise DataError(
            f"{held.size} positions, {len(symbols)} names, {unit.shape[1]} columns of changes: need one "
            "finite position and one name for each column"
        )
    unit = scenarios(unit, method, decay)
    each = unit * held
    together = each.sum(axis=1)
    total = level_of(together, tail, method, decay)
    marginal_var, marginal_es = _slopes(unit, held, together, tail, method, decay)
    alone = [level_of(column, tail, method, decay) for column in each.T]
    without = [level_of(together - column, tail, method, decay) for column in each.T]
    return VarDecomposition(
        symbols=tuple(symbols),
        tail=tail,
        method=method,
        total=total,
        alone_var=np.array([risk.var for risk in alone]),
        alone_es=np.array([risk.es for risk in alone]),
        component_var=held * marginal_var + 0.0,
        component_es=held * marginal_es + 0.0,
        marginal_var=marginal_var,
        marginal_es=marginal_es,
        incremental_var=np.array([total.var - risk.var for risk in without]),
        incremental_es=np.array([total.es - risk.es for risk in without]),
    )


def _slopes(
    unit: Floats, held: Floats, total: Floats, tail: float, method: Method, decay: float
) -> tuple[Floats, Floats]:
    """Return the derivatives of both measures by the positions, (n,) each."""
    if method == "normal":
        quantile, density = normal_tail(tail)
        covariance = ewma_covariance(unit, decay)
        deviation = math.sqrt(max(float(held @ covariance @ held), 0.0))
        slope = covariance @ held / deviation if deviation > 0 else np.zeros(held.size)
        return 0.0 - slope * quantile, slope * density / tail
    if method == "cornish_fisher":
        return _bent_slopes(unit, total, tail)
    worst = tail_sessions(total, tail)
    return 0.0 - unit[worst[-1]], 0.0 - unit[worst].mean(axis=0)


def _bent_slopes(unit: Floats, total: Floats, tail: float) -> tuple[Floats, Floats]:
    """Return the derivatives of the Cornish-Fisher measures, by co-moments: Boudt et al. (2008), eq. 10."""
    centred, lanes = total - total.mean(), unit - unit.mean(axis=0)
    second, size = float((centred**2).mean()), total.size
    if not second > 0:
        return 0.0 - unit.mean(axis=0), 0.0 - unit.mean(axis=0)
    deviation = math.sqrt(second)
    skewness, excess = shape_of(total)
    by_second = 2.0 * lanes.T @ centred / size
    by_deviation = by_second / (2.0 * deviation)
    by_skew = 3.0 * lanes.T @ centred**2 / size / second**1.5 - 1.5 * skewness * by_second / second
    by_excess = 4.0 * lanes.T @ centred**3 / size / second**2 - 2.0 * (excess + 3.0) * by_second / second
    found = []
    for one, of_skew, of_excess, of_square in bend(tail):
        level = one + of_skew * skewness + of_excess * excess + of_square * skewness**2
        slope = of_skew * by_skew + of_excess * by_excess + 2.0 * of_square * skewness * by_skew
        found.append(0.0 - (unit.mean(axis=0) + by_deviation * level + deviation * slope))
    return found[0], found[1]


def tail_sessions(total: Floats, tail: float) -> Any:
    """Return the sessions of the tail, worst first, as many as `lockstep.metrics.expected_shortfall` takes.

    Of equal losses the earlier session comes first.
    """
    count = max(1, math.ceil(tail * total.size - 1e-9))
    return np.argsort(total, kind="stable")[:count]


def volatility_contributions(units: Floats, covariance: Floats) -> Floats:
    """Return each lane's part, (n,), of the volatility sqrt(x'Sx), in the unit of the covariance's root.

    DataError for a portfolio without risk.
    """
    variance = float(units @ covariance @ units)
    if not variance > 0:
        raise DataError(f"units {units.tolist()}: no volatility to share out; give a position")
    parts: Floats = units * (covariance @ units) / math.sqrt(variance)
    return parts


def shortfall_contributions(units: Floats, pnl: Floats, tail: float) -> Floats:
    """Return each lane's part, (n,), of the historical expected shortfall of the portfolio's P&L.

    pnl    float64 (T, n), per session and unit; of equal losses the earlier session is in the tail first
    tail   (0, 1), such as .025

    The sessions are those of `lockstep.metrics.expected_shortfall`; DataError where that has no value.
    """
    together = pnl @ units
    if math.isnan(expected_shortfall(together, tail)):
        raise DataError(
            f"expected shortfall: {together.size} sessions, tail {tail:g}: needs finite P&L and a session in "
            "the tail; take a longer range"
        )
    parts: Floats = 0.0 - (pnl[tail_sessions(together, tail)] * units).mean(axis=0)
    return parts
