"""Connections to a journal, made only after the file was found to be one and to be whole.

One writer at a time: a lock that the operating system takes back when the writer dies.

A damaged write-ahead log: SQLite drops everything behind the damage, silently; the journal refuses.

Layout and checksum are those of https://www.sqlite.org/fileformat2.html#walformat: a header of 32 bytes, then
frames of a 24-byte header and one page. A frame belongs to the log while it carries the salts of the header,
and is read while the running checksum agrees. A writer that is killed leaves no more than an unfinished
transaction at the end. A *finished* one behind a frame that cannot be read is damage.
"""

from __future__ import annotations

import functools
import logging
import os
import sqlite3
import struct
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from lockstep.drives import drive_of
from lockstep.errors import JournalError
from lockstep.live.journal import schema, verification
from lockstep.live.journal.backup import copy
from lockstep.live.journal.failures import RESTORE, explained


class WriterLock:
    """The right to write one journal, held from construction to `release`.

    JournalError names the process that holds it. The process is named in a file of its own beside the
    lock, which is information and no lock: it stays after a kill.
    """

    def __init__(self, journal: Path) -> None:
        self._owner = _beside(journal, ".pid")
        self._lock = FileLock(_beside(journal, ".lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise JournalError(
                f"journal {journal}: process {_named(self._owner)} is writing it: stop that one first;"
                " reading is always possible"
            ) from None
        except OSError as error:
            raise JournalError(
                f"journal {journal}: cannot be locked for writing: {error.strerror}"
            ) from error
        self._identity = _identity(_beside(journal, ".lock"))
        self._owner.write_text(f"{os.getpid()}\n", encoding="ascii")

    @property
    def lost(self) -> bool:
        """Whether the lock file was removed or replaced: another process could take the lock too."""
        return _identity(Path(self._lock.lock_file)) != self._identity

    def release(self) -> None:
        """Let the next writer in."""
        self._owner.unlink(missing_ok=True)
        self._lock.release()


def held(journal: Path) -> bool:
    """Whether a process is writing the journal, or nobody can say."""
    if not _beside(journal, ".lock").exists():
        return False
    try:
        WriterLock(journal).release()
    except JournalError:
        return True
    return False


def _named(owner: Path) -> str:
    try:
        return owner.read_text(encoding="ascii").strip() or "(unknown)"
    except (OSError, UnicodeDecodeError):
        return "(unknown)"


def _beside(journal: Path, suffix: str) -> Path:
    return journal.with_name(journal.name + suffix)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


_HEADER = struct.Struct(">IIII8sII")
_FRAME = struct.Struct(">II8sII")
_LITTLE_ENDIAN_SUMS, _BIG_ENDIAN_SUMS = 0x377F0682, 0x377F0683
_MASK = 0xFFFFFFFF

Sums = tuple[int, int]
Words = NDArray[np.uint32]


def damage(journal: Path) -> str:
    """Return what in the log of a journal cannot be read although it was committed; empty: nothing.

    Only for a journal that nobody is writing.
    """
    path = journal.with_name(journal.name + "-wal")
    log = path.read_bytes() if path.is_file() else b""
    if len(log) <= _HEADER.size + _FRAME.size:
        return ""
    magic, _, page, _, salts, *stored = _HEADER.unpack_from(log)
    order = {_LITTLE_ENDIAN_SUMS: "<", _BIG_ENDIAN_SUMS: ">"}.get(magic)
    sums = _checksum(log[: _HEADER.size - 8], (0, 0), order or "<")
    if order is None or tuple(stored) != sums:
        return f"{path.name}: its header is damaged, so that none of its transactions can be read"
    lost = _commits_lost(log, page, salts, sums, order)
    return f"{path.name}: damaged in the middle; {lost} committed transactions behind it" if lost else ""


def _commits_lost(log: bytes, page: int, salts: bytes, sums: Sums, order: str) -> int:
    """Return how many frames that end a transaction stand behind the first one that cannot be read."""
    lost, readable = 0, True
    for start in range(_HEADER.size, len(log) - page - _FRAME.size + 1, page + _FRAME.size):
        _, size_after_commit, frame_salts, *stored = _FRAME.unpack_from(log, start)
        if readable:
            content = log[start : start + 8] + log[start + _FRAME.size : start + _FRAME.size + page]
            sums = _checksum(content, sums, order)
            readable = frame_salts == salts and tuple(stored) == sums
        if not readable and frame_salts == salts and size_after_commit:
            lost += 1
    return lost


def _checksum(content: bytes, sums: Sums, order: str) -> Sums:
    """Return the sums continued over `content`, whose length is a multiple of 8.

    SQLite adds word by word, first += one + second and second += other + first, modulo 2^32. That is linear:
    n pairs of words leave A^n sums plus, for the pair that k others follow, A^k (one, one + other), where
    A = (1 1; 1 2). So a frame is four products of arrays.
    """
    words = np.frombuffer(content, dtype=f"{order}u4").astype(np.uint32)
    pairs = words.size // 2
    one, both = words[::2], words[::2] + words[1::2]
    first, second, third = _powers(pairs)
    at_first = int((first[:pairs] * one + second[:pairs] * both).sum(dtype=np.uint32))
    at_second = int((second[:pairs] * one + third[:pairs] * both).sum(dtype=np.uint32))
    a, b, c = (int(each[-1]) for each in (first, second, third))
    return (a * sums[0] + b * sums[1] + at_first) & _MASK, (b * sums[0] + c * sums[1] + at_second) & _MASK


@functools.cache
def _powers(pairs: int) -> tuple[Words, Words, Words]:
    """Return the entries (1, 1), (1, 2) and (2, 2) of A^(pairs - 1) .. A^0, and of A^pairs behind them."""
    rows = [(1, 0, 1)]
    for _ in range(pairs):
        a, b, c = rows[-1]
        rows.append(((a + b) & _MASK, (b + c) & _MASK, (b + 2 * c) & _MASK))
    falling = [*reversed(rows[:-1]), rows[-1]]
    first, second, third = (np.array(column, dtype=np.uint32) for column in zip(*falling, strict=True))
    return first, second, third


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
        _version(path, connection, oldest=1)
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
    lost = damage(path)
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
