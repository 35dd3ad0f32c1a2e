"""Sharpe ratio, win rate and drawdown of both arms, with intervals. They are shown; they decide nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lockstep.metrics import Floats, Integers
from lockstep.monitoring.eprocess import SESSIONS
from operations.ab.book import ARMS, ArmSessions
from research.statistics.bootstrap import block_length, resampled_rows

_LEAST_SESSIONS = 8
_RESAMPLES = 1_000
SHARPE, WIN_RATE, DRAWDOWN = "Sharpe ratio", "Win rate", "Deepest drawdown"


@dataclass(frozen=True, kw_only=True)
class ShownMeasure:
    """A measure of one arm. low, high   of its 95 % interval; NaN where undefined."""

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, kw_only=True)
class ArmMeasures:
    """What one arm came to. total   sum of results, a fraction of the capital, as is a drawdown, >= 0."""

    total: float
    trades: int
    shown: Mapping[str, ShownMeasure]


def measured_arms(sessions: Mapping[str, ArmSessions], *, seed: int = 0) -> Mapping[str, ArmMeasures]:
    """Return the measures of both arms, intervals by blocks of sessions that both arms share.

    The stationary bootstrap, see `research.statistics.bootstrap`; no interval below 8 sessions, nor where a
    measure is undefined in some resample.
    """
    results = np.column_stack([sessions[arm].results for arm in ARMS])
    count = len(results)
    rows = None
    if count >= _LEAST_SESSIONS:
        block = block_length(results)
        rows = resampled_rows(count, block=block, resamples=_RESAMPLES, seed=seed).astype(np.int64)
    return {arm: _measured(sessions[arm], rows) for arm in ARMS}


def _measured(arm: ArmSessions, rows: Integers | None) -> ArmMeasures:
    whole = np.arange(arm.results.size)[None, :]
    found = {}
    for name, measure in ((SHARPE, _sharpe), (WIN_RATE, _win_rate), (DRAWDOWN, _drawdown)):
        value = float(measure(arm, whole)[0]) if arm.results.size else math.nan
        bounds = (math.nan, math.nan)
        if rows is not None:
            drawn = measure(arm, rows)
            if np.isfinite(drawn).all():
                low, high = np.quantile(drawn, (0.025, 0.975))
                bounds = float(low), float(high)
        found[name] = ShownMeasure(value=value, low=bounds[0], high=bounds[1])
    return ArmMeasures(total=float(arm.results.sum()), trades=int(arm.trades.sum()), shown=found)


def _sharpe(arm: ArmSessions, rows: Integers) -> Floats:
    """Return the annual Sharpe ratio of each sample, (samples,); NaN where it does not vary."""
    drawn = arm.results[rows]
    if drawn.shape[1] < 2:
        return np.full(len(drawn), math.nan)
    deviation = drawn.std(axis=1, ddof=1)
    found = np.full(len(drawn), math.nan)
    np.divide(drawn.mean(axis=1), deviation, out=found, where=deviation > 0)
    return found * math.sqrt(SESSIONS)


def _win_rate(arm: ArmSessions, rows: Integers) -> Floats:
    """Return the share of trades that won in each sample; NaN where none ended."""
    ended = arm.trades[rows].sum(axis=1)
    found = np.full(len(rows), math.nan)
    np.divide(arm.won[rows].sum(axis=1), ended, out=found, where=ended > 0)
    return found


def _drawdown(arm: ArmSessions, rows: Integers) -> Floats:
    """Return the deepest fall from a peak, from 0 on, in each sample."""
    curve = np.cumsum(arm.results[rows], axis=1)
    peak = np.maximum(np.maximum.accumulate(curve, axis=1), 0.0)
    return np.asarray((peak - curve).max(axis=1))
