"""What calls for a retraining: pure, from what a monitor and a manifest know.

A trigger is named by its evidence, so that one that is seen every night is one. Which of them begins a
retraining is decided elsewhere, and none of them promotes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np

from lockstep.errors import ConfigError, DataError

TriggerKind = Literal["calendar", "alarm", "drift", "regime"]
MONTHS, COOL_DOWN_DAYS = 6, 30
# The usual rule: the share of wins among the last so many trades is a tenth lower than it was.
LAST_TRADES, FALL = 50, 0.1
# How often that rule is false on a healthy desk, by trades a year; measured in `benchmarks/alarms.py`.
FALSE_A_YEAR = ((60, 0.27), (120, 0.53), (250, 0.86))


@dataclass(frozen=True, kw_only=True)
class RetrainingTrigger:
    """One reason to retrain.

    kind      of the reason; symbol: whose model
    evidence  canonical text of what was seen: equal for the same occurrence, whenever it is seen
    since     UTC ns at which it was first so; sentence: for people
    """

    kind: TriggerKind
    symbol: str
    evidence: str
    since: int
    sentence: str


@dataclass(frozen=True, kw_only=True)
class AlarmFact:
    """An ALARM or WATCH that a monitor raised for a bundle, and nobody has acknowledged."""

    level: Literal["ALARM", "WATCH"]
    stream: str
    bundle: str
    raised: int


@dataclass(frozen=True, kw_only=True)
class AccuracyFall:
    """The usual rule: wins among the last trades are a tenth rarer than in validation. Counts as a WATCH.

    share, reference   of wins; false_a_year: how often a healthy desk of so many trades a year looks so
    """

    share: float
    reference: float
    false_a_year: float

    @property
    def sentence(self) -> str:
        """What was found, and what it is worth."""
        return (
            f"accuracy {self.share:.1%} over the last {LAST_TRADES} trades, a tenth below the "
            f"{self.reference:.1%} of validation; a healthy desk looks so in {self.false_a_year:.0%} of all "
            "years, so that alone it starts nothing"
        )


def accuracy_fall(won: Sequence[bool], *, reference: float, per_year: float) -> AccuracyFall | None:
    """Return the fall of accuracy by the usual rule; None where there is none, or too few trades.

    won         of trades that were taken, by time; reference: share of wins in validation, (0, 1]
    per_year    trades a year, > 0, for the false rate that goes with it

    >>> accuracy_fall([True] * 26 + [False] * 24, reference=0.62, per_year=120).false_a_year
    0.53
    """
    if not 0.0 < reference <= 1.0 or not per_year > 0.0:
        raise ConfigError(f"reference {reference} must lie in (0, 1], trades a year {per_year} be positive")
    if len(won) < LAST_TRADES:
        return None
    share = sum(won[-LAST_TRADES:]) / LAST_TRADES
    if share > (1.0 - FALL) * reference:
        return None
    nearest = min(FALSE_A_YEAR, key=lambda each: abs(each[0] - per_year))
    return AccuracyFall(share=share, reference=reference, false_a_year=nearest[1])


def triggers(
    symbol: str,
    *,
    today: date,
    trained_to: date,
    bundle: str,
    alarms: Sequence[AlarmFact] = (),
    worst_drift: str = "",
    regime: str = "",
    accuracy: AccuracyFall | None = None,
    last_run: date | None = None,
    months: int = MONTHS,
    cool_down_days: int = COOL_DOWN_DAYS,
) -> tuple[RetrainingTrigger, ...]:
    """Return what calls for a retraining of the bundle in production; nothing while it cools down.

    trained_to   last session of its training; today: the desk's, not before it
    alarms       of its streams; those of other bundles are left out
    worst_drift  session (ISO) since which the features are further off than in every year of history, empty
                 for none. It counts together with a WATCH only: one of the two is false too often
    regime       session (ISO) since which a rare regime holds, empty for none
    accuracy     by the usual rule; counts as a WATCH
    last_run     day on which the last retraining of the symbol began; `cool_down_days` later one may begin
                 again

    DataError where today is before the training's end.
    """
    if today < trained_to:
        raise DataError(f"{symbol}: today is {today}, and the training ends at {trained_to}; check the clock")
    if last_run is not None and (today - last_run).days < cool_down_days:
        return ()
    mine = [each for each in alarms if each.bundle == bundle]
    found: list[RetrainingTrigger] = []
    for each in sorted(mine, key=lambda alarm: (alarm.raised, alarm.stream)):
        if each.level == "ALARM":
            found.append(_of(symbol, "alarm", f"{bundle} {each.stream} {each.raised}", each.raised, (
                f"ALARM of {each.stream.replace('_', ' ')}: the model is below the floor of its validation"
            )))  # fmt: skip
    watches = [each for each in mine if each.level == "WATCH"]
    if worst_drift and (watches or accuracy is not None):
        beside = f"a WATCH of {watches[0].stream.replace('_', ' ')}" if watches else "a lower accuracy"
        found.append(_of(symbol, "drift", f"{bundle} {worst_drift}", _stamp(worst_drift), (
            f"features are further off than in any year of history since {worst_drift}, with {beside}"
        )))  # fmt: skip
    if regime:
        found.append(_of(symbol, "regime", f"{bundle} {regime}", _stamp(regime), (
            f"a regime that training hardly knew holds since {regime}"
        )))  # fmt: skip
    due = _later(trained_to, months)
    if today >= due:
        found.append(_of(symbol, "calendar", f"{bundle} {due}", _stamp(due.isoformat()), (
            f"its training ends at {trained_to}, {months} months ago or more"
        )))  # fmt: skip
    return tuple(found)


def _of(symbol: str, kind: TriggerKind, evidence: str, since: int, said: str) -> RetrainingTrigger:
    return RetrainingTrigger(
        kind=kind, symbol=symbol, evidence=f"{symbol} {kind} {evidence}", since=since,
        sentence=f"{symbol}: {said}; train a challenger",
    )  # fmt: skip


def _later(day: date, months: int) -> date:
    """Return the same day some months later, or the last one of that month.

    >>> _later(date(2024, 8, 31), 6)
    datetime.date(2025, 2, 28)
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    for last in range(day.day, 27, -1):
        try:
            return date(year, month + 1, last)
        except ValueError:
            continue
    return date(year, month + 1, day.day)


def _stamp(day: str) -> int:
    return int(np.datetime64(day, "ns").astype(np.int64))
