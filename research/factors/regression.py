"""Exposures from returns, and what they explain: least squares with errors that allow for autocorrelation.

Newey and West, A Simple, Positive Semi-Definite, Heteroskedasticity and Autocorrelation Consistent Covariance
Matrix, Econometrica 55 (1987), pp. 703-708, by statsmodels; lags 4 (T / 100)^(2/9), Newey and West,
Automatic Lag Selection in Covariance Matrix Estimation, Review of Economic Studies 61 (1994), pp. 631-653.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats
from research.statistics.sharpe import finite

LEAST_PER_FACTOR = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorFit:
    """Returns explained by factors: returns = alpha + moves @ betas + residual, exactly.

    names, betas, errors, t_values   of the k factors; low, high: 95 % intervals of the betas
    alpha, alpha_low, alpha_high     per period, with a 95 % interval; alpha_t its t-value
    r_squared   share of the variance that is explained; lags of the errors; periods T
    residuals   float64 (T,)
    """

    names: tuple[str, ...]
    betas: Floats
    errors: Floats
    t_values: Floats
    low: Floats
    high: Floats
    alpha: float
    alpha_low: float
    alpha_high: float
    alpha_t: float
    r_squared: float
    lags: int
    residuals: Floats

    @property
    def periods(self) -> int:
        """How many periods were fitted."""
        return self.residuals.size


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorAttribution:
    """Where a total came from: `total` = sum of `factors` + alpha + residual, to 1e-9 of its size.

    factors   float64 (k,), by `names`; alpha, residual, total: sums over the periods
    """

    names: tuple[str, ...]
    factors: Floats
    alpha: float
    residual: float
    total: float


def usual_lags(periods: int) -> int:
    """Return the lags of Newey and West's rule for T periods.

    >>> usual_lags(100), usual_lags(1000)
    (4, 6)
    """
    lags: int = math.floor(4.0 * (periods / 100.0) ** (2.0 / 9.0))
    return lags


def fit_factors(returns: Any, moves: Any, names: Sequence[str], *, lags: int | None = None) -> FactorFit:
    """Return the exposures of returns, float64 (T,), to factor moves, float64 (T, k).

    lags   of the errors; None: `usual_lags`; 0: heteroskedasticity alone

    Intervals are those of the normal law. DataError for values that are not finite, lengths that differ,
    fewer than 10 periods per factor and constant, a factor that does not move, or factors that say the same;
    ConfigError for negative lags.

    >>> moves = np.random.default_rng(0).normal(size=(500, 1))
    >>> found = fit_factors(0.1 + 2.0 * moves[:, 0], moves, ["market"])
    >>> round(found.alpha, 6), found.betas.round(6).tolist(), round(found.r_squared, 6)
    (0.1, [2.0], 1.0)
    """
    import statsmodels.api as sm

    values, columns = finite(returns, "returns"), finite(moves, "factor moves", dimensions=2)
    _require_fit(values, columns, names)
    lag = usual_lags(values.size) if lags is None else lags
    if lag < 0:
        raise ConfigError(f"lags {lag}: must not be negative; leave them out for the usual number")
    model = sm.OLS(values, sm.add_constant(columns, has_constant="add"))
    fitted = model.fit(cov_type="HAC", cov_kwds={"maxlags": lag}, use_t=False)
    low, high = np.asarray(fitted.conf_int(0.05)).T
    coefficients, errors = np.asarray(fitted.params), np.asarray(fitted.bse)
    with np.errstate(divide="ignore", invalid="ignore"):
        t_values = coefficients / errors
    spread = float(((values - values.mean()) ** 2).sum())
    residuals = values - (coefficients[0] + columns @ coefficients[1:])
    return FactorFit(
        names=tuple(names),
        betas=coefficients[1:],
        errors=errors[1:],
        t_values=t_values[1:],
        low=low[1:],
        high=high[1:],
        alpha=float(coefficients[0]),
        alpha_low=float(low[0]),
        alpha_high=float(high[0]),
        alpha_t=float(t_values[0]),
        r_squared=1.0 - float((residuals**2).sum()) / spread if spread > 0 else math.nan,
        lags=lag,
        residuals=residuals,
    )


def _require_fit(values: Floats, columns: Floats, names: Sequence[str]) -> None:
    periods, count = columns.shape
    if values.size != periods or len(names) != count:
        raise DataError(
            f"factors: {values.size} returns, {periods} moves of {count} factors, {len(names)} names; "
            "give one move per return and one name per factor"
        )
    least = LEAST_PER_FACTOR * (count + 1)
    if periods < least:
        raise DataError(f"factors: {periods} periods for {count} factors: at least {least} are needed")
    still = [name for name, column in zip(names, columns.T, strict=True) if not np.ptp(column) > 0]
    if still:
        raise DataError(f"factor {still[0]}: does not move in {periods} periods; leave it out")
    scaled = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    if count and np.linalg.svd(scaled, compute_uv=False)[-1] < 1e-7 * math.sqrt(periods):
        raise DataError(f"factors {', '.join(names)}: one of them is made of the others; leave it out")


def attribute(fit: FactorFit, moves: Any) -> FactorAttribution:
    """Return sums over the periods of what each factor, alpha and the rest gave, in the returns' unit.

    moves   float64 (T, k), those that were fitted
    """
    columns = np.asarray(moves, dtype=np.float64)
    parts = columns.sum(axis=0) * fit.betas
    alpha, residual = fit.alpha * fit.periods, float(fit.residuals.sum())
    total = float((fit.alpha + columns @ fit.betas + fit.residuals).sum())
    return FactorAttribution(names=fit.names, factors=parts, alpha=alpha, residual=residual, total=total)


def position_exposures(changes: Any, positions: Any, moves: Any, names: Sequence[str]) -> Floats:
    """Return what a factor move of 1 (100 %) makes of positions, float64 (k,), USD: ex ante.

    changes     float64 (T, n), USD per contract and period; positions: (n,) contracts; moves: (T, k)

    Betas are those of each instrument, so that they hold for today's positions whatever was traded before.
    Errors as in `fit_factors`.
    """
    table = finite(changes, "changes", dimensions=2)
    held = np.asarray(positions, dtype=np.float64)
    betas = np.array([fit_factors(column, moves, names).betas for column in table.T])
    exposures: Floats = held @ betas.reshape(table.shape[1], -1)
    return exposures
