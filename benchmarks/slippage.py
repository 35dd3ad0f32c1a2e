"""How often ALARM on slippage is false where fills cost the tolerance, and how soon it sees a tick more."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import signal, stats

from benchmarks.alarm_worlds import waits
from lockstep.metrics.arrays import Floats
from lockstep.monitoring.slippage import BETS, CAP, FLOOR, TOLERANCE, of_ticks
from lockstep.monitoring.wealth import ALPHA, even_months, gains, wealth_paths

PER_YEAR = (60, 120, 250)
RAISED = 1.0 / ALPHA
LAWS = ("gaussian", "heavy tails", "skewed against us")
_LEVEL = 0.001
_HORIZON = 1_200
# A tick worse is found within these many fills, in one case of two: half a year at 120 a year.
MOST_FILLS = 60
_BURN = 50


def residuals(
    random: np.random.Generator, law: str, count: int, means: Floats, *, deviation: float, lag: float
) -> Floats:
    """Return residuals in ticks, (count, T), with means (T,) and lag-1 autocorrelation `lag`.

    gaussian; heavy tails: Student's t with 2.5 degrees of freedom; skewed against us: exponential, many fills
    a little better than the mean and a few far worse. Each scaled to `deviation` ticks.
    """
    shape = (count, means.size + _BURN)
    if law == "gaussian":
        drawn = random.standard_normal(shape)
    elif law == "heavy tails":
        drawn = random.standard_t(2.5, shape) / np.sqrt(2.5 / 0.5)
    else:
        drawn = random.exponential(1.0, shape) - 1.0
    runs = signal.lfilter([np.sqrt(1.0 - lag**2)], [1.0, -lag], drawn, axis=1)[:, _BURN:]
    out: Floats = means + deviation * runs
    return out


def wealth_of(ticks: Floats, per_year: int) -> Floats:
    """Return the wealth along streams of residuals (n, T), one fill a bet."""
    x = of_ticks(ticks.ravel()).reshape(ticks.shape)
    return wealth_paths(gains(x, FLOOR), even_months(ticks.shape[1], per_year), BETS)


def allowed(years: int) -> int:
    """Return how many of so many years may have a false alarm: one more is seen once in 1,000 tries."""
    return int(stats.binom.ppf(1.0 - _LEVEL, years, ALPHA))


def false_years(years: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Return the rates of false alarms a year at a mean of the tolerance, and whether all are in the bound.

    Five years each, looked at after every fill; a run of five counts a fifth a year.
    """
    found: dict[str, Any] = {}
    good = True
    for law in LAWS:
        for lag in (0.0, 0.1):
            for per_year in PER_YEAR:
                random = np.random.default_rng((seed, LAWS.index(law), per_year, round(10 * lag)))
                means = np.full(5 * per_year, TOLERANCE)
                healthy = residuals(random, law, years, means, deviation=1.5, lag=lag)
                over = wealth_of(healthy, per_year) >= RAISED
                first, five = int(over[:, :per_year].any(axis=1).sum()), int(over.any(axis=1).sum())
                found[f"{law}, {per_year} a year, lag-1 {lag}"] = {
                    "first year": first / years,
                    "a year, over five": round(five / years / 5, 4),
                }
                good &= max(first, five / 5) <= allowed(years)
    return found, good


def delays(count: int, seed: int, per_year: int = 120) -> dict[str, float]:
    """Return median delays in fills, from the first worse fill on, after a healthy year at a mean of 0."""
    found = {}
    for law, deviation, worse in (
        ("gaussian", 1.5, 1.0), ("heavy tails", 1.5, 1.0), ("gaussian", 3.0, 1.0), ("gaussian", 1.5, 0.5),
    ):  # fmt: skip
        random = np.random.default_rng((seed, LAWS.index(law), round(10 * deviation), round(10 * worse)))
        means = np.concatenate((np.zeros(per_year), np.full(_HORIZON, worse)))
        over = wealth_of(residuals(random, law, count, means, deviation=deviation, lag=0.0), per_year)
        name = f"{law}, deviation {deviation:g} ticks, {worse:g} tick worse"
        found[name] = float(np.median(waits(over >= RAISED, per_year)))
    return found


def years_with_alarm(years: int, seed: int, *, mean: float, times: int = 1, per_year: int = 120) -> float:
    """Return the share of first years with ALARM at a mean, ticks, where each fill is bet on so many times.

    For two controls: a mean a tick above the tolerance must be seen, and an order that is filled in five
    parts at one price and bet on five times breaks the rate that one bet keeps.
    """
    random = np.random.default_rng(seed)
    drawn = residuals(random, "gaussian", years, np.full(per_year, mean), deviation=1.5, lag=0.0)
    wealth = wealth_of(np.repeat(drawn, times, axis=1), per_year * times)
    return float((wealth >= RAISED).any(axis=1).mean())


def slippage(years: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Return everything that is stated of ALARM on slippage, and whether it holds."""
    rates, good = false_years(years, seed)
    late = delays(years, seed + 1)
    good &= late["gaussian, deviation 1.5 ticks, 1 tick worse"] <= MOST_FILLS
    worse = years_with_alarm(years, seed + 2, mean=TOLERANCE + 1.0)
    parts, whole = (years_with_alarm(years, seed + 3, mean=TOLERANCE, times=each) for each in (5, 1))
    return {
        "years": years,
        "most false years": allowed(years) / years,
        "tolerance and cap, ticks": [TOLERANCE, CAP],
        "false ALARMs a year at a mean of the tolerance": rates,
        "median delay in fills, 120 a year, from a mean of 0": late,
        "controls, first years with ALARM": {
            "a tick above the tolerance": worse,
            "five parts of an order, five bets": parts,
            "five parts of an order, one bet": whole,
        },
    }, bool(good and worse > 0.9 and min(worse, parts) * years > allowed(years) >= whole * years)
