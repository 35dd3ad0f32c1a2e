"""The bars that a desk needs before its first live one, and the feeds of those that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lockstep.errors import ConfigError, LiveError
from lockstep.live.config import (
    HistorySettings,
    HttpFeedSettings,
    LiveConfig,
    ReplayFeedSettings,
    TailFeedSettings,
)
from lockstep.live.feeds.http import HttpFeed
from lockstep.live.feeds.protocol import LiveFeed
from lockstep.live.feeds.replay import ReplayFeed
from lockstep.live.feeds.stream import Stream
from lockstep.live.feeds.tail import TailFeed
from lockstep.live.feeds.token import read_token
from lockstep.live.feeds.warmup import WarmUp, read_series, warm_up
from lockstep.live.secret import Secrets
from lockstep.market.bars import Bars
from lockstep.market.config import InstrumentBook
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import Timeframe

SECOND = 1_000_000_000
Keys = Mapping[SeriesKey, int]


def settled_bars(keys: Sequence[SeriesKey], history: HistorySettings, book: InstrumentBook) -> History:
    """Return the bars of the history files of each series."""
    bars = {}
    for key in keys:
        source, path = book.source(key.symbol, history.data_dir, timeframe=key.timeframe, name=history.source)
        bars[key] = read_series(key, source, path, book)
    return History(bars=bars, markets={key.symbol: book.market(key.symbol) for key in keys})


def first_windows(needs: Keys, settled: History, config: LiveConfig, traded: Sequence[SeriesKey]) -> WarmUp:
    """Return what fills the windows of a first epoch: for a replay, the bars before its first session."""
    kept = {key: max(needed, config.kept_bars) for key, needed in needs.items()}
    until = _until(settled, config.replay, traded) if config.replay else _newest(settled)
    found = warm_up(kept, settled.bars, {}, until=until)
    short = {
        key: (len(found.bars[key]), needed) for key, needed in needs.items() if len(found.bars[key]) < needed
    }
    return WarmUp(bars=found.bars, differences=found.differences, short=short)


def _until(settled: History, replay: ReplayFeedSettings, traded: Sequence[SeriesKey]) -> int:
    """Return the end of the newest bar before the replay's first session, over the traded series."""
    ends = []
    for key in traded:
        row = _row(settled, key, np.datetime64(replay.start))
        if row == 0:
            raise ConfigError(f"feed replay: {key} has no bar before {replay.start}; begin later")
        ends.append(int(settled.bars[key].end[row - 1]))
    return max(ends)


def _row(settled: History, key: SeriesKey, day: np.datetime64) -> int:
    bars = settled.bars[key]
    dates = settled.markets[key.symbol].session.dates(bars.end, bars.timeframe)
    return int(np.searchsorted(dates, day))


def _newest(settled: History) -> int:
    return max((int(bars.end[-1]) for bars in settled.bars.values() if len(bars)), default=0)


def feeds_of(
    config: LiveConfig,
    needs: Keys,
    settled: History,
    book: InstrumentBook,
    clock: Callable[[], int],
    secrets: Secrets,
) -> tuple[LiveFeed, ...]:
    """Return the feeds of the configuration; LiveError where a series that is needed comes from none."""
    feeds: list[LiveFeed] = []
    for feed in config.feeds:
        if isinstance(feed, ReplayFeedSettings):
            feeds.append(ReplayFeed.of(_until_end(settled, feed), speed=feed.speed))
        elif isinstance(feed, TailFeedSettings):
            feeds.append(_tail(feed, needs, book, clock))
        else:
            feeds.append(_http(feed, needs, book, clock, secrets))
    delivered = frozenset().union(*(feed.keys for feed in feeds))
    absent = sorted(str(key) for key in needs if key not in delivered)
    if absent:
        raise LiveError(f"no feed delivers {', '.join(absent)}, which the models read; add one to `feeds`")
    return tuple(feeds)


def _until_end(settled: History, feed: ReplayFeedSettings) -> History:
    if feed.end is None:
        return settled
    after = np.datetime64(feed.end) + np.timedelta64(1, "D")
    bars: dict[SeriesKey, Bars] = {
        key: each.rows(0, _row(settled, key, after)) for key, each in settled.bars.items()
    }
    return History(bars=bars, markets=settled.markets)


def _tail(feed: TailFeedSettings, needs: Keys, book: InstrumentBook, clock: Callable[[], int]) -> TailFeed:
    if feed.source not in book.sources:
        raise ConfigError(f"feed tail {feed.path}: source {feed.source!r} is not in instruments.yml")
    source = book.sources[feed.source]
    stream = Stream(
        symbol=feed.symbol,
        base=source.timeframe,
        timeframes=_wanted(feed.symbol, needs),
        session=book.session(feed.symbol),
        settle_ns=_nanoseconds(feed.settle_seconds),
    )
    return TailFeed(feed.path, stream, source, clock=clock, interval=feed.interval)


def _http(
    feed: HttpFeedSettings, needs: Keys, book: InstrumentBook, clock: Callable[[], int], secrets: Secrets
) -> HttpFeed:
    streams = [
        Stream(
            symbol=symbol,
            base=None if base == "tick" else Timeframe.parse(base),
            timeframes=_wanted(symbol, needs),
            session=book.session(symbol),
            settle_ns=_nanoseconds(feed.settle_seconds),
        )
        for symbol, base in feed.base.items()
    ]
    token = read_token(feed.token_file, secrets)
    return HttpFeed(streams, token=token, clock=clock, port=feed.port, patience=feed.patience_seconds)


def _wanted(symbol: str, needs: Keys) -> tuple[Timeframe, ...]:
    return tuple(sorted({key.timeframe for key in needs if key.symbol == symbol}))


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * SECOND)
