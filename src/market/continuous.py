"""One series of a future from the files of its contracts, as its roll table says.

Bars are those of the contract that is traded, with its own prices. What looks back over a roll sees them
from one
contract (`Rolls.seen_from`); who wants one series of levels that never jump has it adjusted as a whole, which
changes all earlier prices at every roll.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import DataError
from lockstep.market.bars import BAR_COLUMNS, PRICE_COLUMNS, Bars, Floats
from lockstep.market.rolls import AHEAD, FOLDER, Rolls, RollTable
from lockstep.market.sessions import Session

MONTHS = "FGHJKMNQUVXZ"
"""Letters of the delivery months, January first."""

_NAME = re.compile(rf"([{MONTHS}])(\d{{4}}|\d{{2}})")
# Two digits name a year from 1970 to 2069.
_CENTURY, _PIVOT = 1900, 70


def table_path(folder: Path, symbol: str) -> Path:
    """Return where the roll table of a symbol is, beside the files of its contracts."""
    return folder / FOLDER / f"{symbol}.csv"


def delivery(contract: str, symbol: str) -> tuple[int, int] | None:
    """Return (year, month) of a contract that is called by symbol, month and year; None for other names.

    >>> delivery("ESH24", "ES"), delivery("GCZ2019", "GC"), delivery("ESH4", "ES")
    ((2024, 3), (2019, 12), None)
    """
    found = _NAME.fullmatch(contract.removeprefix(symbol)) if contract.startswith(symbol) else None
    if found is None:
        return None
    year = int(found[2])
    if year < 100:
        year += _CENTURY if year >= _PIVOT else _CENTURY + 100
    return year, MONTHS.index(found[1]) + 1


def stitched(
    table: RollTable, contracts: Mapping[str, Bars], session: Session, tick: float, *, source: str
) -> Bars:
    """Return the bars of each contract in the sessions in which it is traded, with the rolls between them.

    contracts   bars by name, all of one timeframe; tick   points; source   for messages

    DataError where a contract has no bar in its sessions: what lies there would be missing without a word.
    """
    rolls = Rolls.of(table, session, tick)
    parts = [_part(name, contracts, rolls, number) for number, name in enumerate(table.contracts)]
    for number, part in enumerate(parts[:-1]):
        if len(parts[number + 1]):
            _require_a_way_out(part, rolls, number, session)
    first = parts[0]
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(each, name) for each in parts]) for name in BAR_COLUMNS
    }
    return Bars(
        symbol=table.symbol, timeframe=first.timeframe, end=np.concatenate([each.end for each in parts]),
        source=source, rolls=rolls, **columns,
    )  # fmt: skip


def _part(name: str, contracts: Mapping[str, Bars], rolls: Rolls, number: int) -> Bars:
    bars = contracts[name]
    rows = np.flatnonzero(rolls.contract(bars.end) == number)
    newest = max(int(each.end[-1]) for each in contracts.values() if len(each))
    begins = int(rolls.since[number - 1]) if number else None
    if rows.size:
        return bars.rows(int(rows[0]), int(rows[-1]) + 1)
    if begins is not None and begins >= newest:
        # A roll that is ahead: it is known before its first bar.
        return bars.rows(0, 0)
    raise DataError(
        f"{bars.source}: no bar in the sessions in which {name} is traded; give its whole file, "
        f"or build the roll "
        "table anew"
    )


def _require_a_way_out(bars: Bars, rolls: Rolls, number: int, session: Session) -> None:
    """Raise DataError unless a position can be left in the last sessions of a contract."""
    near = rolls.nearness(bars.end, bars.timeframe, session)
    rows = np.flatnonzero(near)
    open_rows = rows[session.in_session(bars.end[rows], bars.timeframe)] if rows.size else rows
    if open_rows.size < 2 or near[open_rows[0]] != AHEAD:
        sessions = " and ".join(str(np.datetime64(int(day), "D")) for day in rolls.leave[number])
        raise DataError(
            f"{bars.source}: {rolls.contracts[number]} has no two bars in which a position could "
            f"be left before the "
            f"roll, in its last sessions {sessions}; give its bars, declare the exception of the "
            f"calendar, or roll "
            "in another session"
        )


def levels(bars: Bars) -> Bars:
    """Return bars whose differences are the market's: contracts adjusted as a whole, others as they are."""
    return bars if bars.rolls is None else adjusted(bars)


def following_closes(bars: Bars) -> Floats:
    """Return the close after each bar but the last as its own contract sees it, float64 (n - 1,)."""
    return bars.close[1:] if bars.rolls is None else bars.close[:-1] + np.diff(levels(bars).close)


def require_one_contract(bars: Bars, what: str) -> Bars:
    """Return bars that are of one contract, or were adjusted; DataError where `what` knows of no rolls."""
    if bars.rolls is not None:
        raise DataError(
            f"{bars.source}: raw contracts with a roll table, and {what} knows of no rolls; declare "
            "adjustment: difference for their source"
        )
    return bars


def adjusted(bars: Bars, *, to: int | None = None) -> Bars:
    """Return a series of contracts with all prices as one of them sees them, and no rolls any more.

    to   number of the contract; None: that of the last bar. A later roll gives other prices for all earlier
    bars

    >>> from datetime import date
    >>> from lockstep.market.rolls import Roll
    >>> from lockstep.market import DAILY, load_instruments
    >>> market = load_instruments().market("ES")
    >>> days = np.array(["2024-03-07", "2024-03-08", "2024-03-11"], dtype="M8[D]")
    >>> end = market.session.nominal_close(days)
    >>> table = RollTable(symbol="ES", rolls=(
    ...     Roll("ESH24", "ESM24", date(2024, 3, 11), 218, "volume", "0" * 16),))
    >>> def flat(level):
    ...     prices = dict.fromkeys(("open", "high", "low", "close"), [level] * 3)
    ...     return Bars(symbol="ES", timeframe=DAILY, end=end, volume=[1] * 3, **prices)
    >>> contracts = {"ESH24": flat(5100.0), "ESM24": flat(5154.5)}
    >>> raw = stitched(table, contracts, market.session, 0.25, source="two contracts")
    >>> raw.close, adjusted(raw).close
    (array([5100. , 5100. , 5154.5]), array([5154.5, 5154.5, 5154.5]))
    """
    rolls = bars.rolls
    if rolls is None or not len(bars):
        return replace(bars, rolls=None)
    contract = int(rolls.contract(bars.end[-1:])[0]) if to is None else to
    moved: dict[str, Any] = {
        name: rolls.seen_from(contract, bars.end, getattr(bars, name)) for name in PRICE_COLUMNS
    }
    return replace(bars, rolls=None, adjustment="difference", **moved)


def in_order(names: Sequence[str], symbol: str, where: str) -> list[str]:
    """Return contracts by delivery, the earliest first.

    DataError for a name that does not tell it, and for two that tell the same.
    """
    months: dict[tuple[int, int], str] = {}
    for name in sorted(names):
        month = delivery(name, symbol)
        if month is None:
            raise DataError(
                f"{where}: {name}: a contract is called {symbol}, month and year of two or four "
                f"digits, such as "
                f"{symbol}H24; rename its file"
            )
        if month in months:
            raise DataError(f"{where}: {name} and {months[month]} are one contract; remove one of the files")
        months[month] = name
    return [months[month] for month in sorted(months)]
