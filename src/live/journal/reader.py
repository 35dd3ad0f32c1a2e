"""`JournalReader`: what can be asked of a journal; nothing here changes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, overload

from lockstep.errors import JournalError
from lockstep.live.events import AnyEvent, Event, EventRow, ModelSwapped
from lockstep.live.journal import reading, verification
from lockstep.live.journal.backup import copy
from lockstep.live.journal.chain import Row
from lockstep.live.journal.failures import explained, legible
from lockstep.live.journal.reading import Found
from lockstep.live.journal.rows import StoredSet, numbers, read_epoch, read_event, read_set, series_key
from lockstep.live.journal.schema import PORTFOLIOS, select, version
from lockstep.live.messages import Epoch, SetRecord, Values
from lockstep.market.history import SeriesKey
from lockstep.portfolio.state import CoordinatorState

_PIECE = 1000
_BAR = "end, open, high, low, close, volume"
_SERIES = "WHERE symbol = ? AND timeframe = ?"


class JournalReader:
    """Questions to a journal; JournalError where the file cannot be read or has no answer."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def epochs(self) -> tuple[Epoch, ...]:
        """Return all epochs, oldest first."""
        return self._epochs(since=1)

    def newest_epoch(self) -> Epoch | None:
        """Return the epoch that a restart replays; None in a new journal."""
        newest = self._epochs(since=self._one("SELECT max(number) FROM epochs") or 1)
        return newest[0] if newest else None

    def entries(self, epoch: int, *, after: int = 0) -> Iterator[SetRecord | Event]:
        """Yield the bar sets and events of an epoch that stand behind sequence `after`, in their order.

        An event that was written with a bar set comes inside it. Memory stays flat. What is written after
        the first answer is not seen.
        """
        first, last = self._range(epoch)
        with explained(self.path):
            for found in reading.entries(self._connection, max(first, after + 1), last):
                yield self._decoded(found)

    def recorded(self, epoch: int) -> Iterator[StoredSet | Event]:
        """Yield the entries of an epoch as `entries` does, lanes as they are stored: for a replay."""
        with explained(self.path):
            for found in reading.entries(self._connection, *self._range(epoch)):
                yield self._stored(found)

    def last_set(self, epoch: int | None = None) -> SetRecord | None:
        """Return the newest bar set of an epoch, by default of all; None where there is none."""
        first, last = self._range(epoch) if epoch is not None else (1, self._last())
        newest = self._one("SELECT max(sequence) FROM sets WHERE sequence BETWEEN ? AND ?", first, last)
        if newest is None:
            return None
        with explained(self.path):
            return self._decoded_set(next(reading.entries(self._connection, newest, last)))

    @property
    def keeps_portfolios(self) -> bool:
        """Whether the file is of a step that keeps what a portfolio decides."""
        return (version(self._connection) or 0) >= PORTFOLIOS

    def newest_settled(self, epoch: int) -> CoordinatorState | None:
        """Return the state of the portfolio after the newest set of an epoch that it decided; None: none."""
        first, last = self._range(epoch)
        if not self.keeps_portfolios:
            return None
        newest = self._one(
            "SELECT max(sequence) FROM settlements WHERE sequence BETWEEN ? AND ?", first, last
        )
        if newest is None:
            return None
        with explained(self.path):
            settled = self._decoded_set(next(reading.entries(self._connection, newest, newest))).settled
        return settled.state if settled else None

    def count_sets(self, epoch: int) -> int:
        """Return how many bar sets an epoch has."""
        first, last = self._range(epoch)
        return int(self._one("SELECT count(*) FROM sets WHERE sequence BETWEEN ? AND ?", first, last))

    @overload
    def events(self, kind: type[AnyEvent], /, *, symbol: str = "", since: int = 0) -> Iterator[AnyEvent]: ...

    @overload
    def events(self, *kinds: type[Event], symbol: str = "", since: int = 0) -> Iterator[Event]: ...

    def events(self, *kinds: type[EventRow], symbol: str = "", since: int = 0) -> Iterator[EventRow]:
        """Yield events of all epochs in their order, those of bar sets too.

        kinds   only of these classes, all by default; symbol   only of this instrument; since   not before,
                UTC ns
        """
        conditions = ["time >= ?"]
        parameters: list[Any] = [since]
        if kinds:
            conditions.append(f"kind IN ({', '.join('?' * len(kinds))})")
            parameters += [each.kind for each in kinds]
        if symbol:
            conditions.append("symbol = ?")
            parameters.append(symbol)
        query = select(
            "events", f"WHERE {' AND '.join(conditions)} AND sequence > ? ORDER BY sequence LIMIT ?"
        )
        after = 0
        while rows := self.select(query, *parameters, after, _PIECE):
            with legible(self.path, f"an event behind entry {after}"):
                found = list(map(read_event, rows))
            yield from found
            after = rows[-1][0]

    def last_stamps(self) -> Mapping[SeriesKey, int]:
        """Return the end of the newest bar of each series, bars that came late and warm-up included."""
        query = """
            SELECT symbol, timeframe, max(newest) FROM (
                SELECT symbol, timeframe, max(end) AS newest FROM bars GROUP BY symbol, timeframe
                UNION ALL
                SELECT symbol, timeframe, max(end) FROM warmup GROUP BY symbol, timeframe
            ) GROUP BY symbol, timeframe
        """
        return {series_key(symbol, timeframe): end for symbol, timeframe, end in self.select(query)}

    def bars(self, key: SeriesKey, *, limit: int) -> tuple[tuple[int, Values], ...]:
        """Return the newest bars of a series over all epochs, warm-up included: (end, values), oldest first.

        Where a stamp was written more than once the last one counts: the warm-up of a later epoch comes from
        settled files.
        """
        names = (key.symbol, str(key.timeframe))
        live = f"SELECT sequence, {_BAR} FROM bars {_SERIES} ORDER BY end DESC LIMIT ?"
        settled = f"SELECT first - 0.5, {_BAR} FROM warmup JOIN epochs ON epoch = number {_SERIES}"
        written = self.select(live, *names, limit) + self.select(settled, *names)
        newest = {end: numbers(values) for _, end, *values in sorted(written, key=itemgetter(0))}
        return tuple(sorted(newest.items())[max(0, len(newest) - limit) :])

    def first_bars(self, key: SeriesKey) -> tuple[tuple[int, Values], ...]:
        """Return the bars of a series as they first came in: (end, values), oldest first.

        Those of warm-ups are not among them: they come from files.
        """
        rows = self.select(
            f"SELECT {_BAR} FROM bars {_SERIES} ORDER BY sequence DESC", key.symbol, str(key.timeframe)
        )
        first = {end: numbers(values) for end, *values in rows}
        return tuple(sorted(first.items()))

    def newest_hash(self) -> str:
        """Return the hash (hex) of the newest entry, which covers all before it; empty without an entry."""
        rows = self.select("SELECT hash FROM entries ORDER BY sequence DESC LIMIT 1")
        return bytes(rows[0][0]).hex() if rows else ""

    def open_bundles(self) -> frozenset[str]:
        """Return the SHA-256 of the bundles that a replay of the newest epoch needs; they must stay."""
        epoch = self.newest_epoch()
        if epoch is None:
            return frozenset()
        first = self.first_entry(epoch.number)
        decided = self.select("SELECT DISTINCT bundle FROM decisions WHERE sequence >= ?", first)
        swapped = (each.to_sha256 for each in self.events(ModelSwapped) if each.sequence >= first)
        return frozenset((*epoch.bundles.values(), *(bundle for (bundle,) in decided), *swapped)) - {""}

    def first_entry(self, epoch: int) -> int:
        """Return the sequence that the first entry of an epoch has, or will have."""
        return self._range(epoch)[0]

    def last_entry(self, epoch: int) -> int:
        """Return the sequence of the last entry of an epoch so far; below its first where it has none."""
        return self._range(epoch)[1]

    def backup(self, target: Path) -> None:
        """Copy the journal into the new file `target`, verified, also while the engine writes."""
        with explained(self.path):
            copy(self._connection, target)

    def verify(self) -> list[str]:
        """Return what is wrong with what can be read, one line each; nothing when it is whole."""
        return verification.findings(self._connection)

    def size(self) -> int:
        """Return the bytes on disk, those of the write-ahead log included."""
        log = self.path.with_name(self.path.name + "-wal")
        return sum(path.stat().st_size for path in (self.path, log) if path.exists())

    def select(self, query: str, *parameters: Any) -> list[Row]:
        """Return the rows of a query of one's own; the tables are in `schema.py`."""
        with explained(self.path):
            return self._connection.execute(query, parameters).fetchall()

    def records(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Return the rows of a query of one's own by the names of its columns."""
        with explained(self.path):
            cursor = self._connection.execute(query, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def _one(self, query: str, *parameters: Any) -> Any:
        return self.select(query, *parameters)[0][0]

    def _epochs(self, since: int) -> tuple[Epoch, ...]:
        with explained(self.path), legible(self.path, "an epoch"):
            return tuple(read_epoch(rows) for rows, _ in reading.epochs(self._connection, since))

    def _decoded(self, found: Found) -> SetRecord | Event:
        with legible(self.path, f"entry {found.sequence}"):
            return read_set(found.set, found.events) if found.set else read_event(*found.events)

    def _stored(self, found: Found) -> StoredSet | Event:
        with legible(self.path, f"entry {found.sequence}"):
            if found.set is None:
                return read_event(*found.events)
            return StoredSet(found.set, found.events, lambda: self._decoded_set(found))

    def _decoded_set(self, found: Found) -> SetRecord:
        decoded = self._decoded(found)
        assert isinstance(decoded, SetRecord)
        return decoded

    def _last(self) -> int:
        return int(self._one("SELECT coalesce(max(sequence), 0) FROM entries"))

    def _range(self, epoch: int) -> tuple[int, int]:
        """Return the sequences of the first entry and the last one of an epoch; none where last < first."""
        firsts: dict[int, int] = dict(self.select("SELECT number, first FROM epochs"))
        if epoch not in firsts:
            raise JournalError(
                f"journal {self.path}: there is no epoch {epoch}; the newest is {max(firsts, default=0)}"
            )
        return firsts[epoch], firsts[epoch + 1] - 1 if epoch + 1 in firsts else self._last()
