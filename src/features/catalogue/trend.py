"""Trend: the close against averages, channels and turning points, in units of the average true range."""

from __future__ import annotations

from lockstep.features.feature import feature
from lockstep.features.inputs import Window
from lockstep.features.oscillator_kernels import is_pivot_high, is_pivot_low, overhead_supply
from lockstep.features.recursions import atr_bars, ema, ema_bars, in_atr
from lockstep.features.windows import highest, lowest, mean, position

_FARTHEST = 10.0


@feature(
    lookback=lambda span, period: max(ema_bars(span), atr_bars(period)),
    shift_invariant=True,
    scale_invariant=True,
    examples=((50, 14), (200, 14)),
)
def close_ema_atr(high: Window, low: Window, close: Window, span: int, period: int) -> float:
    """Close minus its exponential average of `span` bars, in ATRs of `period` bars.

    Range (-inf, inf); 0 where the ATR is 0. Never NaN.
    Source: Kaufman, Trading Systems and Methods (2013), chapter 7 (exponential smoothing), in units of ATR.
    """
    return in_atr(close[-1] - ema(close, span), high, low, close, period)


@feature(
    lookback=lambda bars, period: max(bars, atr_bars(period)),
    shift_invariant=True,
    scale_invariant=True,
    examples=((20, 14), (200, 14)),
)
def close_sma_atr(high: Window, low: Window, close: Window, bars: int, period: int) -> float:
    """Close minus its simple average of `bars` bars, in ATRs of `period` bars.

    Range (-inf, inf); 0 where the ATR is 0. Never NaN.
    Source: Kaufman, Trading Systems and Methods (2013), chapter 7 (moving averages), in units of ATR.
    """
    return in_atr(close[-1] - mean(close[-bars:]), high, low, close, period)


@feature(
    lookback=lambda bars, step, period: max(bars + step, atr_bars(period)),
    shift_invariant=True,
    scale_invariant=True,
    examples=((50, 5, 14),),
)
def sma_slope_atr(high: Window, low: Window, close: Window, bars: int, step: int, period: int) -> float:
    """Change per bar of the simple average of `bars` bars over the last `step` bars, in ATRs.

    Range (-inf, inf); 0 where the ATR of `period` bars is 0. Never NaN.
    Source: Kaufman, Trading Systems and Methods (2013), chapter 7 (slope of a moving average), in ATRs.
    """
    before = mean(close[close.size - bars - step : close.size - step])
    return in_atr((mean(close[-bars:]) - before) / step, high, low, close, period)


@feature(
    lookback=lambda span, step, period: max(ema_bars(span) + step, atr_bars(period)),
    shift_invariant=True,
    scale_invariant=True,
    examples=((20, 5, 14),),
)
def ema_slope_atr(high: Window, low: Window, close: Window, span: int, step: int, period: int) -> float:
    """Change per bar of the exponential average of `span` bars over the last `step` bars, in ATRs.

    Range (-inf, inf); 0 where the ATR of `period` bars is 0. Never NaN.
    Source: Kaufman, Trading Systems and Methods (2013), chapter 7 (exponential smoothing), in ATRs.
    """
    return in_atr((ema(close, span) - ema(close[:-step], span)) / step, high, low, close, period)


@feature(
    lookback=lambda fast, slow, period: max(slow, atr_bars(period)),
    shift_invariant=True,
    scale_invariant=True,
    check=lambda fast, slow, period: None if fast < slow else "needs fast < slow",
    examples=((10, 50, 14),),
)
def sma_spread_atr(high: Window, low: Window, close: Window, fast: int, slow: int, period: int) -> float:
    """Simple average of `fast` bars minus that of `slow` bars, in ATRs of `period` bars.

    Range (-inf, inf); 0 where the ATR is 0. Never NaN.
    Source: Brock, Lakonishok and LeBaron, Simple Technical Trading Rules, Journal of Finance 47 (1992),
    pp. 1731-1764 (variable length moving average), in units of ATR.
    """
    return in_atr(mean(close[-fast:]) - mean(close[-slow:]), high, low, close, period)


