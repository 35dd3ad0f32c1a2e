"""Measures of a series of returns: ratios, tails, moments."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lockstep.metrics.arrays import UNIT, Floats, mean, ratio, rounding, spread, usable


def volatility(returns: Floats, periods_per_year: float = 1.0) -> float:
    """Standard deviation (ddof 1) x sqrt(periods_per_year); nan for fewer than 2 returns."""
    return spread(returns) * math.sqrt(periods_per_year) if usable(returns, 2) else math.nan


def sharpe(returns: Floats, periods_per_year: float = 1.0, resolution: float = UNIT) -> float:
    """Mean / standard deviation (ddof 1) x sqrt(periods_per_year); the default 1 gives it per period.

    nan for fewer than 2 returns, or where they vary by no more than rounding; `resolution` is that of one
    return, such as `curves.resolution`. Sharpe (1994), The Sharpe Ratio, J. Portfolio
    Management 21. The square root holds for uncorrelated returns: Lo (2002), The Statistics of Sharpe Ratios.
    """
    if not usable(returns, 2):
        return math.nan
    return ratio(mean(returns) * math.sqrt(periods_per_year), spread(returns, resolution))


def downside_deviation(returns: Floats, target: float = 0.0) -> float:
    """Root of the mean square of min(return - target, 0) over **all** returns (ddof 0)."""
    if not usable(returns):
        return math.nan
    return math.sqrt(mean(np.minimum(returns - target, 0.0) ** 2))


def sortino(
    returns: Floats, periods_per_year: float = 1.0, target: float = 0.0, resolution: float = UNIT
) -> float:
    """(Mean - target) / downside deviation x sqrt(periods_per_year); `target` is per period.

    nan without a return below target by more than rounding. Sortino and Price (1994), Performance Measurement
    in a Downside Risk Framework, Journal of Investing 3.
    """
    excess = (mean(returns) - target) * math.sqrt(periods_per_year)
    return ratio(excess, downside_deviation(returns, target), rounding(returns, resolution))


def _worst(returns: Floats, tail: float) -> Floats:
    """The ceil(tail x n) smallest returns; the tolerance keeps (1 - 0.95) x 100 at 5 and not at 6."""
    if not usable(returns):
        return np.array([math.nan])
    count = max(1, math.ceil(tail * returns.size - 1e-9))
    return np.sort(returns)[:count]


def value_at_risk(returns: Floats, tail: float) -> float:
    """Historical value at risk: minus the k-th smallest return, k = ceil(tail x n). Positive for a loss.

    `tail` is 0.05 for VaR 95. No interpolation: it is a return that did occur.
    """
    return 0.0 - float(_worst(returns, tail)[-1])


def expected_shortfall(returns: Floats, tail: float) -> float:
    """Historical CVaR: minus the mean of the k smallest returns, k as in `value_at_risk`; never below it.

    Acerbi and Tasche (2002), On the Coherence of Expected Shortfall, Journal of Banking & Finance 26.
    """
    return 0.0 - mean(_worst(returns, tail))


def _standardised_moment(returns: Floats, order: int, resolution: float) -> float:
    if not usable(returns, 2) or spread(returns, resolution) == 0:
        return math.nan
    centred = returns - returns.mean()
    return ratio(mean(centred**order), mean(centred**2) ** (order / 2))


def skew(returns: Floats, resolution: float = UNIT) -> float:
    """Third central moment / variance ** 1.5, both with ddof 0; 0 for a symmetric sample.

    nan where the returns vary by no more than rounding, like `sharpe`.
    """
    return _standardised_moment(returns, 3, resolution)


def kurtosis(returns: Floats, resolution: float = UNIT) -> float:
    """Fourth central moment / variance ** 2, both with ddof 0; 3 for a normal law (it is not the excess).

    The form that the deflated Sharpe ratio takes: Bailey and López de Prado (2014), eq. 9.
    """
    return _standardised_moment(returns, 4, resolution)


def omega(returns: Floats, threshold: float = 0.0) -> float:
    """Sum of what exceeds `threshold` / sum of what falls short of it, per period; nan without a shortfall.

    Keating and Shadwick (2002), A Universal Performance Measure, Journal of Performance Measurement 6(3).
    """
    if not usable(returns):
        return math.nan
    gap = returns - threshold
    return ratio(float(gap[gap > 0].sum()), -float(gap[gap < 0].sum()), returns.size * rounding(returns))


def tail_ratio(returns: Floats) -> float:
    """95 % quantile / -(5 % quantile), both interpolated linearly; nan unless one is a gain, one a loss.

    An account that is flat on most days has both quantiles at zero, and no tail that could be compared.
    """
    if not usable(returns):
        return math.nan
    low, high = (float(value) for value in np.quantile(returns, [0.05, 0.95]))
    return ratio(high, -low, rounding(returns)) if low < 0 < high else math.nan


def longest_run(hits: NDArray[np.bool_]) -> int:
    """Return the greatest number of True that follow each other, `hits` (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], hits.astype(np.int8), [0]))))
    return int((edges[1::2] - edges[::2]).max(initial=0))
