"""`Intake`: posted rows to the engine, answered when they are journaled.

What may be posted: bars and ticks as JSON, each field checked.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from lockstep.errors import ConfigError, InboxClosed, InboxFull
from lockstep.live.feeds.bar_maker import BarMaker, Stream
from lockstep.live.feeds.inbox import Inbox, Item, Outcomes, Receipt
from lockstep.live.feeds.protocol import Clock
from lockstep.live.messages import Arrival
from lockstep.market.bar_rules import AHEAD_NS, broken_rule
from lockstep.market.bars import BAR_COLUMNS, Floats, Stamps
from lockstep.market.history import SeriesKey
from lockstep.market.source import TICK
from lockstep.market.timetable import on_grid
from lockstep.settings import Settings, parse_json, suggestion, validated

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_YEARS = range(2000, 2250)


def _written(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("write it as text in ISO 8601, with an offset from UTC")
    return value


def _near(value: datetime) -> datetime:
    if value.year not in _YEARS:
        raise ValueError("must be a stamp from 2000 to 2249")
    return value


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Moment = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_near)]


class PostedBar(Settings):
    """One completed bar. end   when it was complete, ISO 8601 with an offset, to the microsecond."""

    symbol: str
    timeframe: str
    end: Moment
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number


class PostedTick(Settings):
    """One trade.

    sequence   rises from trade to trade of a symbol: what is not above the newest was posted before
    """

    symbol: str
    stamp: Moment
    price: Number
    volume: Annotated[Number, Field(ge=0)]
    sequence: Annotated[int, Field(strict=True, ge=0)]


Posted = TypeVar("Posted", PostedBar, PostedTick)


def parse_posts(model: type[Posted], body: bytes) -> list[Posted]:
    """Return one or a list of posts; ConfigError, one line, for the first that is not as declared."""
    try:
        content = parse_json(body)
    except ConfigError as error:
        raise ConfigError(f"body: {error}") from error
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise ConfigError("body: an empty list: post at least one")
    return [validated(model, entry, where=f"entry {number}") for number, entry in enumerate(entries, 1)]


def nanoseconds(moment: datetime) -> int:
    """Return UTC nanoseconds of an aware moment."""
    return (moment - _EPOCH) // _MICROSECOND * 1_000


def columns_of(posts: Sequence[PostedBar]) -> tuple[Stamps, dict[str, Floats]]:
    """Return ends (n,) and BAR_COLUMNS (n,) of bars."""
    return _arrays([post.end for post in posts], posts, BAR_COLUMNS)


def tick_columns_of(posts: Sequence[PostedTick]) -> tuple[Stamps, dict[str, Floats]]:
    """Return stamps (n,), price and volume (n,) of trades."""
    return _arrays([post.stamp for post in posts], posts, ("price", "volume"))


def _arrays(
    moments: Sequence[datetime], posts: Sequence[Any], names: Sequence[str]
) -> tuple[Stamps, dict[str, Floats]]:
    stamps = np.array([nanoseconds(moment) for moment in moments], dtype=np.int64)
    return stamps, {
        name: np.array([getattr(post, name) for post in posts], dtype=np.float64) for name in names
    }


_WORDS = ("accepted", "duplicate", "corrected", "refused", "held")
_NEVER = -(2**63) + 1

Batch = tuple[str, Stamps, dict[str, Floats]]


class Answer(NamedTuple):
    """What a sender is told.

    journaled   whether everything that was posted, and is not held, is on disk; if not: post it again
    counts      rows by what became of them: `accepted`, `duplicate` (the same again), `corrected` (another
                bar stands), `refused` (too late, recorded), `held` (part of a bar that is not complete,
                in memory only: after a restart post again what is later than the newest bar)
    """

    journaled: bool
    counts: dict[str, int]


_NOT_YET = Answer(False, {})


class Intake:
    """Takes rows of `streams` from many threads, in whole posts.

    patience   seconds that a post waits, at most, for room in the inbox and for the engine's answer
    """

    def __init__(
        self,
        streams: Iterable[Stream],
        inbox: Inbox,
        after: Mapping[SeriesKey, int],
        *,
        clock: Clock,
        patience: float,
    ) -> None:
        self._streams = {str(stream): stream for stream in streams}
        self._makers = {
            name: BarMaker(stream, "http", _made_after(stream, after))
            for name, stream in self._streams.items()
        }
        self._inbox = inbox
        self._clock = clock
        self._patience = patience
        self._lock = threading.Lock()
        self._newest = {
            key: after[key] for each in self._streams.values() for key in each.keys & after.keys()
        }
        self._sequences: dict[str, int] = {}
        self._unsent: list[Item] = []
        self._open: list[Receipt] = []

    def bars(self, posts: list[PostedBar]) -> Answer:
        """Take completed bars; ConfigError, with nothing taken, where one breaks a rule."""
        grouped: dict[str, list[PostedBar]] = {}
        for number, post in enumerate(posts, 1):
            self._require_legal(number, post)
            grouped.setdefault(_name(post), []).append(post)
        batches = [(name, *columns_of(group)) for name, group in grouped.items()]
        return self._take(lambda: (batches, 0), {post.symbol for post in posts})

    def ticks(self, posts: list[PostedTick]) -> Answer:
        """Take trades; ConfigError, with nothing taken, where one breaks a rule."""
        newest: dict[str, int] = {}
        for number, post in enumerate(posts, 1):
            self._stream(number, post)
            if post.sequence <= newest.get(post.symbol, -1):
                raise ConfigError(f"entry {number}: sequence {post.sequence}: must rise within a post")
            newest[post.symbol] = post.sequence
        return self._take(lambda: self._fresh(posts), set(newest))

    def advance(self) -> None:
        """Deliver the longer bars that the clock completes, if there is room; else the next call does."""
        with self._lock:
            now = self._clock()
            self._unsent += [item for maker in self._makers.values() for item in maker.advance(now)]
            with suppress(InboxFull):
                self._send(0.0)

    def newest(self) -> dict[SeriesKey, int]:
        """Return the newest journaled end by series."""
        with self._lock:
            self._sweep()
            return dict(self._newest)

    def _require_legal(self, number: int, post: PostedBar) -> None:
        stream, end = self._stream(number, post), nanoseconds(post.end)
        rule = broken_rule((post.open, post.high, post.low, post.close, post.volume))
        if not rule and stream.base is not None and not on_grid(stream.session, stream.base, end):
            rule = f"end {post.end.isoformat()}: no bar of {stream} ends then; check offset and session"
        if rule:
            raise ConfigError(f"entry {number}: {rule}")

    def _stream(self, number: int, post: PostedBar | PostedTick) -> Stream:
        """Return the stream that a post belongs to; ConfigError where there is none, or it is not yet due."""
        name, moment = _name(post), post.end if isinstance(post, PostedBar) else post.stamp
        if name not in self._streams:
            near = suggestion(name, self._streams)
            raise ConfigError(f"entry {number}: {name}: no such series is taken here{near}")
        if nanoseconds(moment) > self._clock() + AHEAD_NS:
            raise ConfigError(f"entry {number}: {moment.isoformat()}: is later than our clock; check yours")
        return self._streams[name]

    def _fresh(self, posts: list[PostedTick]) -> tuple[list[Batch], int]:
        """Return the ticks that were not posted before, by symbol, and how many were."""
        grouped: dict[str, list[PostedTick]] = {}
        for post in posts:
            if post.sequence > self._sequences.get(post.symbol, -1):
                self._sequences[post.symbol] = post.sequence
                grouped.setdefault(_name(post), []).append(post)
        batches = [(name, *tick_columns_of(group)) for name, group in grouped.items()]
        return batches, len(posts) - sum(map(len, grouped.values()))

    def _take(self, rows: Callable[[], tuple[list[Batch], int]], symbols: set[str]) -> Answer:
        """Deliver rows in one piece, then wait for the engine without keeping others from posting."""
        deadline = time.monotonic() + self._patience
        if not self._lock.acquire(timeout=self._patience):
            return _NOT_YET
        try:
            before = self._sweep()
            batches, duplicates = rows()
            counts = self._push(batches) + Counter(duplicate=duplicates)
            own = self._send(deadline - time.monotonic())
            waiting = [each for each in self._open if symbols & {bar.key.symbol for bar in each.bars}]
        except (InboxFull, InboxClosed):
            return _NOT_YET
        finally:
            self._lock.release()
        for receipt in waiting:
            if (outcomes := receipt.wait(max(deadline - time.monotonic(), 0.0))) is None:
                return _NOT_YET
            if receipt is own:
                counts.update(_words(receipt.bars, outcomes, before))
        return Answer(True, {word: counts[word] for word in _WORDS})

    def _push(self, batches: list[Batch]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for name, stamps, columns in batches:
            made = self._makers[name].push(stamps, columns, self._clock())
            self._unsent += made.items
            counts.update(made.counts)
        counts["refused"] = counts["out_of_order"] + counts["bad"]
        return counts

    def _send(self, timeout: float) -> Receipt | None:
        """Submit what was made; InboxFull leaves it for the next post."""
        if not self._unsent:
            return None
        receipt = self._inbox.submit(self._unsent, max(timeout, 0.0))
        self._unsent = []
        self._open.append(receipt)
        return receipt

    def _sweep(self) -> dict[SeriesKey, int]:
        """Take note of what was journaled meanwhile; return the newest end by series."""
        for receipt in [each for each in self._open if each.wait(0.0) is not None]:
            self._open.remove(receipt)
            outcomes = receipt.wait(0.0) or ()
            for bar, outcome in zip(receipt.bars, outcomes, strict=True):
                if outcome != "refused":
                    self._newest[bar.key] = max(bar.end, self._newest.get(bar.key, _NEVER))
        return dict(self._newest)


def _name(post: PostedBar | PostedTick) -> str:
    return f"{post.symbol}:{post.timeframe if isinstance(post, PostedBar) else TICK}"


def _made_after(stream: Stream, after: Mapping[SeriesKey, int]) -> dict[SeriesKey, int]:
    """Return `after` of the longer bars: a bar that is passed on is judged by the engine, which knows it."""
    return {key: end for key, end in after.items() if key.timeframe != stream.base}


def _words(bars: tuple[Arrival, ...], outcomes: Outcomes, before: Mapping[SeriesKey, int]) -> list[str]:
    again = [bar.end <= before.get(bar.key, _NEVER) for bar in bars]
    return [
        ("duplicate" if repeated else "accepted") if outcome == "released" else outcome
        for repeated, outcome in zip(again, outcomes, strict=True)
    ]
