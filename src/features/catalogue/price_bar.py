"""Price and bar: where a bar closes, how long it is, what it leaves behind."""

from __future__ import annotations

from lockstep.features.feature import feature
from lockstep.features.inputs import Window
from lockstep.features.recursions import atr_bars, in_atr, true_ranges
from lockstep.features.windows import highest, lowest, position


@feature(lookback=1, range=(0, 1), shift_invariant=True, scale_invariant=True)
def ibs(high: Window, low: Window, close: Window) -> float:
    """Internal bar strength: (close - low) / (high - low).

    Range [0, 1]; 0.5 where high == low. Never NaN.
    Source: Pagonidis, The IBS Effect: Mean Reversion in Equity ETFs (2013).
    """
    return position(close[-1], low[-1], high[-1], 0.5)


@feature(lookback=2, range=(0, 1), shift_invariant=True, scale_invariant=True)
def ibs_prev(high: Window, low: Window, close: Window) -> float:
    """Internal bar strength of the bar before.

    Range [0, 1]; 0.5 where that bar's high == low. Never NaN.
    Source: Pagonidis, The IBS Effect: Mean Reversion in Equity ETFs (2013), one bar late.
    """
    return position(close[-2], low[-2], high[-2], 0.5)


@feature(
    lookback=atr_bars, range=(0, float("inf")), shift_invariant=True, scale_invariant=True, examples=((14,),)
)
def range_atr(high: Window, low: Window, close: Window, period: int) -> float:
    """Range compression: high - low over the average true range of `period` bars, this one included.

    Range [0, inf); 0 where the average is 0. Never NaN.
    Source: Crabel, Day Trading with Short Term Price Patterns (1990) (contraction and expansion).
    """
    return in_atr(high[-1] - low[-1], high, low, close, period)


@feature(
    lookback=atr_bars, range=(0, float("inf")), shift_invariant=True, scale_invariant=True, examples=((14,),)
)
def true_range_atr(high: Window, low: Window, close: Window, period: int) -> float:
    """True range over the average true range of `period` bars, this one included.

    Range [0, inf); 0 where the average is 0. Never NaN.
    Source: Wilder, New Concepts in Technical Trading Systems (1978), section III (true range).
    """
    return in_atr(true_ranges(high[-2:], low[-2:], close[-2:])[0], high, low, close, period)


@feature(lookback=1, range=(-1, 1), shift_invariant=True, scale_invariant=True)
def body_fraction(open: Window, high: Window, low: Window, close: Window) -> float:
    """Signed body of the candle: (close - open) / (high - low).

    Range [-1, 1]; 0 where high == low. Never NaN.
    Source: Nison, Japanese Candlestick Charting Techniques (1991), chapter 3 (real body).
    """
    return 0.0 if high[-1] == low[-1] else float((close[-1] - open[-1]) / (high[-1] - low[-1]))


@feature(lookback=1, range=(0, 1), shift_invariant=True, scale_invariant=True)
def upper_wick(open: Window, high: Window, low: Window, close: Window) -> float:
    """Upper shadow of the candle: (high - max(open, close)) / (high - low).

    Range [0, 1]; 0 where high == low. Never NaN.
    Source: Nison, Japanese Candlestick Charting Techniques (1991), chapter 3 (shadows).
    """
    return 0.0 if high[-1] == low[-1] else float((high[-1] - max(open[-1], close[-1])) / (high[-1] - low[-1]))


@feature(lookback=1, range=(0, 1), shift_invariant=True, scale_invariant=True)
def lower_wick(open: Window, high: Window, low: Window, close: Window) -> float:
    """Lower shadow of the candle: (min(open, close) - low) / (high - low).

    Range [0, 1]; 0 where high == low. Never NaN.
    Source: Nison, Japanese Candlestick Charting Techniques (1991), chapter 3 (shadows).
    """
    return 0.0 if high[-1] == low[-1] else float((min(open[-1], close[-1]) - low[-1]) / (high[-1] - low[-1]))


