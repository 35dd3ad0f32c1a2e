"""The decay of each lane's edge at the end of every month, and what is recommended where it decays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lockstep.errors import DataError
from lockstep.live.traded import TradedModel
from lockstep.monitoring.alerts import Severity
from lockstep.monitoring.decay import ALERT, WARNING, DecaySettings, DecayVerdict, decay
from lockstep.monitoring.decay_feed import decay_arrays
from lockstep.monitoring.outcomes import SignalOutcome
from operations.watch import rows
from operations.watch.database import MonitorDatabase
from operations.watch.features import DECAY, DriftRow, month_ends
from operations.watch.join import JoinedSignal, LaneSession
from operations.watch.notes import is_impossible
from operations.watch.rotation import write_rotation
from operations.watch.settle import Note
from operations.watch.streams import runbook

_SEVERITIES: Mapping[str, Severity] = {ALERT: "alert", WARNING: "warning"}
# No position is held for so long, ns.
_LONGEST = 180 * 86_400_000_000_000
Found = tuple[LaneSession, DecayVerdict]


def look_at_decay(
    database: MonitorDatabase, signals: Sequence[JoinedSignal], settings: DecaySettings, frontier: int
) -> tuple[list[Found], list[Note]]:
    """Write a row for each month that is over and whose signals' sides are known; return those that are new.

    A month is judged by the signals and closes up to its end, once: it is the same whenever it is judged.
    """
    traded_by = {(each.lane, each.session): each.bundle for each in rows.sessions(database)}
    known = [
        row
        for row in database.rows("drift", "kind = ?", DECAY)
        # Where an epoch went back over these bars with another bundle, the month is that one's.
        if traded_by.get((row["lane"], row["session"])) == row["bundle"]
    ]
    database.replace("drift", known, "kind = ?", DECAY)
    done = {(row["lane"], row["session"]) for row in known}
    found: list[Found] = []
    notes: list[Note] = []
    for (lane, bundle), outcomes in _asked(signals, frontier).items():
        sessions = rows.sessions(database, "lane = ?", lane)
        traded = [place for place in month_ends(each.session for each in sessions)
                  if sessions[place].bundle == bundle]  # fmt: skip
        for place in traded:
            last = sessions[place]
            asked = [each for each in outcomes if each.decision <= last.stamp]
            if (lane, last.session) in done or not asked or not all(each.side for each in asked):
                continue
            try:
                found.append((last, _judged(asked, sessions[: place + 1], settings)))
            except DataError as error:
                notes.append((lane, f"{lane}: {error}"))
                break
    database.put("drift", rows.rows_of(_row(*each) for each in found))
    return found, notes


def _asked(signals: Sequence[JoinedSignal], frontier: int) -> dict[tuple[str, str], list[SignalOutcome]]:
    """Return the signals with a probability by lane and bundle, but for those whose side stays unknown.

    The side of a refused signal may become known much later, and that of a vetoed one never, where the
    settled bars give no entry: months must not look different for it.
    """
    found: dict[tuple[str, str], list[SignalOutcome]] = {}
    for signal in signals:
        outcome = signal.outcome
        lost = not outcome.side and outcome.decision < frontier - _LONGEST
        if outcome.state == "refused" or lost:
            continue
        if outcome.probability == outcome.probability and not is_impossible(outcome.probability):
            found.setdefault((outcome.lane, outcome.bundle), []).append(outcome)
    return found


def _judged(
    outcomes: Sequence[SignalOutcome], sessions: Sequence[LaneSession], settings: DecaySettings
) -> DecayVerdict:
    stamps = np.array([each.stamp for each in sessions], dtype=np.int64)
    signal, returns = decay_arrays(outcomes, stamps, np.array([each.close for each in sessions]))
    return decay(signal, returns, settings)


def _row(last: LaneSession, verdict: DecayVerdict) -> DriftRow:
    severity = _SEVERITIES.get(verdict.verdict, "")
    page = f". {runbook('decay')}" if severity else ""
    return DriftRow(
        lane=last.lane, kind=DECAY, session=last.session, bundle=last.bundle, verdict=verdict.verdict,
        score=verdict.half_life, highest=verdict.high, severity=severity,
        sentence=f"{last.lane}: {verdict.sentence}{page}",
    )  # fmt: skip


def recommended(found: Sequence[Found], models: Mapping[str, TradedModel], folder: Path) -> Iterator[Path]:
    """Write what is recommended where an edge decays, and yield the files; nothing is changed."""
    newest = {last.lane: (last, verdict) for last, verdict in found}
    for last, verdict in newest.values():
        if verdict.verdict in _SEVERITIES:
            bundle = models[last.bundle].bundle
            yield from write_rotation(folder, lane=last.lane, bundle=bundle, verdict=verdict)
