"""How often tests of returns without skill reject at 5 %, with fixed seeds.

A true 5 % test exceeds 50 of 1,000 in nearly half of all runs. A simulation fails only above the 99.9 %
binomial bound.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import binom

from lockstep.metrics import Floats
from research.statistics.bootstrap import resampled_means
from research.statistics.sharpe import SharpeSample, probabilistic_sharpe
from research.statistics.superior import (
    reality_check,
    step_down_p_values,
    superior_predictive_ability,
)

LEVEL = 0.05
RESAMPLES = 199


def bound(count: int, level: float = LEVEL) -> int:
    """The rejections among `count` that a true test of this `level` exceeds once in a thousand runs."""
    return int(binom.ppf(0.999, count, level))


def _spa(returns: Floats, block: int, seed: int) -> float:
    return superior_predictive_ability(returns, block=block, resamples=RESAMPLES, seed=seed).consistent


def _check(returns: Floats, block: int, seed: int) -> float:
    return reality_check(returns, block=block, resamples=RESAMPLES, seed=seed)


def _step(returns: Floats, block: int, seed: int) -> float:
    return float(step_down_p_values(returns, block=block, resamples=RESAMPLES, seed=seed).min())


def _bootstrap_scale(returns: Floats, block: int, seed: int) -> float:
    """The negative control: every trial over the bootstrap's own deviation, as it was until now."""
    means = resampled_means(returns, block=block, resamples=RESAMPLES, seed=seed)
    return _check(returns / means.std(axis=0), block, seed)


TESTS: dict[str, Callable[[Floats, int, int], float]] = {
    "SPA": _spa,
    "reality check": _check,
    "step-down": _step,
    "bootstrap deviation as scale": _bootstrap_scale,
}


def superior_rejections(name: str, count: int, *, periods: int, trials: int, block: int, seed: int) -> int:
    """Searches without skill, of independent trials, in which a test of the best rejects at 5 %."""
    test = TESTS[name]
    random = np.random.default_rng(seed)
    drawn = (random.normal(size=(periods, trials)) for _ in range(count))
    return sum(test(returns, block, seed + run) <= LEVEL for run, returns in enumerate(drawn))


def autocorrelated(random: np.random.Generator, periods: int, phi: float) -> Floats:
    """Returns without skill in which a share `phi` of each carries over to the next, float64 (periods,)."""
    shocks = random.normal(size=periods + 50)
    out = np.empty(periods + 50)
    out[0] = shocks[0]
    for period in range(1, out.size):
        out[period] = phi * out[period - 1] + shocks[period]
    return out[50:]


def sharpe_rejections(
    measure: Callable[[Floats], SharpeSample], count: int, *, periods: int, phi: float, seed: int
) -> int:
    """Series without skill whose probabilistic Sharpe ratio is 95 % or more."""
    random = np.random.default_rng(seed)
    found = (probabilistic_sharpe(measure(autocorrelated(random, periods, phi))) for _ in range(count))
    return sum(each >= 1 - LEVEL for each in found)