@feature(
    lookback=lambda fast, slow, period: max(ema_bars(slow), atr_bars(period)),
    shift_invariant=True,
    scale_invariant=True,
    check=lambda fast, slow, period: None if fast < slow else "needs fast < slow",
    examples=((12, 26, 14),),
)
def ema_spread_atr(high: Window, low: Window, close: Window, fast: int, slow: int, period: int) -> float:
    """Exponential average of `fast` bars minus that of `slow` bars (the MACD line), in ATRs.

    Range (-inf, inf); 0 where the ATR of `period` bars is 0. Never NaN.
    Source: Appel, Technical Analysis: Power Tools for Active Investors (2005), chapter 8, in units of ATR.
    """
    return in_atr(ema(close, fast) - ema(close, slow), high, low, close, period)


@feature(
    lookback=lambda bars: bars,
    range=(0, 1),
    shift_invariant=True,
    scale_invariant=True,
    examples=((20,),),
)
def donchian_position(high: Window, low: Window, close: Window, bars: int) -> float:
    """Where the close lies between the lowest low (0) and the highest high (1) of `bars` bars.

    Range [0, 1]; 0.5 where they are equal. Never NaN.
    Source: Kaufman, Trading Systems and Methods (2013), chapter 5 (Donchian's channel breakout).
    """
    return position(close[-1], lowest(low), highest(high), 0.5)


@feature(
    lookback=lambda bars: bars,
    range=(0, 1),
    shift_invariant=True,
    scale_invariant=True,
    examples=((20,),),
)
def donchian_proximity(high: Window, low: Window, close: Window, bars: int) -> float:
    """Nearness to the closer edge of the channel of `bars` bars: 1 at an edge, 0 in the middle.

    Range [0, 1]; 0 where the channel has no height. Never NaN.
    Source: Kaufman, Trading Systems and Methods (2013), chapter 5 (Donchian's channel breakout).
    """
    return abs(2.0 * position(close[-1], lowest(low), highest(high), 0.5) - 1.0)


@feature(
    lookback=lambda wing, bars: bars,
    range=(-1, 1),
    shift_invariant=True,
    scale_invariant=True,
    check=lambda wing, bars: None if bars > 2 * wing else "needs bars > 2 * wing",
    examples=((2, 60),),
)
def pivot_position(high: Window, low: Window, close: Window, wing: int, bars: int) -> float:
    """The close against the latest confirmed fractal pivots of the last `bars` bars: 1, 0 or -1.

    A pivot high is higher than `wing` bars on each side, so it is known `wing` bars late; lows mirrored.
    1 above the latest pivot high, -1 below the latest pivot low, 0 between them, where there is none, or
    where both hold. Range {-1, 0, 1}. Never NaN.
    Source: Williams, Trading Chaos (1995) (fractals).
    """
    above = 0.0
    below = 0.0
    for i in range(bars - 1 - wing, wing - 1, -1):
        if is_pivot_high(high, i, wing):
            above = 1.0 if close[-1] > high[i] else 0.0
            break
    for i in range(bars - 1 - wing, wing - 1, -1):
        if is_pivot_low(low, i, wing):
            below = 1.0 if close[-1] < low[i] else 0.0
            break
    return above - below


@feature(
    lookback=lambda wing, bars, period: max(bars, atr_bars(period)),
    range=(0, _FARTHEST),
    shift_invariant=True,
    scale_invariant=True,
    check=lambda wing, bars, period: None if bars > 2 * wing else "needs bars > 2 * wing",
    examples=((2, 60, 14),),
)
def supply_zone_distance(
    open: Window, high: Window, low: Window, close: Window, wing: int, bars: int, period: int
) -> float:
    """Distance from the close up to the nearest untouched supply zone of the last `bars` bars, in ATRs.

    A zone reaches from the body's top to the high of a pivot high (higher than `wing` bars on each side), and
    is used up by a later close above that high. Range [0, 10]: 0 within a zone or where the ATR of `period`
    bars is 0, 10 where it is that far or where there is none. Never NaN.
    Source: Seiden's supply and demand zones, on the fractals of Williams, Trading Chaos (1995).
    """
    gap = overhead_supply(open[-bars:], high[-bars:], close[-bars:], wing)
    return _FARTHEST if gap < 0.0 else min(_FARTHEST, in_atr(gap, high, low, close, period))
