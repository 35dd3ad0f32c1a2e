"""Contracts of a future, cut from one series: each stands some ticks above the one before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.market.bars import PRICE_COLUMNS, Bars
from lockstep.market.roll_rules import CONFIRMED, LEAD
from lockstep.market.rolls import moved
from lockstep.market.sessions import Dates, Session
from lockstep.market.timeframe import DAILY

QUARTERS = "HMUZ"
# Sessions that a contract's file begins before its first own one, and goes on after its last.
EARLIER, LATER = 40, 6


def names_of(symbol: str, count: int, year: int = 2010) -> list[str]:
    """Return quarterly contracts, March of a year first."""
    return [f"{symbol}{QUARTERS[k % 4]}{(year + k // 4) % 100:02d}" for k in range(count)]


def walk(symbol: str, sessions: Dates, session: Session, seed: int, level: float, tick: float) -> Bars:
    """Return daily bars on the tick grid."""
    rng = np.random.default_rng(seed)
    close = np.round(level / tick) + np.cumsum(rng.integers(-40, 41, sessions.size))
    open_ = np.concatenate((close[:1], close[:-1])) + rng.integers(-8, 9, sessions.size)
    high = np.maximum(open_, close) + rng.integers(0, 30, sessions.size)
    low = np.minimum(open_, close) - rng.integers(0, 30, sessions.size)
    prices = dict(zip(PRICE_COLUMNS, (open_ * tick, high * tick, low * tick, close * tick), strict=True))
    columns: dict[str, Any] = {**prices, "volume": rng.integers(1_000, 9_000, sessions.size)}
    return Bars(symbol=symbol, timeframe=DAILY, end=session.nominal_close(sessions), **columns)


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
        begins = bounds[number] - LEAD - CONFIRMED + 1 if number else 0
        ends = bounds[number + 1] - LEAD - CONFIRMED + 1 if number < len(firsts) else days.size
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
