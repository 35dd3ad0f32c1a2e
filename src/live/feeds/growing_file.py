"""`GrowingFile`: the complete lines that were added to a text file since the last look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lockstep.live.feeds.errors import FeedError

_CHUNK = 1 << 18
_MARK = 64
LONGEST_LINE = 1 << 14


class Chunk(NamedTuple):
    """Complete lines below a header.

    text         the header and the lines, valid UTF-8 (what was not is replaced); empty without a header
    first_line   1-based number of the first of them in the file
    restarted    whether these are the first lines of a file that took the place of another
    abandoned    line number of an unfinished line that will never be finished, or None
    too_long     numbers of lines longer than LONGEST_LINE bytes; each is blank in `text`
    """

    text: bytes
    first_line: int
    restarted: bool
    abandoned: int | None = None
    too_long: tuple[int, ...] = ()


class GrowingFile:
    """Reads a file with a header as it grows.

    The file need not exist yet. An unfinished last line waits for its newline; one that grows beyond
    LONGEST_LINE is dropped, so that a file without newlines costs no memory. A file that was replaced
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
        self._overflown = False
        self._header: bytes | None = None
        self._lines = 0

    def _read(self) -> Chunk | None:
        if self._handle is None and not self._open():
            return None
        assert self._handle is not None
        if self._was_rewritten(self._handle):
            self._start_over()
        while added := self._take(self._handle):
            if (chunk := self._chunk(added)) is not None:
                return chunk
        if self._was_replaced(self._handle):
            self.close()
            self._start_over()
            return self._read()
        return self._chunk(b"")

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
        if len(self._partial) > LONGEST_LINE:
            self._partial, self._overflown = self._partial[:1], True
        kept, numbers = self._without_long_lines(lines + newline)
        text = kept.decode(errors="replace").encode()
        if self._header is None and text:
            if 1 in numbers:
                rule = f"its first line has more than {LONGEST_LINE} bytes; expected a header"
                raise FeedError(f"{self._path}: {rule}")
            header, _, text = text.partition(b"\n")
            self._header = header + b"\n"
            self._lines = 1
        abandoned = self._abandoned
        if not text and abandoned is None:
            return None
        first_line, restarted = self._lines + 1, self._restarted
        self._lines += len(text.splitlines())
        self._restarted, self._abandoned = False, None
        return Chunk((self._header or b"") + text, first_line, restarted, abandoned, numbers)

    def _without_long_lines(self, text: bytes) -> tuple[bytes, tuple[int, ...]]:
        """Return complete lines with those that are too long made blank, and the numbers of these."""
        if not text or (len(text) <= LONGEST_LINE and not self._overflown):
            return text, ()
        lines = text.split(b"\n")[:-1]
        too_long = [place for place, line in enumerate(lines) if len(line) > LONGEST_LINE]
        if self._overflown:
            too_long, self._overflown = [0, *(place for place in too_long if place)], False
        for place in too_long:
            lines[place] = b""
        return b"\n".join(lines) + b"\n", tuple(self._lines + 1 + place for place in too_long)
