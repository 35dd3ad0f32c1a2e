"""Rows of `monitor.db` as values, and back."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from lockstep.monitoring.outcomes import SignalKey, SignalOutcome
from operations.watch.counterfactual import FollowedSignal
from operations.watch.database import MonitorDatabase
from operations.watch.join import JoinedSignal, LaneCursor, LaneSession, LaneSwap
from operations.watch.slippage import LaneFill
from operations.watch.streams import Acknowledgement, AlarmRaised

_Value = TypeVar("_Value")


def signal_row(signal: JoinedSignal) -> dict[str, Any]:
    """Return a signal as a row of `outcomes`."""
    place = {"version": signal.version, "epoch": signal.epoch, "mode": signal.mode}
    return {**asdict(signal.outcome), **place, "sequence": signal.sequence}


def signals(database: MonitorDatabase, where: str = "", *parameters: Any) -> list[JoinedSignal]:
    """Return signals by lane, decision and bundle; `where` is SQL."""
    return [_signal(row) for row in database.rows("outcomes", where, *parameters)]


def _signal(row: Mapping[str, Any]) -> JoinedSignal:
    return JoinedSignal(
        outcome=_made(SignalOutcome, row), version=row["version"], epoch=row["epoch"], mode=row["mode"],
        sequence=row["sequence"],
    )  # fmt: skip


def signal_of_key(database: MonitorDatabase, key: SignalKey) -> JoinedSignal | None:
    """Return one signal; None where it is not known."""
    found = signals(database, "lane = ? AND decision = ? AND bundle = ?", *key)
    return found[0] if found else None


def sessions(database: MonitorDatabase, where: str = "", *parameters: Any) -> list[LaneSession]:
    """Return sessions by lane and date; `where` is SQL."""
    return [_made(LaneSession, row) for row in database.rows("sessions", where, *parameters)]


def session_of_key(database: MonitorDatabase, key: tuple[str, str]) -> LaneSession | None:
    """Return one session of a lane; None where it is not known."""
    found = sessions(database, "lane = ? AND session = ?", *key)
    return found[0] if found else None


def swaps(database: MonitorDatabase) -> list[LaneSwap]:
    """Return which bundle traded which lane from when on, by lane and time."""
    return [_made(LaneSwap, row) for row in database.rows("swaps")]


def settled(database: MonitorDatabase) -> dict[SignalKey, FollowedSignal]:
    """Return the first value of every round trip that has ended, by key."""
    return {
        SignalKey(row["lane"], row["decision"], row["bundle"]): _made(FollowedSignal, row)
        for row in database.rows("settled")
    }


def trip_row(key: SignalKey, trip: FollowedSignal) -> dict[str, Any]:
    """Return a round trip as a row of `settled`."""
    return {**dict(zip(("lane", "decision", "bundle"), key, strict=True)), **asdict(trip)}


def acknowledgements(database: MonitorDatabase) -> list[Acknowledgement]:
    """Return what somebody took note of, by place and time."""
    rows = database.rows("acknowledgements")
    return [Acknowledgement(place=row["place"], time=row["time"]) for row in rows]


def alarms(database: MonitorDatabase, where: str = "", *parameters: Any) -> list[AlarmRaised]:
    """Return alarms by place, level and time; `where` is SQL."""
    return [_made(AlarmRaised, row) for row in database.rows("alarms", where, *parameters)]


def rows_of(values: Iterable[Any]) -> list[dict[str, Any]]:
    """Return frozen dataclasses as rows, one column for each field."""
    return [dict(vars(each)) for each in values]


def fill_rows(fills: Iterable[LaneFill]) -> list[dict[str, Any]]:
    """Return reported fills as rows of `fills`, numbered within a lane and stamp."""
    found: list[dict[str, Any]] = []
    counts: Counter[tuple[str, int]] = Counter()
    for fill in fills:
        counts[fill.lane, fill.stamp] += 1
        row = {**fill.model_dump(), "order_kind": fill.order, "number": counts[fill.lane, fill.stamp]}
        found.append({**row, "touched": int(fill.touched)})
    return found


def state(database: MonitorDatabase, name: str) -> Any:
    """Return a derived value that was kept under a name; None: there is none."""
    found = database.rows("states", "name = ?", name)
    return json.loads(found[0]["content"]) if found else None


def keep_state(database: MonitorDatabase, name: str, value: Any) -> None:
    """Keep a derived value, plain JSON, under a name."""
    database.put("states", [{"name": name, "content": json.dumps(value)}])


def plain(value: Any) -> Any:
    """Return a value as strict JSON can hold it: NaN and infinities are null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cursors_of(content: Mapping[str, Mapping[str, Any]] | None) -> dict[str, LaneCursor]:
    """Return the cursors of lanes from plain JSON."""
    return {lane: LaneCursor(**dict(each)) for lane, each in (content or {}).items()}


def _made(kind: type[_Value], row: Mapping[str, Any]) -> _Value:
    """Return a value of the columns that it has fields for; NULL is NaN."""
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: math.nan if row[name] is None else row[name] for name in names})
