"""Volatility: how much prices move, against themselves and over time."""

from __future__ import annotations

import numpy as np

from lockstep.features.feature import feature
from lockstep.features.inputs import Window
from lockstep.features.recursions import (
    atr_bars,
    average_true_range,
    in_atr,
    recursive_means,
    true_ranges,
)
from lockstep.features.windows import deviation, mean, noise, percentile_rank, ratio, standard_score

_INFINITY = float("inf")
_NOT_POSITIVE = "where a price in the window is not positive"
_LN_2 = 0.6931471805599453
_LEAST_CONTRACTION = 1e-12


@feature(lookback=atr_bars, range=(0, _INFINITY), shift_invariant=True, examples=((14,), (20,)))
def atr(high: Window, low: Window, close: Window, period: int) -> float:
    """Average true range in points, Wilder's smoothing: what stops and position sizes are measured in.

    Range [0, inf). It grows in proportion to prices. Never NaN.
    Source: Wilder, New Concepts in Technical Trading Systems (1978), section III.
    """
    return average_true_range(high, low, close, period)


@feature(
    lookback=lambda period, window: atr_bars(period) + window - 1,
    shift_invariant=True,
    scale_invariant=True,
    minimum={"window": 2},
    examples=((14, 100),),
)
def atr_z(high: Window, low: Window, close: Window, period: int, window: int) -> float:
    """Average true range as a z-score among its own last `window` values, the newest included.

    Range (-inf, inf), at most sqrt(window - 1) from 0; 0 where it does not vary. Never NaN.
    Source: Wilder, New Concepts in Technical Trading Systems (1978), section III, standardised.
    """
    averages = recursive_means(true_ranges(high, low, close), 1.0 / period, window)
    return standard_score(averages, noise(averages))


@feature(
    lookback=lambda period, window: atr_bars(period) + window - 1,
    range=(0, 1),
    shift_invariant=True,
    scale_invariant=True,
    minimum={"window": 2},
    examples=((14, 252),),
)
def atr_pctile(high: Window, low: Window, close: Window, period: int, window: int) -> float:
    """Share of the earlier ones among the last `window` average true ranges that lie below the newest.

    Rolling, never since the start. Range [0, 1]; ties count half, so 0.5 where all are equal. Never NaN.
    Source: Wilder, New Concepts in Technical Trading Systems (1978), section III; rank in a rolling window.
    """
    return percentile_rank(recursive_means(true_ranges(high, low, close), 1.0 / period, window))


@feature(
    lookback=lambda bars, per_year: bars + 1,
    range=(0, _INFINITY),
    nan=_NOT_POSITIVE,
    scale_invariant=True,
    minimum={"bars": 2},
    examples=((20, 252),),
)
def realised_vol(close: Window, bars: int, per_year: int) -> float:
    """Annualised volatility: sample deviation of the last `bars` log returns times sqrt(`per_year`).

    `per_year` is the number of bars in a year, 252 for sessions. Range [0, inf), 0.2 means 20 % a year.
    NaN where a close in the window is not positive.
    Source: Hull, Options, Futures, and Other Derivatives (2018), section 15.4.
    """
    logs = np.empty(bars)
    for i in range(bars):
        if close[i] <= 0.0 or close[i + 1] <= 0.0:
            return np.nan
        logs[i] = np.log(close[i + 1] / close[i])
    return float(deviation(logs) * np.sqrt(per_year * bars / (bars - 1.0)))


@feature(
    lookback=lambda bars, width, period: max(bars, atr_bars(period)),
    range=(0, _INFINITY),
    shift_invariant=True,
    scale_invariant=True,
    minimum={"bars": 2, "width": 0.1},
    examples=((20, 2, 14),),
)
def bandwidth(high: Window, low: Window, close: Window, bars: int, width: float, period: int) -> float:
    """Distance between the Bollinger bands (2 * `width` population deviations of `bars` closes) in ATRs.

    Bollinger divides by the middle band instead; that moves with every roll adjustment and has no meaning at
    negative prices. Range [0, inf); 0 where the ATR of `period` bars is 0. Never NaN.
    Source: Bollinger, Bollinger on Bollinger Bands (2001), chapter 8, in units of ATR.
    """
    return in_atr(2.0 * width * deviation(close[-bars:]), high, low, close, period)


