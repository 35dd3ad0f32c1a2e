"""Value at risk and expected shortfall of positions, by four methods.

The input is what the positions of *today* would have earned in each past session: USD, one column per lane,
which is contracts x change in points x multiplier. Both measures are positive for a loss.

| method           | what the next session may be                                                     |
|------------------|----------------------------------------------------------------------------------|
| `filtered`       | a past one, each lane's change rescaled from its volatility then to that of today |
| `historical`     | a past one as it was                                                             |
| `normal`         | drawn from a normal law, mean 0, exponentially weighted covariance               |
| `cornish_fisher` | drawn from a normal law bent to the sample's skew and kurtosis, in its domain    |

Sources: Hull and White (1998), Incorporating volatility updating into the historical simulation method for
value-at-risk, Journal of Risk 1; Barone-Adesi, Giannopoulos and Vosper (1999), VaR without correlations for
portfolios of derivative securities, Journal of Futures Markets 19; J.P. Morgan (1996), RiskMetrics Technical
Document, 4th ed., 5.2; Zangari (1996), A VaR methodology for portfolios that include options, RiskMetrics
Monitor; Maillard (2012), A user's guide to the Cornish Fisher expansion.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from lockstep.errors import DataError
from lockstep.metrics.arrays import Floats
from lockstep.metrics.returns import expected_shortfall, kurtosis, skew, value_at_risk

Method = Literal["filtered", "historical", "normal", "cornish_fisher"]

METHODS: tuple[Method, ...] = get_args(Method)
DEFAULT: Method = "filtered"
TAILS = (0.05, 0.01)
"""Tail probabilities that every report shows: confidence levels of 95 and 99 %."""
DECAY = 0.94
"""Weight of yesterday's variance, for daily data: RiskMetrics, table 5.8."""
WARM_UP = 20
"""Sessions whose mean square begins the recursion; they are no scenarios of their own."""
LEAST_IN_TAIL = 2.5
"""Sessions that a sample has in the tail on average: at 99 % the 250 that the Basel Committee asks for."""

_NORMAL = NormalDist()


class TailRisk(NamedTuple):
    """Value at risk and expected shortfall of the next session, USD, positive for a loss."""

    var: float
    es: float


def sessions_needed(tail: float, method: Method = DEFAULT) -> int:
    """Return how many sessions a tail needs: 2.5 / tail, and 20 before them where volatility is filtered.

    Basel Committee (1996), Amendment to the capital accord to incorporate market risks, B.4 (d): at least one
    year at 99 %.

    >>> [sessions_needed(tail, "historical") for tail in (0.05, 0.01)], sessions_needed(0.01)
    ([50, 250], 270)
    """
    if not 0 < tail < 0.5:
        raise DataError(f"tail {tail}: must lie between 0 and 0.5, such as 0.01 for 99 %")
    return math.ceil(LEAST_IN_TAIL / tail - 1e-9) + (WARM_UP if method == "filtered" else 0)


def calculate_var(pnl: Any, tail: float = 0.05, *, method: Method = DEFAULT, decay: float = DECAY) -> float:
    """Return the value at risk of the next session, in the unit of `pnl`; positive for a loss.

    pnl     float64 (T,) or (T, n): what today's positions would have earned in each session, oldest first,
            one column per lane
    tail    (0, .5): .01 is a confidence of 99 %; decay in (0, 1)

    DataError for a value that is not finite, for fewer sessions than `sessions_needed`, for a lane without
    volatility where it is filtered, and outside the domain of Cornish-Fisher.

    >>> import numpy as np
    >>> losses = np.arange(1.0, 101.0)
    >>> calculate_var(-losses, 0.05, method="historical"), calculate_cvar(-losses, 0.05, method="historical")
    (96.0, 98.0)
    """
    return tail_risk(pnl, tail, method=method, decay=decay).var


