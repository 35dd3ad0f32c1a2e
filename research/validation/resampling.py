"""The stationary bootstrap: resample blocks of random length, so that dependence in time survives.

Politis and Romano (1994), The Stationary Bootstrap, JASA 89, 1303-1313; the block length that minimises the
error of the long-run variance: Politis and White (2004), Automatic Block-Length Selection, Econometric
Reviews 23, 53-70, with the correction of Patton, Politis and White (2009). Both by `arch`, which is imported
on first use: it takes seconds.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lockstep.errors import ConfigError
from lockstep.metrics import Floats
from lockstep.metrics.arrays import spread
from research.validation.arrays import finite

_CHUNK = 250


def block_length(returns: Any) -> int:
    """Return the average block length for `returns`, float64 (T,) or (T, k): whole periods, 1 ... T.

    For several series the longest of theirs. A series without variance asks for 1.
    """
    from arch.bootstrap import optimal_block_length

    values = np.asarray(returns, dtype=np.float64)
    series = finite(values.reshape(values.shape[0], -1), "returns", dimensions=2, least=8)
    moving = series[:, [spread(column) > 0 for column in series.T]]
    if not moving.shape[1]:
        return 1
    lengths = optimal_block_length(moving)["stationary"].to_numpy(dtype=np.float64)
    longest = math.ceil(float(np.nanmax(lengths, initial=1.0)))
    return int(min(series.shape[0], longest))


def require_draws(resamples: int, block: int) -> None:
    """Raise ConfigError unless both are positive."""
    if resamples < 1:
        raise ConfigError(f"resamples {resamples}: must be positive; 2000 is usual")
    if block < 1:
        raise ConfigError(f"block length {block}: must be at least 1 period; leave it out to estimate it")


def resampled_means(values: Floats, *, block: int, resamples: int, seed: int) -> Floats:
    """Return the column means of `resamples` stationary-bootstrap samples of `values` (T, k), (resamples, k).

    A mean depends on how often each row was drawn and on nothing else, so that the samples of all
    columns are one product of matrices. All columns share the rows drawn, as the tests of many trials need.
    """
    from arch.bootstrap import StationaryBootstrap

    require_draws(resamples, block)
    periods = values.shape[0]
    out = np.empty((resamples, values.shape[1]))
    drawn = np.empty((_CHUNK, periods))
    samples = StationaryBootstrap(block, np.arange(periods), seed=seed).bootstrap(resamples)
    for low in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - low)
        for row in range(size):
            drawn[row] = np.bincount(next(samples)[0][0], minlength=periods)
        out[low : low + size] = drawn[:size] @ values
    out /= periods
    return out