@feature(
    lookback=lambda bars, per_year: bars,
    range=(0, _INFINITY),
    nan=_NOT_POSITIVE,
    scale_invariant=True,
    examples=((20, 252),),
)
def parkinson(high: Window, low: Window, bars: int, per_year: int) -> float:
    """Annualised volatility from ranges: sqrt(per_year * mean of ln(high / low)**2 / (4 ln 2)).

    Range [0, inf). NaN where a low in the window is not positive.
    Source: Parkinson, The Extreme Value Method for Estimating the Variance of the Rate of Return, Journal of
    Business 53 (1980), pp. 61-65.
    """
    total = 0.0
    for i in range(bars):
        if low[i] <= 0.0:
            return np.nan
        length = np.log(high[i] / low[i])
        total += length * length
    return float(np.sqrt(per_year * (total / bars) / (4.0 * _LN_2)))


@feature(
    lookback=lambda bars, per_year: bars,
    range=(0, _INFINITY),
    nan=_NOT_POSITIVE,
    scale_invariant=True,
    examples=((20, 252),),
)
def garman_klass(open: Window, high: Window, low: Window, close: Window, bars: int, per_year: int) -> float:
    """Annualised volatility from whole bars: mean of ln(H/L)**2 / 2 - (2 ln 2 - 1) * ln(C/O)**2.

    Range [0, inf). NaN where a low in the window is not positive.
    Source: Garman and Klass, On the Estimation of Security Price Volatilities from Historical Data, Journal
    of Business 53 (1980), pp. 67-78.
    """
    total = 0.0
    for i in range(bars):
        if low[i] <= 0.0:
            return np.nan
        length = np.log(high[i] / low[i])
        body = np.log(close[i] / open[i])
        total += 0.5 * length * length - (2.0 * _LN_2 - 1.0) * body * body
    return float(np.sqrt(per_year * max(0.0, total / bars)))


@feature(
    lookback=lambda short, long: atr_bars(long),
    range=(0, _INFINITY),
    shift_invariant=True,
    scale_invariant=True,
    check=lambda short, long: None if short < long else "needs short < long",
    examples=((5, 50),),
)
def vol_ratio(high: Window, low: Window, close: Window, short: int, long: int) -> float:
    """Average true range of `short` bars over that of `long` bars.

    Range [0, inf); 1 where the long one is 0. Never NaN.
    Source: Kaufman, Trading Systems and Methods (2013), chapter 20 (relative volatility).
    """
    near = average_true_range(high, low, close, short)
    return ratio(near, average_true_range(high, low, close, long), 1.0)


@feature(
    lookback=lambda short, long, cap: long + cap,
    range=(0, 1),
    shift_invariant=True,
    scale_invariant=True,
    check=lambda short, long, cap: None if short < long else "needs short < long",
    examples=((5, 20, 10),),
)
def compression(high: Window, low: Window, close: Window, short: int, long: int, cap: int) -> float:
    """Compression score: how deep and for how many bars in a row volatility has been contracted.

    A bar is compressed where the mean true range of its last `short` bars is below that of its last `long`
    bars. The score is depth (1 - short mean / long mean of the newest bar) times streak (compressed bars in
    a row, up to `cap`, over `cap`). Range [0, 1]; 0 where the newest bar is not compressed. Never NaN.
    Source: Crabel, Day Trading with Short Term Price Patterns (1990) (contraction), made a score.
    """
    ranges = true_ranges(high, low, close)
    depth = 0.0
    streak = 0
    while streak < cap:
        stop = ranges.size - streak
        usual = mean(ranges[stop - long : stop])
        contraction = 1.0 - ratio(mean(ranges[stop - short : stop]), usual, 1.0)
        if contraction <= _LEAST_CONTRACTION:
            break
        if streak == 0:
            depth = contraction
        streak += 1
    return depth * streak / cap
