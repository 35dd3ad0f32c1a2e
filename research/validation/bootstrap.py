"""Confidence intervals of any statistic of returns that depend on one another in time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.errors import ConfigError
from lockstep.metrics import Floats, sharpe
from research.validation.arrays import finite
from research.validation.resampling import block_length, require_draws

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
