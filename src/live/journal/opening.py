"""Connections to a journal, made only after the file was found to be one and to be whole."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

from lockstep.drives import drive_of
from lockstep.errors import JournalError
from lockstep.live.journal import schema, verification, wal
from lockstep.live.journal.backup import copy
from lockstep.live.journal.failures import RESTORE, explained

_LOGGER = logging.getLogger("lockstep.journal")
_BUSY_SECONDS = 5.0
_TAIL = 1000

# FULL: a commit has reached the disk when it returns. NORMAL would lose the last ones with the power.
_SETTINGS = "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON;"


def for_reading(path: Path) -> sqlite3.Connection:
    """Return a connection that can change nothing, also while another process writes."""
    if not path.is_file():
        raise JournalError(f"journal {path}: there is none: check the path; the live engine creates it")
    with explained(path), ExitStack() as undo:
        connection = undo.enter_context(closing(_connected(path)))
        _version(path, connection, oldest=len(schema.MIGRATIONS))
        undo.pop_all()
    return connection


def require_place(path: Path) -> None:
    """JournalError where no journal of this name can be written: no folder, or one on a network drive."""
    if not path.parent.is_dir():
        raise JournalError(f"journal {path}: the folder {path.parent} does not exist: create it")
    if path.is_dir():
        raise JournalError(f"journal {path}: this is a folder: name a file in it")
    _require_local(path)


def _require_local(path: Path) -> None:
    """JournalError for a network drive; a folder shared with the host is warned of."""
    drive = drive_of(path)
    if drive is not None and drive.is_network:
        raise JournalError(f"journal {path}: {drive.doubt}: keep it on a disk of this machine")
    if drive is not None and drive.is_shared:
        _LOGGER.warning("journal %s: %s; better keep it on a disk of this machine", path, drive.doubt)


def for_writing(path: Path) -> sqlite3.Connection:
    """Return a connection to a new journal, or to one that is whole; the caller holds the writer's lock."""
    with explained(path), ExitStack() as undo:
        stored = _inspected(path) if path.exists() else 0
        connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
        undo.callback(connection.close)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SETTINGS)
        if stored < len(schema.MIGRATIONS):
            schema.migrate(connection, stored)
        undo.pop_all()
    return connection


def _inspected(path: Path) -> int:
    """Return the stored version; JournalError for a damaged journal, which stays as it was found.

    The connection only reads: closing one that may write would bring the log into the file.
    """
    lost = wal.damage(path)
    if lost:
        raise JournalError(f"journal {path}: {lost}: {RESTORE}")
    with closing(_connected(path)) as connection:
        stored = _version(path, connection, oldest=0)
        if stored:
            _refuse_damage(path, connection)
            _keep_old_version(path, connection, stored)
        return stored


def _refuse_damage(path: Path, connection: sqlite3.Connection) -> None:
    found = verification.structure(connection) or verification.chain(connection, newest=_TAIL)
    if found:
        raise JournalError(f"journal {path}: it is damaged: {found[0]}: {RESTORE}")


def _keep_old_version(path: Path, connection: sqlite3.Connection, stored: int) -> None:
    """Copy a journal before it is migrated: the older Lockstep can go back to the copy."""
    kept = path.with_name(f"{path.name}.v{stored}")
    if stored < len(schema.MIGRATIONS) and not kept.exists():
        copy(connection, kept)


def _connected(path: Path) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)


def _version(path: Path, connection: sqlite3.Connection, *, oldest: int) -> int:
    """Return the stored version where this code can work with it; JournalError otherwise."""
    stored, known = schema.version(connection), len(schema.MIGRATIONS)
    if stored is None:
        raise JournalError(f"journal {path}: this database is not a journal: check the path")
    if stored > known:
        raise JournalError(
            f"journal {path}: schema {stored}, written by a newer Lockstep; this one knows {known}:"
            " use the newer one, or restore a backup from before"
        )
    if stored < oldest:
        raise JournalError(
            f"journal {path}: schema {stored}, this Lockstep reads {known}: open it for writing once,"
            " which brings it up to date (start the engine, or begin an epoch)"
        )
    return stored
