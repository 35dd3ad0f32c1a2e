"""Contracts of a future, cut from one series: each stands some ticks above the one before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.market.bars import PRICE_COLUMNS, Bars, Stamps
from lockstep.market.continuous import stitched
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.roll_rules import RollRule, build_table, by_session
from lockstep.market.rolls import RollTable, moved
from lockstep.market.sessions import Session
from lockstep.market.timeframe import DAILY, Timeframe
from support.markets import BOOK, CME

QUARTERS = "HMUZ"
# Sessions that a contract's file begins before its first own one, and goes on after its last.
EARLIER, LATER = 40, 6
# Sessions before a roll in which the next contract has more volume: two that confirm it, and two to leave in.
BEFORE = 4


def names_of(symbol: str, count: int, year: int = 2010) -> list[str]:
    """Return quarterly contracts, March of a year first."""
    return [f"{symbol}{QUARTERS[k % 4]}{(year + k // 4) % 100:02d}" for k in range(count)]


def walk(symbol: str, ends: Stamps, timeframe: Timeframe, seed: int, level: float, tick: float) -> Bars:
    """Return bars on the tick grid, at `ends`, that swing about a level."""
    rng = np.random.default_rng(seed)
    close = np.empty(ends.size)
    now, middle = round(level / tick), round(level / tick)
    for row, step in enumerate(rng.integers(-40, 41, ends.size)):
        now += int(step) - round((now - middle) / 50)
        close[row] = now
    open_ = np.concatenate((close[:1], close[:-1])) + rng.integers(-8, 9, ends.size)
    high = np.maximum(open_, close) + rng.integers(0, 30, ends.size)
    low = np.minimum(open_, close) - rng.integers(0, 30, ends.size)
    prices = dict(zip(PRICE_COLUMNS, (open_ * tick, high * tick, low * tick, close * tick), strict=True))
    columns: dict[str, Any] = {**prices, "volume": rng.integers(1_000, 9_000, ends.size)}
    return Bars(symbol=symbol, timeframe=timeframe, end=ends, **columns)


def cut(
    bars: Bars, session: Session, firsts: Sequence[Any], spreads: Sequence[int], tick: float
) -> dict[str, Bars]:
    """Return contracts by name, the first of which has the prices of `bars`.

    firsts    first session of each later contract, by which its volume has been larger for long enough
    spreads   ticks by which it stands above the one before it
    """
    dates = session.dates(bars.end, bars.timeframe)
    days = np.unique(dates)
    rows = np.searchsorted(days, np.array(firsts, dtype="M8[D]"))
    bounds = [0, *rows.tolist(), days.size]
    offsets = np.concatenate(([0], np.cumsum(spreads))).astype(np.int64)
    found = {}
    for number, name in enumerate(names_of(bars.symbol, len(firsts) + 1)):
        first = max(0, bounds[number] - EARLIER) if number else 0
        last = min(days.size, bounds[number + 1] + LATER)
        inside = np.flatnonzero((dates >= days[first]) & (dates <= days[last - 1]))
        part = bars.rows(int(inside[0]), int(inside[-1]) + 1)
        prices: dict[str, Any] = {
            column: moved(getattr(part, column), int(offsets[number]), tick) for column in PRICE_COLUMNS
        }
        place = np.searchsorted(days, dates[inside])
        begins = bounds[number] - BEFORE if number else 0
        ends = bounds[number + 1] - BEFORE if number < len(firsts) else days.size
        share = np.where((place >= begins) & (place < ends), 0.6, 0.4)
        found[name] = replace(part, volume=np.round(part.volume * share), source=name, **prices)
    return found


def write_contracts(folder: Path, contracts: Mapping[str, Bars], session: Session) -> Path:
    """Write each contract as a file of daily bars."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, bars in contracts.items():
        dates = session.dates(bars.end, bars.timeframe)
        rows = zip(dates, bars.open, bars.high, bars.low, bars.close, bars.volume, strict=True)
        lines = [f"{day},{o!r},{h!r},{lo!r},{c!r},{v:.0f}" for day, o, h, lo, c, v in _plain(rows)]
        (folder / f"{name}_bt.csv").write_text("\n".join(["datetime,open,high,low,close,volume", *lines, ""]))
    return folder


def _plain(rows: Any) -> Any:
    return ((str(row[0]), *(float(each) for each in row[1:])) for row in rows)


ES, NQ = BOOK.instrument("ES"), BOOK.instrument("NQ")
TICK = ES.tick_size
SESSIONS = CME.scheduled_dates(np.datetime64("2010-01-04"), np.datetime64("2015-07-31"))
# Eight rolls of ES; those of NQ are on other days, the fourth in a session in which ES rolls, too.
ROLLS = [1010 + 45 * k for k in range(8)]
PAIR_ROLLS = [1007, 1059, 1100, 1145, 1192]
SPREADS = [218, -37, 104, 3, -260, 55, 12, 77]
PAIR_SPREADS = [-18, 430, 61, 9, -100]
KEY, PAIR_KEY = SeriesKey("ES", DAILY), SeriesKey("NQ", DAILY)


def uncut(symbol: str, timeframe: Timeframe = DAILY) -> Bars:
    """Return the series that the contracts of a symbol are cut from."""
    seed = 7 if symbol == "ES" else 8
    return walk(symbol, ends_of(timeframe), timeframe, seed, 1200.0, TICK)


def ends_of(timeframe: Timeframe) -> Stamps:
    """Return ends of all bars; intraday ones of the sessions about the rolls only."""
    if timeframe.is_session:
        return CME.nominal_close(SESSIONS)
    days = CME.days(SESSIONS[ROLLS[0] - 90 :])
    step = timeframe.nanoseconds
    return np.concatenate([np.append(np.arange(day.open + step, day.close, step), day.close) for day in days])


@cache
def contracts(symbol: str, timeframe: Timeframe = DAILY) -> dict[str, Bars]:
    """Return the contracts of ES or NQ by name."""
    firsts, spreads = (ROLLS, SPREADS) if symbol == "ES" else (PAIR_ROLLS, PAIR_SPREADS)
    return cut(uncut(symbol, timeframe), CME, SESSIONS[firsts].tolist(), spreads, TICK)


@cache
def table(symbol: str) -> RollTable:
    """Return their roll table, by volume."""
    daily = {name: by_session(bars, CME) for name, bars in contracts(symbol).items()}
    return build_table(symbol, daily, CME, TICK, RollRule.parse("volume"))


def raw(symbol: str, rolls: int | None = None, timeframe: Timeframe = DAILY) -> Bars:
    """Return the series of a symbol; `rolls`: as it was when so many were known."""
    known = RollTable(symbol=symbol, rolls=table(symbol).rolls[:rolls])
    return stitched(known, contracts(symbol, timeframe), CME, TICK, source=symbol)


def rolled_history(es: Bars, nq: Bars | None = None) -> History:
    """Return a history of ES with its pair and their rolls."""
    nq = nq or raw("NQ", timeframe=es.timeframe)
    markets = {
        "ES": Market(instrument=ES, session=CME, rolls=es.rolls),
        "NQ": Market(instrument=NQ, session=CME, rolls=nq.rolls),
    }
    keys = SeriesKey("ES", es.timeframe), SeriesKey("NQ", nq.timeframe)
    return History(bars=dict(zip(keys, (es, nq), strict=True)), markets=markets)
