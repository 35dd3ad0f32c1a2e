"""What a stream reads of an outcome: a number x in [0, 1] whose mean falls when the model gets worse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from lockstep.errors import DataError
from lockstep.metrics.arrays import Floats

StreamKind = Literal["win_rate", "pnl", "calibration", "ic"]


def of_wins(profit: Any) -> Floats:
    """Return 1 where a trade earned something and 0 elsewhere, float64 (n,); `profit` after costs, not nan.

    >>> of_wins([12.5, 0.0, -3.0])
    array([1., 0., 0.])
    """
    return (_known(profit, "profit") > 0.0).astype(np.float64)


def of_profit(profit: Any, low: float, high: float) -> Floats:
    """Return profits clipped to [low, high] and mapped into [0, 1], float64 (n,).

    low, high   the reference's 1 % and 99 % points: what is beyond has rules of its own

    >>> of_profit([-500.0, 0.0, 300.0], -100.0, 100.0)
    array([0. , 0.5, 1. ])
    """
    if not low < high:
        raise DataError(f"profits between {low} and {high}: the reference's must vary; make it again")
    out: Floats = (np.clip(_known(profit, "profit"), low, high) - low) / (high - low)
    return out


def of_calibration(probability: Any, won: Any) -> Floats:
    """Return (1 + won - probability) / 2, float64 (n,): mean 1/2 where probabilities mean what they say.

    probability   in [0, 1]; won   0 or 1

    The mean falls where wins are rarer than predicted. Probabilities that are too low show in the reliability
    curve: they cost trades, not money.

    >>> of_calibration([0.75, 0.75], [1, 0])
    array([0.625, 0.125])
    """
    chance, outcome = probabilities(probability), outcomes(won)
    if chance.shape != outcome.shape:
        raise DataError(f"{chance.size} probabilities of {outcome.size} outcomes; give one for each")
    out: Floats = (1.0 + outcome - chance) / 2.0
    return out


def of_ranks(
    forecast: Any, following: Any, *, forecasts: Sequence[float], followings: Sequence[float]
) -> Floats:
    """Return (1 + u v) / 2, float64 (n,): u and v are ranks in [-1, 1] of a forecast and what followed.

    forecast, following     (n,): forecast, and return over the horizon that it is for
    forecasts, followings   points of their distributions in the reference, rising, in equal steps of
                            probability

    Ranks are those in the reference, so that one outcome is known by itself; the mean of u v there is a
    third of Spearman's correlation, the information coefficient.

    >>> of_ranks([2.0, 0.0], [0.1, 0.1], forecasts=(0.0, 1.0, 2.0), followings=(-0.1, 0.0, 0.1))
    array([1., 0.])
    """
    u = _rank(_known(forecast, "forecast"), forecasts)
    v = _rank(_known(following, "return"), followings)
    return (1.0 + u * v) / 2.0


def probabilities(values: Any) -> Floats:
    """Return probabilities as float64; DataError where one is missing or outside [0, 1]. 0 and 1 are fine."""
    found = _known(values, "probability")
    if not ((found >= 0) & (found <= 1)).all():
        place = int(np.flatnonzero(~((found >= 0) & (found <= 1)))[0])
        raise DataError(f"probability {place}: {found[place]}: must lie in [0, 1]; mend the model's output")
    return found


def outcomes(values: Any) -> Floats:
    """Return outcomes of 0 and 1 as float64; DataError for anything else."""
    found = _known(values, "outcome")
    if not np.isin(found, (0.0, 1.0)).all():
        place = int(np.flatnonzero(~np.isin(found, (0.0, 1.0)))[0])
        raise DataError(f"outcome {place}: {found[place]}: must be 0 or 1; leave out what is not settled")
    return found


def _rank(values: Floats, points: Sequence[float]) -> Floats:
    grid = np.asarray(points, dtype=np.float64)
    below = np.searchsorted(grid, values, side="left")
    above = np.searchsorted(grid, values, side="right")
    between = np.interp(values, grid, np.linspace(-1.0, 1.0, grid.size))
    # Ties take the middle of their step, a midrank.
    tied = (below + above - 1.0) / (grid.size - 1) - 1.0
    out: Floats = np.where(above - below > 1, tied, between)
    return out


def _known(values: Any, name: str) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1:
        raise DataError(f"{name}: {found.ndim} dimensions; give one value for each outcome")
    if not np.isfinite(found).all():
        place = int(np.flatnonzero(~np.isfinite(found))[0])
        raise DataError(
            f"{name} {place} of {found.size}: {found[place]}: must be finite; leave out what is not settled"
        )
    return found
