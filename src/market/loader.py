"""The door to market data for research: a symbol, a folder and dates in, `Bars` or a `History` out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from lockstep.errors import ConfigError, DataError, NoBars
from lockstep.market.aggregator import aggregate
from lockstep.market.bars import Bars
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.dates import Day, as_day
from lockstep.market.history import History, SeriesKey
from lockstep.market.reading.contracts import read_contracts
from lockstep.market.reading.files import Loaded, read_bars, read_ticks
from lockstep.market.sessions import Session
from lockstep.market.source import Source
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import Timeframe

_LOG = logging.getLogger(__name__)

OnLoaded = Callable[[Loaded[Bars] | Loaded[Ticks]], None]


def load_bars(
    symbol: str,
    data_dir: str | Path | None = None,
    *,
    timeframe: Timeframe | None = None,
    start: Day = None,
    end: Day = None,
    quarantine: bool = False,
    book: InstrumentBook | None = None,
    source: str | None = None,
    on_loaded: OnLoaded | None = None,
) -> Bars:
    """Return the bars of a symbol from a folder, or from those that come with Lockstep (COMP and SPX).

    timeframe   None: that of the file; where no file has it, it is made of a finer one, complete bars only
    start, end  first and last session date, inclusive; ISO strings or dates
    quarantine  reject bad rows to `<file>.rejected.csv` and keep the good ones, instead of BadBars
    source      name of a source in instruments.yml; None: found by folder name, see InstrumentBook.source
    on_loaded   called with the file as it was read: its rows, the rejected ones, and what was found about it;
                without it, findings are logged

    SPX and COMP are price indices, proxies of ES and NQ: `Instrument.proxy_of` says so. SPX starts in 2008
    unless `start` asks for earlier bars, whose opens are the previous closes.
    """
    book = book or load_instruments()
    loaded = load_file(symbol, data_dir, timeframe=timeframe, quarantine=quarantine, book=book, source=source)
    if on_loaded is not None:
        on_loaded(loaded)
    else:
        for finding in loaded.findings:
            _LOG.warning("%s: %s", loaded.data.source, finding)
    session = book.session_named(loaded.source.session)
    bars = in_timeframe(loaded, timeframe, session)
    return cut(bars, session, as_day("start", start) or loaded.source.usable_from, as_day("end", end))


def load_file(
    symbol: str,
    data_dir: str | Path | None = None,
    *,
    timeframe: Timeframe | None = None,
    quarantine: bool = False,
    book: InstrumentBook | None = None,
    source: str | None = None,
) -> Loaded[Bars] | Loaded[Ticks]:
    """Read the whole file that `load_bars` would use, as it is, with the counts of its rows."""
    book = book or load_instruments()
    folder = _folder(data_dir)
    declared, path = book.source(symbol, folder, timeframe=timeframe, name=source)
    return read_source(path, symbol=symbol, source=declared, book=book, quarantine=quarantine)


def read_source(
    path: Path, *, symbol: str, source: Source, book: InstrumentBook, quarantine: bool = False
) -> Loaded[Bars] | Loaded[Ticks]:
    """Read what `InstrumentBook.source` found: bars, ticks, or the contracts of a roll table."""
    session = book.session_named(source.session or book.instrument(symbol).session)
    if source.timeframe is None:
        return read_ticks(path, symbol=symbol, source=source, session=session, quarantine=quarantine)
    if source.has_contracts:
        tick = book.instrument(symbol).tick_size
        return read_contracts(
            path, symbol=symbol, source=source, session=session, tick=tick, quarantine=quarantine
        )
    return read_bars(path, symbol=symbol, source=source, session=session, quarantine=quarantine)


def load_history(
    symbol: str,
    data_dir: str | Path | None = None,
    *,
    timeframe: Timeframe | None = None,
    context: Iterable[SeriesKey] = (),
    start: Day = None,
    end: Day = None,
    quarantine: bool = False,
    book: InstrumentBook | None = None,
    source: str | None = None,
    on_loaded: OnLoaded | None = None,
) -> History:
    """Return the traded series with its pair and every context series.

    `start` cuts the traded series only: the others answer what was known before its first bar. A context
    series must be there. A pair that is not among the context is left out where there is no file of it, no
    bar until `end`, or a file that is refused, which is logged in one line; whoever needs it then is told.
    """
    book = book or load_instruments()

    def load(of: str, frame: Timeframe | None, first: Day) -> Bars:
        return load_bars(
            of, data_dir, timeframe=frame, start=first, end=end, quarantine=quarantine, book=book,
            source=source, on_loaded=on_loaded,
        )  # fmt: skip

    traded = load(symbol, timeframe, start)
    key = SeriesKey(symbol, traded.timeframe)
    bars = {key: traded}
    for other in dict.fromkeys(context):
        if other != key:
            bars[other] = load(other.symbol, other.timeframe, None)
    pair = book.instrument(symbol).pair
    paired = None if pair is None else SeriesKey(pair, traded.timeframe)
    if paired is not None and paired not in bars:
        try:
            if _has(paired.symbol, data_dir, book, source):
                bars[paired] = load(paired.symbol, traded.timeframe, None)
        except NoBars:
            pass
        except DataError as error:
            _LOG.warning("%s, the pair of %s, is left out: %s", paired, symbol, error)
    return history_of(bars, book)


def history_of(bars: Mapping[SeriesKey, Bars], book: InstrumentBook) -> History:
    """Return a history with the markets of its symbols, and the rolls of those whose contracts are traded."""
    rolls = {key.symbol: each.rolls for key, each in bars.items()}
    markets = {symbol: replace(book.market(symbol), rolls=found) for symbol, found in rolls.items()}
    return History(bars=bars, markets=markets)


def cut(bars: Bars, session: Session, start: date | None, end: date | None) -> Bars:
    """Return the bars whose session date is in [start, end]; NoBars where none is left."""
    if len(bars) == 0:
        raise NoBars(f"{bars.source}: no complete {bars.timeframe} bar; give more data")
    if start is None and end is None:
        return bars
    dates = session.dates(bars.end, bars.timeframe)
    first = 0 if start is None else int(np.searchsorted(dates, np.datetime64(start)))
    last = dates.size if end is None else int(np.searchsorted(dates, np.datetime64(end), side="right"))
    if first >= last:
        raise NoBars(
            f"{bars.source}: no bar from {start or dates[0]} to {end or dates[-1]}; "
            f"it has {dates[0]} to {dates[-1]}: choose dates inside"
        )
    return bars.rows(first, last)


def in_timeframe(loaded: Loaded[Bars] | Loaded[Ticks], timeframe: Timeframe | None, session: Session) -> Bars:
    """Return the bars of a file, or longer ones made of it; ConfigError for ticks without a timeframe."""
    data = loaded.data
    if isinstance(data, Bars) and timeframe in (None, data.timeframe):
        return data
    if timeframe is None:
        raise ConfigError(f"{data.source}: holds ticks; give the timeframe of the bars to make of them")
    return aggregate(data, timeframe, session)


def _has(symbol: str, data_dir: str | Path | None, book: InstrumentBook, source: str | None) -> bool:
    """Whether there is a file of the symbol."""
    folder = _folder(data_dir)
    return any(
        declared.find(symbol, folder) is not None
        for declared in book.sources.values()
        if declared.holds(symbol) and (declared.name == source if source else declared.matches(folder))
    )


def _folder(data_dir: str | Path | None) -> Path | None:
    if data_dir is None:
        return None
    folder = Path(data_dir)
    if not folder.is_dir():
        raise DataError(f"data folder {folder}: not a folder; check the path")
    return folder
