"""`TailFeed`: the rows that another program appends to a CSV file.

`GrowingFile`: the complete lines that were added to a text file since the last look.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from lockstep.errors import ConfigError, FeedError
from lockstep.live.feeds.bar_maker import BarMaker, Stream
from lockstep.live.feeds.inbox import Inbox, Item, Worker
from lockstep.live.feeds.protocol import Clock, FeedDesk, FeedSettings, Pause, Seconds, nanoseconds_of
from lockstep.live.messages import Irregularity
from lockstep.market.history import SeriesKey
from lockstep.market.reading.faults import Fault
from lockstep.market.reading.rows import Rows, bar_rows, tick_rows
from lockstep.market.reading.table import Layout, Table, csv_table
from lockstep.market.source import Source
from lockstep.settings import suggestion

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


_NEVER = -(2**63) + 1


class TailFeedSettings(FeedSettings):
    """A growing CSV file of a declared source of instruments.yml; longer bars are made of its rows."""

    kind: Literal["tail"] = "tail"
    symbol: str
    path: Path
    source: str
    interval: Pause = 1.0
    settle_seconds: Seconds | None = None

    def feed(self, desk: FeedDesk) -> TailFeed:
        """See `FeedSettings`."""
        if self.source not in desk.book.sources:
            near = suggestion(self.source, desk.book.sources)
            raise ConfigError(
                f"feed tail {self.path}: source {self.source!r} is not in instruments.yml{near}"
            )
        source = desk.book.sources[self.source]
        stream = Stream(
            symbol=self.symbol,
            base=source.timeframe,
            timeframes=desk.timeframes(self.symbol),
            session=desk.book.session(self.symbol),
            settle_ns=nanoseconds_of(self.settle_seconds),
        )
        return TailFeed(self.path, stream, source, clock=desk.clock, interval=self.interval)

    def sources(self) -> Sequence[str]:
        """See `FeedSettings`."""
        return (self.source,)


class TailFeed:
    """Follows the file of a declared source; see `GrowingFile` for rotation, truncation and half lines.

    Stamps, time zones and rules are those of `read_bars`; a line that breaks one is reported as `bad` with
    its number. A stamp in the hour that occurs twice in autumn is refused unless the file shows in one piece
    which one it is: declare UTC or offsets. The file is read from its start, so that a bar that was being
    made at a restart is made again.

    interval   seconds between two looks at the file
    """

    def __init__(
        self, path: Path, stream: Stream, source: Source, *, clock: Clock, interval: float = 1.0
    ) -> None:
        if source.timeframe != stream.base:
            declared = f"source {source.name} holds {source.spelled_timeframe}"
            raise ConfigError(f"feed of {path}: {declared}, and the stream is {stream}; declare them alike")
        if not source.header or source.encoding != "utf-8":
            rule = "a file that is followed needs a header and UTF-8; have it written so"
            raise ConfigError(f"feed of {path}: source {source.name} declares another layout: {rule}")
        self.name = f"tail {path.name}"
        self.keys = stream.keys
        self.finished = False
        self._path = path
        self._stream = stream
        self._source = source
        self._clock = clock
        self._interval = interval
        self._file = GrowingFile(path)
        self._after: dict[SeriesKey, int] = {}
        self._seen: dict[SeriesKey, int] = {}
        self._maker = BarMaker(stream, self.name, self._after)
        self._inbox = Inbox()
        self._kinds: dict[str, Any] = {}
        self._worker = Worker(self.name, self._run)

    @property
    def failure(self) -> str | None:
        """See `LiveFeed`."""
        return self._worker.failure

    def start(self, inbox: Inbox, after: Mapping[SeriesKey, int]) -> None:
        """See `LiveFeed`."""
        self._inbox = inbox
        self._after.update(after)
        self._worker.start()

    def stop(self) -> None:
        """See `LiveFeed`."""
        self._worker.stop()
        self._file.close()

    def poll(self) -> list[Item] | None:
        """Return what the next new lines and the clock give, possibly []; None where nothing is new."""
        now = self._clock()
        chunk = self._file.read()
        items = [] if chunk is None else self._items(chunk, now)
        items += self._maker.advance(now)
        for item in items:
            self._seen[item.key] = max(item.end, self._seen.get(item.key, _NEVER))
        return None if chunk is None and not items else items

    def _run(self) -> None:
        while not self._worker.stopping.is_set():
            items = self.poll()
            if items:
                self._inbox.put(items)
            if items is None:
                self._worker.stopping.wait(self._interval)

    def _items(self, chunk: Chunk, now: int) -> list[Item]:
        if chunk.restarted:
            # A new file often repeats what the old one held: that much is no news.
            self._after.update(self._seen)
        items: list[Item] = []
        if chunk.abandoned is not None:
            fault = Fault(chunk.abandoned, "unfinished line", "the file was replaced before its newline")
            items.append(self._bad(fault))
        if not chunk.text:
            return items
        table = self._table(chunk)
        rule = f"longer than {LONGEST_LINE} bytes; its row is skipped"
        too_long = [Fault(line, "a line", rule) for line in chunk.too_long]
        if not table.lines.size and not table.ragged:
            return [*items, *map(self._bad, too_long)]
        rows = self._checked(table)
        old = self._old_line(rows)
        items += [self._bad(fault) for fault in (*too_long, *rows.rejected) if fault.line > old]
        return items + self._maker.push(rows.stamps, rows.columns, now).items

    def _table(self, chunk: Chunk) -> Table:
        table = csv_table(self._path, chunk.text, Layout.of(self._source))
        shift = chunk.first_line - 2
        ragged = tuple((line + shift, found) for line, found in table.ragged)
        return replace(table, lines=table.lines + shift, ragged=ragged)

    def _checked(self, table: Table) -> Rows:
        if self._stream.base is None:
            return tick_rows(table, self._source, piece_of=self._kinds)
        return bar_rows(table, self._source, self._stream.session, piece_of=self._kinds)

    def _old_line(self, rows: Rows) -> int:
        """Return the last line that was journaled before the start: faults above it were reported then."""
        assert rows.lines is not None, "rows of text have lines"
        return int(rows.lines[rows.stamps <= self._maker.done].max(initial=0))

    def _bad(self, fault: Fault) -> Irregularity:
        key = SeriesKey(self._stream.symbol, self._stream.base or self._stream.longer[0])
        return Irregularity("bad", key, 0, None, f"{self._path}:{fault.line}: {fault.value}: {fault.rule}")
