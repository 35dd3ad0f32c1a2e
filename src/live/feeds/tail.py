"""`TailFeed`: the rows that another program appends to a CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from lockstep.errors import ConfigError
from lockstep.live.feeds.bar_maker import BarMaker
from lockstep.live.feeds.clock import Clock
from lockstep.live.feeds.growing_file import LONGEST_LINE, Chunk, GrowingFile
from lockstep.live.feeds.inbox import Inbox, Item
from lockstep.live.feeds.protocol import FeedDesk, FeedSettings, Pause, Seconds, nanoseconds_of
from lockstep.live.feeds.stream import Stream
from lockstep.live.feeds.worker import Worker
from lockstep.live.messages import Irregularity
from lockstep.market.faults import Fault
from lockstep.market.history import SeriesKey
from lockstep.market.rows import Rows, bar_rows, tick_rows
from lockstep.market.source import Source
from lockstep.market.table import Layout, Table, csv_table
from lockstep.market.validation import suggestion

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
            raise ConfigError(f"feed of {path}: {declared}, and the stream is {stream}; declare the same")
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
        rule = f"longer than {LONGEST_LINE} bytes; its row is left out"
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
