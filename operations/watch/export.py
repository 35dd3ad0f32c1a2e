"""What a monitor found, as tables with declared types: outcomes of signals, drift, alarms."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from lockstep.errors import MonitorError
from lockstep.live.journal.export import TIME, Range
from operations.watch.database import COLUMNS, MonitorDatabase

_DAY, _TEXT, _COUNT, _NUMBER = pa.date32(), pa.string(), pa.int64(), pa.float64()


class _Kind(NamedTuple):
    """by: the column that a range is about; types: one for each column of the table of that name."""

    by: str
    types: Mapping[str, Any]


def _typed(*columns: tuple[Any, str]) -> dict[str, Any]:
    return {name: kind for kind, names in columns for name in names.split()}


_KINDS: Mapping[str, _Kind] = {
    "outcomes": _Kind(
        "decision",
        _typed(
            (TIME, "decision entry exit"),
            (_COUNT, "epoch side sequence"),
            (_TEXT, "lane bundle version mode state reason"),
            (_NUMBER, "probability quantity entry_price exit_price pnl following"),
        ),
    ),
    "drift": _Kind(
        "session",
        _typed(
            (_DAY, "session since"),
            (_COUNT, "years"),
            (_TEXT, "lane kind bundle verdict feature what sentence severity"),
            (_NUMBER, "score highest"),
        ),
    ),
    "alarms": _Kind(
        "raised",
        _typed(
            (TIME, "raised since acknowledged"),
            (_COUNT, "outcomes"),
            (_TEXT, "place level bundle stream sentence severity"),
        ),
    ),
}
WATCHED = tuple(_KINDS)
"""Kinds of rows that a monitor's database exports; each is the name of its table."""


def watched(path: Path, kind: str, days: Range) -> pa.Table:
    """Return the rows of a kind of `WATCHED` in the `monitor.db` at `path`, in the order of their keys.

    days   UTC days of the decision (outcomes) or of the moment it was raised (alarms), sessions (drift)

    Stamps are UTC to the nanosecond, NULL where something has not happened: the exit of an open trade.
    MonitorError where the file is missing, is no monitor's, or has no row in the range.
    """
    by, types = _KINDS[kind]
    first, behind = _bounds(days, types[by])
    with MonitorDatabase.open(path, readonly=True) as database:
        rows = database.rows(kind, f"{by} >= ? AND {by} < ?", first, behind)
    if not rows:
        raise MonitorError(f"{path}: no {kind} {days}: widen the range, or run the monitor")
    schema = pa.schema([(name, types[name]) for name in COLUMNS[kind]])
    try:
        return pa.Table.from_pylist([_plain(row, types) for row in rows], schema=schema)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise MonitorError(
            f"{path}: {kind}: a row is not what a monitor writes: {error}; make it again: lockstep monitor "
            "rebuild"
        ) from error


def _bounds(days: Range, by: Any) -> tuple[Any, Any]:
    """Return the first value of the range and the first one behind it, as the column holds them."""
    if by == TIME:
        return days.stamps
    # A text is at or above "" and below ":", which follows the digits.
    first = "" if days.first is None else days.first.isoformat()
    return first, ":" if days.last is None else f"{days.last.isoformat()}:"


def _plain(row: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(value, types[name]) for name, value in row.items()}


def _value(value: Any, kind: Any) -> Any:
    if kind == TIME:
        return value or None  # 0 stands for "not yet"
    if kind == _DAY:
        return date.fromisoformat(value) if value else None
    return value
