"""The usual detectors of a lower win rate beside the one that is used: `python -m benchmarks.soak detectors`.

Rolling rates, a z-test every day and a textbook CUSUM are what desks use; ADWIN and Page-Hinkley are written
from their papers with the defaults that libraries ship. They are here for the comparison, and nowhere else.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.alarm_worlds import WON, paths, rates, waits, wins
from benchmarks.alarms import PER_YEAR, RAISED, allowed, shares_of
from lockstep.compiled import kernel
from lockstep.metrics.arrays import Floats

_FALL_YEARS = 6


def rolling(x: Floats, window: int = 50, drop: float = 0.10) -> Any:
    """Return where the share of wins in the last 50 trades is a tenth below the known rate, bool (n, T)."""
    summed = np.cumsum(x, axis=1)
    before = np.concatenate((np.zeros((x.shape[0], window)), summed), axis=1)[:, : x.shape[1]]
    share = (summed - before) / window
    seen = np.arange(1, x.shape[1] + 1) >= window
    return (share < WON * (1.0 - drop)) & seen


def z_test(x: Floats, least: int = 20, level: float = -1.644854) -> Any:
    """Return where all trades so far, 20 at least, are below the known rate at 5 %, bool (n, T)."""
    number = np.arange(1, x.shape[1] + 1)
    z = (np.cumsum(x, axis=1) / number - WON) / np.sqrt(WON * (1 - WON) / number)
    return (z < level) & (number >= least)


def cusum(x: Floats, slack: float = 0.5, height: float = 5.0) -> Any:
    """Return where the lower CUSUM of standardised wins is at 5 deviations or above, bool (n, T).

    Page (1954), Continuous inspection schemes, Biometrika 41, 100-115; slack 1/2 and height 5 are what
    Montgomery, Introduction to Statistical Quality Control, chapter 9, recommends.
    """
    step = (WON - x) / math.sqrt(WON * (1 - WON)) - slack
    held, out = np.zeros(x.shape[0]), np.empty(x.shape, dtype=np.bool_)
    for each in range(x.shape[1]):
        held = np.maximum(held + step[:, each], 0.0)
        out[:, each] = held >= height
    return out


def page_hinkley(
    x: Floats, least: int = 30, delta: float = 0.005, threshold: float = 50.0, alpha: float = 0.9999
) -> Any:
    """Return where Page and Hinkley's test of a fall is above its threshold, bool (n, T); usual defaults.

    Hinkley (1971), Inference about the change-point from cumulative sum tests, Biometrika 58, 509-523.
    """
    number = np.arange(1, x.shape[1] + 1)
    mean = np.cumsum(x, axis=1) / number
    held, out = np.zeros(x.shape[0]), np.empty(x.shape, dtype=np.bool_)
    for each in range(x.shape[1]):
        held = np.maximum(alpha * held + (mean[:, each] - x[:, each] - delta), 0.0)
        out[:, each] = (held > threshold) & (number[each] >= least)
    return out


def adwin(x: Floats, delta: float = 0.002) -> Any:
    """Return where ADWIN cuts its window because the newer part is lower, bool (n, T).

    Every cut of the window is tried (the paper's ADWIN0) with the bound that uses the variance. Bifet and
    Gavaldà (2007), Learning from time-changing data with adaptive windowing, SDM, 443-448, equation 3.1.
    """
    return np.stack([_adwin(np.ascontiguousarray(row), delta) for row in x])


@kernel
def _adwin(row: Any, delta: float) -> Any:
    out = np.zeros(row.size, dtype=np.bool_)
    first = 0
    for last in range(1, row.size):
        cut = first
        size, summed, squared = last + 1 - first, 0.0, 0.0
        for each in range(first, last + 1):
            summed += row[each]
            squared += row[each] * row[each]
        variance = squared / size - (summed / size) ** 2
        logarithm = math.log(2.0 * size / delta)
        older = 0.0
        for each in range(first, last):
            older += row[each]
            left, right = each + 1 - first, last - each
            harmonic = 1.0 / (1.0 / left + 1.0 / right)
            bound = math.sqrt(2.0 / harmonic * variance * logarithm) + 2.0 / (3.0 * harmonic) * logarithm
            gap = older / left - (summed - older) / right
            if abs(gap) > bound:
                cut = each + 1
                out[last] = out[last] or gap > 0.0
        first = cut
    return out


DETECTORS = {
    "rolling 50, 10 % lower": rolling,
    "z-test every day": z_test,
    "CUSUM, textbook": cusum,
    "ADWIN as shipped": adwin,
    "Page-Hinkley as shipped": page_hinkley,
}
E_DETECTOR = "e-detector, monthly starts, floor known"


def detectors(years: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Return, by detector, false years at 60, 120 and 250 trades and the median delay; whether ours holds.

    A false year is a healthy first year in which it is raised; the delay is that of .62 to .52 from the first
    trade on, within six years.
    """
    found: dict[str, Any] = {}
    for name in (*DETECTORS, E_DETECTOR):
        false, delay = {}, {}
        for per_year in PER_YEAR:
            random = np.random.default_rng(seed + per_year)
            healthy = wins(random, years, rates(per_year, 0), 0.0)
            fallen = wins(random, max(1, years // 2), rates(0, _FALL_YEARS * per_year), 0.0)
            false[per_year] = float(_raised(name, healthy, per_year).any(axis=1).mean())
            waited = waits(_raised(name, fallen, per_year), 0)
            middle = float(np.median(waited))
            delay[per_year] = middle if middle <= fallen.shape[1] else None
        found[name] = {"false a year": false, "median delay, trades": delay}
    ours = found[E_DETECTOR]["false a year"].values()
    return {"table": found}, max(ours) * years <= allowed(years)


def _raised(name: str, x: Floats, per_year: int) -> Any:
    if name == E_DETECTOR:
        return paths(x, WON, per_year, shares_of(0.0, 1)) >= RAISED
    return DETECTORS[name](x)
