"""Market regimes: one of four states, from the trend and the volatility of a window."""

from __future__ import annotations

import numpy as np

from lockstep.features.feature import feature
from lockstep.features.inputs import Window
from lockstep.features.recursions import atr_bars, recursive_means, true_ranges
from lockstep.features.windows import changes, deviation, noise, percentile_rank

BEAR, SIDEWAYS, BULL, HIGH_VOLATILITY = -1.0, 0.0, 1.0, 2.0


@feature(
    lookback=lambda bars, trend, period, window, calm: max(bars + 1, atr_bars(period) + window - 1),
    range=(BEAR, HIGH_VOLATILITY),
    shift_invariant=True,
    scale_invariant=True,
    minimum={"bars": 2, "window": 2},
    check=lambda bars, trend, period, window, calm: None if calm <= 1.0 else "needs calm <= 1",
    examples=((200, 0.5, 14, 252, 0.8), (60, 1.0, 5, 100, 0.9)),
)
def regime(
    high: Window, low: Window, close: Window, bars: int, trend: float, period: int, window: int, calm: float
) -> float:
    """Market regime: 2 high volatility, else 1 bull, -1 bear, 0 sideways.

    High volatility: more than `calm` of the last `window` - 1 average true ranges of `period` bars lie below
    the newest. Otherwise the trend decides, the change over `bars` bars over the deviation of the 1-bar
    changes times sqrt(`bars`), which is about standard normal on a random walk: bull from `trend` on, bear
    from -`trend` on, sideways between. Changes are in points, so that negative prices and rolls do no harm.
    A window without movement, or one of equal steps, is sideways; `calm` 1 never finds high volatility.
    Range {-1, 0, 1, 2}. Never NaN.
    Source: Wilder, New Concepts in Technical Trading Systems (1978), section III (true range), ranked; trend
    by the t-statistic of the mean change, Moskowitz, Ooi and Pedersen, Time Series Momentum, Journal of
    Financial Economics 104 (2012), pp. 228-250.
    """
    averages = recursive_means(true_ranges(high, low, close), 1.0 / period, window)
    if percentile_rank(averages) > calm:
        return HIGH_VOLATILITY
    stretch = close[close.size - bars - 1 :]
    spread = deviation(changes(stretch))
    if spread <= noise(stretch):
        return SIDEWAYS
    moved = (stretch[-1] - stretch[0]) / (spread * np.sqrt(float(bars)))
    if moved >= trend and moved > 0.0:
        return BULL
    return BEAR if moved <= -trend and moved < 0.0 else SIDEWAYS
