"""What a monitor says of bad input, one sentence each: what, where, and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lockstep.monitoring.alarms import moment
from lockstep.monitoring.outcomes import SignalOutcome
from operations.watch import rows
from operations.watch.database import MonitorDatabase
from operations.watch.join import JoinedSignal
from operations.watch.reading import ODDITIES
from operations.watch.settle import Note

_QUIET_DAYS = 31
# Of a session, in days of the calendar.
_CALENDAR = 7 / 5


def mode_notes(mode: str, since: int) -> Iterator[Note]:
    """Yield that epochs before `since` are of another mode, where there are such."""
    if since > 1:
        earlier = "epoch 1 is" if since == 2 else f"epochs 1 to {since - 1} are"
        yield "desk", f"{earlier} of another mode than {mode}; streams begin with epoch {since}"


def database_notes(
    database: MonitorDatabase, signals: Sequence[JoinedSignal], frontier: int, open_sessions: int
) -> Iterator[Note]:
    """Yield what is odd about the journal and the outcomes up to `frontier`, UTC ns."""
    yield from ((str(about), str(text)) for about, text in rows.state(database, ODDITIES) or [])
    by_lane: dict[str, list[SignalOutcome]] = {}
    for each in signals:
        by_lane.setdefault(each.outcome.lane, []).append(each.outcome)
    for lane, outcomes in sorted(by_lane.items()):
        yield from lane_notes(lane, outcomes, frontier, open_sessions)
    yield from ((row["lane"], row["sentence"]) for row in database.rows("corrections"))


def lane_notes(
    lane: str, outcomes: Sequence[SignalOutcome], frontier: int, open_sessions: int
) -> Iterator[Note]:
    """Yield what is odd about the outcomes of one lane."""
    limit = _days_before(frontier, open_sessions * _CALENDAR)
    waiting = [each for each in outcomes if not each.is_final and each.decision < limit]
    if waiting:
        oldest = min(waiting, key=lambda each: each.decision)
        many = f"{len(waiting)} signals have" if len(waiting) > 1 else "one signal has"
        text = (
            f"{lane}: {many} had no outcome for {open_sessions} sessions, the oldest of "
            f"{moment(oldest.decision)} ({oldest.reason}); look at its orders and bars"
        )
        yield lane, text
    impossible = [each for each in outcomes if is_impossible(each.probability)]
    if impossible:
        text = (
            f"{lane}: {len(impossible)} probabilities outside [0, 1], the first "
            f"{impossible[0].probability:g} of {moment(impossible[0].decision)}; they feed no "
            "stream: mend the model's output"
        )
        yield lane, text
    unasked = [each for each in outcomes if math.isnan(each.probability) and each.state == "vetoed"]
    if unasked:
        text = (
            f"{lane}: {len(unasked)} vetoes without a probability, the first of "
            f"{moment(unasked[0].decision)}; they feed no stream: mend the model's output"
        )
        yield lane, text
    taken = [each.exit for each in outcomes if each.state == "taken"]
    begun = min(each.decision for each in outcomes)
    if (last := max(taken, default=begun)) < _days_before(frontier, _QUIET_DAYS):
        since = f"{'' if taken else 'its first signal of '}{moment(last)[:10]}"
        yield lane, f"{lane}: no trade has ended since {since}; its streams wait for one"


def is_impossible(probability: float) -> bool:
    """Whether a value is no probability although there is one; a missing one is another matter.

    >>> is_impossible(1.2), is_impossible(1.0), is_impossible(math.nan)
    (True, False, False)
    """
    return not math.isnan(probability) and not 0.0 <= probability <= 1.0


def _days_before(time: int, days: float) -> int:
    return time - int(days * 86_400e9)
