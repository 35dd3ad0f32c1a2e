"""Measures of returns against those of a benchmark over the same periods.

Both are float64 (n,), the same periods in the same order; DataError where their lengths differ. The nan rule
is that of `lockstep.metrics`; nan too where the benchmark does not vary. No risk-free rate is subtracted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lockstep.errors import DataError
from lockstep.metrics.arrays import Floats, mean, ratio, spread, usable


@dataclass(frozen=True, kw_only=True)
class Relative:
    """A strategy relative to its benchmark; see the functions of the same names.

    alpha and tracking_error are annualised fractions, information_ratio is annualised.

    >>> import numpy as np
    >>> from lockstep.metrics import relative
    >>> market = np.array([0.01, -0.02, 0.015, 0.0])
    >>> round(relative(2 * market, market).beta, 10)
    2.0
    """

    beta: float
    alpha: float
    correlation: float
    tracking_error: float
    information_ratio: float


def _pair(returns: Floats, benchmark: Floats) -> bool:
    if returns.shape != benchmark.shape:
        raise DataError(f"{returns.size} returns, {benchmark.size} of the benchmark: need the same periods")
    return usable(returns, 2) and usable(benchmark, 2)


def _covariance(returns: Floats, benchmark: Floats) -> float:
    centred = (returns - returns.mean()) * (benchmark - benchmark.mean())
    return float(centred.sum()) / (returns.size - 1)


def beta(returns: Floats, benchmark: Floats) -> float:
    """Covariance with the benchmark / variance of the benchmark: the slope of the least-squares line."""
    if not _pair(returns, benchmark):
        return math.nan
    deviation = spread(benchmark)
    return ratio(_covariance(returns, benchmark), deviation**2)


def correlation(returns: Floats, benchmark: Floats) -> float:
    """Pearson's correlation with the benchmark, [-1, 1]."""
    if not _pair(returns, benchmark):
        return math.nan
    return ratio(_covariance(returns, benchmark), spread(returns) * spread(benchmark))


def information_ratio(returns: Floats, benchmark: Floats, periods_per_year: float = 1.0) -> float:
    """Mean of the excess over the benchmark / its standard deviation (ddof 1) x sqrt(periods_per_year).

    Grinold and Kahn (2000), Active Portfolio Management, 2nd ed., chapter 5, with a beta of one.
    """
    if not _pair(returns, benchmark):
        return math.nan
    excess = returns - benchmark
    return ratio(mean(excess) * math.sqrt(periods_per_year), spread(excess))


def relative(returns: Floats, benchmark: Floats, periods_per_year: float = 1.0) -> Relative:
    """Return all measures against the benchmark.

    alpha = (mean return - beta x mean of the benchmark) x periods_per_year, additive: Jensen (1968), The
    Performance of Mutual Funds in the Period 1945-1964, Journal of Finance 23, without a risk-free rate.
    """
    slope = beta(returns, benchmark)
    excess = returns - benchmark
    return Relative(
        beta=slope,
        alpha=(mean(returns) - slope * mean(benchmark)) * periods_per_year,
        correlation=correlation(returns, benchmark),
        tracking_error=spread(excess) * math.sqrt(periods_per_year) if usable(excess, 2) else math.nan,
        information_ratio=information_ratio(returns, benchmark, periods_per_year),
    )


def market_returns(marks: Floats, opening: float, points: bool) -> Floats:
    """Return what one unit of exposure to the instrument earned in each session, float64 (S,).

    marks     float64 (S,): last close of each session; opening: first open of the first one
    points    changes of the mark, as a price says nothing of what a contract is worth; else divided by the
              mark before

    >>> import numpy as np
    >>> from lockstep.metrics import market_returns
    >>> market_returns(np.array([101.0, 111.1]), 100.0, points=False).round(12)
    array([0.01, 0.1 ])
    """
    before = np.concatenate(([opening], marks[:-1]))
    changes: Floats = marks - before
    return changes if points else changes / before


def timing_returns(returns: Floats, market: Floats, exposure: float) -> Floats:
    """Return what `returns` have beyond a constant position of the same mean size, float64 (n,).

    returns - exposure x market: `exposure` is the mean signed position in units of capital, `market` what one
    unit of it earned. A market that only drifts leaves a mean of zero, however long it was held; what is left
    is when the position was held, and how. nan where either is.

    >>> import numpy as np
    >>> from lockstep.metrics import timing_returns
    >>> timing_returns(np.array([0.01, 0.0]), np.array([0.01, -0.01]), 0.5).tolist()
    [0.005, 0.005]
    """
    if returns.shape != market.shape:
        raise DataError(f"{returns.size} returns, {market.size} of the market: need the same periods")
    timing: Floats = returns - exposure * market
    return timing
