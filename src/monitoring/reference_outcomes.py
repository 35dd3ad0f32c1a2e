"""The monitoring reference of a bundle, made of what it did out of sample: one function, no choices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from lockstep.errors import DataError, NoReference
from lockstep.metrics.arrays import Floats
from lockstep.monitoring.readings import StreamKind, of_calibration, of_profit, of_ranks, of_wins
from lockstep.monitoring.reference import LEAST_OUTCOMES, MonitoringReference, StreamReference
from lockstep.monitoring.resampling import block_length, block_rows
from lockstep.monitoring.thresholds import visible_fall, watch_threshold
from lockstep.monitoring.wealth import bets, gains

# One-sided confidence of a floor, and of the bound of the dependence between neighbours.
CONFIDENCE = 0.8
# Above this bound on lag-1 autocorrelation, one bet is made for so many outcomes.
LARGEST_LAG, EVERY = 0.1, 5
# How far probabilities may overstate wins before it counts, if validation measured no more.
TOLERANCE = 0.03
_CLIP = (0.01, 0.99)
_POINTS, _RESAMPLES = 101, 2_000
_YEAR = 365.25 * 86_400e9
_LEAST_DEVIATION = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceOutcomes:
    """Out-of-sample outcomes of validation, by time.

    trade_times, profits    int64 (n,) UTC ns, rising, of trades that were taken; float64 (n,) money, net
    signal_times            int64 (k,) UTC ns, rising, of signals with a probability; none: k = 0
    probabilities, won      float64 (k,) in [0, 1]; int64 (k,) of 0 and 1
    forecasts, followings   float64 (k,): forecast, and the return over horizon 1; empty where there is none
    """

    trade_times: Any
    profits: Any
    signal_times: Any = ()
    probabilities: Any = ()
    won: Any = ()
    forecasts: Any = ()
    followings: Any = ()


def monitoring_reference(outcomes: ReferenceOutcomes, *, bundle: str, seed: int = 0) -> MonitoringReference:
    """Return the reference of a bundle; DataError where times do not rise or a value is not finite.

    Floors are percentiles of means of circular blocks; bets follow from the deviation of what one bet is on.
    Equal outcomes and seed give the same reference, to the byte.
    """
    profits = np.asarray(outcomes.profits, dtype=np.float64)
    found, off = [], []
    for kind, make in _STREAMS.items():
        try:
            found.append(make(outcomes, seed))
        except NoReference as reason:
            off.append(f"{kind}: {reason}")
    return MonitoringReference(
        bundle=bundle, streams=tuple(found), trades=tuple(profits.tolist()), off=tuple(off), seed=seed
    )


def stream_reference(
    kind: StreamKind, x: Floats, times: Any, *, seed: int, most: float = 1.0, **rest: Any
) -> StreamReference:
    """Return what a stream is held to, of outcomes x, float64 (n,) in [0, 1], at `times`, int64 (n,) UTC ns.

    most   the highest floor, such as that of a tolerance; rest   fields that are kept as they are

    NoReference where they are too few or do not vary, DataError where times do not rise.
    Outcomes of one moment count as one, their mean: so does a desk's stream, see `alarms.Stamp`.
    """
    years, x = _by_moment(times, x)
    spread = float(np.ptp(x))
    if not spread > 0:
        raise NoReference(f"all {x.size} outcomes are equal; its alarms are off until some differ")
    estimate = float(x.mean())
    floor = min(most, lower_bound(x, seed))
    if not floor > 0:
        raise NoReference("its lower bound is 0, and nothing falls below that; its alarms are off")
    per_year = max(1, round(x.size / years))
    lag = float(np.clip(np.mean((x[1:] - estimate) * (x[:-1] - estimate)) / x.var(), -1.0, 1.0))
    bound = lag + NormalDist().inv_cdf(CONFIDENCE) / math.sqrt(x.size)
    every = EVERY if bound > LARGEST_LAG else 1
    alarm, watch = (bets(_deviation(gains(x, each), every)) for each in (floor, estimate))
    return StreamReference(
        stream=kind,
        estimate=estimate,
        floor=floor,
        outcomes=x.size,
        per_year=per_year,
        lag_1=lag,
        lag_1_bound=bound,
        every=every,
        alarm_bets=alarm,
        watch_bets=watch,
        watch_threshold=watch_threshold(x, per_year=per_year, bets=watch, every=every, seed=seed + 1),
        visible_fall=visible_fall(x, floor=floor, per_year=per_year, bets=alarm, every=every, seed=seed + 2),
        **rest,
    )


def _by_moment(times: Any, x: Floats) -> tuple[float, Floats]:
    """Return the years that the outcomes cover, one gap more than there are, and the mean of each moment."""
    stamps = np.asarray(times, dtype=np.int64)
    if stamps.shape != x.shape or not (np.diff(stamps) >= 0).all():
        raise DataError(f"reference: {stamps.size} times of {x.size} outcomes; give one for each, rising")
    moments, place = np.unique(stamps, return_inverse=True)
    count = moments.size
    if count < LEAST_OUTCOMES:
        raise NoReference(f"outcomes of {count} moments, {LEAST_OUTCOMES} are needed; its alarms are off")
    years = float(moments[-1] - moments[0]) * count / (count - 1) / _YEAR
    return years, np.bincount(place, weights=x) / np.bincount(place)


def lower_bound(x: Floats, seed: int) -> float:
    """Return the one-sided lower 80 % bound of the mean of x (n,), over resampled blocks of neighbours."""
    random = np.random.default_rng(seed)
    rows = block_rows(random, x.size, draws=_RESAMPLES, size=x.size, block=block_length(x.size))
    return float(np.quantile(x[rows].mean(axis=1), 1.0 - CONFIDENCE))


def _deviation(gain: Floats, every: int) -> float:
    """Return the deviation of a bet's gain, per unit of deviation of one outcome.

    A fall of one deviation of an outcome, in deviations of a bet, times the deviation of the bet.
    """
    bet = gain[: gain.size // every * every].reshape(-1, every).mean(axis=1)
    # Means of blocks that are all alike would ask for more than everything.
    return max(float(bet.var() / gain.std()), _LEAST_DEVIATION)


def _win_rate(given: ReferenceOutcomes, seed: int) -> StreamReference:
    return stream_reference("win_rate", of_wins(given.profits), given.trade_times, seed=seed)


def _pnl(given: ReferenceOutcomes, seed: int) -> StreamReference:
    profits = np.asarray(given.profits, dtype=np.float64)
    low, high = np.quantile(profits, _CLIP).tolist() if profits.size else (0.0, 0.0)
    if not low < high:
        raise NoReference(f"{profits.size} profits that do not vary; its alarms are off")
    x = of_profit(profits, low, high)
    scale, zero = high - low, -low / (high - low)
    return stream_reference("pnl", x, given.trade_times, seed=seed + 10, scale=scale, zero=zero)


def _calibration(given: ReferenceOutcomes, seed: int) -> StreamReference:
    x = of_calibration(given.probabilities, given.won)
    if x.size and np.ptp(np.asarray(given.won)) == 0:
        raise NoReference("outcomes of one class only; its alarms are off")
    most = (1.0 - TOLERANCE) / 2.0
    return stream_reference(
        "calibration", x, given.signal_times, seed=seed + 20, most=most, scale=2.0, zero=0.5
    )


def _ic(given: ReferenceOutcomes, seed: int) -> StreamReference:
    forecasts, followings = (_points(each) for each in (given.forecasts, given.followings))
    x = of_ranks(given.forecasts, given.followings, forecasts=forecasts, followings=followings)
    return stream_reference(
        "ic", x, given.signal_times, seed=seed + 30, scale=6.0, zero=0.5,
        forecasts=forecasts, followings=followings,
    )  # fmt: skip


def _points(values: Any) -> tuple[float, ...]:
    found = np.asarray(values, dtype=np.float64)
    if found.size < LEAST_OUTCOMES:
        raise NoReference(f"{found.size} forecasts, {LEAST_OUTCOMES} are needed; its alarms are off")
    return tuple(np.quantile(found, np.linspace(0.0, 1.0, _POINTS)).tolist())


_STREAMS: dict[StreamKind, Any] = {
    "win_rate": _win_rate,
    "pnl": _pnl,
    "calibration": _calibration,
    "ic": _ic,
}