@feature(lookback=atr_bars, shift_invariant=True, scale_invariant=True, examples=((14,),))
def gap_atr(open: Window, high: Window, low: Window, close: Window, period: int) -> float:
    """Opening gap: (open - previous close) over the average true range of `period` bars.

    Range (-inf, inf); 0 where the average is 0. Never NaN.
    Source: Crabel, Day Trading with Short Term Price Patterns (1990) (gaps), in units of ATR.
    """
    return in_atr(open[-1] - close[-2], high, low, close, period)


@feature(lookback=2, range=(0, 1), shift_invariant=True, scale_invariant=True)
def inside_bar(high: Window, low: Window) -> float:
    """1 where the bar lies within the one before (touching its high or low included), else 0.

    Range {0, 1}. Never NaN.
    Source: Crabel, Day Trading with Short Term Price Patterns (1990) (inside day).
    """
    return 1.0 if high[-1] <= high[-2] and low[-1] >= low[-2] else 0.0


@feature(
    lookback=lambda period: period,
    range=(0, 1),
    shift_invariant=True,
    scale_invariant=True,
    minimum={"period": 2},
    examples=((4,), (7,)),
)
def nr(high: Window, low: Window, period: int) -> float:
    """1 where the range is smaller than each of the `period` - 1 ranges before (NR7: nr_7), else 0.

    Range {0, 1}; a tie is no narrowest range. Never NaN.
    Source: Crabel, Day Trading with Short Term Price Patterns (1990) (NR4, NR7).
    """
    newest = high[-1] - low[-1]
    for i in range(period - 1):
        if high[i] - low[i] <= newest:
            return 0.0
    return 1.0


@feature(
    lookback=lambda bars, period: max(bars, atr_bars(period)),
    range=(0, float("inf")),
    shift_invariant=True,
    scale_invariant=True,
    examples=((20, 14), (252, 14)),
)
def distance_to_high(high: Window, low: Window, close: Window, bars: int, period: int) -> float:
    """Distance from the close up to the highest high of `bars` bars, in ATRs of `period` bars.

    Range [0, inf); 0 at the high, and where the ATR is 0. Never NaN.
    Source: George and Hwang, The 52-Week High and Momentum Investing, Journal of Finance 59 (2004),
    pp. 2145-2176, in units of ATR.
    """
    return in_atr(highest(high[-bars:]) - close[-1], high, low, close, period)


@feature(
    lookback=lambda bars, period: max(bars, atr_bars(period)),
    range=(0, float("inf")),
    shift_invariant=True,
    scale_invariant=True,
    examples=((20, 14), (252, 14)),
)
def distance_to_low(high: Window, low: Window, close: Window, bars: int, period: int) -> float:
    """Distance from the close down to the lowest low of `bars` bars, in ATRs of `period` bars.

    Range [0, inf); 0 at the low, and where the ATR is 0. Never NaN.
    Source: George and Hwang, The 52-Week High and Momentum Investing, Journal of Finance 59 (2004),
    pp. 2145-2176, mirrored and in units of ATR.
    """
    return in_atr(close[-1] - lowest(low[-bars:]), high, low, close, period)


@feature(
    lookback=lambda cap: cap + 1,
    range=(0, float("inf")),
    shift_invariant=True,
    scale_invariant=True,
    examples=((10,),),
)
def bull_streak(close: Window, cap: int) -> float:
    """Number of bars in a row that closed above the close before, counted up to `cap`.

    Range [0, cap]. Never NaN.
    Source: Connors and Alvarez, Short Term Trading Strategies That Work (2009) (days up or down in a row).
    """
    count = 0
    while count < cap and close[-1 - count] > close[-2 - count]:
        count += 1
    return float(count)


@feature(
    lookback=lambda cap: cap + 1,
    range=(0, float("inf")),
    shift_invariant=True,
    scale_invariant=True,
    examples=((10,),),
)
def bear_streak(close: Window, cap: int) -> float:
    """Number of bars in a row that closed below the close before, counted up to `cap`.

    Range [0, cap]. Never NaN.
    Source: Connors and Alvarez, Short Term Trading Strategies That Work (2009) (days up or down in a row).
    """
    count = 0
    while count < cap and close[-1 - count] < close[-2 - count]:
        count += 1
    return float(count)
