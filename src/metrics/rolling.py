"""Measures over rolling windows: each value is that of the plain measure, bit for bit, all windows at once.

A long history has thousands of windows, and most of a call for each of them would be the call. Every function
returns float64 (n,), nan before the first full window.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lockstep.errors import DataError
from lockstep.metrics.arrays import RESIDUE, UNIT, Floats

# Windows at once: a few hundred of a year each fill a processor's cache.
_WINDOWS = 256


def rolling_sharpe(
    returns: Floats, window: int, periods_per_year: float = 1.0, resolution: float = UNIT
) -> Floats:
    """Return `sharpe` of the last `window` returns at every return, float64 (n,).

    nan before the first full window.
    """

    def measure(rows: Floats) -> Floats:
        return _ratios(_means(rows) * math.sqrt(periods_per_year), _spreads(rows, resolution), 0.0)

    return _rolled(measure, window, 2, returns)


def rolling_sortino(
    returns: Floats, window: int, periods_per_year: float = 1.0, resolution: float = UNIT
) -> Floats:
    """Return `sortino` of the last `window` returns at every return, float64 (n,), as `rolling_sharpe`."""

    def measure(rows: Floats) -> Floats:
        downside = np.sqrt(_means(np.minimum(rows, 0.0) ** 2))
        return _ratios(_means(rows) * math.sqrt(periods_per_year), downside, _roundings(rows, resolution))

    return _rolled(measure, window, 1, returns)


def rolling_volatility(returns: Floats, window: int, periods_per_year: float = 1.0) -> Floats:
    """Return `volatility` of the last `window` returns at every return, float64 (n,), as `rolling_sharpe`."""
    return _rolled(lambda rows: _spreads(rows) * math.sqrt(periods_per_year), window, 2, returns)


def rolling_beta(returns: Floats, benchmark: Floats, window: int) -> Floats:
    """Return `beta` over the last `window` periods at every period, float64 (n,); nan before the first.

    DataError where the two differ in length.
    """
    if returns.shape != benchmark.shape:
        raise DataError(f"{returns.size} returns, {benchmark.size} of the benchmark: need the same periods")

    def measure(rows: Floats, beside: Floats) -> Floats:
        centred = (rows - _means(rows)[:, None]) * (beside - _means(beside)[:, None])
        # A square is that of Python, which `beta` takes.
        variances = np.array([each**2 for each in _spreads(beside).tolist()])
        return _ratios(centred.sum(axis=1) / (window - 1), variances, 0.0)

    return _rolled(measure, window, 2, returns, benchmark)


def _rolled(measure: Callable[..., Floats], window: int, least: int, *series: Floats) -> Floats:
    """Return `measure` of the windows of all series, (k, window) each; nan below `least` or not finite."""
    count = series[0].size
    out = np.full(count, math.nan)
    if least <= window <= count:
        views = [np.lib.stride_tricks.sliding_window_view(each, window) for each in series]
        for first in range(0, count - window + 1, _WINDOWS):
            # Copies: the sum of a row depends on its values lying side by side.
            rows = [np.ascontiguousarray(view[first : first + _WINDOWS]) for view in views]
            usable = np.all([np.isfinite(each).all(axis=1) for each in rows], axis=0)
            start = first + window - 1
            out[start : start + usable.size][usable] = measure(*(each[usable] for each in rows))
    return out


def _means(rows: Floats) -> Floats:
    means: Floats = rows.mean(axis=1)
    return means


def _ratios(numerators: Floats, denominators: Floats, residues: Floats | float) -> Floats:
    """As `ratio`."""
    found: Floats = np.full(numerators.size, math.nan)
    np.divide(numerators, denominators, out=found, where=np.abs(denominators) > residues)
    return found


def _roundings(rows: Floats, resolution: float) -> Floats:
    """As `rounding`."""
    return np.maximum(RESIDUE * np.sqrt(_means(rows**2)), resolution)


def _spreads(rows: Floats, resolution: float = UNIT) -> Floats:
    """As `spread`."""
    deviations = np.where(np.ptp(rows, axis=1) > 0, np.std(rows, axis=1, ddof=1), 0.0)
    return np.where(deviations > _roundings(rows, resolution), deviations, 0.0)
