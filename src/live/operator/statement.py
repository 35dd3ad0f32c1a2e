"""What a broker's exports say, as CSV files: fills, and positions.

Fills: rows are appended. Columns: fill_id, order_id, symbol, order (market, stop, target), quantity (signed),
price, commission (USD) and time (ISO, with offset). A row counts once its line is complete; one whose
`fill_id` was journaled is known and skipped, so that the file may be written anew.

Positions: the file is replaced. Columns: symbol, quantity (signed, 0 for flat) and as_of (ISO, with offset).

Both use the broker's names: a smaller unit of a roll-out stage has its own symbol and its own contracts.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lockstep.errors import LiveError
from lockstep.live.brokers.protocol import Holding
from lockstep.live.events import Event, FillReported
from lockstep.live.operator.commands import FillCommand
from lockstep.live.units import SmallerUnit
from lockstep.settings import validated

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_LATEST = 2**63 - 1
COLUMNS = ("fill_id", "order_id", "symbol", "order", "quantity", "price", "commission", "time")
POSITION_COLUMNS = ("symbol", "quantity", "as_of")


class StatementFile:
    """Reads new rows of a statement. `seen` are the ids of fills that the journal holds already.

    units   smaller units of the roll-out, by their symbols: fills in them become fills of the instrument
    """

    def __init__(
        self, path: Path, seen: Iterable[str] = (), units: Mapping[str, SmallerUnit] | None = None
    ) -> None:
        self._path = path
        self._units = units or {}
        self._seen = set(seen)
        self._size = -1
        self._quantities: dict[str, tuple[str, float]] = {}

    def read(self) -> list[FillReported]:
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
        self._quantities = {event.fill_id: (event.symbol, event.quantity) for event in found}
        return [event for event in found if event.fill_id not in self._seen]

    def done(self, events: Iterable[Event]) -> None:
        """Note that fills are journaled."""
        self._seen |= reported_ids(events)

    def positions(self) -> dict[str, float] | None:
        """Return the signed contracts that all fills read so far lead to, by symbol; None without a file."""
        if not self._path.exists():
            return None
        found: dict[str, list[float]] = {}
        for symbol, quantity in self._quantities.values():
            found.setdefault(symbol, []).append(quantity)
        return {symbol: math.fsum(each) for symbol, each in found.items()}

    def _fill(self, row: dict[str, str], line: int) -> FillReported:
        where = f"{self._path}:{line}"
        try:
            stamp = utc_nanoseconds(row["time"], where)
            content = {**{name: row[name] for name in COLUMNS[:-1]}, "stamp": stamp}
            command = validated(FillCommand, content, where=where).inside(self._units)
        except (ValueError, TypeError) as error:
            raise LiveError(f"{where}: {error}") from error
        return command.event(f"statement-{command.fill_id}")


class PositionsFile:
    """The positions that the broker's export says; see `Holdings`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.trouble = ""

    def read(self, now: int) -> dict[str, Holding]:
        """Return the newest holding by symbol; nothing of a file that is absent, half written or wrong."""
        self.trouble = ""
        try:
            return self._holdings(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.trouble = f"{self._path} is not there"
        except (OSError, UnicodeDecodeError) as error:
            self.trouble = f"{self._path}: cannot be read: {type(error).__name__}"
        except LiveError as error:
            self.trouble = str(error)
        return {}

    def _holdings(self, text: str) -> dict[str, Holding]:
        if not text.endswith("\n"):
            raise LiveError(
                f"{self._path}: its last line is incomplete; let the export replace the file as a whole"
            )
        rows = csv.DictReader(io.StringIO(text))
        if tuple(rows.fieldnames or ()) != POSITION_COLUMNS:
            raise LiveError(
                f"{self._path}:1: columns {rows.fieldnames}: must be {', '.join(POSITION_COLUMNS)}"
            )
        found: dict[str, Holding] = {}
        for line, row in enumerate(rows, start=2):
            where = f"{self._path}:{line}"
            if row["symbol"] in found:
                raise LiveError(f"{where}: {row['symbol']} is listed twice; give one row per symbol")
            found[row["symbol"]] = Holding(
                _quantity(row["quantity"], where), utc_nanoseconds(row["as_of"] or "", where), self._path.name
            )
        return found


class FillPositions:
    """The positions that follow from the statement of fills; see `Holdings`.

    It notices a fill that the engine has not booked, and cannot notice that the export has stopped.
    """

    trouble = ""

    def __init__(self, statement: StatementFile, symbols: Iterable[str]) -> None:
        self._statement = statement
        self._symbols = tuple(symbols)

    def read(self, now: int) -> dict[str, Holding]:
        """Return what the fills so far lead to, as of now."""
        positions = self._statement.positions()
        self.trouble = "" if positions is not None else "the statement of fills is not there"
        if positions is None:
            return {}
        return {
            symbol: Holding(positions.get(symbol, 0.0), now, "statement of fills") for symbol in self._symbols
        }


def _quantity(text: str | None, where: str) -> float:
    try:
        found = float(text or "")
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise LiveError(f"{where}: quantity {text!r}: must be a number of contracts, signed; 0 for flat")
    return found


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
    return {event.fill_id for event in events if isinstance(event, FillReported)}
