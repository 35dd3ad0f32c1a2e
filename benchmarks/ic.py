"""Rates and delays of ALARM and WATCH on information coefficients, as shipped from 400 validated signals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import signal

from benchmarks.alarm_worlds import NEVER, VALIDATED, stamps, waits
from benchmarks.alarms import PER_YEAR, RAISED, allowed, both, peaks
from lockstep.errors import DataError
from lockstep.metrics.arrays import Floats
from lockstep.monitoring.readings import of_ranks
from lockstep.monitoring.reference import StreamReference
from lockstep.monitoring.reference_outcomes import ReferenceOutcomes, monitoring_reference

PROMISED = 0.15
_BURN = 50
_HORIZON = 1_200
_YEARS = 5


def pairs(random: np.random.Generator, count: int, coefficients: Floats, lag: float) -> tuple[Floats, Floats]:
    """Return forecasts and what followed, (count, T) each, with rank correlations (T,).

    lag   first autocorrelation of the products: forecasts and returns each have its square root

    Normal pairs of correlation 2 sin(pi IC / 6) have that Spearman correlation: Pearson (1907), On further
    methods of determining correlation, Drapers' Company Research Memoirs 4.
    """
    phi = math.sqrt(lag)
    drawn = random.standard_normal((2, count, coefficients.size + _BURN))
    forecast, noise = signal.lfilter([math.sqrt(1.0 - lag)], [1.0, -phi], drawn, axis=2)[:, :, _BURN:]
    linear = 2.0 * np.sin(np.pi * coefficients / 6.0)
    return forecast, linear * forecast + np.sqrt(1.0 - linear**2) * noise


def reference_of(forecast: Floats, following: Floats, per_year: int, seed: int) -> StreamReference:
    """Return the reference that validation makes of signals (n,); its other streams are off."""
    made = monitoring_reference(
        ReferenceOutcomes(
            trade_times=np.empty(0, dtype=np.int64),
            profits=np.empty(0),
            signal_times=stamps(forecast.size, per_year),
            probabilities=np.full(forecast.size, 0.5),
            won=np.zeros(forecast.size, dtype=np.int64),
            forecasts=forecast,
            followings=following,
        ),
        bundle="simulated",
        seed=seed,
    ).of("ic")
    if made is None:
        raise DataError("simulated signals: no reference of their information coefficient; draw more of them")
    return made


def read(reference: StreamReference, drawn: tuple[Floats, Floats]) -> Floats:
    """Return x of signals (n, T), as the stream reads them."""
    forecast, following = drawn
    x = of_ranks(
        forecast.ravel(), following.ravel(), forecasts=reference.forecasts, followings=reference.followings
    )
    return x.reshape(forecast.shape)


def false_years(years: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Return false alarms a year of healthy streams as shipped, and whether all are within the bound.

    Five streams of five years for each reference; looked at after each signal. A run of five counts a fifth.
    """
    found: dict[str, Any] = {}
    good = True
    for lag in (0.0, 0.1):
        for per_year in PER_YEAR:
            random = np.random.default_rng((seed, per_year, round(10 * lag)))
            alarm, watch, blocks = [], [], []
            for each in range(max(1, years // 5)):
                validated = pairs(random, 1, np.full(VALIDATED, PROMISED), lag)
                reference = reference_of(validated[0][0], validated[1][0], per_year, seed + each)
                healthy = read(reference, pairs(random, 5, np.full(_YEARS * per_year, PROMISED), lag))
                one, other = both(healthy, per_year, reference)
                alarm.append(peaks(one, per_year) >= RAISED)
                watch.append(peaks(other, per_year) >= reference.watch_threshold)
                blocks.append(reference.every > 1)
            alarms = np.concatenate(alarm)
            first, five = float(alarms[:, 0].mean()), float(alarms.any(axis=1).mean())
            watched = float(np.concatenate(watch).mean())
            good &= max(first, five / _YEARS, watched) * years <= allowed(years)
            found[f"{per_year} a year, lag-1 {lag}"] = {
                "ALARM, first year": first,
                "ALARM, a year, over five": round(five / _YEARS, 4),
                "WATCH, a year": round(watched, 4),
                "share of desks that bet by block": float(np.mean(blocks)),
            }
    return found, good


def falls(count: int, seed: int, per_year: int = 250) -> dict[str, dict[str, float | None]]:
    """Return delays in signals where an IC of .15 falls after a healthy year; None where most never see it.

    Ten streams for each reference. The last row is a control: nothing falls.
    """
    random = np.random.default_rng(seed)
    found: dict[str, dict[str, float | None]] = {}
    for low in (0.0, -0.05, PROMISED):
        coefficients = np.concatenate((np.full(per_year, PROMISED), np.full(_HORIZON, low)))
        alarm, watch = [], []
        for each in range(max(1, count // 10)):
            validated = pairs(random, 1, np.full(VALIDATED, PROMISED), 0.0)
            reference = reference_of(validated[0][0], validated[1][0], per_year, seed + each)
            one, other = both(read(reference, pairs(random, 10, coefficients, 0.0)), per_year, reference)
            alarm.append(waits(one >= RAISED, per_year))
            watch.append(waits(other >= reference.watch_threshold, per_year))
        late, seen = np.concatenate(alarm), np.concatenate(watch)
        found[f"to {low:g}"] = {
            "ALARM, median, signals": _median(late),
            "WATCH, median, signals": _median(seen),
            "ALARM within a year": float((late <= per_year).mean()),
        }
    return found


def _median(delays: Floats) -> float | None:
    middle = float(np.median(delays))
    return middle if middle < NEVER else None


def seen_and_silent(delays: Mapping[str, Mapping[str, float | None]], count: int) -> bool:
    """Return whether both falls are seen, the larger one sooner, and no fall is no more often than stated."""
    small, large, none = (delays[name] for name in ("to 0", "to -0.05", f"to {PROMISED:g}"))
    late, sooner = (each["ALARM, median, signals"] for each in (small, large))
    false, within = none["ALARM within a year"], small["ALARM within a year"]
    if late is None or sooner is None or false is None or within is None:
        return False
    most = allowed(count) / count
    return sooner < late and false <= most < within


def ic(years: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Return what is stated of the information coefficient's stream, and whether it holds."""
    rates, good = false_years(years, seed)
    delays = falls(years, seed + 1)
    return {
        "years": years,
        "most false years": allowed(years) / years,
        "as shipped, an IC of .15 that stays": rates,
        "median delay at 250 a year, after a healthy year": delays,
    }, good and seen_and_silent(delays, years)
