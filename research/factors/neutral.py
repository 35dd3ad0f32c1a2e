"""Weights without an exposure to factors: the nearest ones in risk that linear constraints allow.

Minimise (w - w0)' S (w - w0) over w >= 0 with sum 1 and B' w = 0. A convex programme, solved by SLSQP:
Kraft, A Software Package for Sequential Quadratic Programming, DFVLR-FB 88-28 (1988), after linear
programming has shown that there is a solution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import optimize

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats

_EXACT, _AT_ZERO = 1e-9, 1e-7


def neutral_weights(weights: Any, exposures: Any, covariance: Any, names: Sequence[str]) -> Floats:
    """Return the weights, float64 (n,), nearest to `weights` whose exposure to each factor is 0.

    weights      (n,), >= 0, sum 1; covariance: (n, n), positive definite
    exposures    (n, k): of one unit of each lane to each factor; names: of the factors, for messages

    ConfigError where no weights >= 0 are neutral: all lanes lean to one side of a factor. DataError where the
    programme does not come to rest.

    >>> found = neutral_weights([0.5, 0.5], [[1.0], [-3.0]], np.eye(2), ["BTC"])
    >>> found.round(6).tolist()
    [0.75, 0.25]
    """
    start, slopes = np.asarray(weights, dtype=np.float64), np.asarray(exposures, dtype=np.float64)
    matrix = np.asarray(covariance, dtype=np.float64)
    # Every number near 1: exposures of different units would not converge alike.
    slopes = slopes / np.maximum(np.abs(slopes).max(axis=0), 1e-300)
    deviations = np.sqrt(np.diag(matrix))
    matrix = matrix / deviations.max() ** 2
    equalities = np.vstack([np.ones(start.size), slopes.T])
    wanted = np.concatenate(([1.0], np.zeros(slopes.shape[1])))
    possible = optimize.linprog(np.zeros(start.size), A_eq=equalities, b_eq=wanted, bounds=(0, None))
    if possible.status != 0:
        raise ConfigError(
            f"neutral to {', '.join(names)}: no weights >= 0 are: the lanes lean to one side; add a lane "
            "that leans to the other or leave the factor out"
        )
    found = optimize.minimize(
        lambda w: float((w - start) @ matrix @ (w - start)),
        possible.x,
        jac=lambda w: 2.0 * matrix @ (w - start),
        bounds=[(0.0, None)] * start.size,
        constraints={"type": "eq", "fun": lambda w: equalities @ w - wanted, "jac": lambda w: equalities},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    exact = _polished(
        np.maximum(np.asarray(found.x, dtype=np.float64), 0.0), start, matrix, equalities, wanted
    )
    if not found.success or np.abs(equalities @ exact - wanted).max() > _EXACT:
        raise DataError(
            f"neutral to {', '.join(names)}: no weights found ({found.message}); leave a factor out"
        )
    return exact


def _polished(near: Floats, start: Floats, matrix: Floats, equalities: Floats, wanted: Floats) -> Floats:
    """Return the exact optimum with the zeros of `near`; `near` itself where that has negative weights."""
    free = near > _AT_ZERO
    rows, size = equalities[:, free], int(free.sum())
    system = np.block([[matrix[np.ix_(free, free)], rows.T], [rows, np.zeros((wanted.size, wanted.size))]])
    answer = np.linalg.lstsq(system, np.concatenate(((matrix @ start)[free], wanted)), rcond=None)[0]
    exact = np.zeros(near.size)
    exact[free] = answer[:size]
    return exact if exact.min() >= 0.0 else near
