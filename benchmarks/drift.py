"""How often the warning stream of drift is false, what it finds, and what the usual rules would do instead.

Features are autoregressions of first order with deviation 1, independent of one another. The stream may be
false in 1 / (Y + 1) of the years, judged against a binomial bound.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats
from scipy.signal import lfilter

from lockstep.metrics import Dates, Floats
from lockstep.monitoring.distances import psi
from lockstep.monitoring.drift_baseline import INNOVATIONS, LEVEL, DriftBaseline, scores
from lockstep.monitoring.feature_history import FeatureHistory
from lockstep.monitoring.ranges import RangeCheck

YEAR, WINDOW, SLOPE = 252, 60, 0.95
# The bound that a right procedure breaks in one of 1,000 cases.
_LEVEL = 0.001
_BURN_IN = 1_500
FACTOR = 100.0


def autoregressions(sessions: int, features: int, slope: float, seed: Any) -> Floats:
    """Return stationary series with deviation 1, float64 (sessions, features)."""
    noise = np.random.default_rng(seed).standard_normal((sessions + _BURN_IN, features))
    return np.asarray(
        lfilter([1.0], [1.0, -slope], noise, axis=0)[_BURN_IN:] * math.sqrt(1.0 - slope**2), dtype=np.float64
    )


def weekdays(count: int) -> Dates:
    """Return so many weekdays from 1990 on, datetime64[D]."""
    return np.busday_offset(np.datetime64("1990-01-01"), np.arange(count))


def history_of(values: Floats, **parts: Any) -> FeatureHistory:
    """Return a history without declared ranges."""
    width = values.shape[1]
    ids = tuple(f"feature_{place + 1}" for place in range(width))
    free = {"low": np.full(width, -np.inf), "high": np.full(width, np.inf)}
    return FeatureHistory(ids=ids, sessions=weekdays(len(values)), values=values, **{**free, **parts})


def year_after(
    seed: Any, *, years: int = 17, features: int = 40, slope: float = SLOPE
) -> tuple[DriftBaseline, Floats]:
    """Return the baseline of so many years, and the sessions of the next with the 60 before them."""
    values = autoregressions(WINDOW + YEAR * (years + 1), features, slope, seed)
    return DriftBaseline.of(history_of(values[:-YEAR])), values[-YEAR - WINDOW :].copy()


def exceeds(baseline: DriftBaseline, rows: Floats) -> bool:
    """Return whether the stream warns at any time of a running year, given with the 60 sessions before it."""
    peaks = np.fmax.reduce(baseline.distances(rows), axis=0)
    return bool(np.nanmax(scores(baseline, peaks)) > baseline.highest)


def false_years(runs: int, seed: int, **world: Any) -> dict[str, Any]:
    """Return how many years without drift are warned of, by the stream and by one rank for each feature."""
    warned = ranked = 0
    years = features = 0
    for run in range(runs):
        baseline, rows = year_after([seed, run], **world)
        years, features = baseline.years, len(baseline.history.ids)
        warned += exceeds(baseline, rows)
        peaks = np.fmax.reduce(baseline.distances(rows), axis=0)
        ranked += sum(
            column.rank(float(peak)) == 1.0
            for column, peak in zip(baseline.columns, peaks, strict=True)
            if column.what == LEVEL
        )
    return {
        "years of history": years,
        "features": features,
        "stated": round(1.0 / (years + 1), 4),
        "false": round(warned / runs, 4),
        "bound": round(bound(runs, 1.0 / (years + 1)) / runs, 4),
        "false a year, one warning for each feature": round(ranked / runs, 3),
    }


def bound(runs: int, rate: float) -> int:
    """Return the largest count that a procedure of this rate exceeds in one of 1,000 cases."""
    return int(stats.binom.isf(_LEVEL, runs, rate))


def wandering(runs: int, seed: int, *, years: int = 17, features: int = 3) -> dict[str, float]:
    """Return how often random walks rank their running year first: by level, and by innovations."""
    first = dict.fromkeys((LEVEL, INNOVATIONS), 0)
    for run in range(runs):
        steps = np.random.default_rng([seed, run]).standard_normal((WINDOW + YEAR * (years + 1), features))
        values = np.cumsum(steps, axis=0)
        baseline = DriftBaseline.of(history_of(values[:-YEAR]))
        peaks = np.fmax.reduce(baseline.distances(values[-YEAR - WINDOW :]), axis=0)
        for column, peak in zip(baseline.columns, peaks, strict=True):
            if column.what in first:
                first[column.what] += column.rank(float(peak)) == 1.0
    cases = runs * features
    shares = {what: round(count / cases, 4) for what, count in first.items()}
    stated = 1.0 / (years + 1)
    return {"stated": round(stated, 4), "bound": round(bound(cases, stated) / cases, 4), **shares}


def found_shift(runs: int, seed: int, shift: float, *, changed: int = 1, slope: float = SLOPE) -> float:
    """Return the share of years that are warned of, where some of 40 features move by deviations for good."""
    warned = 0
    for run in range(runs):
        baseline, rows = year_after([seed, run], slope=slope)
        rows[WINDOW:, :changed] += shift
        warned += exceeds(baseline, rows)
    return round(warned / runs, 3)


def sessions_to_find(
    runs: int, seed: int, *, changed: int, factor: float = FACTOR, sessions: int = 20
) -> dict[str, float]:
    """Return when the range check finds features x `factor`: shares of the cases, and false ones before."""
    within = {3: 0, sessions: 0}
    for run in range(runs):
        values = autoregressions(YEAR * 17 + sessions, changed, SLOPE, [seed, run])
        check = RangeCheck(history_of(values[:-sessions]))
        days = weekdays(len(values))[-sessions:]
        for number, (day, row) in enumerate(zip(days, values[-sessions:] * factor, strict=True), 1):
            if check.observe(day, row):
                for limit in within:
                    within[limit] += number <= limit
                break
    return {f"within {limit} sessions": round(count / runs, 4) for limit, count in within.items()}


def psi_flags(runs: int, seed: int, size: int, slope: float) -> float:
    """Return the share of unchanged features that PSI > .2 flags on the last `size` sessions."""
    values = autoregressions(YEAR * 4 + size, runs, slope, seed)
    return float(np.mean([psi(each[-size:], each[:-size]) > 0.2 for each in values.T]))


def critical_value_flags(runs: int, seed: int, slope: float) -> float:
    """Return the share of unchanged features that the table of Kolmogorov and Smirnov flags at 5 %."""
    values = autoregressions(YEAR * 4 + WINDOW, runs, slope, seed)
    return float(np.mean([stats.ks_2samp(x[-WINDOW:], x[:-WINDOW]).pvalue < 0.05 for x in values.T]))


def drift(runs: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Return the rates of the stream and the range check beside those of PSI, and whether they are kept."""
    fewer, few = max(20, runs // 4), max(20, runs // 8)
    worlds = {
        "17 years, 40 features at .95": false_years(runs, seed),
        "17 years, 40 independent ones": false_years(fewer, seed + 1, slope=0.0),
        "17 years, 40 slow ones at .99": false_years(fewer, seed + 2, slope=0.99),
        "9 years, 40 features at .95": false_years(fewer, seed + 3, years=9),
    }
    walks = wandering(2 * runs, seed + 10)
    flags = {
        f"{size} sessions, autocorrelation {slope:g}": round(psi_flags(2_000, seed + 4, size, slope), 3)
        for slope in (0.0, SLOPE)
        for size in (20, 40, 60)
    }
    broken = {
        "one feature": sessions_to_find(1_000, seed + 5, changed=1),
        "five features of one vendor": sessions_to_find(1_000, seed + 6, changed=5),
        "none (x 1)": sessions_to_find(1_000, seed + 7, changed=5, factor=1.0),
    }
    found = {
        "runs": runs,
        "false years": worlds,
        "random walks, ranked first": walks,
        "years with a warning, one feature of 40 moved": {
            f"{shift:g} deviations, autocorrelation {slope:g}": found_shift(few, seed + 8, shift, slope=slope)
            for slope in (0.0, SLOPE)
            for shift in (0.5, 1.0, 2.0)
        },
        "feature x 100, found by the range check": broken,
        "PSI > .2 on unchanged features": flags,
        "KS at 5 % by its table on unchanged features, .95": round(
            critical_value_flags(2_000, seed + 9, SLOPE), 3
        ),
    }
    kept = all(world["false"] <= world["bound"] for world in worlds.values())
    kept &= walks[INNOVATIONS] <= walks["bound"]
    kept &= broken["five features of one vendor"]["within 3 sessions"] >= 0.99
    return found, kept and broken["none (x 1)"]["within 20 sessions"] == 0.0
