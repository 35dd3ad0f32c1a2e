"""How far recent values are from a reference: Kolmogorov-Smirnov by rolling window, and PSI beside it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lockstep.metrics.arrays import Floats

# Fewer values than this in a window are no distribution.
LEAST_VALUES = 20
_SHARE_FLOOR = 1e-4


def rolling_ks(values: Any, reference: Any, window: int) -> Floats:
    """Return the Kolmogorov-Smirnov distance of each window from a reference, float64 (n - window + 1,).

    values      float64 (n,), NaN: missing
    reference   float64 (m,), finite and sorted
    window      values per window, >= 1; NaN for windows with fewer than 20 finite values, and without a
                reference. Empty where there are fewer values than a window

    The supremum of |F(x) - G(x)| over the empirical distribution functions, [0, 1]. It is taken between
    distinct values only, so that ties count as what they are. (Hodges, The significance probability of the
    Smirnov two-sample test, Arkiv för Matematik 3 (1958), pp. 469-486.)

    >>> rolling_ks(np.full(20, 9.0), np.arange(10.0), 20)
    array([0.9])
    """
    x, ordered = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if x.size < window:
        return np.empty(0)
    if not ordered.size:
        return np.full(x.size - window + 1, math.nan)
    missing = np.isnan(x)
    # Both are monotone in x, so that sorting them sorts the windows; NaN goes last.
    below = np.where(missing, math.nan, np.searchsorted(ordered, x, side="left") / ordered.size)
    up_to = np.where(missing, math.nan, np.searchsorted(ordered, x, side="right") / ordered.size)
    windows = np.lib.stride_tricks.sliding_window_view
    first, last = (np.sort(windows(each, window), axis=1) for each in (below, up_to))
    count = windows(~missing, window).sum(axis=1)
    place = np.arange(1.0, window + 1.0)
    size = np.maximum(count, 1)[:, None].astype(np.float64)
    over = np.fmax.reduce(place / size - last, axis=1)
    under = np.fmax.reduce(first - (place - 1.0) / size, axis=1)
    return np.where(count >= LEAST_VALUES, np.fmax(over, under), math.nan)


def psi(values: Any, reference: Any, *, bins: int = 10) -> float:
    """Return the population stability index of values against a reference, >= 0.

    sum of (p - q) ln(p / q) over the reference's quantile bins; shares below .0001 count as .0001. NaN values
    are left out; NaN where none is left. Ties can leave fewer bins than asked for.

    It is shown and never judged: PSI > .2, the usual rule, flags a third to nine tenths of independent
    features on 60 to 20 values, and almost all autocorrelated ones. (Yurdakul and Naranjo, Statistical
    properties of the population stability index, Journal of Risk Model Validation 14 (2020), pp. 89-100.)

    >>> psi([1, 2, 3, 4], [1, 2, 3, 4], bins=2)
    0.0
    """
    x = np.asarray(values, dtype=np.float64)
    x, q = x[~np.isnan(x)], np.sort(np.asarray(reference, dtype=np.float64))
    if not (x.size and q.size):
        return math.nan
    edges = np.unique(np.quantile(q, np.arange(1, bins) / bins))
    shares = [
        np.maximum(
            np.bincount(np.searchsorted(edges, each, side="left"), minlength=edges.size + 1) / each.size,
            _SHARE_FLOOR,
        )
        for each in (x, q)
    ]
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())
