"""What can be saved of a damaged journal: everything before its first fault, verified."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

from lockstep.errors import JournalError
from lockstep.live.journal import schema, verification
from lockstep.live.journal.backup import new_file
from lockstep.live.journal.chain import Row
from lockstep.live.journal.failures import explained
from lockstep.live.journal.opening import for_reading
from lockstep.live.journal.verification import Sound

_BACKUP = "restore the newest backup"


def salvage(path: Path, target: Path) -> Sound:
    """Write what a damaged journal holds before its first fault into the new journal `target`.

    Whole transactions only, each of which follows from the one before it by its hash; the engine can go on
    from the copy. Returns where the chain ended, and why. JournalError as of `copy`, and where nothing can be
    read.
    """
    with ExitStack() as undo:
        partial = undo.enter_context(new_file(target))
        pieces = (
            Path(undo.enter_context(TemporaryDirectory(dir=target.parent, prefix=".salvage-"))) / "pieces"
        )
        with explained(target), closing(sqlite3.connect(pieces, isolation_level=None)) as read:
            read.executescript(f"PRAGMA synchronous = OFF; {schema.ALL_TABLES}")
            with closing(_opened(path)) as source:
                fault = _read_all(source, read)
            found = verification.sound(read, fault)
        if not found.epoch:
            raise JournalError(f"salvage {path}: {found.fault}; nothing before that can be read: {_BACKUP}")
        with explained(target), closing(sqlite3.connect(partial, isolation_level=None)) as saved:
            _write_until(saved, pieces, found)
    return found


def _read_all(source: sqlite3.Connection, into: sqlite3.Connection) -> str:
    """Copy the rows of every table up to the first that cannot be read; return the first fault."""
    faults: list[str] = []

    def readable(table: str) -> Iterator[Row]:
        try:
            yield from source.execute(schema.select(table, ""))
        except sqlite3.DatabaseError as error:
            faults.append(f"table {table}: {error}")

    for table in schema.tables_of(schema.version(source) or 0):
        into.execute("BEGIN")
        into.executemany(schema.insert(table).replace("INSERT", "INSERT OR IGNORE", 1), readable(table))
        into.execute("COMMIT")
    return faults[0] if faults else ""


def _write_until(saved: sqlite3.Connection, pieces: Path, end: Sound) -> None:
    schema.migrate(saved, 0)
    saved.execute("ATTACH ? AS pieces", (str(pieces),))
    saved.execute("BEGIN")
    for table, columns in schema.COLUMNS.items():
        key, last = ("sequence", end.sequence)
        if "sequence" not in columns:
            key, last = ("number" if table == "epochs" else "epoch", end.epoch)
        names = ", ".join(columns)
        saved.execute(
            f"INSERT INTO {table} ({names}) SELECT {names} FROM pieces.{table} WHERE {key} <= ?", (last,)
        )
    saved.execute("COMMIT")
    found = verification.findings(saved)
    if found:
        raise JournalError(f"salvage: the copy is incomplete: {found[0]}: {_BACKUP}")


def _opened(path: Path) -> sqlite3.Connection:
    try:
        return for_reading(path)
    except JournalError as error:
        if isinstance(error.__cause__, sqlite3.Error):
            raise JournalError(
                f"salvage {path}: {error.__cause__}; nothing can be read: {_BACKUP}"
            ) from error
        raise
