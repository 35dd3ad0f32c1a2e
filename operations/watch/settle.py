"""Settling the outcomes of `monitor.db` on settled bars, up to the frontier."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from lockstep.live.traded import TradedModel
from lockstep.market.history import History
from lockstep.monitoring.alarms import moment
from lockstep.monitoring.outcomes import SignalKey
from operations.watch import rows
from operations.watch.counterfactual import (
    FollowedSignal,
    corrections,
    followed,
    settled_outcome,
    unsettled_since,
)
from operations.watch.database import MonitorDatabase
from operations.watch.join import JoinedSignal

Note = tuple[str, str]


def settle(
    database: MonitorDatabase, models: Mapping[str, TradedModel], history: History, until: int
) -> tuple[int, list[Note]]:
    """Follow every signal on the settled bars and keep what has ended; return frontier and notes.

    history   settled bars up to `until`, UTC ns, the newest decision; what it lacks holds the frontier back
    """
    known, newest = rows.settled(database), _newest_corrections(database)
    changed: list[JoinedSignal] = []
    trips: dict[SignalKey, FollowedSignal] = {}
    frontier, notes = until, []
    for (lane, bundle), group in _groups(rows.signals(database)).items():
        model = models[bundle]
        found = followed(model, history, (each.outcome.decision for each in group))
        for place, signal in enumerate(group):
            key = signal.outcome.key
            trip = found.get(key.decision)
            if trip is not None and trip.exit:
                trips[key] = trip
            first = known[key] if key in known else trip
            outcome = signal.outcome if first is None else settled_outcome(signal.outcome, first)
            if repr(outcome) != repr(signal.outcome):
                group[place] = replace(signal, outcome=outcome)
                changed.append(group[place])
        bars = history.series(model.key)
        end = int(bars.end[-1]) if len(bars) else 0
        waiting = unsettled_since([each.outcome for each in group], end)
        if end < until and waiting is not None:
            frontier = min(frontier, max(end, waiting))
            last = f"end at {moment(end)}" if end else "are missing"
            text = (
                f"{lane}: settled bars of {model.key} {last}, before the journal at {moment(until)}; signals "
                "since then have no outcome: give newer files"
            )
            notes.append((lane, text))
    database.put("outcomes", map(rows.signal_row, changed))
    fresh = ((key, trip) for key, trip in trips.items() if key not in known)
    database.put("settled", (rows.trip_row(key, trip) for key, trip in fresh))
    _correct(database, corrections(known, trips, newest))
    return frontier, notes


def _groups(signals: Iterable[JoinedSignal]) -> dict[tuple[str, str], list[JoinedSignal]]:
    found: dict[tuple[str, str], list[JoinedSignal]] = {}
    for each in signals:
        found.setdefault((each.outcome.lane, each.outcome.bundle), []).append(each)
    return found


def _correct(database: MonitorDatabase, found: Iterable[tuple[SignalKey, FollowedSignal]]) -> None:
    for key, trip in found:
        there = database.rows("corrections", "lane = ? AND decision = ? AND bundle = ?", *key)
        sentence = (
            f"{key.lane}: bars were corrected after the signal of {moment(key.decision)} was settled; its "
            f"round trip earns {trip.pnl:,.2f} now; streams keep the first value"
        )
        row = {**key._asdict(), "number": len(there) + 1, "sentence": sentence}
        values = {"exit": trip.exit, "pnl": trip.pnl, "following": trip.following}
        database.put("corrections", [{**row, **values}])


def _newest_corrections(database: MonitorDatabase) -> dict[SignalKey, tuple[int, float, float]]:
    found = {}
    for row in database.rows("corrections"):
        key = SignalKey(row["lane"], row["decision"], row["bundle"])
        following = math.nan if row["following"] is None else row["following"]
        found[key] = (row["exit"], row["pnl"], following)
    return found
