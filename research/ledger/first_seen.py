"""Bars as they were when they were first seen: an append-only store, so that nothing improves in hindsight.

Vendors correct bars for days. A candidate's forward evidence rests on what a desk could have traded on: the
first version of each bar, with the moment at which it was seen. A correction that comes later is counted and
left out. Bars come from files (`observe` of the command) and from the journal of the live engine.

A series that is adjusted for rolls is rewritten at each of them, as a whole: its new bars are shifted (or
scaled) back to the level at which the bars before them were first seen, which leaves every change as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, func, select

from lockstep.errors import DataError
from lockstep.market import reach
from lockstep.market.bars import BAR_COLUMNS, PRICE_COLUMNS, Adjustment, Bars, Flags, Floats, Stamps
from lockstep.market.config import load_instruments
from lockstep.market.continuous import require_one_contract
from lockstep.market.history import SeriesKey
from research.ledger.append_only import FirstSeenRow
from research.ledger.chain import append_rows, table_of
from research.ledger.ledger import Ledger

_COLUMNS = ("series", "stamp", *BAR_COLUMNS, "seen", "source")
# How many of the newest common bars must agree on the shift of a series that was adjusted anew.
_COMMON = 20
_SAME = 1e-6


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What one look at a series gave.

    new         bars that nobody had seen; corrected: bars that differ from what was seen first, and stay out
    shift       added to the prices of the new bars, factor: by which they were multiplied: see `see`
    """

    new: int
    corrected: int
    shift: float = 0.0
    factor: float = 1.0


def see(
    ledger: Ledger, key: SeriesKey, bars: Bars, *, now: datetime, source: str,
    connection: Connection | None = None,
) -> Sighting:  # fmt: skip
    """Store the bars of a series that were never seen before; each bar is stored once, whatever comes later.

    now      the moment at which they are seen, UTC; bars that end after it are refused
    source   who saw them: a file's name, `journal`
    connection   of a transaction of the caller's, with which they are stored

    Where the series is adjusted and was adjusted anew since, the new bars are brought to the stored level.
    DataError for a bar from the future, and for an adjusted series whose stored part moved by no constant.
    """
    require_one_contract(bars, "the record of bars as first seen")
    present = int(np.datetime64(now.replace(tzinfo=None), "ns").astype(np.int64))
    if len(bars) and bars.end[-1] > present:
        newest = np.datetime64(int(bars.end[-1]), "ns").astype("M8[m]")
        raise DataError(
            f"{bars.source}: a bar of {key} ends {newest} UTC, after now "
            f"({now:%Y-%m-%d %H:%M}): nobody can have seen it; check the time zone of the source"
        )
    if connection is not None:
        return _see(connection, key, bars, now, source)
    with ledger.database.write() as own:
        return _see(own, key, bars, now, source)


def _see(connection: Connection, key: SeriesKey, bars: Bars, now: datetime, source: str) -> Sighting:
    known, values = _stored(connection, key)
    found = np.column_stack([getattr(bars, name) for name in BAR_COLUMNS])
    fresh = ~np.isin(bars.end, known)
    common = np.isin(known, bars.end)
    before, after = values[common], found[~fresh]
    shift, factor = _moved(key, bars.adjustment, before, after)
    levelled = _levelled(found, shift, factor)
    corrected = np.count_nonzero((np.abs(levelled[~fresh] - before) > _SAME * np.abs(before)).any(axis=1))
    seen = now.isoformat(timespec="seconds")
    rows = [
        (str(key), end, *numbers, seen, source[-64:])
        for end, numbers in zip(bars.end[fresh].tolist(), levelled[fresh].tolist(), strict=True)
    ]
    append_rows(connection, FirstSeenRow, _COLUMNS, rows)
    return Sighting(new=len(rows), corrected=int(corrected), shift=shift, factor=factor)


def seen_bars(ledger: Ledger, key: SeriesKey) -> Bars:
    """Return the bars of a series as they were first seen; DataError where none was."""
    with ledger.database.read() as connection:
        end, values = _stored(connection, key)
    if not end.size:
        raise DataError(f"{key}: no bar of it was seen yet; observe its file or journal first")
    columns = dict(zip(BAR_COLUMNS, np.ascontiguousarray(values.T), strict=True))
    bars = Bars(symbol=key.symbol, timeframe=key.timeframe, end=end, source="first seen", **columns)
    return bars if reach.UNTIL is None else reach.reached(bars, load_instruments().session(key.symbol))


def seen_so_far(ledger: Ledger, keys: Iterable[SeriesKey]) -> dict[str, tuple[int, int]]:
    """Return how many bars of each series were seen, and the number of the newest row; none: is left out.

    Rows are only added, so that as long as these are the same, the bars are.
    """
    table = table_of(FirstSeenRow)
    wanted = select(table.c.series, func.count(), func.max(table.c.id)).group_by(table.c.series)
    with ledger.database.read() as connection:
        rows = connection.execute(wanted.where(table.c.series.in_({str(each) for each in keys}))).all()
    return {series: (int(count), int(newest)) for series, count, newest in rows}


def last_seen(ledger: Ledger, key: SeriesKey) -> int:
    """Return the end of the newest bar of a series that was seen, UTC ns; -1 where none was."""
    table = table_of(FirstSeenRow)
    wanted = select(func.max(table.c.stamp)).where(table.c.series == str(key))
    with ledger.database.read() as connection:
        newest = connection.execute(wanted).scalar()
    return -1 if newest is None else int(newest)


def _stored(connection: Connection, key: SeriesKey) -> tuple[Stamps, Floats]:
    table = table_of(FirstSeenRow)
    wanted = select(table.c.stamp, *(table.c[name] for name in BAR_COLUMNS))
    rows = connection.execute(wanted.where(table.c.series == str(key)).order_by(table.c.stamp)).all()
    end = np.array([row[0] for row in rows], dtype=np.int64)
    return end, np.array([row[1:] for row in rows], dtype=np.float64).reshape(end.size, len(BAR_COLUMNS))


def _moved(key: SeriesKey, adjustment: Adjustment, before: Floats, after: Floats) -> tuple[float, float]:
    """Return what takes an adjusted series back to the level at which it was first seen."""
    if adjustment == "none" or not len(before):
        return 0.0, 1.0
    prices = slice(0, len(PRICE_COLUMNS))
    old, new = before[-_COMMON:, prices], after[-_COMMON:, prices]
    if np.allclose(old, new, rtol=_SAME, atol=0.0):
        return 0.0, 1.0
    if adjustment == "difference":
        moves = old - new
        middle = float(np.median(moves))
        if _most(np.abs(moves - middle) <= _SAME * np.abs(old) + 1e-9):
            return middle, 1.0
    elif (new > 0).all() and (old > 0).all():
        moves = old / new
        middle = float(np.median(moves))
        if _most(np.abs(moves / middle - 1.0) <= 1e-4):
            return 0.0, middle
    raise DataError(
        f"{key}: was adjusted by {adjustment}, but its last {len(old)} known bars moved by no constant: "
        "these are other bars; name the source that was observed before"
    )


def _most(agree: Flags) -> bool:
    """Whether most bars agree in all prices: one that was corrected must not hide a roll."""
    return bool(agree.all(axis=1).mean() > 0.5)


def _levelled(values: Floats, shift: float, factor: float) -> Floats:
    levelled = values.copy()
    levelled[:, : len(PRICE_COLUMNS)] = levelled[:, : len(PRICE_COLUMNS)] * factor + shift
    return levelled
