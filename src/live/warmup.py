"""Warm-up: the bars that fill the windows before the first live one (PARITY 24).

The bars that a desk needs before its first live one, and the feeds of those that follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lockstep.errors import ConfigError, LiveError
from lockstep.live.config import HistorySettings, LiveConfig
from lockstep.live.feeds.protocol import FeedDesk, LiveFeed
from lockstep.live.feeds.replay import ReplayFeedSettings, first_row
from lockstep.live.messages import Irregularity, Values
from lockstep.market.aggregator import aggregate
from lockstep.market.bars import Bars
from lockstep.market.config import InstrumentBook
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.market.loader import history_of, read_source
from lockstep.market.quality import assess
from lockstep.market.source import Source

BarRows = tuple[tuple[int, Values], ...]


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """What the windows hold before the first live bar.

    bars           by series, oldest first, at most as many as its lookback
    differences    where file and journal do not agree; the file stands
    short          series whose window is not full: (bars there, bars needed)
    """

    bars: Mapping[SeriesKey, BarRows]
    differences: tuple[Irregularity, ...]
    short: Mapping[SeriesKey, tuple[int, int]]

    @property
    def sentence(self) -> str:
        """Which windows are not full, or "" if all are."""
        return ", ".join(f"{key} has {there} of {needed} bars" for key, (there, needed) in self.short.items())


def warm_up(
    lookbacks: Mapping[SeriesKey, int],
    files: Mapping[SeriesKey, Bars],
    journal: Mapping[SeriesKey, Sequence[tuple[int, Values]]],
    *,
    until: int,
) -> WarmUp:
    """Return the newest bars of every series that end at or before `until`, from files and journal.

    lookbacks   bars that the windows of a series need
    files       settled history; it stands wherever it reaches, since research is judged by it
    journal     bars that were delivered live, oldest first; they continue the files
    until       UTC nanoseconds, one for all series: a context bar that is later than the newest traded bar
                would be seen too early
    """
    bars: dict[SeriesKey, BarRows] = {}
    differences: list[Irregularity] = []
    short: dict[SeriesKey, tuple[int, int]] = {}
    for key, needed in sorted(lookbacks.items()):
        if needed < 1:
            raise ConfigError(f"window of {key}: lookback {needed}: must be at least 1")
        settled = _rows(files[key]) if key in files else {}
        live = {end: tuple(value + 0.0 for value in values) for end, values in journal.get(key, ())}
        differences += _differences(key, settled, live)
        newest = max(settled, default=until)
        merged = settled | {end: values for end, values in live.items() if not settled or end > newest}
        bars[key] = tuple(sorted((end, merged[end]) for end in merged if end <= until)[-needed:])
        if len(bars[key]) < needed:
            short[key] = (len(bars[key]), needed)
    return WarmUp(bars=bars, differences=tuple(differences), short=short)


def read_series(key: SeriesKey, source: Source, path: Path, book: InstrumentBook) -> Bars:
    """Return all bars of a series from its file, longer ones through the aggregator, as research loads them.

    `source` and `path` are those of `InstrumentBook.source`. BadBars for the first bad row.
    """
    session = book.session_named(source.session or book.instrument(key.symbol).session)
    data = read_source(path, symbol=key.symbol, source=source, book=book).data
    as_it_is = isinstance(data, Bars) and data.timeframe == key.timeframe
    bars = data if isinstance(data, Bars) and as_it_is else aggregate(data, key.timeframe, session)
    if source.usable_from is None:
        return bars
    dates = session.dates(bars.end, bars.timeframe)
    return bars.rows(int(np.searchsorted(dates, np.datetime64(source.usable_from))), len(bars))


def _rows(bars: Bars) -> dict[int, Values]:
    columns = (column + 0.0 for column in bars.columns().values())
    values = zip(*(column.tolist() for column in columns), strict=True)
    return dict(zip(bars.end.tolist(), values, strict=True))


def _differences(
    key: SeriesKey, settled: Mapping[int, Values], live: Mapping[int, Values]
) -> list[Irregularity]:
    """Return every stamp that both should have and on which they differ."""
    if not settled or not live:
        return []
    first, last = max(min(settled), min(live)), min(max(settled), max(live))
    found = []
    for end in sorted(stamp for stamp in settled.keys() | live.keys() if first <= stamp <= last):
        if end not in settled:
            found.append(Irregularity("corrected", key, end, live[end], "the file does not have this bar"))
        elif end not in live:
            found.append(Irregularity("missing", key, end, settled[end], "the journal went without it"))
        elif settled[end] != live[end]:
            found.append(Irregularity("corrected", key, end, settled[end], f"the journal has {live[end]}"))
    return found


Keys = Mapping[SeriesKey, int]


def settled_bars(keys: Sequence[SeriesKey], history: HistorySettings, book: InstrumentBook) -> History:
    """Return the bars of the history files of each series."""
    bars = {}
    for key in keys:
        source, path = book.source(key.symbol, history.data_dir, timeframe=key.timeframe, name=history.source)
        bars[key] = read_series(key, source, path, book)
    return history_of(bars, book)


def with_rolls(markets: Mapping[str, Market], settled: History) -> dict[str, Market]:
    """Return markets, by symbols and by names of lanes, with the rolls of the settled bars."""
    known = {symbol: market.rolls for symbol, market in settled.markets.items()}
    return {name: replace(each, rolls=known.get(traded_symbol(name))) for name, each in markets.items()}


def require_known_rolls(settled: History, *, replay: bool) -> None:
    """Raise LiveError where contracts would be rolled by a table that grows while the engine runs."""
    rolled = sorted(symbol for symbol, market in settled.markets.items() if market.rolls is not None)
    if rolled and not replay:
        raise LiveError(
            f"{', '.join(rolled)}: raw contracts are traded by feed replay only; to trade on, declare "
            "adjustment: difference for their source, or give a back-adjusted file"
        )


def require_quality(settled: History, least: float | None) -> None:
    """Raise PoorData where a series has a score below `least`; None asks for nothing.

    Asked when a desk begins, never when it goes on: positions must not be left alone because of a file.
    """
    if least is None:
        return
    for key, bars in settled.bars.items():
        market = settled.markets[key.symbol]
        assess(bars, market.session, market.instrument).require(least)


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
