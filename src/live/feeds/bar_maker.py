"""`BarMaker`: rows as a feed receives them into arrivals, through the one aggregator (PARITY 9, 11).

`Stream`: what a feed receives of one instrument, and the series that are to come of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lockstep.errors import ConfigError
from lockstep.live.feeds.inbox import Item
from lockstep.live.messages import Arrival, Irregularity, Values
from lockstep.market.aggregator import Aggregator, require_multiple
from lockstep.market.bar_rules import AHEAD_NS
from lockstep.market.bars import BAR_COLUMNS, Bars, Flags, Floats, Stamps
from lockstep.market.history import SeriesKey
from lockstep.market.sessions import Session
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import Timeframe


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Ticks or bars of one instrument, and the timeframes to deliver.

    base         timeframe of the bars that come in; None for ticks
    timeframes   what goes out: `base` as it is, longer ones through the one aggregator
    settle_ns    how long after its end a longer bar waits for its last rows before the clock completes it;
                 None: only a later row completes it
    """

    symbol: str
    base: Timeframe | None
    timeframes: tuple[Timeframe, ...]
    session: Session
    settle_ns: int | None = None

    def __post_init__(self) -> None:
        if not self.timeframes or (self.settle_ns is not None and self.settle_ns < 0):
            rule = "deliver at least one timeframe, settle in 0 ns or more"
            raise ConfigError(f"stream {self}: {rule}")
        for timeframe in self.longer:
            if self.base is not None:
                require_multiple(self.base, timeframe)

    def __str__(self) -> str:
        return f"{self.symbol}:{self.base or 'tick'}"

    @property
    def longer(self) -> tuple[Timeframe, ...]:
        """The timeframes that are made, shortest first."""
        made = {each for each in self.timeframes if each != self.base}
        return tuple(sorted(made, key=lambda each: (each.is_session, each.minutes)))

    @property
    def keys(self) -> frozenset[SeriesKey]:
        """The series that it delivers."""
        return frozenset(SeriesKey(self.symbol, each) for each in self.timeframes)


_NEVER = -(2**63) + 1
_REMEMBERED = 5_000

Columns = Mapping[str, Floats]


class Made(NamedTuple):
    """What rows became: what to deliver, and how many were `held`, `duplicate`, `out_of_order` or `bad`.

    A held row is part of a bar that is not complete: it is kept in memory only.
    """

    items: list[Item]
    counts: Counter[str]


