"""What a reference can promise: where WATCH is raised, and the smallest fall that a year can show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lockstep.metrics.arrays import Floats
from lockstep.monitoring.resampling import block_length, block_rows
from lockstep.monitoring.wealth import ALPHA, even_months, gains, wealth_paths

_YEARS, _VISIBLE_YEARS, _STEPS = 2_000, 400, 12
_ROUNDING = 1e-9


def watch_threshold(
    x: Floats, *, per_year: int, bets: Sequence[float], every: int, seed: int, block: int | None = None
) -> float:
    """Return the wealth that the peak of one year in twenty exceeds, if nothing changes.

    x          outcomes of the reference, float64 (n,), by time; per_year   outcomes of a year, >= 1
    bets       shares against the mean of x; every   outcomes of a bet
    block      length of a resampled block; None: the cube root of n. 1 would forget that wins come in runs

    Each year is drawn from a reference that was itself drawn again, in blocks: the mean of the reference is
    an estimate, and a threshold that took it for the truth would be exceeded by every second desk too often.
    The rate of 5 % is therefore one over desks and years. 2,000 years, equal for equal seeds.
    """
    random = np.random.default_rng(seed)
    length = block_length(x.size) if block is None else block
    world = block_rows(random, x.size, draws=_YEARS, size=x.size, block=length)
    year = block_rows(random, x.size, draws=_YEARS, size=per_year, block=length)
    drawn = gains(x, float(x.mean()))[np.take_along_axis(world, year, axis=1)]
    paths = wealth_paths(drawn, even_months(per_year, per_year), bets, every=every)
    # Few trades a year have few possible peaks: above the quantile, not at it, and not by a rounding.
    return float(np.quantile(paths.max(axis=1), 1.0 - ALPHA, method="higher")) * (1.0 + _ROUNDING)


def visible_fall(
    x: Floats, *, floor: float, per_year: int, bets: Sequence[float], every: int, seed: int
) -> float | None:
    """Return the smallest fall of the mean of x that raises ALARM within a year in one case of two.

    Arguments as in `watch_threshold`, with ALARM's floor and bets. The fall is from the mean of x; None where
    not even the worst outcome, every time, would be seen. A fallen stream is the reference with its outcomes
    weighted by exp(-t x), for the t that gives the mean: the law of that mean which is nearest to the
    reference (Csiszár 1975, I-divergence geometry, Annals of Probability 3, 146-158).
    """
    random = np.random.default_rng(seed)
    uniform = random.random((_VISIBLE_YEARS, per_year))
    ordered = np.sort(x)
    months = even_months(per_year, per_year)

    def found(tilt: float) -> tuple[bool, float]:
        weight = np.exp(-tilt * (ordered - ordered[0]))
        cumulated = np.cumsum(weight) / weight.sum()
        rows = np.minimum(np.searchsorted(cumulated, uniform, side="right"), x.size - 1)
        paths = wealth_paths(gains(ordered[rows], floor), months, bets, every=every)
        mean = float(weight @ ordered / weight.sum())
        return bool((paths.max(axis=1) >= 1.0 / ALPHA).mean() >= 0.5), mean

    low, high = 0.0, 200.0
    if not found(high)[0]:
        return None
    for _ in range(_STEPS):
        # Falls are proportional to small tilts, and small falls are what is asked for.
        middle = high / 4.0 if low == 0.0 else (low + high) / 2.0
        low, high = (low, middle) if found(middle)[0] else (middle, high)
    return float(x.mean()) - found(high)[1]
