"""The figures by which the plan of this desk is judged, each with an interval, and none of them a gate.

Intervals are 95 % percentile intervals of the stationary bootstrap with a fixed seed, in blocks of the cube
root of the number of observations. Where there are fewer observations than a figure needs, it has neither
value nor interval: a mean of five trades says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lockstep.metrics import Floats
from lockstep.monitoring.outcomes import SignalKey, SignalOutcome, thinned
from operations.watch.counterfactual import FollowedSignal
from operations.watch.streams import AlarmRaised
from research.statistics.bootstrap import resampled_means

LEAST_SIGNALS = 30
"""Signals or trades below which a gain is not stated."""
LEAST_ALARMS = 8
_LATENCY = "By the clock, from the trigger of a retraining by an ALARM to its challenger in shadow."
_SEED, _RESAMPLES, _BOUNDS = 0, 2_000, (0.025, 0.975)


@dataclass(frozen=True, kw_only=True)
class PlanFigure:
    """One figure: a mean over observations, and between what it lies.

    value, low, high   in `unit`; NaN where there are fewer than `least` observations
    sentence           how it is measured, or why there is none
    """

    name: str
    unit: Literal["usd", "trades", "hours"]
    value: float
    low: float
    high: float
    observations: int
    least: int
    sentence: str


def plan_figure(
    name: str, unit: Literal["usd", "trades", "hours"], values: Any, least: int, sentence: str
) -> PlanFigure:
    """Return the mean of observations in their order in time, float64 (n,), with its interval.

    >>> few = plan_figure("gain", "usd", [1.0, 2.0], 8, "per signal")
    >>> few.value, few.observations
    (nan, 2)
    """
    found: Floats = np.asarray(values, dtype=np.float64)
    if found.size < least:
        return PlanFigure(
            name=name, unit=unit, value=math.nan, low=math.nan, high=math.nan, observations=found.size,
            least=least, sentence=sentence,
        )  # fmt: skip
    # Dependence between neighbours is short: blocks grow with the cube root, and estimate nothing themselves.
    block = max(1, round(found.size ** (1 / 3)))
    drawn = resampled_means(found[:, None], block=block, resamples=_RESAMPLES, seed=_SEED)[:, 0]
    low, high = (float(bound) for bound in np.quantile(drawn, _BOUNDS))
    return PlanFigure(
        name=name, unit=unit, value=float(found.mean()), low=low, high=high, observations=found.size,
        least=least, sentence=sentence,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class JudgedSignal:
    """A signal that a model answered, with what its round trip earned at the strategy's own size, USD.

    score   of the strategy's signal, the larger the stronger; NaN where it is not known
    """

    lane: str
    bundle: str
    decision: int
    taken: bool
    pnl: float
    score: float


def judged_signals(
    outcomes: Iterable[SignalOutcome],
    settled: Mapping[SignalKey, FollowedSignal],
    scores: Mapping[tuple[str, int], float],
    until: int,
) -> tuple[JudgedSignal, ...]:
    """Return signals that a strategy with one position would have traded and that had ended by `until`.

    settled   round trips by key; scores   by lane and decision; until   UTC ns

    Signals without a probability are left out: no model answered them.
    """
    groups: dict[tuple[str, str], list[SignalOutcome]] = {}
    for each in outcomes:
        if each.state in ("taken", "vetoed") and not math.isnan(each.probability):
            groups.setdefault((each.lane, each.bundle), []).append(each)
    found = []
    for (lane, bundle), mine in groups.items():
        for each in thinned(mine):
            trip = settled.get(each.key)
            if trip is not None and 0 < trip.exit <= until and math.isfinite(trip.pnl):
                score = scores.get((lane, each.decision), math.nan)
                found.append(JudgedSignal(
                    lane=lane, bundle=bundle, decision=each.decision, taken=each.state == "taken",
                    pnl=trip.pnl, score=score,
                ))  # fmt: skip
    return tuple(sorted(found, key=lambda one: (one.decision, one.lane)))


def over_unfiltered(signals: Sequence[JudgedSignal]) -> Floats:
    """Return what the model added to each signal, USD (n,): what a veto avoided, with its sign; else 0."""
    return np.array([0.0 if each.taken else -each.pnl for each in signals], dtype=np.float64)


def over_score(signals: Sequence[JudgedSignal]) -> Floats:
    """Return what the model added to each signal beyond a rule that keeps as many of the strongest, USD (n,).

    In each lane the rule keeps as many signals as its model did, those with the largest score; equal ones
    in the order of their decisions. Signals without a score are left out.
    """
    known = [each for each in signals if math.isfinite(each.score)]
    kept: set[tuple[str, int]] = set()
    for lane in {each.lane for each in known}:
        mine = sorted(
            (each for each in known if each.lane == lane), key=lambda one: (-one.score, one.decision)
        )
        kept |= {(lane, each.decision) for each in mine[: sum(each.taken for each in mine)]}
    gains = [each.pnl * (each.taken - ((each.lane, each.decision) in kept)) for each in known]
    return np.array(gains, dtype=np.float64)


def strengths(
    values: Mapping[str, tuple[Sequence[int], Floats]], decisions: Mapping[str, Sequence[int]]
) -> dict[tuple[str, int], float]:
    """Return the strength of a strategy's signal by lane and decision: the larger, the stronger.

    values      by lane: stamps of all decisions (n,), and the first feature that it decides on (n,)
    decisions   by lane: stamps of signals

    A signal is strong where the feature lies far on the side on which signals lie: below the middle of all
    decisions for a strategy that buys weakness, above it for one that buys strength. No outcome is looked at.
    """
    found: dict[tuple[str, int], float] = {}
    for lane, (stamps, feature) in values.items():
        at = {stamp: float(value) for stamp, value in zip(stamps, feature, strict=True)}
        mine = {
            stamp: at[stamp] for stamp in decisions.get(lane, ()) if math.isfinite(at.get(stamp, math.nan))
        }
        known = feature[np.isfinite(feature)]
        if mine and known.size:
            side = 1.0 if np.median(list(mine.values())) > np.median(known) else -1.0
            found |= {(lane, stamp): side * value for stamp, value in mine.items()}
    return found


@dataclass(frozen=True, kw_only=True)
class SizedTrade:
    """A closed trade of a portfolio's lane: its result at the size that was admitted, USD.

    quantity   contracts that the portfolio admitted, base   by the strategy's own size, both > 0
    notional   USD of one contract at the entry
    """

    pnl: float
    quantity: float
    base: float
    notional: float


def over_plain(trades: Sequence[SizedTrade]) -> Floats:
    """Return what the portfolio's sizes added to each trade, USD (n,), at equal notional over all of them.

    The plain portfolio trades the same entries at the strategies' own sizes, all multiplied by one number
    so that both put the same notional to work. Entries that the portfolio refused are in neither.

    >>> same = [SizedTrade(pnl=10.0, quantity=2.0, base=1.0, notional=100.0)] * 2
    >>> over_plain(same).tolist()
    [0.0, 0.0]
    """
    wanted = math.fsum(each.quantity * each.notional for each in trades)
    own = math.fsum(each.base * each.notional for each in trades)
    scale = wanted / own if own > 0 else math.nan
    gains = [each.pnl * (1.0 - scale * each.base / each.quantity) for each in trades]
    return np.array(gains, dtype=np.float64)


def plan_figures(
    alarms: Iterable[AlarmRaised],
    signals: Sequence[JudgedSignal],
    sized: Sequence[SizedTrade] | None,
    latencies: Sequence[float] | None = None,
) -> tuple[PlanFigure, ...]:
    """Return the plan's figures of a desk.

    sized       trades of its portfolio, None where it has none
    latencies   hours from an alarm's trigger to its challenger in shadow, None where no book of
                retrainings is known
    """
    found = [float(each.outcomes) for each in alarms if each.level == "ALARM"]
    figures = [
        plan_figure(
            "From an alarm to a challenger in shadow", "hours", latencies or (), LEAST_ALARMS,
            _LATENCY if latencies is not None else "Not measured: no book of retrainings is known.",
        ),
        plan_figure(
            "Decay found after", "trades", found, LEAST_ALARMS,
            "Outcomes of the fall up to each ALARM, false ones included: nobody knows which those are.",
        ),
        plan_figure(
            "Gain of the model over the unfiltered strategy, per signal", "usd", over_unfiltered(signals),
            LEAST_SIGNALS,
            "What vetoed signals would have earned, with its sign turned, at the strategy's own size on "
            "settled bars; a signal that was taken adds nothing.",
        ),
        plan_figure(
            "Gain of the model over the factor score, per signal", "usd", over_score(signals), LEAST_SIGNALS,
            "Against a rule without a model that keeps as many signals of each lane: those in which the "
            "first feature that the strategy decides on is strongest.",
        ),
    ]  # fmt: skip
    if sized is not None:
        figures.append(
            plan_figure(
                "Gain of the portfolio's sizes over plain ones, per trade", "usd", over_plain(sized),
                LEAST_SIGNALS,
                "Against the same entries at the strategies' own sizes, multiplied by one number so that "
                "both put the same notional to work.",
            )
        )  # fmt: skip
    return tuple(figures)
