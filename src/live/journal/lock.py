"""One writer at a time: a lock that the operating system takes back when the writer dies."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

from lockstep.errors import JournalError


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
