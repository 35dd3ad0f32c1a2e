"""`GrowingFile`: the complete lines that were added to a text file since the last look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lockstep.live.feeds.errors import FeedError

_CHUNK = 1 << 18
_MARK = 64


class Chunk(NamedTuple):
    """Complete lines below a header.

    text         the header and the lines, valid UTF-8 (what was not is replaced); empty without a header
    first_line   1-based number of the first of them in the file
    restarted    whether these are the first lines of a file that took the place of another
    abandoned    line number of an unfinished line that will never be finished, or None
    """

    text: bytes
    first_line: int
    restarted: bool
    abandoned: int | None = None


class GrowingFile:
    """Reads a file with a header as it grows.

    The file need not be there yet. An unfinished last line waits for its newline. A file that was replaced
    (another inode) is read to its end first; one that was truncated or rewritten is read from its start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: BinaryIO | None = None
        self._reset()
        self._restarted = False
        self._abandoned: int | None = None

    def read(self) -> Chunk | None:
        """Return the next complete lines, some thousand at most, or None; FeedError where it cannot."""
        try:
            return self._read()
        except OSError as error:
            rule = "cannot be read; check path and permissions"
            raise FeedError(f"{self._path}: {error.strerror}: {rule}") from error

    def close(self) -> None:
        """Let the file go."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _reset(self) -> None:
        self._position = 0
        self._mark = b""
        self._partial = b""
        self._header: bytes | None = None
        self._lines = 0

    def _read(self) -> Chunk | None:
        if self._handle is None and not self._open():
            return None
        assert self._handle is not None
        if self._was_rewritten(self._handle):
            self._start_over()
        added = self._take(self._handle)
        if not added and self._was_replaced(self._handle):
            self.close()
            self._start_over()
            return self._read()
        return self._chunk(added)

    def _open(self) -> bool:
        try:
            self._handle = self._path.open("rb", buffering=0)
        except FileNotFoundError:
            return False
        return True

    def _start_over(self) -> None:
        if self._partial:
            self._abandoned = self._lines + 1
        self._reset()
        self._restarted = True

    def _was_rewritten(self, handle: BinaryIO) -> bool:
        """Whether the bytes before our position are not those that were read there."""
        begin = self._position - len(self._mark)
        return os.pread(handle.fileno(), len(self._mark), begin) != self._mark

    def _was_replaced(self, handle: BinaryIO) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        ours = os.fstat(handle.fileno())
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def _take(self, handle: BinaryIO) -> bytes:
        added = os.pread(handle.fileno(), _CHUNK, self._position)
        self._position += len(added)
        self._mark = (self._mark + added)[-_MARK:]
        return added

    def _chunk(self, added: bytes) -> Chunk | None:
        lines, newline, self._partial = (self._partial + added).rpartition(b"\n")
        text = (lines + newline).decode(errors="replace").encode()
        if self._header is None and text:
            header, _, text = text.partition(b"\n")
            self._header = header + b"\n"
            self._lines = 1
        abandoned = self._abandoned
        if not text and abandoned is None:
            return None
        first_line, restarted = self._lines + 1, self._restarted
        self._lines += len(text.splitlines())
        self._restarted, self._abandoned = False, None
        return Chunk((self._header or b"") + text, first_line, restarted, abandoned)
