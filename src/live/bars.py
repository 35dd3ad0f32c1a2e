"""The bars that a desk needs before its first live one, and the feeds of those that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lockstep.errors import ConfigError, LiveError
from lockstep.live.config import HistorySettings, LiveConfig
from lockstep.live.feeds.protocol import FeedDesk, LiveFeed
from lockstep.live.feeds.replay import ReplayFeedSettings, first_row
from lockstep.live.feeds.warmup import WarmUp, read_series, warm_up
from lockstep.market.config import InstrumentBook
from lockstep.market.history import History, SeriesKey

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
        row = first_row(settled, key, np.datetime64(replay.start))
        if row == 0:
            raise ConfigError(f"feed replay: {key} has no bar before {replay.start}; begin later")
        ends.append(int(settled.bars[key].end[row - 1]))
    return max(ends)


def _newest(settled: History) -> int:
    return max((int(bars.end[-1]) for bars in settled.bars.values() if len(bars)), default=0)


def feeds_of(config: LiveConfig, desk: FeedDesk) -> tuple[LiveFeed, ...]:
    """Return the feeds of the configuration; LiveError where a series that is needed comes from none."""
    feeds = tuple(each.feed(desk) for each in config.feeds)
    delivered = frozenset().union(*(feed.keys for feed in feeds))
    absent = sorted(str(key) for key in desk.needs if key not in delivered)
    if absent:
        raise LiveError(f"no feed delivers {', '.join(absent)}, which the models read; add one to `feeds`")
    return feeds
