"""Fills from a broker's statement: a CSV file to which rows are appended.

Columns: fill_id, order_id, symbol, order (market, stop, target), quantity (signed), price, commission (USD)
and time (ISO, with offset). A row counts once its line is complete; one whose `fill_id` was journaled is
known and skipped, so that the file may be written anew.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lockstep.errors import LiveError
from lockstep.live.messages import Event
from lockstep.live.operator import FillCommand
from lockstep.market.validation import validated

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_LATEST = 2**63 - 1
COLUMNS = ("fill_id", "order_id", "symbol", "order", "quantity", "price", "commission", "time")


class StatementFile:
    """Reads new rows of a statement. `seen` are the ids of fills that the journal holds already."""

    def __init__(self, path: Path, seen: Iterable[str] = ()) -> None:
        self._path = path
        self._seen = set(seen)
        self._size = -1

    def read(self) -> list[Event]:
        """Return the fills of complete lines that were not journaled; LiveError names a wrong line."""
        try:
            size = self._path.stat().st_size
            if size == self._size:
                return []
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        complete = text[: text.rfind("\n") + 1]
        rows = csv.DictReader(io.StringIO(complete))
        if complete and tuple(rows.fieldnames or ()) != COLUMNS:
            raise LiveError(f"{self._path}:1: columns {rows.fieldnames}: must be {', '.join(COLUMNS)}")
        found = [self._fill(row, number) for number, row in enumerate(rows, start=2)]
        if complete == text:
            self._size = size
        return [event for event in found if event.content["fill_id"] not in self._seen]

    def done(self, events: Sequence[Event]) -> None:
        """Note that fills are journaled."""
        self._seen |= {str(event.content["fill_id"]) for event in events}

    def _fill(self, row: dict[str, str], line: int) -> Event:
        where = f"{self._path}:{line}"
        try:
            stamp = utc_nanoseconds(row["time"], where)
            content = {**{name: row[name] for name in COLUMNS[:-1]}, "stamp": stamp}
            command = validated(FillCommand, content, where=where)
        except (ValueError, TypeError) as error:
            raise LiveError(f"{where}: {error}") from error
        told = command.model_dump(mode="json", exclude={"kind"})
        content = {"command": f"statement-{command.fill_id}", **told}
        return Event(kind="fill", symbol=command.symbol, content=content)


def utc_nanoseconds(time: str, where: str) -> int:
    """Return an ISO time as UTC nanoseconds; LiveError where it is none, or has no offset."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError as error:
        raise LiveError(f"{where}: time {time!r}: {error}; write it like 2026-03-06T14:10:03Z") from error
    if moment.tzinfo is None:
        raise LiveError(f"{where}: time {time}: has no offset; write it like +00:00")
    found = (moment - _EPOCH) // _MICROSECOND * 1_000
    if abs(found) > _LATEST:
        raise LiveError(f"{where}: time {time}: is centuries away; check the year")
    return found


def reported_ids(events: Iterable[Event]) -> set[str]:
    """Return the ids of fills among journaled events."""
    return {str(event.content["fill_id"]) for event in events if event.kind == "fill"}