def calculate_cvar(pnl: Any, tail: float = 0.05, *, method: Method = DEFAULT, decay: float = DECAY) -> float:
    """Return the expected shortfall (CVaR), the mean loss in the tail; arguments as of `calculate_var`.

    Acerbi and Tasche (2002), On the coherence of expected shortfall, Journal of Banking & Finance 26.
    """
    return tail_risk(pnl, tail, method=method, decay=decay).es


def tail_risk(pnl: Any, tail: float = 0.05, *, method: Method = DEFAULT, decay: float = DECAY) -> TailRisk:
    """Return both measures; arguments and errors as of `calculate_var`."""
    rows = scenario_rows(pnl, tail, method)
    return level_of(scenarios(rows, method, decay).sum(axis=1), tail, method, decay)


def scenario_rows(pnl: Any, tail: float, method: Method) -> Floats:
    """Return `pnl` as float64 (T, n); DataError where it cannot be measured, see `calculate_var`."""
    rows = np.asarray(pnl, dtype=np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or not rows.shape[1]:
        raise DataError(f"P&L of shape {rows.shape}: need sessions, or sessions by lanes")
    if method not in METHODS:
        raise DataError(f"method {method!r}: must be one of {', '.join(METHODS)}")
    needed = sessions_needed(tail, method)
    if rows.shape[0] < needed:
        raise DataError(
            f"value at risk at {1 - tail:.4g} ({method}): {rows.shape[0]} sessions, needs {needed} "
            f"({LEAST_IN_TAIL:g} in the tail on average"
            f"{f' and {WARM_UP} to begin with' if method == 'filtered' else ''}); take a longer history or a "
            "lower level"
        )
    if not np.isfinite(rows).all():
        raise DataError("P&L: a value is missing or infinite; give each lane one number per session")
    return rows


def scenarios(rows: Floats, method: Method, decay: float = DECAY) -> Floats:
    """Return what the next session may be, (S, n): rescaled changes where filtered, else `rows` (T, n)."""
    return filtered_scenarios(rows, decay) if method == "filtered" else rows


def ewma_deviations(rows: Floats, decay: float = DECAY) -> Floats:
    """Return the deviation forecast for each session and the next one, (T + 1, n); NaN for the first 20.

    s(t+1)^2 = decay s(t)^2 + (1 - decay) x(t)^2, mean 0, begun with the mean square of the first 20 sessions:
    what is forecast for a session knows only those before it. RiskMetrics (1996), 5.2.
    """
    if not 0 < decay < 1:
        raise DataError(f"decay {decay}: must lie between 0 and 1, such as {DECAY}")
    found = np.full((rows.shape[0] + 1, rows.shape[1]), np.nan)
    variance = (rows[:WARM_UP] ** 2).mean(axis=0)
    found[WARM_UP] = variance
    for session in range(WARM_UP, rows.shape[0]):
        variance = decay * variance + (1.0 - decay) * rows[session] ** 2
        found[session + 1] = variance
    deviations: Floats = np.sqrt(found)
    return deviations


def ewma_covariance(rows: Floats, decay: float = DECAY) -> Floats:
    """Return the covariance forecast for the next session, (n, n); its diagonal is that of the deviations."""
    later = rows[WARM_UP:]
    weights = (1.0 - decay) * decay ** np.arange(later.shape[0] - 1, -1, -1.0)
    begun = rows[:WARM_UP].T @ rows[:WARM_UP] / WARM_UP
    covariance: Floats = decay ** later.shape[0] * begun + (later * weights[:, None]).T @ later
    return covariance


def filtered_scenarios(rows: Floats, decay: float = DECAY) -> Floats:
    """Return (T - 20, n): each session over its forecast deviation, times the deviation of the next session.

    Lanes of one session stay together, so that their dependence is that of the sample. A column of zeros
    (no position) stays zero; DataError for a lane that did not move in 20 sessions and then does.
    """
    deviations = ewma_deviations(rows, decay)
    then, now = deviations[WARM_UP:-1], deviations[-1]
    still = (then == 0.0) & (rows[WARM_UP:] != 0.0)
    if still.any():
        lane = int(np.flatnonzero(still.any(axis=0))[0])
        raise DataError(
            f"lane {lane + 1} of the P&L: did not move in {WARM_UP} sessions, so that it has no volatility "
            "to be rescaled by; take a history in which it trades, or method historical"
        )
    scale = np.divide(now, then, out=np.zeros(then.shape), where=then > 0.0)
    rescaled: Floats = rows[WARM_UP:] * scale
    return rescaled


def level_of(total: Floats, tail: float, method: Method, decay: float = DECAY) -> TailRisk:
    """Return the measures of a portfolio's P&L scenarios, (S,), as `scenarios` has left them."""
    if method == "normal":
        deviation = float(ewma_deviations(total[:, None], decay)[-1, 0])
        quantile, density = normal_tail(tail)
        return TailRisk(0.0 - deviation * quantile, deviation * density / tail)
    if method == "cornish_fisher":
        return _bent(total, tail)
    return TailRisk(value_at_risk(total, tail), expected_shortfall(total, tail))


def normal_tail(tail: float) -> tuple[float, float]:
    """Return the quantile of the standard normal law at `tail`, below 0, and the density there."""
    quantile = _NORMAL.inv_cdf(tail)
    return quantile, _NORMAL.pdf(quantile)


class Bend(NamedTuple):
    """Weights of the Cornish-Fisher quantile and of its mean below: of 1, skew, kurtosis and skew squared."""

    quantile: tuple[float, float, float, float]
    shortfall: tuple[float, float, float, float]


def bend(tail: float) -> Bend:
    """Return the weights at a tail; the shortfall's are moments of a normal law below its quantile."""
    z, density = normal_tail(tail)
    mean = density / tail
    return Bend(
        quantile=(z, (z * z - 1) / 6, (z**3 - 3 * z) / 24, -(2 * z**3 - 5 * z) / 36),
        shortfall=(-mean, -mean * z / 6, -mean * (z * z - 1) / 24, mean * (2 * z * z - 1) / 36),
    )


def in_domain(skewness: float, excess: float) -> bool:
    """Return whether the Cornish-Fisher quantile rises with the normal one for this skew and excess kurtosis.

    Its derivative a z^2 + b z + c has no root: Maillard (2012), section 2. Elsewhere a higher confidence may
    give a lower loss.

    >>> in_domain(0.0, 3.0), in_domain(-1.0, 1.0), in_domain(0.0, 9.0), in_domain(0.0, -0.1)
    (True, False, False, False)
    """
    square = excess / 8 - skewness**2 / 6
    constant = 1 - excess / 8 + 5 * skewness**2 / 36
    return square >= 0 and constant > 0 and skewness**2 / 9 - 4 * square * constant <= 0


def _bent(total: Floats, tail: float) -> TailRisk:
    deviation = float(total.std())
    if not deviation > 0:
        return TailRisk(0.0 - float(total.mean()), 0.0 - float(total.mean()))
    shape = shape_of(total)
    terms = (1.0, shape[0], shape[1], shape[0] ** 2)
    quantile, mean_below = (sum(map(float.__mul__, weights, terms)) for weights in bend(tail))
    mean = float(total.mean())
    return TailRisk(0.0 - (mean + deviation * quantile), 0.0 - (mean + deviation * mean_below))


def shape_of(total: Floats) -> tuple[float, float]:
    """Return skew and excess kurtosis of a sample, (S,); DataError outside the domain of Cornish-Fisher."""
    skewness, excess = skew(total), kurtosis(total) - 3.0
    if not in_domain(skewness, excess):
        raise DataError(
            f"Cornish-Fisher: skew {skewness:.2f} and excess kurtosis {excess:.2f} of {total.size} sessions "
            "lie outside its domain, where quantiles are not in order (Maillard 2012); use method filtered "
            "or historical"
        )
    return skewness, excess
