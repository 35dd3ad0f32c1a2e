"""The rows of a table as bars or trades: its columns, checked against every rule, and what is broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import NOT_RISING, PRICE_COLUMNS, Flags, Floats, Stamps, value_violations
from lockstep.market.reading.columns import BAR_NAMES, TICK_NAMES, chosen, mark_mixed, selected, telling
from lockstep.market.reading.faults import Broken, Fault, Faults
from lockstep.market.reading.numbers import Notation, numbers
from lockstep.market.reading.stamps import MISMATCH, newest_first, utc_stamps
from lockstep.market.reading.table import Table, shown
from lockstep.market.sessions import Session
from lockstep.market.source import STAMP as COLUMN
from lockstep.market.source import Source
from lockstep.market.timeframe import Timeframe

Columns = dict[str, Floats]

NOT_FALLING = "stamps must not fall"
# More rows than one in so many that do not fit a timeframe make a file of another one.
_ODD_SHARE = 100
# Databento's mark for a price that is not known: the largest int64.
_NO_PRICE = 9.2e18


class Rows(NamedTuple):
    """The rows of a table: ends or stamps (n,), columns and lines (n,) of the good ones, and the bad ones."""

    stamps: Stamps
    columns: Columns
    rejected: tuple[Fault, ...] = ()
    lines: NDArray[np.int64] | None = None


def bar_rows(
    table: Table, source: Source, session: Session, *, piece_of: dict[str, Any] | None = None
) -> Rows:
    """Return the rows of bars as `read_bars` checks them.

    piece_of   given where the table is a piece of a file that grows: its stamps may fall, it may hold no
               selected row, and what tells its rows apart is compared with the first piece, which this notes
    """
    timeframe = source.timeframe
    assert timeframe is not None, "rows of ticks are checked by tick_rows"

    def check(stamps: Stamps, columns: Columns, faults: Faults) -> Stamps:
        for broken, column, rule in value_violations(columns):
            other = rule.rpartition(" ")[2]
            faults.add(broken, column, rule, beside=other if other in PRICE_COLUMNS else None)
        if timeframe.is_session and piece_of is None:
            _mark_repeated_dates(stamps, faults)
        return _bar_ends(stamps, timeframe, source, session, faults)

    return _checked(table, source, BAR_NAMES, check, NOT_RISING, piece_of)


def tick_rows(table: Table, source: Source, *, piece_of: dict[str, Any] | None = None) -> Rows:
    """Return the rows of trades as `read_ticks` checks them; `piece_of` as in `bar_rows`."""

    def check(stamps: Stamps, columns: Columns, faults: Faults) -> Stamps:
        for name, values in columns.items():
            faults.add(~np.isfinite(values), name, "must be a finite number")
        faults.add(columns["volume"] < 0, "volume", "volume must be >= 0")
        return stamps

    return _checked(table, source, TICK_NAMES, check, NOT_FALLING, piece_of)


def _checked(
    table: Table,
    source: Source,
    names: Mapping[str, tuple[str, ...]],
    check: Callable[[Stamps, Columns, Faults], Stamps],
    order_rule: str,
    piece_of: dict[str, Any] | None,
) -> Rows:
    """Return stamps and columns of the good rows, and the bad ones."""
    whole = piece_of is None
    table = selected(table, source, required=whole)
    used = chosen(table, source, names)
    faults = Faults(table.lines.size)
    mark_mixed(table, telling(table, source, used), faults, {} if piece_of is None else piece_of)
    raw: dict[str, Any] = {COLUMN: _stamp_column(table, used[COLUMN])}
    columns = {
        name: _numbers(table, name, theirs, source, faults, raw)
        for name, theirs in used.items()
        if name != COLUMN
    }
    stamps = check(utc_stamps(raw[COLUMN], source, faults), columns, faults)
    order = _in_order(stamps, faults, order_rule, source) if whole else None
    if order is None and faults.found:
        order = np.flatnonzero(faults.good)
    if order is not None:
        stamps, columns = stamps[order], {name: values[order] for name, values in columns.items()}
    lines = table.lines if order is None else table.lines[order]
    return Rows(stamps, columns, _rejected(table, raw, faults), lines)


def _stamp_column(table: Table, theirs: tuple[str, ...]) -> Any:
    """Return the column of stamps; a date and a time in columns of their own are joined by a blank."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [table.column(name) for name in theirs]
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2 and all(pa.types.is_dictionary(part.type) and part.num_chunks == 1 for part in parts):
        # Read apart, without joining them row by row.
        pair = pa.StructArray.from_arrays([part.chunk(0) for part in parts], names=["date", "time"])
        return pa.chunked_array([pair])
    day = parts[0]
    if pa.types.is_timestamp(day.type):
        parts[0] = day.cast(pa.date32())
    return pc.binary_join_element_wise(*(part.cast(pa.string()) for part in parts), " ")


def _numbers(
    table: Table, name: str, theirs: tuple[str, ...], source: Source, faults: Faults, raw: dict[str, Any]
) -> Floats:
    """Return one of our columns, summed where it is made of several; what it is read from goes to `raw`."""
    total: Floats | None = None
    for each in theirs:
        shown_as = name if len(theirs) == 1 else f"{name} {each}"
        raw[shown_as] = table.column(each)
        values, not_numbers = numbers(raw[shown_as], Notation.of(source))
        faults.add(not_numbers, shown_as, "must be a number")
        total = values if total is None else total + values
    if total is None:
        return np.zeros(table.lines.size)
    raw.setdefault(name, raw[f"{name} {theirs[0]}"] if len(theirs) > 1 else None)
    if name in (*PRICE_COLUMNS, "price") and source.scale != 1.0:
        faults.add(total >= _NO_PRICE, name, "must be a price; this is the mark for an unknown one")
        return _scaled(total, source.scale)
    return total


