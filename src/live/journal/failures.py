"""What can go wrong with the file, said in one line with a way out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lockstep.errors import ConfigError, JournalError, JournalFault

RESTORE = "keep the file, salvage it with `lockstep journal salvage`, and restore as in docs/journal.md"

_WAYS_OUT = {
    sqlite3.SQLITE_FULL: "no space is left; nothing of this was written: free space, then restart",
    sqlite3.SQLITE_IOERR: (
        "the disk refused; nothing of this was written: look for a full or failing disk, then restart"
    ),
    sqlite3.SQLITE_BUSY: "another program keeps it locked: close that program; reading is always possible",
    sqlite3.SQLITE_CORRUPT: f"it is damaged: {RESTORE}",
    sqlite3.SQLITE_NOTADB: f"it is not a journal, or its first page is damaged: {RESTORE}",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check its folder and the permissions",
    sqlite3.SQLITE_READONLY: "it cannot be written to: check the permissions of the file and its folder",
}
# What may be over a moment later; everything else is refused again.
_FAULTS = frozenset((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY))
_PRIMARY_CODE = 0xFF


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn a failure that SQLite reports into a JournalError; mistakes of the program stay what they are.

    It is a JournalFault where the disk or another program refuses.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None and isinstance(error, sqlite3.OperationalError):
            code = sqlite3.SQLITE_CORRUPT  # Python could not read a text as UTF-8.
        if code is None:
            raise
        way_out = _WAYS_OUT.get(code & _PRIMARY_CODE, "nothing of this was written")
        kind = JournalFault if code & _PRIMARY_CODE in _FAULTS else JournalError
        raise kind(f"journal {path}: {error}: {way_out}") from error
    except UnicodeDecodeError as error:  # What SQLite says of a damaged schema quotes the damage.
        raise JournalError(f"journal {path}: it is damaged: {RESTORE}") from error


@contextmanager
def legible(path: Path, what: str) -> Iterator[None]:
    """Turn a failure to understand stored rows into a JournalError: nobody wrote them so."""
    try:
        yield
    except (ConfigError, JournalError, KeyError, TypeError, ValueError) as error:
        raise JournalError(f"journal {path}: {what} cannot be understood ({error}): {RESTORE}") from error
