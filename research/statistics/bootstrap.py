"""Confidence intervals of any statistic of returns that depend on one another in time.

The stationary bootstrap: resample blocks of random length, so that dependence in time survives.

Politis and Romano (1994), The Stationary Bootstrap, JASA 89, 1303-1313; the block length that minimises the
error of the long-run variance: Politis and White (2004), Automatic Block-Length Selection, Econometric
Reviews 23, 53-70, with the correction of Patton, Politis and White (2009). Intervals and block lengths are
by `arch`, which is imported on first use: it takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats, Integers, sharpe
from lockstep.metrics.arrays import RESIDUE, spread
from research.statistics.sharpe import finite

_CHUNK = 250


def block_length(returns: Any) -> int:
    """Return the average block length for `returns`, float64 (T,) or (T, k): whole periods, 1 ... T.

    For several series the median of theirs: the longest of many is that of the one that chance made most
    persistent, and blocks longer than needed leave fewer of them. Series without variance are left out; 1
    where none varies. DataError for fewer than 8 rows or a value that is not finite.
    """
    from arch.bootstrap import optimal_block_length

    values = np.asarray(returns, dtype=np.float64)
    series = finite(values.reshape(values.shape[0], -1), "returns", dimensions=2, least=8)
    moving = series[:, [spread(column) > 0 for column in series.T]]
    if not moving.shape[1]:
        return 1
    lengths = optimal_block_length(moving)["stationary"].to_numpy(dtype=np.float64)
    known = lengths[np.isfinite(lengths)]
    middle = math.ceil(float(np.median(known))) if known.size else 1
    return int(min(series.shape[0], max(1, middle)))


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
    The rows are those that `arch` draws with this seed (tested), without the seconds that its import takes: a
    tear sheet asks for them after every run. ConfigError for `block` or `resamples` below 1.
    """
    require_draws(resamples, block)
    random = np.random.default_rng(seed)
    periods = values.shape[0]
    out = np.empty((resamples, values.shape[1]))
    drawn = np.empty((_CHUNK, periods))
    for low in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - low)
        for row in range(size):
            drawn[row] = np.bincount(_rows(random, periods, block), minlength=periods)
        out[low : low + size] = drawn[:size] @ values
    out /= periods
    return out


def _rows(random: np.random.Generator, periods: int, block: int) -> Integers:
    """Return the rows of a sample, int64 (T,): blocks from anywhere, of geometric length, round the end."""
    start = random.integers(periods, size=periods)
    begins = random.random(periods) <= 1.0 / block
    begins[0] = True
    place = np.arange(periods)
    first = np.maximum.accumulate(np.where(begins, place, 0))
    rows: Integers = (start[first] + place - first) % periods
    return rows


def resampled_rows(periods: int, *, block: int, resamples: int, seed: int) -> NDArray[np.int32]:
    """Return the rows of each stationary-bootstrap sample, int32 (resamples, periods); as `resampled_means`.

    One matrix for all that is to be compared: portfolios that meet the same sessions differ by themselves
    only. ConfigError for `block` or `resamples` below 1.
    """
    require_draws(resamples, block)
    random = np.random.default_rng(seed)
    out = np.empty((resamples, periods), dtype=np.int32)
    for row in out:
        row[:] = _rows(random, periods, block)
    return out


def sharpe_error(returns: Any, *, block: int | None = None, resamples: int = 1000, seed: int = 0) -> float:
    """Return the standard error of the Sharpe ratio per period: its deviation over bootstrap samples.

    returns   float64 (T,), T >= 8
    block     average block length in periods; by default `block_length(returns)`

    The ratio of a sample follows from its first two moments, which are means. Samples that do not vary
    count for nothing. DataError for returns that are not finite, too few, or do not vary.
    """
    values = finite(returns, "returns", least=8)
    if spread(values) == 0:
        raise DataError(f"returns: {values.size} equal values: a Sharpe ratio needs returns that vary")
    length = block_length(values) if block is None else block
    scale = float(np.abs(values).max())
    moments = np.stack([values / scale, (values / scale) ** 2], axis=1)
    means = resampled_means(moments, block=length, resamples=resamples, seed=seed)
    variances = (means[:, 1] - means[:, 0] ** 2) * values.size / (values.size - 1)
    moving = variances > RESIDUE * means[:, 1]
    return float(np.std(means[moving, 0] / np.sqrt(variances[moving]), ddof=1))


Statistic = Callable[[Floats], float]
_UNKNOWN = (math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A two-sided confidence interval.

    estimate     the statistic of the returns as they are
    low, high    bounds; nan where the statistic is nan in a resample
    level        (0, 1), nominal coverage
    block        average block length used, periods
    """

    estimate: float
    low: float
    high: float
    level: float
    block: int


def confidence_interval(
    returns: Any,
    statistic: Statistic = sharpe,
    *,
    level: float = 0.95,
    block: int | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval by the stationary bootstrap, from `arch`.

    returns     float64 (T,), T >= 8
    statistic   of a float64 (T,) to a number, such as `lockstep.metrics.sharpe` (the default, per period),
                `numpy.mean`, or one of your own
    block       average block length in periods; by default `block_length(returns)`

    Percentiles rather than bias-corrected ones: the statistics of interest can be skewed, and a percentile
    interval never leaves their range. Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter
    13. DataError for returns that are not finite or too few, ConfigError for a level, block or resamples out
    of range.
    """
    from arch.bootstrap import StationaryBootstrap

    if not 0 < level < 1:
        raise ConfigError(f"level {level}: must be above 0 and below 1, such as 0.95")
    values = finite(returns, "returns", least=8)
    length = block_length(values) if block is None else block
    require_draws(resamples, length)
    estimate = float(statistic(values))
    samples = StationaryBootstrap(length, values, seed=seed).bootstrap(resamples)
    drawn = np.array([float(statistic(np.asarray(sample[0][0]))) for sample in samples])
    bounds = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if np.isfinite(drawn).all() else _UNKNOWN
    low, high = float(bounds[0]), float(bounds[1])
    return Interval(estimate=estimate, low=low, high=high, level=level, block=length)