def _scaled(values: Floats, scale: float) -> Floats:
    """Return values times a factor; times 1e-9 is divided by 1e9, so that it is the nearest double."""
    divisor = round(1 / scale)
    exact = divisor > 1 and abs(divisor * scale - 1) < 1e-12
    return np.asarray(values / divisor if exact else values * scale)


def _in_order(stamps: Stamps, faults: Faults, rule: str, source: Source) -> NDArray[np.int64] | None:
    """Return the good rows in the order of their stamps, or None where they are all rows as they are.

    A row that does not come after the good ones before it is marked; where the source promises no order, only
    one whose stamp occurs a second time.
    """
    strictly = rule == NOT_RISING
    steps = np.diff(stamps)
    if not faults.found and bool((steps > 0).all() if strictly else (steps >= 0).all()):
        return None
    rows = np.flatnonzero(faults.good)
    if source.order == "any":
        if newest_first(stamps[rows]):
            rows = rows[::-1]
        rows = rows[np.argsort(stamps[rows], kind="stable")]
        before, broken = rows[:-1], strictly & (np.diff(stamps[rows]) == 0)
    else:
        given = stamps[rows]
        highest = np.maximum.accumulate(given)
        risen = np.concatenate(([True], given[1:] > highest[:-1]))[: given.size]
        at = np.maximum.accumulate(np.where(risen, np.arange(given.size), 0))
        before = rows[at[:-1]]
        broken = given[1:] <= highest[:-1] if strictly else given[1:] < highest[:-1]
    mask, after = np.zeros(stamps.size, dtype=np.bool_), np.zeros(stamps.size, dtype=np.int64)
    mask[rows[1:]], after[rows[1:]] = broken, before
    faults.add(mask, COLUMN, rule, after=after)
    return np.concatenate((rows[:1], rows[1:][~broken]))


def _mark_repeated_dates(stamps: Stamps, faults: Faults) -> None:
    """Mark all rows but the first of each date where so many repeat one that they are shorter bars."""
    repeats = np.concatenate(([False], np.diff(stamps) == 0))[: stamps.size] & faults.good
    if too_many(int(np.count_nonzero(repeats)), stamps.size):
        faults.add(repeats, COLUMN, f"{MISMATCH}: 1d is declared, and dates occur several times")


def too_many(odd: int, rows: int) -> bool:
    """Whether so many rows do not fit a timeframe that the file is of another one."""
    return odd > max(1, rows // _ODD_SHARE)


def _rejected(table: Table, raw: dict[str, Any], faults: Faults) -> tuple[Fault, ...]:
    found = [
        Fault(int(table.lines[row]), _value(table, raw, row, broken), broken.rule)
        for row, broken in faults.broken()
    ]
    last = table.lines[-1] if table.lines.size else 0
    for line, count in table.ragged:
        rule = f"expected {len(table.names)} columns, as in the {'header' if table.header else 'first line'}"
        if line > last and table.cut_off is not None:
            rule += "; the line has no end: the file is cut off"
        found.append(Fault(line, f"{count} columns", rule))
    return tuple(sorted(found))


def _value(table: Table, raw: dict[str, Any], row: int, broken: Broken) -> str:
    """Return the value that broke a rule, and what it was compared with."""
    column = broken.column
    text = f"{column} {shown(raw[column] if column in raw else table.column(column), row)}"
    if broken.beside is not None:
        return f"{text} and {broken.beside} {shown(raw[broken.beside], row)}"
    if broken.after is not None:
        return f"{text} after {shown(raw[column], broken.after)}"
    return text


def _bar_ends(
    stamps: Stamps, timeframe: Timeframe, source: Source, session: Session, faults: Faults
) -> Stamps:
    """Return the moment each bar is complete; 0 for rows with a fault."""
    if not faults.found:
        return _ends_of_good(stamps, np.ones(stamps.size, dtype=np.bool_), timeframe, source, session, faults)
    end, good = np.zeros(stamps.size, dtype=np.int64), faults.good
    end[good] = _ends_of_good(stamps[good], good, timeframe, source, session, faults)
    return end


def _ends_of_good(
    given: Stamps, good: Flags, timeframe: Timeframe, source: Source, session: Session, faults: Faults
) -> Stamps:
    """Return the ends of the good rows' bars, and mark those that are not on the grid of the timeframe."""
    if timeframe.is_session:
        return session.nominal_close(given.view("M8[ns]").astype("M8[D]"))
    opens = source.stamp == "open"
    on_grid = session.bucket_end(given, timeframe, closed="right") == given
    end = session.bucket_end(given, timeframe, closed="left") if opens else given
    if opens and not on_grid.all():
        on_grid |= given == session.scheduled_open(end)
    if not on_grid.all():
        off = np.zeros(good.size, dtype=np.bool_)
        off[good] = ~on_grid
        template = session.template
        grid = f"bars of {template.name} follow its {template.grid} grid"
        faults.add(off, COLUMN, f"{MISMATCH}: {timeframe} is declared, and {grid}")
    return end
