"""The covariance of the lanes' profit and loss, shrunk.

A lane is one instrument with its strategy; its P&L per session is a column, in USD per contract or per unit
of risk. The columns differ in scale by their units alone, and a scaled identity says that all variances are
alike: so the lanes are standardised, their *correlation* is shrunk, and the variances stay as they were
measured.

Source: Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices,
Journal of Multivariate Analysis 88, 365-411.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lockstep.errors import DataError
from lockstep.metrics import Floats
from lockstep.metrics.arrays import spread
from research.statistics.sharpe import finite

LEAST_SESSIONS = 8


def ledoit_wolf(values: Any) -> tuple[Floats, float]:
    """Return (covariance (n, n), shrinkage in [0, 1]) of observations, float64 (T, n), ddof 0.

    (1 - shrinkage) S + shrinkage m I, where m is the mean variance: the estimators of lemma 3.2 to 3.5.
    DataError for fewer than 2 rows or a value that is not finite.
    """
    rows = finite(values, "observations", dimensions=2, least=2)
    periods, lanes = rows.shape
    centred = rows - rows.mean(axis=0)
    sample = centred.T @ centred / periods
    middle = np.trace(sample) / lanes
    dispersion = float(np.sum((sample - middle * np.eye(lanes)) ** 2))
    # The mean of |x x' - S|^2 over the rows, for the error of the mean of T such matrices.
    error = float(np.mean(np.sum(centred**2, axis=1) ** 2) - np.sum(sample**2)) / periods
    shrinkage = min(error, dispersion) / dispersion if dispersion > 0 else 0.0
    return (1 - shrinkage) * sample + shrinkage * middle * np.eye(lanes), shrinkage


def lane_spreads(pnl: Any, names: Sequence[str]) -> Floats:
    """Return each lane's standard deviation per session, (n,), ddof 1, of P&L, float64 (T, n).

    DataError for fewer than 8 sessions, a value that is not finite, other names than columns, or a lane that
    does not move: nothing can be sized by a risk of zero.
    """
    rows = finite(pnl, "P&L of the lanes", dimensions=2, least=LEAST_SESSIONS)
    if rows.shape[1] != len(names):
        raise DataError(f"P&L of {rows.shape[1]} lanes, {len(names)} names: need one name per column")
    spreads = np.array([spread(column) for column in rows.T])
    still = [name for name, each in zip(names, spreads, strict=True) if each == 0]
    if still:
        raise DataError(
            f"lane {still[0]}: its P&L does not move in {rows.shape[0]} sessions, so that it has no risk to "
            "be sized by; leave the lane out or take a longer range"
        )
    return spreads


def shrunk_covariance(pnl: Any, names: Sequence[str]) -> Floats:
    """Return the covariance per session, (n, n): variances as measured, correlations shrunk towards zero.

    pnl   float64 (T, n), T >= 8. DataError as in `lane_spreads`

    Equivariant: P&L in other units gives the same matrix in these units.
    """
    spreads = lane_spreads(pnl, names)
    correlation, _ = ledoit_wolf(np.asarray(pnl) / spreads)
    return correlation_of(correlation) * np.outer(spreads, spreads)


def correlation_of(covariance: Floats) -> Floats:
    """Return the correlations, (n, n), of a covariance with positive variances; the diagonal is exactly 1."""
    deviations = np.sqrt(np.diag(covariance))
    correlation: Floats = covariance / np.outer(deviations, deviations)
    np.fill_diagonal(correlation, 1.0)
    return correlation
