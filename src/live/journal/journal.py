"""`Journal`: what the live engine knows, committed before its effects, in one order.

A bar set or an event is one entry. Entries share one sequence without holes and belong to an epoch; nothing
is ever changed or removed. Moments are values that are passed in, int64 UTC nanoseconds, and need not rise;
sequences do, and so do the stamps of the bar sets of an epoch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from lockstep.errors import JournalError, JournalFault
from lockstep.live.events import Event
from lockstep.live.journal import opening
from lockstep.live.journal import opening as wal
from lockstep.live.journal.chain import ORIGIN, link
from lockstep.live.journal.failures import explained
from lockstep.live.journal.opening import WriterLock, held
from lockstep.live.journal.reader import JournalReader
from lockstep.live.journal.rows import EpochRows, SetRows, epoch_rows, event_row, set_rows
from lockstep.live.journal.schema import insert
from lockstep.live.messages import Epoch, SetRecord

_ENTRY, _SET, _EVENT, _EPOCH = map(insert, ("entries", "sets", "events", "epochs"))
_SET_TABLES = tuple(map(insert, SetRows._fields[1:]))
_EPOCH_TABLES = tuple(map(insert, EpochRows._fields[1:]))


class _Tail(NamedTuple):
    """Where the next entry goes: epoch (0 before the first), newest sequence, stamp of the epoch, hash."""

    epoch: int
    sequence: int
    stamp: int | None
    hash: bytes


class Journal(JournalReader):
    """One journal file, open for reading or, in one process at a time, for writing.

    Every write is one transaction: when a method returns it is on the disk; when it raises JournalError,
    nothing of it was written. Not to be shared between threads.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     journal = Journal.open(Path(folder) / "live.db")
    ...     journal.close()
    ...     [path.name for path in sorted(Path(folder).glob("*.db"))]
    ['live.db']
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: WriterLock | None) -> None:
        super().__init__(path, connection)
        self._lock = lock
        with explained(path):
            self._tail = _tail_of(connection)

    @classmethod
    def open(cls, path: Path, *, readonly: bool = False) -> Journal:
        """Open a journal; unless `readonly`, create it where there is none and bring its schema up to date.

        JournalError, with a way out, where another process writes it, the file or its log is damaged or no
        journal, its schema is newer than this code, the folder is missing, or no space is left.
        """
        if readonly:
            return cls(path, opening.for_reading(path), None)
        opening.require_place(path)
        with ExitStack() as undo:
            lock = WriterLock(path)
            undo.callback(lock.release)
            connection = opening.for_writing(path)
            undo.callback(connection.close)
            journal = cls(path, connection, lock)
            undo.pop_all()
        return journal

    def begin_epoch(self, epoch: Epoch) -> int:
        """Begin the epoch after the newest one, whatever number `epoch` has, and return its number."""
        number = self._tail.epoch + 1
        rows = epoch_rows(number, self._tail.sequence + 1, epoch)
        stored = link(self._tail.hash, rows.hashed)
        with self._transaction() as connection:
            connection.execute(_EPOCH, (*rows.head, stored))
            for statement, table in zip(_EPOCH_TABLES, rows[1:], strict=True):
                connection.executemany(statement, table)
        self._tail = _Tail(number, self._tail.sequence, None, stored)
        return number

    def append_set(self, record: SetRecord) -> int:
        """Write a bar set with its events; return its sequence, which its events follow."""
        stamp = record.release.stamp
        if self._tail.stamp is not None and stamp <= self._tail.stamp:
            raise JournalError(
                f"journal {self.path}: bar set {stamp} is not after {self._tail.stamp}, the newest of"
                f" epoch {self._tail.epoch}; one set per stamp, in order"
            )
        sequence = self._tail.sequence + 1
        rows = set_rows(sequence, record)
        events = [
            event_row(number, sequence, each) for number, each in enumerate(record.events, sequence + 1)
        ]
        with self._transaction() as connection:
            tail = self._chain(connection, [rows.hashed, *events])
            connection.execute(_SET, rows.head)
            for statement, table in zip(_SET_TABLES, rows[1:], strict=True):
                connection.executemany(statement, table)
            connection.executemany(_EVENT, events)
        self._tail = tail._replace(stamp=stamp)
        return sequence

    def append(self, *events: Event) -> tuple[int, ...]:
        """Write events that belong to no bar set, all of them or none; return their sequences."""
        rows = [event_row(number, None, each) for number, each in enumerate(events, self._tail.sequence + 1)]
        with self._transaction() as connection:
            tail = self._chain(connection, rows)
            connection.executemany(_EVENT, rows)
        self._tail = tail
        return tuple(row[0] for row in rows)

    def verify(self) -> list[str]:
        """Return what is wrong with the journal, one line each; nothing when it is whole."""
        lost = "" if held(self.path) else wal.damage(self.path)
        return [lost] if lost else super().verify()

    def close(self) -> None:
        """Close the file and let the next writer in; again does nothing."""
        self._connection.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _chain(self, connection: sqlite3.Connection, parts: Sequence[object]) -> _Tail:
        """Write an entry for each part, hashed onto the one before it; return the tail behind them."""
        tail = self._tail
        if not tail.epoch:
            raise JournalError(
                f"journal {self.path}: it has no epoch yet: begin one before anything is written"
            )
        entries = []
        for part in parts:
            tail = tail._replace(sequence=tail.sequence + 1, hash=link(tail.hash, part))
            entries.append((tail.sequence, tail.epoch, tail.hash))
        connection.executemany(_ENTRY, entries)
        return tail

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._lock is None:
            raise JournalError(f"journal {self.path}: it was opened for reading only")
        if self._lock.lost:
            raise JournalFault(
                f"journal {self.path}: its lock file was removed or replaced, another process may be "
                "writing; nothing more is written here: find that process, then restart"
            )
        with explained(self.path), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection


def _tail_of(connection: sqlite3.Connection) -> _Tail:
    newest = connection.execute(
        "SELECT number, first, hash FROM epochs ORDER BY number DESC LIMIT 1"
    ).fetchone()
    if newest is None:
        return _Tail(0, 0, None, ORIGIN)
    number, first, begun = newest
    last = connection.execute(
        "SELECT sequence, epoch, hash FROM entries ORDER BY sequence DESC LIMIT 1"
    ).fetchone()
    (stamp,) = connection.execute("SELECT max(stamp) FROM sets WHERE sequence >= ?", (first,)).fetchone()
    if last is None or last[1] != number:
        return _Tail(number, first - 1, None, begun)
    return _Tail(number, last[0], stamp, last[2])
