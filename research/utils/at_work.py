"""One process at a time: a lock, and beside it a file in which its holder says what it is at work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lockstep.errors import LockstepError
from lockstep.files import replace_file

_SILENT = "another process is at work here"


@contextmanager
def only_one(lock: Path, says: str, *, where: str, error: type[LockstepError]) -> Iterator[None]:
    """Hold a lock; its folder is made where it is missing.

    lock    a file; the one beside it, of the suffix `.txt`, holds what the holder says
    says    who holds it, such as `process 12 is at work on night 2026-03-02`
    where   what is locked, for the message; `error`, saying who has it, where another process does, and where
            the lock cannot be written
    """
    held = FileLock(lock, timeout=0)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except Timeout as busy:
        raise error(f"{where}: {_said(lock)}; let it finish") from busy
    except OSError as failure:
        raise error(f"{where}: cannot be locked: {failure.strerror}; check its permissions") from failure
    try:
        replace_file(_beside(lock), says, durable=False, error=error)
        yield
    finally:
        _beside(lock).unlink(missing_ok=True)
        held.release()


def holder(lock: Path) -> str:
    """Return what the holder of a lock says, without waiting for it; empty where nobody is at work."""
    if not _beside(lock).is_file():
        return ""
    try:
        with FileLock(lock, timeout=0):
            return ""
    except Timeout:
        return _said(lock)


def _beside(lock: Path) -> Path:
    return lock.with_suffix(".txt")


def _said(lock: Path) -> str:
    try:
        return _beside(lock).read_text(encoding="utf-8") or _SILENT
    except (OSError, ValueError):
        return _SILENT
