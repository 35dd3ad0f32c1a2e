"""Returns and drift: how far, how steadily and how unusually prices moved."""

from __future__ import annotations

import numpy as np

from lockstep.features.feature import feature
from lockstep.features.inputs import Window
from lockstep.features.windows import changes, deviation, noise, ratio, standard_score

_NOT_POSITIVE = "where the earlier close is not positive"


@feature(
    lookback=lambda bars: bars + 1,
    nan=_NOT_POSITIVE,
    scale_invariant=True,
    examples=((1,), (5,), (20,)),
)
def ret(close: Window, bars: int) -> float:
    """Simple return over `bars` bars: close / earlier close - 1.

    Range (-inf, inf); below -1 where prices turn negative. NaN where the earlier close is not positive.
    Source: Campbell, Lo and MacKinlay, The Econometrics of Financial Markets (1997), section 1.4.1.
    """
    base = close[-1 - bars]
    return float((close[-1] - base) / base) if base > 0.0 else np.nan


@feature(
    lookback=lambda bars: bars + 1,
    nan="where one of the two closes is not positive",
    scale_invariant=True,
    examples=((1,), (20,)),
)
def log_ret(close: Window, bars: int) -> float:
    """Log return over `bars` bars: ln(close / earlier close).

    Range (-inf, inf). NaN where one of the two closes is not positive.
    Source: Campbell, Lo and MacKinlay, The Econometrics of Financial Markets (1997), section 1.4.1.
    """
    base = close[-1 - bars]
    return float(np.log(close[-1] / base)) if base > 0.0 and close[-1] > 0.0 else np.nan


@feature(lookback=lambda lag: lag + 2, nan=_NOT_POSITIVE, scale_invariant=True, examples=((1,), (2,)))
def ret_lag(close: Window, lag: int) -> float:
    """One-bar simple return of `lag` bars ago; on daily bars ret_lag_1 is the previous day's return.

    Range (-inf, inf). NaN where the earlier close is not positive.
    Source: Lehmann, Fads, Martingales, and Market Efficiency, Quarterly Journal of Economics 105
    (1990), pp. 1-28.
    """
    base = close[-2 - lag]
    return float((close[-1 - lag] - base) / base) if base > 0.0 else np.nan


@feature(
    lookback=lambda bars: bars + 1,
    shift_invariant=True,
    scale_invariant=True,
    minimum={"bars": 2},
    examples=((10,), (20,)),
)
def drift(close: Window, bars: int) -> float:
    """Change over `bars` bars, over the deviation of the 1-bar changes times the square root of `bars`.

    It is defined on price differences, not on returns, so that a constant shift of all prices (a roll
    adjustment) leaves it as it is. Range (-inf, inf); 0 where the changes do not vary. Never NaN.
    Source: the t-statistic of the mean change, for example Moskowitz, Ooi and Pedersen, Time Series Momentum,
    Journal of Financial Economics 104 (2012), pp. 228-250.
    """
    spread = deviation(changes(close))
    if spread <= noise(close):
        return 0.0
    return float((close[-1] - close[0]) / (spread * np.sqrt(float(bars))))


@feature(
    lookback=lambda bars: bars + 1,
    range=(0, 1),
    shift_invariant=True,
    scale_invariant=True,
    examples=((10,), (20,)),
)
def efficiency_ratio(close: Window, bars: int) -> float:
    """Net change over `bars` bars, over the path walked: |change| / sum of |1-bar changes|.

    Range [0, 1]; 0 where nothing moved. Never NaN.
    Source: Kaufman, Trading Systems and Methods (2013), chapter 17 (adaptive techniques).
    """
    path = np.abs(changes(close))
    walked = 0.0
    for step in path:
        walked += step
    return min(1.0, ratio(abs(close[-1] - close[0]), walked, 0.0))


@feature(
    lookback=lambda short, middle, long: long + 1,
    range=(0, 1),
    shift_invariant=True,
    scale_invariant=True,
    check=lambda short, middle, long: None if short < middle < long else "needs short < middle < long",
    examples=((5, 10, 20),),
)
def efficiency_mix(close: Window, short: int, middle: int, long: int) -> float:
    """Efficiency ratios over three lengths, weighted 3 : 2 : 1 from the shortest to the longest.

    Range [0, 1]; a length over which nothing moved counts 0. Never NaN.
    Source: Kaufman, Trading Systems and Methods (2013), chapter 17, over several lengths; the weights are a
    choice.
    """
    walked = 0.0
    total = 0.0
    for age in range(1, long + 1):
        walked += abs(close[-age] - close[-1 - age])
        if age == short or age == middle or age == long:
            weight = 3.0 if age == short else 2.0 if age == middle else 1.0
            total += weight * min(1.0, ratio(abs(close[-1] - close[-1 - age]), walked, 0.0))
    return total / 6.0


@feature(
    lookback=lambda bars, window: bars + window,
    shift_invariant=True,
    scale_invariant=True,
    minimum={"window": 2},
    examples=((10, 60),),
)
def momentum_z(close: Window, bars: int, window: int) -> float:
    """Change over `bars` bars as a z-score among its own last `window` values, the newest included.

    Population deviation; price differences, not returns, so that a constant shift does not matter.
    Range (-inf, inf), at most sqrt(window - 1) from 0; 0 where the changes do not vary. Never NaN.
    Source: Chan, Algorithmic Trading (2013), chapter 6 (time series momentum), standardised.
    """
    return standard_score(close[bars:] - close[:-bars], noise(close))


@feature(
    lookback=lambda bars: bars,
    shift_invariant=True,
    scale_invariant=True,
    minimum={"bars": 2},
    examples=((20,),),
)
def zscore(close: Window, bars: int) -> float:
    """Distance of the close from its mean over `bars` bars, in population standard deviations.

    Range (-inf, inf), at most sqrt(bars - 1) from 0; 0 where the closes do not vary. Never NaN.
    Source: Chan, Algorithmic Trading (2013), chapter 3 (z-score as entry signal).
    """
    return standard_score(close, noise(close))
