"""Tells browsers that something was written: one look at the files for all, several times a second."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

_LOOK_EVERY = 0.25  # seconds
TICK_EVERY = 10.0  # seconds without a change after which ages on the page are out of date
_BUSY_SECONDS = 1.0

Mark = tuple[int, ...]


class DatabaseWatch:
    """The count of commits to a SQLite file, by `PRAGMA data_version` on a connection of its own.

    That reads no row and holds no lock. A file that is replaced is opened anew; one that is absent, or
    cannot be opened, has no mark until it can be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: Mark = ()

    def mark(self) -> Mark:
        """Return what differs after each commit of another connection."""
        found = _inode(self._path)
        if found != self._file or self._connection is None:
            self.close()
            self._file = found
            if not found:
                return ()
        try:
            if self._connection is None:
                # Any thread may look, one at a time.
                self._connection = sqlite3.connect(
                    f"{self._path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None,
                    timeout=_BUSY_SECONDS, check_same_thread=False,
                )  # fmt: skip
            ((version,),) = self._connection.execute("PRAGMA data_version").fetchall()
        except sqlite3.Error:
            self.close()
            return (*found, -1)
        return (*found, int(version))

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None


class Changes:
    """A counter that rises when a database had a commit or a file was written, and the streams of it.

    One task looks, whatever number of browsers wait. It rises too after `TICK_EVERY` seconds without a
    change, since what a page shows grows older.
    """

    def __init__(
        self,
        databases: Sequence[Path],
        files: Sequence[Path],
        *,
        every: float = _LOOK_EVERY,
        tick: float = TICK_EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._databases = [DatabaseWatch(path) for path in databases]
        self._files = tuple(files)
        self._every = every
        self._tick = tick
        self._clock = clock
        self._told = asyncio.Condition()
        self._closed = False
        self._seen: tuple[Mark, ...] = ()
        self._risen = clock()
        self.number = 0

    def look(self) -> bool:
        """Look once; return whether the counter rises."""
        seen = tuple(each.mark() for each in self._databases) + tuple(map(_written, self._files))
        if seen == self._seen and self._clock() - self._risen < self._tick:
            return False
        self._seen, self._risen = seen, self._clock()
        self.number += 1
        return True

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                if await asyncio.to_thread(self.look):
                    async with self._told:
                        self._told.notify_all()
                await asyncio.sleep(self._every)
        finally:
            for each in self._databases:
                each.close()

    async def close(self) -> None:
        """End all streams."""
        self._closed = True
        async with self._told:
            self._told.notify_all()

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield server-sent events: `change`, with the counter, each time that it rises."""
        seen = self.number
        yield b"retry: 1000\n\n"
        while not self._closed:
            async with self._told:
                while not self._closed and self.number == seen:
                    await self._told.wait()
                seen = self.number
            if not self._closed:
                yield f"event: change\ndata: {seen}\n\n".encode()


def _inode(path: Path) -> Mark:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino


def _written(path: Path) -> Mark:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size
