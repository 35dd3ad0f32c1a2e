"""Copies of a journal: one file, verified, complete when it has its name."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lockstep.errors import JournalError
from lockstep.files import replacing
from lockstep.live.journal import verification
from lockstep.live.journal.failures import RESTORE, explained


def copy(source: sqlite3.Connection, target: Path) -> None:
    """Copy the journal behind `source` into the new file `target`; the writer goes on meanwhile.

    The copy is verified before it gets its name. JournalError where `target` is there already, cannot be
    written, or is not whole; then nothing is left of it.
    """
    with new_file(target) as partial:
        with explained(target), closing(sqlite3.connect(partial, isolation_level=None)) as copied:
            source.backup(copied)
            copied.execute("PRAGMA journal_mode = DELETE")
            found = verification.findings(copied)
        if found:
            raise JournalError(f"backup {target}: the copy is incomplete: {found[0]}: {RESTORE}")


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Yield a file that becomes `target` at the end; a failure leaves nothing."""
    if target.exists():
        raise JournalError(f"backup {target}: the file exists already: choose another name")
    if not target.parent.is_dir():
        raise JournalError(f"backup {target}: the folder {target.parent} does not exist: create it")
    with replacing(target) as partial:
        yield partial
