"""Which columns of a file are ours, which rows belong to the series, and which column was forgotten."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

from lockstep.errors import BadBars
from lockstep.market.bars import BAR_COLUMNS, Flags
from lockstep.market.reading.faults import Faults
from lockstep.market.reading.layouts import OTHER_NAMES, TELLING, plain
from lockstep.market.reading.table import Table
from lockstep.market.source import STAMP, Source

STAMP_NAMES = (STAMP, "timestamp", "date")
# What pandas calls an index without a name, in a parquet file, in a text and in one that was written again.
_UNNAMED_INDEX = ("__index_level_0__", "", "unnamed: 0")
BAR_NAMES: Mapping[str, tuple[str, ...]] = {STAMP: STAMP_NAMES, **{name: (name,) for name in BAR_COLUMNS}}
TICK_NAMES: Mapping[str, tuple[str, ...]] = {
    STAMP: STAMP_NAMES, "price": ("price", "last"), "volume": ("volume", "size"),
}  # fmt: skip
MIXED = "rows of several kinds"
_SEPARATORS = {";": ";", "\t": "tab", "|": "|"}
_SHOWN_VALUES = 5


def chosen(table: Table, source: Source, usual: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return which columns of the table each of ours is made of, by name; empty for a volume of none.

    usual   our names, and the names that are taken for each where the source declares none

    BadBars where one is missing, with the way out that fits, or occurs twice.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, spellings in usual.items():
        if name == "volume" and source.volume is not None:
            found[name] = ()
            continue
        declared = source.theirs(name)
        if declared is None:
            spelled = next((each for each in spellings if each in table.names), None)
            declared = (_index(table, name) if spelled is None else spelled,)
        for each in declared:
            if each not in table.names:
                raise _missing(table, source, name, each)
            table.column(each)
        found[name] = declared
    return found


def _index(table: Table, name: str) -> str:
    """Return the column that pandas wrote its index to, where it may be the stamps; else the name itself."""
    if name != STAMP:
        return name
    written = (table.index, *_UNNAMED_INDEX)
    return next((each for each in written if each is not None and each in table.names), name)


def _missing(table: Table, source: Source, name: str, theirs: str) -> BadBars:
    have = f"columns {', '.join(table.names)}"
    if theirs != name or name in source.columns:
        near = difflib.get_close_matches(theirs, table.names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return table.problem(1, have, f"column {theirs}, declared for {name}, is missing{hint}")
    return table.problem(1, have, f"column {name} is missing; {_way_out(table, source, name)}")


def _way_out(table: Table, source: Source, name: str) -> str:
    only = table.names[0] if len(table.names) == 1 else ""
    other = next((each for each in (*_SEPARATORS, ",") if each in only and each != source.separator), None)
    if other is not None:
        return f"columns are separated by {_SEPARATORS.get(other, other)}: declare separator: {other!r}"
    if "\x00" in "".join(table.names):
        return "the text looks like UTF-16: declare encoding: utf-16"
    if table.header and any(_is_value(each) for each in table.names):
        return "the first line holds values: declare header: false, and columns by number if they differ"
    near = renamed(name, table.names)
    if near is not None:
        return f"{near!r} may be it: declare columns: {{{name}: {near}}}"
    if name == "volume":
        return "where the file has none, declare volume: none"
    return f"where another column is it, declare columns: {{{name}: its name}}"


def renamed(name: str, theirs: tuple[str, ...]) -> str | None:
    """Return the column that probably is ours under another name, or None."""
    known = next((each for each in OTHER_NAMES.get(name, ()) if each in theirs), None)
    if known is not None:
        return known
    free = [each for each in theirs if each not in BAR_COLUMNS and each not in STAMP_NAMES]
    near = difflib.get_close_matches(name, free, n=1)
    inside = (each for each in free if name in plain(each))
    return near[0] if near else next(inside, None)


def _is_value(name: str) -> bool:
    return name[:1].isdigit() and not name.isalpha()


def selected(table: Table, source: Source, *, required: bool = True) -> Table:
    """Return the table with the rows that the source selects; BadBars where there are none, if `required`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, value in source.select.items():
        column = table.column(name.lower()).cast(pa.string())
        rows = np.asarray(pc.fill_null(pc.equal(column, value), False))
        if required and not rows.any():
            there = column.unique().to_pylist()
            some = ", ".join(map(str, there[:_SHOWN_VALUES])) + (" …" if len(there) > _SHOWN_VALUES else "")
            rule = f"select asks for {value!r}; choose one that is there"
            raise table.problem(1, f"column {name} holds {some}", rule)
        table = table.only(rows)
    return table


def telling(table: Table, source: Source, used: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the columns that tell rows apart and that the source neither uses nor ignores."""
    known = {each for names in used.values() for each in names}
    known |= {name.lower() for name in (*source.select, *source.ignore)}
    return [name for name in dict.fromkeys(table.names) if name not in known and plain(name) in TELLING]


def mark_mixed(table: Table, names: list[str], faults: Faults, firsts: dict[str, Any]) -> None:
    """Mark the rows whose value in a telling column is not the first one, which `firsts` holds or gets."""
    for name in names:
        column = _comparable(table.columns[table.names.index(name)])
        if len(column):
            first = firsts.setdefault(name, column[0].as_py())
            faults.add(_differing(column, first), name, _mixed_rule(table, name, first))


def _comparable(column: Any) -> Any:
    """Return a column in which equal values are equal: NaN as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column


def _differing(column: Any, first: object) -> Flags:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        return np.concatenate([_differing_categories(piece, first) for piece in column.chunks])
    if first is None:
        return np.asarray(column.is_valid())
    return ~np.asarray(pc.fill_null(pc.equal(column, pa.scalar(first, column.type)), False))


def _differing_categories(piece: Any, first: object) -> Flags:
    same = np.array([*(value == first for value in piece.dictionary.to_pylist()), first is None])
    differing: Flags = ~same[piece.indices.fill_null(same.size - 1).to_numpy()]
    return differing


def _mixed_rule(table: Table, name: str, first: object) -> str:
    ignored = f"or ignore: [{name}]"
    if plain(name) in ("time", "hour", "minute", "time of day", "bar time"):
        date = next((each for each in table.names if "date" in each and each != name), "date")
        way = f"declare columns: {{datetime: [{date}, {name}]}}, {ignored}"
        return f"{MIXED}: the column varies and is not used; {way}"
    way = f"declare select: {{{name}: {first}}}, {ignored}"
    return f"{MIXED}: the first row has {first!r}, and nothing tells them apart; {way}"
