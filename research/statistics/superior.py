"""Is the best of many trials better than the benchmark, when all of them were looked at?

White (2000), A Reality Check for Data Snooping, Econometrica 68(5), 1097-1126; Hansen (2005), A Test for
Superior Predictive Ability, J. Business & Economic Statistics 23(4), 365-380; Romano and Wolf (2005),
Stepwise Multiple Testing as Formalized Data Snooping, Econometrica 73(4), 1237-1282, with adjusted p-values
by Romano and Wolf (2016), Efficient Computation of Adjusted p-Values, Statistics & Probability Letters 113,
38-40.

A trial's statistic is sqrt(T) x its mean excess / its sample standard deviation, and so is each of its
resamples. Hansen (section 2.1) divides by the bootstrap's own deviation instead: an estimate of the long-run
deviation from few blocks. The most underestimated of many then makes the greatest statistic, which the
resamples, divided by the same number, do not show: with 100 independent trials, 500 periods and blocks of 10,
a 5 % test rejects 10 % of the time. The sample deviation has no such noise, and dependence in time is in the
resamples anyway; it is a fixed scale, which the test stays valid under (White 2000, on any weights).

The rows are drawn by `arch`'s stationary bootstrap. The statistics are our own: in arch 8 `studentize`
selects the columns for the consistent p-value but does not enter the statistic; and its loops take 20 s for
5,000 days of 1,000 trials, where one product of matrices takes half a second. On returns that are divided by
their deviation beforehand both agree (tested).

Columns are **all** trials of a search: run on a shortlist of winners, these tests see nothing of the search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats
from lockstep.metrics.arrays import RESIDUE
from research.statistics.bootstrap import block_length, resampled_means
from research.statistics.sharpe import finite


@dataclass(frozen=True, kw_only=True)
class Superiority:
    """P-values of "no trial beats the benchmark", (0, 1]: (1 + exceedances) / (1 + resamples).

    lower        only trials at least as good as the benchmark are kept at their null: too small
    consistent   Hansen's: trials that are significantly worse do not count. Use this one
    upper        all trials count, however bad: too large
    best         position of the trial with the greatest statistic
    block        average block length used, periods
    """

    lower: float
    consistent: float
    upper: float
    best: int
    block: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _Draws:
    """Statistics sqrt(T) x mean / scale (k,), their centred resamples (R, k), and Hansen's bounds."""

    statistic: Floats
    centred: Floats
    bound: Floats
    block: int


def superior_predictive_ability(
    returns: Any, benchmark: Any = None, *, block: int | None = None, resamples: int = 1000, seed: int = 0
) -> Superiority:
    """Hansen's SPA with the consistent p-value; each trial's excess over its sample deviation.

    returns     float64 (T, k), T >= 8: returns of all trials
    benchmark   float64 (T,); zero by default, which asks for any profit at all
    block       average block length in periods; by default `block_length` of the differences

    Trials that equal the benchmark throughout have the statistic 0. DataError for values that are not finite
    or shapes that differ, ConfigError for block or resamples below 1.
    """
    draws = _draws(returns, benchmark, block, resamples, seed, studentised=True)
    return _superiority(draws)


def reality_check(
    returns: Any, benchmark: Any = None, *, block: int | None = None, resamples: int = 1000, seed: int = 0
) -> float:
    """White's Reality Check: p-value, (0, 1], not studentised, every trial at its null.

    Arguments as in `superior_predictive_ability`; it loses power with every bad or volatile trial among them.
    """
    draws = _draws(returns, benchmark, block, resamples, seed, studentised=False)
    return _superiority(draws).upper


def step_down_p_values(
    returns: Any, benchmark: Any = None, *, block: int | None = None, resamples: int = 1000, seed: int = 0
) -> Floats:
    """Romano and Wolf's StepM: a p-value per trial, float64 (k,), adjusted for all others.

    The trials with a value <= alpha are those that StepM finds superior, with a chance of at most alpha that
    any one of them is not. Over its sample deviation; arguments as in `superior_predictive_ability`.
    """
    draws = _draws(returns, benchmark, block, resamples, seed, studentised=True)
    order = np.argsort(-draws.statistic, kind="stable")
    # Greatest of the trials that are still in the race when each is tested, from the last to the first.
    remaining = np.maximum.accumulate(draws.centred[:, order[::-1]], axis=1)[:, ::-1]
    exceeding = np.count_nonzero(remaining >= draws.statistic[order], axis=0)
    adjusted = np.maximum.accumulate((1.0 + exceeding) / (1.0 + resamples))
    out = np.empty(order.size)
    out[order] = adjusted
    return out


def superior_trials(p_values: Floats, size: float = 0.05) -> tuple[int, ...]:
    """Positions of trials with an adjusted p-value <= `size`, rising; `size` in (0, 1) or ConfigError."""
    if not 0 < size < 1:
        raise ConfigError(f"size {size}: must be above 0 and below 1, such as 0.05")
    return tuple(int(trial) for trial in np.flatnonzero(p_values <= size))


def _draws(
    returns: Any, benchmark: Any, block: int | None, resamples: int, seed: int, *, studentised: bool
) -> _Draws:
    excess = _excess(returns, benchmark)
    length = block_length(excess) if block is None else block
    periods = excess.shape[0]
    means = resampled_means(excess, block=length, resamples=resamples, seed=seed)
    mean = excess.mean(axis=0)
    centred = (means - mean) * math.sqrt(periods)
    spread = excess.std(axis=0)
    spread[spread <= RESIDUE * np.sqrt((excess**2).mean(axis=0))] = math.inf
    scale = spread if studentised else np.ones_like(spread)
    # Hansen's bound lies in long-run deviations, which the resamples estimate.
    bound = -math.sqrt(2.0 * math.log(math.log(periods))) * np.sqrt((centred**2).mean(axis=0)) / scale
    return _Draws(
        statistic=mean * math.sqrt(periods) / scale, centred=centred / scale, bound=bound, block=length
    )


def _excess(returns: Any, benchmark: Any) -> Floats:
    values = finite(returns, "returns", dimensions=2, least=8)
    if benchmark is None:
        return values
    reference = finite(benchmark, "benchmark")
    if reference.size != values.shape[0]:
        raise DataError(
            f"benchmark: {reference.size} returns, trials {values.shape[0]}: need the same periods"
        )
    return values - reference[:, None]


def _superiority(draws: _Draws) -> Superiority:
    mean = draws.statistic
    lower = np.minimum(mean, 0.0)
    consistent = np.where(mean < draws.bound, mean, 0.0)
    return Superiority(
        lower=_p_value(draws, lower),
        consistent=_p_value(draws, consistent),
        upper=_p_value(draws, np.zeros_like(mean)),
        best=int(mean.argmax()),
        block=draws.block,
    )


def _p_value(draws: _Draws, shift: Floats) -> float:
    """P-value where the null of each trial lies at `shift` <= 0."""
    greatest = np.maximum((draws.centred + shift).max(axis=1), 0.0)
    observed = max(float(draws.statistic.max()), 0.0)
    return float((1 + np.count_nonzero(greatest >= observed)) / (1 + greatest.size))
