"""Volume: how much was traded, and which way."""

from __future__ import annotations

import numpy as np

from lockstep.features.feature import feature
from lockstep.features.inputs import Window
from lockstep.features.windows import (
    changes,
    correlation,
    least_squares_slope,
    mean,
    noise,
    percentile_rank,
    ratio,
    standard_score,
)


@feature(
    lookback=lambda bars: bars,
    range=(0, 1),
    shift_invariant=True,
    scale_invariant=True,
    minimum={"bars": 2},
    examples=((20,), (252,)),
)
def volume_pctile(volume: Window, bars: int) -> float:
    """Share of the `bars` - 1 earlier volumes that lie below the newest.

    Rolling, never since the start. Range [0, 1]; ties count half, so 0.5 where all are equal. Never NaN.
    Source: rank over a rolling window; Gervais, Kaniel and Mingelgrin, The High-Volume Return Premium,
    Journal of Finance 56 (2001), pp. 877-919.
    """
    return percentile_rank(volume)


@feature(
    lookback=lambda bars: bars,
    shift_invariant=True,
    scale_invariant=True,
    minimum={"bars": 2},
    examples=((20,),),
)
def volume_z(volume: Window, bars: int) -> float:
    """Volume as a z-score among the last `bars` volumes, the newest included; population deviation.

    Range (-inf, inf), at most sqrt(bars - 1) from 0; 0 where volume does not vary. Never NaN.
    Source: Karpoff, The Relation Between Price Changes and Trading Volume, Journal of Financial and
    Quantitative Analysis 22 (1987), pp. 109-126.
    """
    return standard_score(volume, noise(volume))


@feature(
    lookback=lambda short, long: long,
    range=(0, float("inf")),
    shift_invariant=True,
    scale_invariant=True,
    check=lambda short, long: None if short < long else "needs short < long",
    examples=((5, 20),),
)
def volume_ratio(volume: Window, short: int, long: int) -> float:
    """Mean volume of the last `short` bars over that of the last `long` bars.

    Range [0, long / short]; 1 where nothing was traded in `long` bars. Never NaN.
    Source: Kaufman, Trading Systems and Methods (2013), chapter 12 (volume oscillators).
    """
    return max(0.0, ratio(mean(volume[-short:]), mean(volume), 1.0))


@feature(
    lookback=lambda bars: bars + 1,
    range=(-1, 1),
    shift_invariant=True,
    scale_invariant=True,
    minimum={"bars": 3},
    examples=((20,),),
)
def volume_price_corr(close: Window, volume: Window, bars: int) -> float:
    """Correlation of the last `bars` 1-bar price changes with the volumes of the same bars.

    Range [-1, 1]; 0 where one of them does not vary. Never NaN.
    Source: Karpoff, The Relation Between Price Changes and Trading Volume, Journal of Financial and
    Quantitative Analysis 22 (1987), pp. 109-126.
    """
    return correlation(changes(close), volume[1:], noise(close), noise(volume))


@feature(
    lookback=lambda bars: bars + 1,
    shift_invariant=True,
    scale_invariant=True,
    minimum={"bars": 2},
    examples=((20,),),
)
def obv_slope(close: Window, volume: Window, bars: int) -> float:
    """Slope per bar of on-balance volume over `bars` bars, in units of their mean volume.

    On-balance volume starts at 0 in the window; the slope is of its least-squares line. Range (-inf, inf),
    mostly -1 to 1; 0 where nothing was traded. Never NaN.
    Source: Granville, Granville's New Key to Stock Market Profits (1963) (on-balance volume).
    """
    balance = np.empty(bars)
    total = 0.0
    for i in range(bars):
        step = close[i + 1] - close[i]
        total += volume[i + 1] if step > 0.0 else -volume[i + 1] if step < 0.0 else 0.0
        balance[i] = total
    return ratio(least_squares_slope(balance), mean(volume[1:]), 0.0)
