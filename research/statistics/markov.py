"""Markov switching as a report may show it: filtered, with parameters of earlier windows.

Two states of returns, each with a mean and a variance of its own: Hamilton, A New Approach to the Economic
Analysis of Nonstationary Time Series and the Business Cycle, Econometrica 57 (1989), pp. 357-384; fitted by
statsmodels. The filter itself is the one that a running desk uses (`lockstep.monitoring.regimes`).
Smoothed probabilities, and filtered ones with parameters of the whole sample, know the future. Neither is
offered here, and no feature is made of this: strategies have the feature `regime`.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats
from lockstep.metrics.arrays import spread
from lockstep.monitoring.regimes import VolatilityFilter
from research.statistics.sharpe import finite

WINDOW, REFIT = 1000, 250
_LEAST_WINDOW = 100


def turbulent_probabilities(returns: Any, *, window: int = WINDOW, refit: int = REFIT) -> Floats:
    """Return the probability of the state with the larger variance at each return, float64 (n,), [0, 1].

    returns   float64 (n,), n > window, such as daily returns or changes in points
    window    how many returns the parameters are fitted on; refit: after how many they are fitted again

    The value at t depends on returns up to t: its parameters come from the `window` returns before the
    stretch of `refit` that t is in, and the filter runs from the beginning of that window. NaN for the first
    `window` returns, and for a stretch whose window does not vary or cannot be fitted. DataError for returns
    that are not finite or too few, ConfigError for a window below 100 or a refit below 1.

    >>> calm, wild = np.tile([0.1, -0.1], 60), np.tile([2.0, -2.1], 10)
    >>> found = turbulent_probabilities(np.concatenate((calm, wild, calm, wild)), window=140, refit=140)
    >>> bool(np.isnan(found[:140]).all()), bool(found[200] < 0.1), bool(found[-1] > 0.9)
    (True, True, True)
    """
    if window < _LEAST_WINDOW:
        raise ConfigError(f"window {window}: must be at least {_LEAST_WINDOW} returns; 1000 is usual")
    if refit < 1:
        raise ConfigError(f"refit {refit}: must be at least 1 return; 250 is usual")
    values = finite(returns, "returns")
    if values.size <= window:
        raise DataError(
            f"Markov switching: {values.size} returns: needs {window + 1}, a window of {window} and one more"
        )
    found = np.full(values.size, math.nan)
    for start in range(window, values.size, refit):
        stop = min(start + refit, values.size)
        found[start:stop] = _filtered(values[start - window : start], values[start - window : stop])[window:]
    return found


def fitted_filter(returns: Any) -> VolatilityFilter:
    """Return the filter of two states that fits returns best, to be frozen and used on later ones.

    returns   float64 (n,), n >= 100, such as daily returns. DataError for returns that are not finite, too
              few, or do not vary, and where no two states can be fitted: give another stretch.
    """
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    values = finite(returns, "returns")
    scale = spread(values) if values.size >= _LEAST_WINDOW else 0.0
    if not scale > 0.0:
        raise DataError(
            f"Markov switching: {values.size} returns; needs {_LEAST_WINDOW} that vary; give a longer stretch"
        )
    try:
        # It warns where the optimiser stopped early; the parameters come from earlier windows all the same.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts: dict[str, Any] = {"k_regimes": 2, "trend": "c", "switching_variance": True}
            fitted = MarkovRegression(values / scale, **parts).fit(disp=False)
        stay_first, leave_second, *rest = (float(each) for each in fitted.params)
        states = sorted(
            (math.sqrt(rest[2 + place]) * scale, rest[place] * scale, stay)
            for place, stay in enumerate((stay_first, 1.0 - leave_second))
        )
        deviation, mean, stay = zip(*states, strict=True)
        return VolatilityFilter(mean=mean, deviation=deviation, stay=stay)
    except (np.linalg.LinAlgError, ValueError) as error:
        raise DataError(
            f"Markov switching: no two states fit these {values.size} returns; give another stretch"
        ) from error


def _filtered(past: Floats, whole: Floats) -> Floats:
    """Return the filtered probabilities of `whole` by parameters fitted on `past`, its beginning."""
    try:
        return fitted_filter(past).probabilities(whole)
    except DataError:
        return np.full(whole.size, math.nan)