class BarMaker:
    """Passes rows of a stream on as they are and makes longer bars of them.

    Rows that go back in time, or lie in the future, are reported and not merged. A longer bar whose beginning
    was not seen, the first one after a start in the middle, is reported as `bad` and not delivered. Bars that
    end at or before `after` are made and left out.
    """

    def __init__(self, stream: Stream, origin: str, after: Mapping[SeriesKey, int]) -> None:
        self._stream = stream
        self._origin = origin
        self._after = after
        self._lines = [_Line(stream, timeframe) for timeframe in stream.longer]
        self._newest = _NEVER
        self._recent: dict[int, Values] = {}

    def push(self, stamps: Stamps, columns: Columns, received: int) -> Made:
        """Take rows: bars (BAR_COLUMNS by their end) or ticks (`price`, `volume`), float64 (n,) each."""
        items: list[Item] = list(self._passed_on(stamps, columns, received))
        if not self._lines or not stamps.size:
            return Made(items, Counter())
        early = stamps > received + AHEAD_NS
        fresh = self._fresh(stamps, ~early)
        counts = self._left_out(stamps, columns, early, ~fresh, items)
        stamps, columns = stamps[fresh], {name: values[fresh] for name, values in columns.items()}
        self._remember(stamps, columns)
        batch = self._batch(stamps, columns)
        for line in self._lines:
            items += self._delivered(line, line.push(batch), received)
        shortest = self._lines[0]
        counts["held"] = int((shortest.buckets(stamps) > shortest.emitted).sum())
        return Made(items, counts)

    def advance(self, now: int) -> list[Item]:
        """Return the longer bars that the clock completes at `now`; see `Stream.settle_ns`."""
        settle = self._stream.settle_ns
        if settle is None:
            return []
        made = ((line, line.advance(now - settle)) for line in self._lines)
        return [item for line, bars in made for item in self._delivered(line, bars, now)]

    @property
    def done(self) -> int:
        """Up to which stamp all series of the stream had been journaled at the start."""
        return min(self._after.get(key, _NEVER) for key in self._stream.keys)

    def _passed_on(self, stamps: Stamps, columns: Columns, received: int) -> Iterator[Arrival]:
        base = self._stream.base
        if base is None or base not in self._stream.timeframes:
            return
        key = SeriesKey(self._stream.symbol, base)
        for end, values in _rows(stamps, columns, stamps > self._after.get(key, _NEVER)):
            yield Arrival(key, end, values, received, self._origin)

    def _fresh(self, stamps: Stamps, possible: Flags) -> Flags:
        """Return which possible rows are later than all before, and in bars not yet returned; bool (n,)."""
        seen = np.where(possible, stamps, _NEVER)
        highest = np.maximum.accumulate(np.concatenate([[self._newest], seen]))
        self._newest = int(highest[-1])
        fresh = possible & (seen >= highest[:-1] if self._stream.base is None else seen > highest[:-1])
        for line in self._lines:
            fresh[fresh] = line.buckets(stamps[fresh]) > line.emitted
        return np.asarray(fresh)

    def _left_out(
        self, stamps: Stamps, columns: Columns, early: Flags, out: Flags, items: list[Item]
    ) -> Counter[str]:
        """Report rows that cannot be merged, and count them by kind; not those that are also passed on."""
        counts: Counter[str] = Counter()
        base = self._stream.base
        if base in self._stream.timeframes:
            return counts
        key = SeriesKey(self._stream.symbol, base or self._lines[0].timeframe)
        for (end, values), not_yet in zip(_rows(stamps, columns, out), early[out].tolist(), strict=True):
            same = base is not None and self._recent.get(end) == values
            kind = "bad" if not_yet else "duplicate" if same else "out_of_order"
            counts[kind] += 1
            if end > self.done:
                reason = "is later than our clock" if not_yet else "is not merged into a longer bar"
                detail = f"{self._origin}: row of {self._stream} {reason}"
                items.append(Irregularity(kind, key, end, values, detail))
        return counts

    def _remember(self, stamps: Stamps, columns: Columns) -> None:
        self._recent.update(_rows(stamps, columns, slice(-_REMEMBERED, None)))
        while len(self._recent) > _REMEMBERED:
            del self._recent[next(iter(self._recent))]

    def _batch(self, stamps: Stamps, columns: Columns) -> Bars | Ticks:
        symbol, base = self._stream.symbol, self._stream.base
        if base is None:
            return Ticks(symbol=symbol, stamp=stamps, price=columns["price"], volume=columns["volume"])
        bars: dict[str, Any] = {name: columns[name] for name in BAR_COLUMNS}
        return Bars(symbol=symbol, timeframe=base, end=stamps, source=self._origin, adjustment="none", **bars)

    def _delivered(self, line: _Line, made: Bars, received: int) -> Iterator[Item]:
        key = SeriesKey(self._stream.symbol, line.timeframe)
        for end, values in _rows(made.end, made.columns(), made.end > self._after.get(key, _NEVER)):
            if end == line.stub:
                detail = f"{self._origin}: the beginning of this bar was not seen; not delivered"
                yield Irregularity("bad", key, end, values, detail)
            else:
                yield Arrival(key, end, values, received, self._origin)


class _Line:
    """The aggregator of one longer timeframe, and what is known of its first bar.

    stub      end of a first bar whose beginning was not seen, or None; emitted   newest end returned
    """

    def __init__(self, stream: Stream, timeframe: Timeframe) -> None:
        self.timeframe = timeframe
        self.stub: int | None = None
        self.emitted = _NEVER
        self._stream = stream
        self._aggregator = Aggregator(stream.symbol, timeframe, stream.session)
        self._begun = False

    def buckets(self, stamps: Stamps) -> Stamps:
        """Return the end of the bar that each row belongs to."""
        closed = self._stream.base is not None
        return self._stream.session.bucket_end(stamps, self.timeframe, closed="right" if closed else "left")

    def push(self, batch: Bars | Ticks) -> Bars:
        stamps = batch.stamp if isinstance(batch, Ticks) else batch.end
        if stamps.size and not self._begun:
            self._begun = True
            self.stub = None if self._is_first(stamps[:1]) else int(self.buckets(stamps[:1])[0])
        return self._counted(self._aggregator.push(batch))

    def advance(self, now: int) -> Bars:
        return self._counted(self._aggregator.advance(now))

    def _counted(self, made: Bars) -> Bars:
        if len(made):
            self.emitted = int(made.end[-1])
        return made

    def _is_first(self, stamp: Stamps) -> bool:
        """Return whether the row that ends at `stamp` (1,) is the first that its bar can have."""
        base, session = self._stream.base, self._stream.session
        if base is None:
            return False
        begin, bucket = stamp - base.nanoseconds, self.buckets(stamp)[0]
        paused, resumed = session.day(int(stamp[0])).pause
        if paused < begin[0] <= resumed and self.buckets(np.array([paused]))[0] != bucket:
            return True
        return bool(self.buckets(begin)[0] != bucket or begin[0] <= session.scheduled_open(stamp)[0])


def _rows(stamps: Stamps, columns: Columns, which: Flags | slice) -> Iterator[tuple[int, Values]]:
    """Yield (stamp, values) of the rows in a mask or slice."""
    values = zip(*(column[which].tolist() for column in columns.values()), strict=True)
    return zip(stamps[which].tolist(), values, strict=True)
