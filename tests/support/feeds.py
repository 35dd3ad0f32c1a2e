"""Arrivals, clocks and an engine in miniature for tests of feeds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

import numpy as np

from lockstep.live.feeds.inbox import Inbox, Item
from lockstep.live.feeds.protocol import LiveFeed
from lockstep.live.feeds.synchroniser import END_OF_TIME, SECOND, Synchroniser
from lockstep.live.messages import Arrival, Irregularity, Release, Values
from lockstep.market.bars import BAR_COLUMNS, Bars
from lockstep.market.history import BarSet, History, SeriesKey
from lockstep.market.sessions import Session
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.market.timetable import Timetable
from support.markets import CME, MINUTE, NEW_YORK, NYSE, utc

GRACE = 10 * SECOND
COMP = SeriesKey("COMP", DAILY)
SPX = SeriesKey("SPX", DAILY)
HOUR_SPY = SeriesKey("SPY", Timeframe.parse("1h"))
DAY_SPY = SeriesKey("SPY", DAILY)
QUARTER_6E = SeriesKey("6E", Timeframe.parse("15min"))

SESSIONS: Mapping[str, Session] = {"COMP": NYSE, "SPX": NYSE, "SPY": NYSE, "6E": CME, "ES": CME}
PAIR = Timetable({COMP: NYSE, SPX: NYSE})


def timetable(keys: Iterable[SeriesKey]) -> Timetable:
    return Timetable({key: SESSIONS[key.symbol] for key in keys})


def closes(*days: str) -> list[int]:
    """Return the nominal closes of New York days."""
    return [utc(f"{day} 16:00", NEW_YORK) for day in days]


def flat(price: float = 100.0) -> Values:
    return (price, price + 1, price - 1, price, 10.0)


def arrival(key: SeriesKey, end: int, *, delay: int = 0, price: float = 100.0) -> Arrival:
    return Arrival(key, end, flat(price), end + delay, "test")


def drained(synchroniser: Synchroniser, now: int = END_OF_TIME) -> list[Release]:
    return list(iter(lambda: synchroniser.release(now), None))


def released(synchroniser: Synchroniser, items: Iterable[Item]) -> list[Release]:
    """Offer items one by one at their own time, as an engine in replay does, to the end."""
    found: list[Release] = []
    for item in items:
        synchroniser.offer(item)
        if isinstance(item, Arrival):
            found += drained(synchroniser, item.received)
    return [*found, *drained(synchroniser)]


def kinds(releases: Iterable[Release]) -> list[str]:
    return [each.kind for release in releases for each in release.irregularities]


def bar_sets(releases: Iterable[Release]) -> list[BarSet]:
    return [BarSet(release.stamp, dict(release.bars)) for release in releases]


@dataclass
class Engine:
    """The part of the engine that feeds see: take, synchronise, note down, answer.

    ahead   how much later than the newest bar the engine looks at its clock, nanoseconds
    """

    synchroniser: Synchroniser
    inbox: Inbox = field(default_factory=Inbox)
    releases: list[Release] = field(default_factory=list)
    reports: list[Irregularity] = field(default_factory=list)
    now: int = 0
    ahead: int = 0

    def step(self, timeout: float = 5.0) -> int:
        """Take what is delivered, release at its own time; return how many items there were."""
        items = self.inbox.get(timeout)
        for item in items:
            self.synchroniser.offer(item)
            self.now = max(self.now, item.received if isinstance(item, Arrival) else 0)
        self.releases += drained(self.synchroniser, self.now + self.ahead)
        self.reports += self.synchroniser.take_reports()
        self.inbox.settle(self.synchroniser.outcome)
        return len(items)

    def finish(self) -> list[Release]:
        self.releases += drained(self.synchroniser)
        self.inbox.settle(self.synchroniser.outcome)
        return self.releases

    def run(self, feed: LiveFeed, after: Mapping[SeriesKey, int] | None = None) -> list[Release]:
        """Run a feed that finishes, to its end."""
        feed.start(self.inbox, after or {})
        while not (feed.finished and not len(self.inbox)):
            self.step()
        feed.stop()
        return self.finish()


class ManualClock:
    """A clock that a test sets."""

    def __init__(self, now: int = 0) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def series(key: SeriesKey, ends: Sequence[int], seed: int = 7) -> Bars:
    """Return bars with prices on a grid of quarters, which CSV and JSON keep exactly."""
    draw = np.random.default_rng(seed)
    close = 4_000 + np.cumsum(draw.integers(-8, 9, len(ends))) / 4
    open_ = close + draw.integers(-4, 5, len(ends)) / 4
    high, low = np.maximum(open_, close) + 0.5, np.minimum(open_, close) - 0.5
    volume = draw.integers(1, 1_000, len(ends)).astype(np.float64)
    columns = dict(zip(BAR_COLUMNS, (open_, high, low, close, volume), strict=True))
    end = np.array(ends, dtype=np.int64)
    return Bars(
        symbol=key.symbol, timeframe=key.timeframe, end=end, source="test", adjustment="none", **columns
    )


def minute_ends(first: str, count: int) -> list[int]:
    """Return ends of `count` minutes, the first at a New York wall-clock time."""
    return [utc(first, NEW_YORK) + i * MINUTE for i in range(count)]


def rows_of(bars: Bars) -> Iterator[tuple[int, Values]]:
    """Yield (end, values) of every bar."""
    values = zip(*(column.tolist() for column in bars.columns().values()), strict=True)
    yield from zip(bars.end.tolist(), values, strict=True)


def expected_sets(history: History) -> list[BarSet]:
    return [BarSet(stamp, dict(bars)) for stamp, bars in history.bar_sets()]


def iso(end: int) -> str:
    """Return a stamp as it is posted and written to files: UTC, to the second."""
    return f"{np.datetime64(end // SECOND, 's')}Z"


def posted(key: SeriesKey, end: int, values: Values) -> dict[str, Any]:
    """Return the JSON object of a bar."""
    return {
        "symbol": key.symbol,
        "timeframe": str(key.timeframe),
        "end": iso(end),
        **dict(zip(BAR_COLUMNS, values, strict=True)),
    }


TOKEN = "a-token-for-the-tests"


def request(
    address: tuple[str, int],
    method: str,
    path: str,
    content: object = None,
    *,
    token: str | None = TOKEN,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """Return status, JSON content and headers of one request."""
    connection = HTTPConnection(*address, timeout=10)
    try:
        body = None
        if content is not None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
        credentials = {} if token is None else {"Authorization": f"Bearer {token}"}
        connection.request(method, path, body, {**credentials, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), dict(answer.headers)
    finally:
        connection.close()
