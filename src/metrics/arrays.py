"""What all measures share: array types, the nan rule, and what counts as rounding."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Dates = NDArray[np.datetime64]

# A spread below this part of the returns' root mean square is rounding. No account earns thirty million times
# its deviation in a session, and equal gains of a cent on a hundred thousand dollars leave a hundredth of it.
RESIDUE = 3e-8
# Returns are fractions of one and carry its rounding, however small they are.
UNIT = 4 * float(np.finfo(np.float64).eps)
# Equity is a sum of cash and marks and carries the rounding of a few dozen operations, relative to itself;
# so does a drawdown, relative to its peak.
OPERATIONS = 64 * float(np.finfo(np.float64).eps)
LEAST_FRACTION = OPERATIONS
# Losses below this part of what was gained and lost together are rounding: a trade that cost nothing.
LEAST_LOSS = 1e-12


def usable(values: Floats, least: int = 1) -> bool:
    """Return whether there are at least `least` values, all finite."""
    return values.size >= least and bool(np.isfinite(values).all())


def mean(values: Floats) -> float:
    """Return the mean, nan where `values` are not usable."""
    return float(np.mean(values)) if usable(values) else math.nan


def ratio(numerator: float, denominator: float, residue: float = 0.0) -> float:
    """Return the quotient; nan where the denominator is no larger than `residue`, which is >= 0."""
    return numerator / denominator if abs(denominator) > residue else math.nan


def rounding(returns: Floats, resolution: float = UNIT) -> float:
    """Return the greatest spread that rounding can leave in `returns`, float64 (n,).

    resolution   rounding of a single return; of returns from an equity curve see `curves.resolution`
    """
    return max(RESIDUE * math.sqrt(mean(returns**2)), resolution)


def spread(returns: Floats, resolution: float = UNIT) -> float:
    """Standard deviation with ddof 1; exactly 0 where it is no more than rounding."""
    deviation = float(np.std(returns, ddof=1)) if np.ptp(returns) > 0 else 0.0
    return deviation if deviation > rounding(returns, resolution) else 0.0
