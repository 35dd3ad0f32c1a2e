"""Pair: the declared pair instrument as of this bar, by itself and against this instrument.

Other instruments need no features of their own: every price feature takes a qualifier (`zscore_20@NQ`).
"""

from __future__ import annotations

import numpy as np

from lockstep.features.feature import feature
from lockstep.features.inputs import Window
from lockstep.features.recursions import relative_strength, wilder_bars
from lockstep.features.windows import (
    changes,
    correlation,
    covariance,
    deviation,
    noise,
    position,
    simple_returns,
    standard_score,
)

_ROUNDING = 1e-12


@feature(
    lookback=lambda bars: bars,
    nan="where a close of either instrument in the window is not positive",
    scale_invariant=True,
    minimum={"bars": 2},
    examples=((20,),),
)
def pair_log_ratio_z(close: Window, close_pair: Window, bars: int) -> float:
    """z-score of ln(close / close of the pair) among its last `bars` values; population deviation.

    Range (-inf, inf), at most sqrt(bars - 1) from 0; 0 where the ratio does not vary. NaN where a close of
    either instrument in the window is not positive.
    Source: Gatev, Goetzmann and Rouwenhorst, Pairs Trading, Review of Financial Studies 19 (2006),
    pp. 797-827.
    """
    logs = np.empty(bars)
    for i in range(bars):
        if close[i] <= 0.0 or close_pair[i] <= 0.0:
            return np.nan
        logs[i] = np.log(close[i] / close_pair[i])
    return standard_score(logs, _ROUNDING)


@feature(lookback=1, range=(0, 1), shift_invariant=True, scale_invariant=True)
def pair_ibs(high_pair: Window, low_pair: Window, close_pair: Window) -> float:
    """Internal bar strength of the pair's bar.

    Range [0, 1]; 0.5 where its high == low. Never NaN.
    Source: Pagonidis, The IBS Effect: Mean Reversion in Equity ETFs (2013).
    """
    return position(close_pair[-1], low_pair[-1], high_pair[-1], 0.5)


@feature(
    lookback=lambda period: wilder_bars(period) + 1,
    range=(0, 100),
    shift_invariant=True,
    scale_invariant=True,
    examples=((2,), (14,)),
)
def pair_rsi(close_pair: Window, period: int) -> float:
    """Relative strength index of the pair, Wilder's smoothing.

    Range [0, 100]; 50 where none of its closes in the window differs from the one before. Never NaN.
    Source: Wilder, New Concepts in Technical Trading Systems (1978), section VI.
    """
    return relative_strength(close_pair, period)


@feature(
    lookback=lambda bars: bars + 1,
    nan="where the pair's earlier close is not positive",
    scale_invariant=True,
    examples=((1,), (5,)),
)
def pair_ret(close_pair: Window, bars: int) -> float:
    """Simple return of the pair over `bars` bars.

    Range (-inf, inf). NaN where the pair's earlier close is not positive.
    Source: Campbell, Lo and MacKinlay, The Econometrics of Financial Markets (1997), section 1.4.1.
    """
    base = close_pair[-1 - bars]
    return float((close_pair[-1] - base) / base) if base > 0.0 else np.nan


@feature(
    lookback=lambda bars: bars,
    shift_invariant=True,
    scale_invariant=True,
    minimum={"bars": 2},
    examples=((20,),),
)
def pair_zscore(close_pair: Window, bars: int) -> float:
    """Distance of the pair's close from its mean over `bars` bars, in population deviations.

    Range (-inf, inf), at most sqrt(bars - 1) from 0; 0 where it does not vary. Never NaN.
    Source: Chan, Algorithmic Trading (2013), chapter 3 (z-score as entry signal).
    """
    return standard_score(close_pair, noise(close_pair))


@feature(
    lookback=lambda bars: bars + 1,
    range=(-1, 1),
    shift_invariant=True,
    scale_invariant=True,
    minimum={"bars": 3},
    examples=((20,), (60,)),
)
def pair_corr(close: Window, close_pair: Window, bars: int) -> float:
    """Correlation of the last `bars` 1-bar price changes of the two instruments.

    Range [-1, 1]; 0 where one of them does not vary. Never NaN.
    Source: Pearson's correlation; Chan, Algorithmic Trading (2013), chapter 2, on changes instead of prices.
    """
    return correlation(changes(close), changes(close_pair), noise(close), noise(close_pair))


@feature(
    lookback=lambda bars: bars + 1,
    nan="where an earlier close of either instrument in the window is not positive",
    scale_invariant=True,
    minimum={"bars": 3},
    examples=((60,),),
)
def pair_beta(close: Window, close_pair: Window, bars: int) -> float:
    """Slope of this instrument's 1-bar returns on the pair's, least squares over `bars` bars.

    Range (-inf, inf); 0 where the pair's returns do not vary. NaN where an earlier close of either
    instrument in the window is not positive.
    Source: Campbell, Lo and MacKinlay, The Econometrics of Financial Markets (1997), section 4.3.
    """
    returns = simple_returns(close)
    pair_returns = simple_returns(close_pair)
    spread = deviation(pair_returns)
    if spread <= _ROUNDING:
        return 0.0
    return covariance(returns, pair_returns) / spread / spread
