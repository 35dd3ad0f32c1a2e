"""Wealth of a bet that a mean has fallen below its floor: an e-detector that starts anew each month.

x in [0, 1]; a healthy stream has E[x | past] >= m. What a bet wins or loses is the **gain**

    g = (x - m) / (1 - m)  in  [-m / (1 - m), 1],     W_j <- (W_j + s) (1 - c_j g)

so that lambda_j = c_j / (1 - m), and every factor is at least 1 - c_j > 0 while c_j < 1. s = 1 / (12 J) for J
bets, added at the first bet of each calendar month.

**Guarantee.** Each factor has a conditional mean of at most 1 in health, so the sum of the W_j minus what was
added so far is a supermartingale. A year adds 1 in all, hence P(the sum reaches 1 / alpha within Y calendar
years) <= alpha Y, however often somebody looks. A year that begins within a month touches 13 of them.

Shin, Ramdas and Rinaldo (2024), E-detectors: a nonparametric framework for sequential change detection, New
England Journal of Statistics in Data Science 2, 229-260. Bets on a bounded mean: Waudby-Smith and Ramdas
(2024), Estimating means of bounded random variables by betting, JRSS B 86, 1-27.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.metrics.arrays import Floats

# Falls of the mean, in deviations of one bet, at which the five bets grow fastest. A win rate of .62 that
# falls to .52 falls by .21.
FALLS = (0.06, 0.12, 0.18, 0.25, 0.40)
# The largest share of the wealth that one bet can lose; below 1, so that no wealth ends at zero.
LARGEST_BET = 0.9
ALPHA = 0.05
MONTHS = 12


def bets(deviation: float) -> tuple[float, ...]:
    """Return the shares c_j that are bet: falls over the deviation of a bet's gain, at most `LARGEST_BET`.

    A bet of c = fall / variance grows fastest, and `FALLS` are in deviations. ConfigError where `deviation`
    is not positive.

    >>> [round(each, 3) for each in bets(1.28)]
    [0.047, 0.094, 0.141, 0.195, 0.312]
    """
    if not deviation > 0:
        raise ConfigError(f"deviation {deviation}: must be positive; outcomes that never vary have no bets")
    return tuple(min(fall / deviation, LARGEST_BET) for fall in FALLS)


def gains(x: Any, floor: Any) -> Floats:
    """Return (x - m) / (1 - m), at most 1; its mean is at least 0 in health.

    x       float64 (...), each in [0, 1]; floor   m in [0, 1), of any shape that fits

    DataError for x outside [0, 1] or nan, ConfigError for such a floor.
    """
    values, least = np.asarray(x, dtype=np.float64), np.asarray(floor, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        wrong = values[~((values >= 0) & (values <= 1))].flat[0]
        raise DataError(f"outcome {wrong}: must lie in [0, 1]; leave out what is not known")
    if not ((least >= 0) & (least < 1)).all():
        raise ConfigError(f"floor {floor}: must lie in [0, 1); make the reference again")
    out: Floats = (values - least) / (1.0 - least)
    return out


def grown(wealth: Sequence[Any], shares: Sequence[float], gain: Any, *, starts: bool) -> list[Any]:
    """Return the wealth of each bet after a gain: one stream in floats, or many paths in arrays, equally.

    starts   whether this is the month's first bet
    """
    added = 1.0 / (MONTHS * len(shares)) if starts else 0.0
    return [(each + added) * (1.0 - share * gain) for each, share in zip(wealth, shares, strict=True)]


def total(wealth: Sequence[Any]) -> Any:
    """Return the sum of wealth, added from the first to the last: the same bits for numbers and arrays."""
    out = wealth[0]
    for each in wealth[1:]:
        out = out + each
    return out


def wealth_paths(
    gain: Floats, months: Any, shares: Sequence[float], *, every: int = 1, yearly: bool = False
) -> Floats:
    """Return the summed wealth after each outcome of many streams, float64 (n, T).

    gain     float64 (n, T); months   (T,): number of the calendar month of each outcome, rising
    every    outcomes of a bet: their mean is bet on when the last is in
    yearly   whether wealth is lost at the end of December: then years can be compared

    This is what simulations and thresholds use; a desk's own state (`alarms.py`) gives the same bits.

    >>> wealth_paths(np.array([[-1.0, 0.5]]), [0, 0], (0.5,)).round(4)
    array([[0.125 , 0.0938]])
    """
    columns, out = np.ascontiguousarray(gain.T), np.empty(gain.shape[::-1])
    wealth: list[Any] = [np.zeros(gain.shape[0]) for _ in shares]
    held, count, last = np.zeros(gain.shape[0]), 0, -1
    for each, month in enumerate(np.asarray(months).tolist()):
        if yearly and last >= 0 and month // MONTHS != last // MONTHS:
            wealth, held = [np.zeros(gain.shape[0]) for _ in shares], np.zeros(gain.shape[0])
            count, last = 0, -1
        held, count = held + columns[each], count + 1
        if count == every:
            wealth = grown(wealth, shares, held / every, starts=month != last)
            held, count, last = np.zeros(gain.shape[0]), 0, month
        out[each] = total(wealth)
    return out.T


def even_months(count: int, per_year: int) -> Any:
    """Return the months of `count` outcomes that come evenly, `per_year` a year, int64 (count,)."""
    return np.arange(count, dtype=np.int64) * MONTHS // per_year
