"""Curves of a model over time: scores of its signals by window, each given once all its signals have settled.

Windows go by the date of the decision and not by the date on which a trade ended: quick losses would
otherwise be counted before slow gains. For the same reason a window with a signal that is still open has no
scores yet. Scores use every signal that has an outcome by its own rules, `taken` or `vetoed`, also where they
overlap; profit is that of `taken` alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Literal

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.monitoring.alarms import moment, month_of
from lockstep.monitoring.calibration import Reliability, probability_scores, reliability
from lockstep.monitoring.outcomes import SignalOutcome

WindowKind = Literal["quarter", "rolling"]
SIGNALS, STEP = 100, 20
_QUARTER = 3
_SCORED = ("taken", "vetoed")


@dataclass(frozen=True, kw_only=True)
class CurveWindow:
    """Signals of one window and, once it is closed, their scores.

    kind, name     `quarter`, as "2024 Q1" (UTC); `rolling`, as "signals 21 to 120"
    first, last    UTC ns of its first and last decision
    signals, settled   how many there are, and how many of them nothing can change any more
    is_closed      whether all are settled and no other can come; else every score is NaN and every count of
                   what was scored 0
    scored         signals with an outcome by their own rules; hit_rate   share of them that won
    reference_hit_rate   that of validation, NaN without a reference
    predicted      those of them with a probability; brier, log_loss, auc   of these, see `ProbabilityScores`;
                   NaN where there is none, auc also where all are of one class
    trades, mean_pnl    of `taken`, the account's money; NaN without one
    """

    kind: WindowKind
    name: str
    first: int
    last: int
    signals: int
    settled: int
    is_closed: bool
    reference_hit_rate: float
    scored: int = 0
    hit_rate: float = math.nan
    predicted: int = 0
    brier: float = math.nan
    log_loss: float = math.nan
    auc: float = math.nan
    trades: int = 0
    mean_pnl: float = math.nan


def windows(
    outcomes: Iterable[SignalOutcome],
    *,
    reference_hit_rate: float = math.nan,
    known: int | None = None,
    signals: int = SIGNALS,
    step: int = STEP,
) -> tuple[CurveWindow, ...]:
    """Return the calendar quarters with a signal, then the rolling windows; in any order of `outcomes`.

    outcomes   of what is to be one curve: a lane, or a bundle of it
    reference_hit_rate   of validation, [0, 1] or NaN
    known      UTC ns up to which every signal is known; None: up to the last one. A quarter that has not
               ended by then is open
    signals    of a rolling window; it begins with the first signal and every `step`-th after it, so that
               later signals leave it as it is

    DataError for a signal that occurs twice, comes after `known`, or settled without a finite profit;
    ConfigError for window sizes below 1.

    >>> def signal(day, state="taken", pnl=1.0):
    ...     return SignalOutcome(lane="ES", decision=day * 86_400_000_000_000, bundle="b", side=1,
    ...                          probability=0.5, state=state, pnl=pnl)
    >>> one, other = windows([signal(1), signal(2, pnl=-1.0), signal(95, "open", math.nan)])
    >>> one.name, one.is_closed, one.hit_rate, one.brier
    ('1970 Q1', True, 0.5, 0.25)
    >>> other.name, other.is_closed, other.hit_rate
    ('1970 Q2', False, nan)
    """
    if signals < 1 or step < 1:
        raise ConfigError(f"windows of {signals} signals every {step}: both must be at least 1")
    ordered = _ordered(outcomes, known)
    if not ordered:
        return ()
    until = ordered[-1].decision if known is None else known
    found = [
        _window("quarter", name, part, reference_hit_rate, ended=quarter < _quarter(until))
        for quarter, name, part in _quarters(ordered)
    ]
    for begin in range(0, len(ordered) - signals + 1, step):
        name = f"signals {begin + 1} to {begin + signals}"
        part = ordered[begin : begin + signals]
        found.append(_window("rolling", name, part, reference_hit_rate, ended=True))
    return tuple(found)


def settled_reliability(
    outcomes: Iterable[SignalOutcome], *, seed: int, known: int | None = None
) -> Reliability:
    """Return the reliability curve of all signals of closed quarters that have a probability and an outcome.

    Arguments and errors as in `windows`; without such signals the curve has no bin.
    """
    ordered = _ordered(outcomes, known)
    until = (ordered[-1].decision if ordered else 0) if known is None else known
    used = [
        each
        for quarter, _, part in _quarters(ordered)
        if quarter < _quarter(until) and all(one.is_final for one in part)
        for each in _scored(part)
        if not math.isnan(each.probability)
    ]
    if not used:
        none = np.empty(0)
        return Reliability(predicted=none, observed=none, low=none, high=none, count=none.astype(np.int64))
    return reliability([each.probability for each in used], [int(each.won) for each in used], seed=seed)


def _ordered(outcomes: Iterable[SignalOutcome], known: int | None) -> list[SignalOutcome]:
    ordered = sorted(outcomes, key=lambda each: (each.decision, each.lane, each.bundle))
    for one, other in pairwise(ordered):
        if one.key == other.key:
            raise DataError(
                f"signal {one.lane} at {moment(one.decision)}: occurs twice; give each outcome once"
            )
    if ordered and known is not None and ordered[-1].decision > known:
        raise DataError(
            f"signal {ordered[-1].lane} at {moment(ordered[-1].decision)}: after {moment(known)}, up to "
            "which signals are known; give the outcomes up to there"
        )
    return ordered


def _quarter(stamp: int) -> int:
    return month_of(stamp) // _QUARTER


def _quarters(ordered: Sequence[SignalOutcome]) -> Iterable[tuple[int, str, list[SignalOutcome]]]:
    for quarter, part in groupby(ordered, key=lambda each: _quarter(each.decision)):
        yield quarter, f"{1970 + quarter // 4} Q{quarter % 4 + 1}", list(part)


def _scored(part: Sequence[SignalOutcome]) -> list[SignalOutcome]:
    return [each for each in part if each.state in _SCORED]


def _window(
    kind: WindowKind, name: str, part: Sequence[SignalOutcome], reference: float, *, ended: bool
) -> CurveWindow:
    settled = sum(each.is_final for each in part)
    rest: dict[str, Any] = _scores(part) if ended and settled == len(part) else {}
    return CurveWindow(
        kind=kind,
        name=name,
        first=part[0].decision,
        last=part[-1].decision,
        signals=len(part),
        settled=settled,
        is_closed=ended and settled == len(part),
        reference_hit_rate=reference,
        **rest,
    )


def _scores(part: Sequence[SignalOutcome]) -> dict[str, float | int]:
    scored = _scored(part)
    for each in scored:
        if not math.isfinite(each.pnl):
            raise DataError(
                f"signal {each.lane} at {moment(each.decision)}: is {each.state}, its profit is {each.pnl}; "
                "make the outcomes again"
            )
    taken = [each.pnl for each in scored if each.state == "taken"]
    found: dict[str, float | int] = {"scored": len(scored), "trades": len(taken)}
    if taken:
        found["mean_pnl"] = math.fsum(taken) / len(taken)
    if scored:
        found["hit_rate"] = sum(each.won for each in scored) / len(scored)
    predicted = [each for each in scored if not math.isnan(each.probability)]
    if predicted:
        judged = probability_scores(
            [each.probability for each in predicted], [int(each.won) for each in predicted]
        )
        found |= {"brier": judged.brier, "log_loss": judged.log_loss, "auc": judged.auc}
    return {**found, "predicted": len(predicted)}
