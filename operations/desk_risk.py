"""The risk of a desk: positions and waiting entries from its journal, which is only read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lockstep.errors import ConfigError, DataError, LiveError
from lockstep.live.config import HistorySettings, LiveConfig
from lockstep.live.journal import Journal
from lockstep.live.journal.reader import JournalReader
from lockstep.live.operator.desk import OperatorDesk
from lockstep.live.operator.open_orders import Standing
from lockstep.live.warmup import settled_bars
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.history import Market, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.portfolio.session_changes import SessionCloses, common_changes, require_history
from lockstep.strategy.matching import CLOSE, POSITION, QUANTITY
from lockstep.strategy.records import ENTRY
from research.risk.subject import OwnResults, RiskSubject

_EVERY_BAR = 2**31
_MARKS = """
    SELECT stamp, symbol, mark_position, mark_equity FROM decisions JOIN sets USING (sequence)
    WHERE sequence >= ? ORDER BY sequence
"""


def subject_of_desk(path: Path, *, data_dir: Path | None = None) -> RiskSubject:
    """Return the desk of a live.yml as a subject, as its journal and its mailbox show it.

    data_dir   folder of the bars; None: that of the desk's own history

    LiveError without a bar set, DataError for a position without a history.
    """
    desk, book = OperatorDesk.read(path), load_instruments()
    history = desk.config.history
    if data_dir is not None:
        history = history.model_copy(update={"data_dir": data_dir})
    with Journal.open(desk.config.journal, readonly=True) as journal:
        newest = journal.last_set(desk.epoch.number)
        if newest is None:
            raise LiveError(
                f"journal {desk.config.journal}: its newest epoch has no bar set yet; let the engine run"
            )
        stamp = newest.release.stamp
        settled = journal.newest_settled(desk.epoch.number)
        rooms = {each.symbol: each.room for each in settled.lanes} if settled else {}
        symbols = sorted(each.symbol for each in desk.config.instruments)
        positions, reserved = _exposures(desk, symbols, rooms)
        keys = series_of_lanes(journal, symbols)
        found = {symbol: _closes(journal, key, history, book, stamp) for symbol, key in keys.items()}
        closes = {symbol: each for symbol, (each, _) in found.items()}
        require_history(positions, closes)
        require_history(reserved, closes)
        capital = _capital(journal, desk.config)
        own = _own_results(journal, desk, keys, book)
    dates, changes = common_changes(closes)
    return RiskSubject(
        kind="desk",
        name=_name(desk.config, symbols),
        as_of=max(each.dates[-1] for each in closes.values()).item(),
        stamp=stamp,
        capital=capital,
        positions={symbol: positions[symbol] for symbol in closes},
        reserved=reserved,
        dates=dates,
        changes=changes,
        closes=closes,
        own=own,
        notes=tuple(note for _, told in found.values() for note in told),
    )


def _name(config: LiveConfig, symbols: list[str]) -> str:
    portfolio = config.traded_portfolio()
    return portfolio.name if portfolio is not None else f"Desk of {', '.join(symbols)}"


def _capital(journal: JournalReader, config: LiveConfig) -> float:
    """Return the portfolio's capital, else what the accounts began with: worth at their first decisions."""
    portfolio = config.traded_portfolio()
    if portfolio is not None:
        return portfolio.capital
    rows = journal.select("SELECT mark_equity, min(sequence) FROM decisions GROUP BY symbol ORDER BY symbol")
    return float(sum(worth for worth, _ in rows))


def _exposures(
    desk: OperatorDesk, symbols: list[str], rooms: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return what is held and what is reserved by symbol, contracts, signed."""
    held, reserved = {}, {}
    for symbol in symbols:
        standing = desk.standing(symbol)
        held[symbol] = standing.position
        waiting = _waiting(standing)
        recorded = desk.positions.get(symbol)
        if not waiting and recorded is not None and recorded.state.account[POSITION] == standing.position:
            # An order whose fate is not known holds its room.
            waiting = rooms.get(symbol, standing.position) - standing.position
        if waiting:
            reserved[symbol] = waiting
    return held, reserved


def _waiting(standing: Standing) -> float:
    waiting = standing.waiting
    return float(waiting.terms[QUANTITY]) if waiting is not None and waiting.intent == ENTRY else 0.0


def series_of_lanes(journal: JournalReader, symbols: list[str]) -> dict[str, SeriesKey]:
    """Return the series of each symbol that has the newest bar, by symbol; without one it is left out."""
    stamps = journal.last_stamps()
    found = {}
    for symbol in symbols:
        mine = [key for key in stamps if key.symbol == traded_symbol(symbol)]
        if mine:
            found[symbol] = max(mine, key=lambda each: (stamps[each], str(each.timeframe)))
    return found


def _closes(
    journal: JournalReader, key: SeriesKey, history: HistorySettings, book: InstrumentBook, stamp: int
) -> tuple[SessionCloses, list[str]]:
    """Return the last closes of all sessions up to the newest set, of the files and of the journal's bars."""
    values, notes = {end: bar[CLOSE] for end, bar in journal.bars(key, limit=_EVERY_BAR)}, []
    try:
        bars = settled_bars([key], history, book).series(key)
        values = dict(zip(bars.end.tolist(), bars.close.tolist(), strict=True)) | values
    except (ConfigError, DataError) as error:
        notes.append(f"{key}: only the bars of the journal are known: {error}")
    return _last_closes(book.market(key.symbol), key, values, stamp), notes


def _last_closes(market: Market, key: SeriesKey, values: Mapping[int, float], stamp: int) -> SessionCloses:
    ends = np.array(sorted(end for end in values if end <= stamp), dtype=np.int64)
    days = market.session.dates(ends, key.timeframe).astype("datetime64[D]")
    last = np.flatnonzero(np.append(days[1:] != days[:-1], True)) if days.size else np.empty(0, np.intp)
    closes = np.array([values[int(end)] for end in ends[last]], dtype=np.float64)
    return SessionCloses(dates=days[last], closes=closes, multiplier=market.instrument.multiplier)


def _own_results(
    journal: JournalReader, desk: OperatorDesk, keys: Mapping[str, SeriesKey], book: InstrumentBook
) -> OwnResults | None:
    """Return what the accounts made in each session of the newest epoch but its first; None without two."""
    rows = journal.records(_MARKS, journal.first_entry(desk.epoch.number))
    if not rows:
        return None
    marks = pd.DataFrame(rows)
    marks = marks[marks["symbol"].isin(keys)]
    marks["day"] = np.empty(len(marks), dtype="datetime64[s]")
    for symbol, key in keys.items():
        mine = marks["symbol"] == symbol
        stamps = marks.loc[mine, "stamp"].to_numpy(dtype=np.int64)
        marks.loc[mine, "day"] = book.market(symbol).session.dates(stamps, key.timeframe).astype("M8[s]")
    # The last mark of each session; a session without one has those of the session before.
    last = marks.pivot_table(
        index="day", columns="symbol", values=["mark_position", "mark_equity"], aggfunc="last"
    )
    last = last.sort_index().ffill().dropna()
    if len(last) < 2:
        return None
    symbols = list(keys)
    equity = last["mark_equity"][symbols].to_numpy(dtype=np.float64).sum(axis=1)
    return OwnResults(
        dates=last.index.to_numpy().astype("datetime64[D]")[1:],
        pnl=np.diff(equity),
        positions=last["mark_position"][symbols].to_numpy(dtype=np.float64)[1:],
    )
