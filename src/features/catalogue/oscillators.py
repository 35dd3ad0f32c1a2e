"""Oscillators: the textbook's bounded and centred indicators."""

from __future__ import annotations

from lockstep.features.feature import feature
from lockstep.features.inputs import Window
from lockstep.features.oscillator_kernels import directional_index, macd_histogram, parabolic_stop
from lockstep.features.recursions import atr_bars, ema_bars, in_atr, relative_strength, wilder_bars
from lockstep.features.windows import deviation, highest, lowest, mean, noise, position


@feature(
    lookback=lambda period: wilder_bars(period) + 1,
    range=(0, 100),
    shift_invariant=True,
    scale_invariant=True,
    examples=((2,), (5,), (14,)),
)
def rsi(close: Window, period: int) -> float:
    """Relative strength index: 100 * average gain / (average gain + average loss), Wilder's smoothing.

    Range [0, 100]; 50 where no close in the window differs from the one before. Never NaN.
    Source: Wilder, New Concepts in Technical Trading Systems (1978), section VI.
    """
    return relative_strength(close, period)


@feature(
    lookback=lambda bars: bars,
    range=(0, 100),
    shift_invariant=True,
    scale_invariant=True,
    examples=((14,),),
)
def stoch_k(high: Window, low: Window, close: Window, bars: int) -> float:
    """Fast stochastic %K: 100 * (close - lowest low) / (highest high - lowest low) of `bars` bars.

    Range [0, 100]; 50 where the highest high == the lowest low. Never NaN.
    Source: Lane, Lane's Stochastics, Technical Analysis of Stocks & Commodities 2 (1984), pp. 87-90.
    """
    return 100.0 * position(close[-1], lowest(low), highest(high), 0.5)


@feature(
    lookback=lambda bars, smooth: bars + smooth - 1,
    range=(0, 100),
    shift_invariant=True,
    scale_invariant=True,
    examples=((14, 3),),
)
def stoch_d(high: Window, low: Window, close: Window, bars: int, smooth: int) -> float:
    """Stochastic %D: simple mean of the last `smooth` values of the fast %K of `bars` bars.

    Range [0, 100]; a %K without a range counts 50. Never NaN.
    Source: Lane, Lane's Stochastics, Technical Analysis of Stocks & Commodities 2 (1984), pp. 87-90.
    """
    total = 0.0
    for i in range(smooth):
        floor = lowest(low[i : i + bars])
        total += position(close[i + bars - 1], floor, highest(high[i : i + bars]), 0.5)
    return min(100.0, 100.0 * (total / smooth))


@feature(
    lookback=lambda bars, width: bars,
    shift_invariant=True,
    scale_invariant=True,
    minimum={"bars": 2, "width": 0.1},
    examples=((20, 2),),
)
def pctb(close: Window, bars: int, width: float) -> float:
    """Bollinger's %B: where the close lies between the lower (0) and the upper (1) band.

    Bands are the mean of `bars` closes -/+ `width` population deviations. Range (-inf, inf), mostly 0 to 1;
    0.5 where the closes do not vary. Never NaN.
    Source: Bollinger, Bollinger on Bollinger Bands (2001), chapter 8.
    """
    spread = deviation(close)
    return 0.5 if spread <= noise(close) else 0.5 + (close[-1] - mean(close)) / (2.0 * width * spread)


@feature(
    lookback=lambda bars, width: bars,
    shift_invariant=True,
    scale_invariant=True,
    minimum={"bars": 2, "width": 0.1},
    examples=((20, 2),),
)
def band_distance(close: Window, bars: int, width: float) -> float:
    """Distance from the close up to the upper Bollinger band, over the distance between the bands.

    Range (-inf, inf): 0 at the upper band, 1 at the lower, negative above the bands; 0.5 where the closes do
    not vary. Never NaN.
    Source: Bollinger, Bollinger on Bollinger Bands (2001), chapter 8 (1 - %B).
    """
    spread = deviation(close)
    return 0.5 if spread <= noise(close) else 0.5 - (close[-1] - mean(close)) / (2.0 * width * spread)


@feature(
    lookback=lambda fast, slow, signal, period: max(ema_bars(slow) + ema_bars(signal), atr_bars(period)),
    shift_invariant=True,
    scale_invariant=True,
    check=lambda fast, slow, signal, period: None if fast < slow else "needs fast < slow",
    examples=((12, 26, 9, 14),),
)
def macd_hist_atr(
    high: Window, low: Window, close: Window, fast: int, slow: int, signal: int, period: int
) -> float:
    """MACD histogram in ATRs: the MACD line (EMA fast - EMA slow) minus its EMA of `signal` bars.

    Range (-inf, inf); 0 where the ATR of `period` bars is 0. Never NaN.
    Source: Appel, Technical Analysis: Power Tools for Active Investors (2005), chapter 8.
    """
    return in_atr(macd_histogram(close, fast, slow, signal), high, low, close, period)


@feature(
    lookback=lambda period: wilder_bars(period) * 6 // 5 + 1,
    range=(0, 100),
    shift_invariant=True,
    scale_invariant=True,
    examples=((14,),),
)
def adx(high: Window, low: Window, close: Window, period: int) -> float:
    """Average directional index: Wilder's average of 100 * |+DI - -DI| / (+DI + -DI).

    The second average runs over as many bars as any Wilder average, the first began a fifth earlier: what it
    lacks then passes on with the least weights of the second, and the sum is as exact as either.
    Range [0, 100]; a bar without any directional movement in its window counts 0. Never NaN.
    Source: Wilder, New Concepts in Technical Trading Systems (1978), section IV.
    """
    return directional_index(high, low, period)


@feature(
    lookback=lambda step, limit, bars, period: max(bars, atr_bars(period)),
    shift_invariant=True,
    scale_invariant=True,
    minimum={"step": 0.001, "limit": 0.001, "bars": 3},
    check=lambda step, limit, bars, period: None if step <= limit <= 1 else "needs step <= limit <= 1",
    examples=((0.02, 0.2, 100, 14),),
)
def psar_distance(
    high: Window, low: Window, close: Window, step: float, limit: float, bars: int, period: int
) -> float:
    """Distance from the parabolic stop up to the close, in ATRs; positive while the stop is long.

    The stop starts afresh on the first of the last `bars` bars, long where the second low is not further
    below the first than the second high is above it; it has forgotten that start after its first turns.
    Range (-inf, inf); 0 where the ATR of `period` bars is 0. Never NaN.
    Source: Wilder, New Concepts in Technical Trading Systems (1978), section II.
    """
    stop = parabolic_stop(high[-bars:], low[-bars:], step, limit)
    return in_atr(close[-1] - stop, high, low, close, period)
