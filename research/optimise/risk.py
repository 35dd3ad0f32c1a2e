"""Where a portfolio's risk comes from: contributions that add up to the whole.

Both measures are homogeneous of degree one in the positions, so that Euler's theorem shares them out: Tasche
(1999), Risk contributions and performance measurement.
"""

from __future__ import annotations

import math

import numpy as np

from lockstep.errors import DataError
from lockstep.metrics import Floats, expected_shortfall


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
    # As many as `expected_shortfall` takes.
    count = max(1, math.ceil(tail * together.size - 1e-9))
    worst = np.argsort(together, kind="stable")[:count]
    parts: Floats = 0.0 - (pnl[worst] * units).mean(axis=0)
    return parts
