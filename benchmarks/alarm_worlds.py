"""Streams of which the truth is known: wins in runs, a fall at a known trade, signals that overstate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lockstep.metrics.arrays import Floats
from lockstep.monitoring.readings import of_calibration
from lockstep.monitoring.reference import StreamReference
from lockstep.monitoring.reference_outcomes import stream_reference
from lockstep.monitoring.wealth import even_months, gains, wealth_paths

WON, FALLEN = 0.62, 0.52
VALIDATED = 400
_YEAR = 365.25 * 86_400e9
_START = 1_577_836_800_000_000_000
NEVER = 1_000_000


def wins(random: np.random.Generator, count: int, rate: Floats, lag: float) -> Floats:
    """Return `count` streams of 0 and 1, (count, T), with win rates (T,) and lag-1 autocorrelation `lag`.

    With chance `lag` a trade repeats the one before it.
    """
    fresh = random.random((count, rate.size)) < rate
    repeats = random.random((count, rate.size)) < lag
    repeats[:, 0] = False
    source = np.where(repeats, 0, np.arange(rate.size))
    rows: Floats = np.take_along_axis(fresh, np.maximum.accumulate(source, axis=1), axis=1).astype(np.float64)
    return rows


def rates(healthy: int, fallen: int, low: float = FALLEN) -> Floats:
    """Return the win rates of so many healthy trades, and of so many after the fall."""
    return np.concatenate((np.full(healthy, WON), np.full(fallen, low)))


def stamps(count: int, per_year: int) -> Any:
    """Return times of `count` outcomes, UTC ns, evenly `per_year` a year from January 2020."""
    return _START + (np.arange(count) * (_YEAR / per_year)).astype(np.int64)


def reference_of(x: Floats, per_year: int, seed: int) -> StreamReference:
    """Return the reference that validation makes of win-rate outcomes x (n,)."""
    return stream_reference("win_rate", x, stamps(x.size, per_year), seed=seed)


def signals(random: np.random.Generator, count: int, size: int, overstated: float) -> Floats:
    """Return calibration outcomes x, (count, size): chances of .50 to .74, too high by `overstated`."""
    chance = random.uniform(0.5, 0.74, (count, size))
    won = (random.random((count, size)) < chance - overstated).astype(np.float64)
    return of_calibration(chance.ravel(), won.ravel()).reshape(count, size)


def paths(
    x: Floats,
    floor: float | Floats,
    per_year: int,
    shares: Sequence[float],
    *,
    every: int = 1,
    yearly: bool = False,
) -> Floats:
    """Return the wealth of streams x (n, T) after each outcome; `floor` is one, or (n, 1)."""
    months = even_months(x.shape[1], per_year)
    return wealth_paths(gains(x, floor), months, shares, every=every, yearly=yearly)


def waits(reached: Any, healthy: int) -> Floats:
    """Return the outcomes from the fall to the first time that it was seen, of streams not raised before it.

    reached   bool (n, T); `NEVER` where it was not seen
    """
    quiet = ~reached[:, :healthy].any(axis=1)
    after = reached[quiet, healthy:]
    return np.where(after.any(axis=1), after.argmax(axis=1) + 1, NEVER).astype(np.float64)
