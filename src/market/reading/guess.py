"""What an unknown data file probably is: the keys of a source, and the questions that the file leaves open.

Pure: a table and what is known of it already in, a guess out. A guess never chooses between two readings that
the file allows, such as day first and month first: it asks, and is made again with the answer.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockstep.errors import DataError
from lockstep.market.reading.columns import STAMP_NAMES, TICK_NAMES
from lockstep.market.reading.guess_stamps import (
    SAMPLE,
    OpenQuestion,
    Question,
    falls,
    moments_of,
    stamps_of,
    timeframe_of,
    write_meaning,
)
from lockstep.market.reading.layouts import OTHER_NAMES, TELLING, plain, with_preset
from lockstep.market.reading.table import Layout, Table, table_of

COLUMN, SELECT = "column ", "select "
"""Beginnings of keys of `known`: what follows is a column of ours, or one that tells rows apart."""

_SEPARATORS = (",", ";", "\t", "|")
_PRICES = ("open", "high", "low", "close")
_TOP_LINES = 200
_MOST_CHOICES = 40

_NUMBER = re.compile(r"[-+]?\d[\d.,'\u00a0\u202f ]*(?:[eE][-+]?\d+)?[kKmMbB%]?")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?|\d{4}|\d{6}")

# Presets that a file's columns give away; others (`kibot`, `firstrate` …) look like many a file.
_SIGNS: Mapping[str, frozenset[str]] = {
    "mt5": frozenset(("<date>", "<tickvol>")),
    "stooq": frozenset(("<ticker>", "<per>", "<date>")),
    "databento": frozenset(("ts_event", "rtype")),
    "investing": frozenset(("price", "vol.", "change %")),
    "nasdaq": frozenset(("close/last",)),
    "dukascopy": frozenset(("gmt time",)),
    "sierra": frozenset(("date", "time", "last", "# of trades")),
    "tradestation": frozenset(("date", "time", "up", "down")),
}


@dataclass(frozen=True, kw_only=True)
class Guess:
    """Keys of a source that a file shows, the vendor it looks like, and the first question it leaves open."""

    keys: Mapping[str, Any] = field(default_factory=dict)
    like: str | None = None
    question: Question | None = None

    @property
    def daily(self) -> bool:
        """Whether the file holds one bar per session."""
        return self.keys.get("timeframe") == "1d"


def guess(path: Path, data: bytes, known: Mapping[str, str]) -> Guess:
    """Return what the bytes of a file show.

    known   keys of a source as a person gives them (`timezone`, `stamp`, `stamp_format`, `timeframe` …), the
            answers to earlier questions by their keys, and `column open`: their name of our column

    DataError where it is no table with a stamp and prices.
    """
    keys: dict[str, Any] = {}
    table = _table(path, data, known, keys)
    like = known.get("like") or _preset(table, keys)
    try:
        names = _columns(table, like, known, keys)
        stamps = stamps_of(table, names["datetime"])
        moments = moments_of(table, stamps, known, keys)
        keys["timeframe"] = known.get("timeframe") or timeframe_of(names, moments)
        _numbers(table, names, known, keys)
        _select(table, names, known, keys)
        write_meaning(stamps, {**_said_by(like), **known}, keys)
        if falls(moments):
            keys["order"] = "any"
    except OpenQuestion as found:
        return Guess(keys=keys, like=like, question=found.question)
    return Guess(keys=keys, like=like)


# ---- the table


def _table(path: Path, data: bytes, known: Mapping[str, str], keys: dict[str, Any]) -> Table:
    """Return the table of a file, and write how its text is laid out."""
    if path.suffix.lower() == ".parquet":
        return table_of(path, data, Layout())
    if not data.strip():
        raise DataError(f"{path}: empty file: expected a header and rows")
    text, encoding = _text(path, data)
    if encoding != "utf-8":
        keys["encoding"] = encoding
    lines = text.splitlines()[:_TOP_LINES]
    separator = known.get("separator") or _separator(path, lines)
    if separator != ",":
        keys["separator"] = separator
    header = not any(_is_number(cell) for cell in _cells(lines[:1], separator)[0])
    if not header:
        keys["header"] = False
    return table_of(path, data, Layout(separator, header, encoding))


def _text(path: Path, data: bytes) -> tuple[str, str]:
    if path.suffix.lower() == ".gz":
        import gzip

        data = gzip.decompress(data)
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding), encoding.removesuffix("-sig")
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path}: is no text in UTF-8, UTF-16 or cp1252; save it as UTF-8")


def _cells(lines: Iterable[str], separator: str) -> list[list[str]]:
    rows = csv.reader([line for line in lines if line.strip()], delimiter=separator)
    return [[cell.strip() for cell in row] for row in rows]


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _separator(path: Path, lines: list[str]) -> str:
    """Return the character that makes the most columns of numbers, equally many in every row."""

    def columns(separator: str) -> tuple[int, int]:
        rows = _cells(lines[1:] or lines, separator)
        width, count = Counter(len(row) for row in rows).most_common(1)[0] if rows else (0, 0)
        usual = [row for row in rows if len(row) == width]
        if count * 2 < len(rows):
            return (0, 0)
        return (
            sum(all(_is_number(cell) or not cell for cell in column) for column in zip(*usual, strict=True)),
            width,
        )

    best = max(_SEPARATORS, key=columns)
    if columns(best)[1] < 3:
        raise DataError(f"{path}: no separator makes columns of it (tried , ; tab |); give --separator")
    return best


# ---- its columns


def _columns(
    table: Table, like: str | None, known: Mapping[str, str], keys: dict[str, Any]
) -> dict[str, tuple[str, ...]]:
    """Return which of a table's columns are ours, and write those that it calls otherwise."""
    found = dict(_named(table)) if table.header else dict(_numbered(table))
    if like is not None and table.header:
        found |= dict(_of_preset(like, table))
    for key, theirs in known.items():
        if key.startswith(COLUMN):
            found[key.removeprefix(COLUMN)] = tuple(each.strip().lower() for each in theirs.split("+"))
    if "price" not in found:
        missing = [name for name in ("datetime", *_PRICES) if name not in found]
        if missing:
            rule = f"none of them is the {missing[0]}; give --column {missing[0]}=NAME"
            raise DataError(f"{table.source}: columns {', '.join(table.names)}: {rule}")
    for each in itertools.chain(*found.values()):
        table.column(each)
    if "volume" not in found:
        keys["volume"] = "none"
    usual = TICK_NAMES if "price" in found else {"datetime": STAMP_NAMES}
    columns = {
        name: (theirs[0] if len(theirs) == 1 else list(theirs)) if table.header else _as_numbers(theirs)
        for name, theirs in found.items()
        if not table.header or len(theirs) > 1 or theirs[0] not in (name, *usual.get(name, ()), table.index)
    }
    if columns:
        keys["columns"] = columns
    return found


def _of_preset(like: str, table: Table) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the columns of a vendor that a table has."""
    for daily in (True, False):
        for name, theirs in with_preset({"like": like}, daily=daily)["columns"].items():
            names = tuple(str(each).lower() for each in (theirs if isinstance(theirs, list) else [theirs]))
            if set(names) <= set(table.names):
                yield name, names


def _as_numbers(names: Sequence[str]) -> int | list[int]:
    return int(names[0]) if len(names) == 1 else [int(name) for name in names]


def _named(table: Table) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield our columns with theirs, by the names in the header."""
    by_plain = {plain(name): name for name in reversed(table.names)}
    date, time = by_plain.get("date"), by_plain.get("time")
    if date and time:
        yield "datetime", (date, time)
    elif table.index is not None:
        yield "datetime", (table.index,)
    else:
        stamp = next((name for name in (*STAMP_NAMES, *OTHER_NAMES["datetime"]) if name in table.names), None)
        if stamp is not None:
            yield "datetime", (stamp,)
    prices = [(name, _first(name, table.names)) for name in _PRICES]
    ticks = any(theirs is None for name, theirs in prices if name != "close")
    for name, theirs in [("price", _first("price", table.names))] if ticks else prices:
        if theirs is not None:
            yield name, (theirs,)
    if {"up", "down"} <= set(table.names):
        yield "volume", ("up", "down")
    elif volume := _first("volume", table.names) or ("size" if "size" in table.names else None):
        yield "volume", (volume,)


def _first(name: str, names: Sequence[str]) -> str | None:
    known = (name, *TICK_NAMES.get(name, ()), *OTHER_NAMES.get(name, ()))
    return next((each for each in known if each in names), None)


def _numbered(table: Table) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield our columns with the numbers of theirs: a stamp, then prices in their order, then volume."""
    top = [column.slice(0, SAMPLE).to_pylist() for column in table.columns]
    stamp = next((i for i, cells in enumerate(top) if all(_has_date(cell) for cell in cells)), None)
    if stamp is None:
        return
    second = stamp + 1 < len(top) and all(_CLOCK.fullmatch(str(cell)) for cell in top[stamp + 1])
    last = stamp + 1 if second else stamp
    yield "datetime", tuple(str(i + 1) for i in range(stamp, last + 1))
    numeric = [i for i in range(last + 1, len(top)) if all(_is_number(str(cell)) for cell in top[i])]
    if len(numeric) < 4:
        if numeric:
            yield "price", (str(numeric[0] + 1),)
    elif _in_order(*(top[i] for i in numeric[:4])):
        yield from ((name, (str(i + 1),)) for name, i in zip(_PRICES, numeric, strict=False))
    if len(numeric) in (2, 3) or len(numeric) > 4:
        yield "volume", (str(numeric[1 if len(numeric) < 4 else 4] + 1),)


def _has_date(cell: object) -> bool:
    text = str(cell)
    return bool(
        re.match(r"\d{1,4}[-/.]\w{1,3}[-/.]\d{1,4}|(19|20)\d{6}(\D|$|\d{4,6}$)|\d{10}$|\d{13}$", text)
    )


def _in_order(*columns: list[object]) -> bool:
    """Whether prices, with either decimal mark, could be open, high, low and close."""
    for mark in (".", ","):
        rows = [[_value(str(cell), mark) for cell in row] for row in zip(*columns, strict=True)]
        if all(low <= min(first, last) and max(first, last) <= high for first, high, low, last in rows):
            return True
    return False


def _value(text: str, decimal: str) -> float:
    other = "," if decimal == "." else "."
    try:
        return float(re.sub(r"[^\d.eE+-]", "", text.replace(other, "").replace(decimal, ".")))
    except ValueError:
        return float("nan")


# ---- numbers, and rows of another series


def _numbers(
    table: Table, names: Mapping[str, Sequence[str]], known: Mapping[str, str], keys: dict[str, Any]
) -> None:
    """Write the marks of decimals and thousands where they are not the usual ones."""
    import pyarrow as pa

    of_price = next(name for name in ("close", "price") if name in names)
    columns = [table.column(each) for each in (*names[of_price], *names.get("volume", ()))]
    prices, *volumes = [
        column.slice(0, SAMPLE).to_pylist() if pa.types.is_string(column.type) else [] for column in columns
    ]
    decimal, thousands = known.get("decimal"), known.get("thousands")
    if decimal is None:
        decimal = _decimal(prices, table)
    other = "," if decimal == "." else "."
    if thousands is None:
        texts = [text for cells in (prices, *volumes) for text in cells]
        thousands = next(
            (mark for mark in (other, "'", "\u00a0", "\u202f", " ") if any(mark in t for t in texts)), None
        )
    if decimal != ".":
        keys["decimal"] = decimal
    if thousands:
        keys["thousands"] = thousands


def _decimal(prices: list[str], table: Table) -> str:
    commas = [text for text in prices if "," in text]
    if not commas:
        return "."
    if any("." in text for text in commas):
        both = next(text for text in commas if "." in text)
        return "," if both.rindex(",") > both.rindex(".") else "."
    if any(text.count(",") > 1 for text in commas):
        return "."
    if any(len(text.partition(",")[2]) != 3 for text in commas):
        return ","
    text = commas[0]
    choices = {
        ",": f"{text} is {text.replace(',', '.')}, a decimal comma",
        ".": f"{text} is {text.replace(',', '')}, the comma groups digits",
    }
    raise OpenQuestion(Question("decimal", "What is the comma in the prices?", choices))


def _select(
    table: Table, names: Mapping[str, Sequence[str]], known: Mapping[str, str], keys: dict[str, Any]
) -> None:
    """Write which rows belong to the series, where a column tells several apart."""
    used = {each for theirs in names.values() for each in theirs}
    for name, column in zip(table.names, table.columns, strict=True):
        if name in used or plain(name) not in TELLING:
            continue
        values = [str(each) for each in column.unique().to_pylist()]
        if not 1 < len(values) <= _MOST_CHOICES:
            continue
        answer = known.get(f"{SELECT}{name}")
        if answer is None:
            text = f"Column {name} tells several series apart. Which one is it?"
            raise OpenQuestion(Question(f"{SELECT}{name}", text, {value: "" for value in sorted(values)}))
        keys.setdefault("select", {})[name] = answer


def _said_by(like: str | None) -> dict[str, str]:
    """Return what stamps of intraday bars mean at a vendor, as far as a preset says."""
    layout = {} if like is None else with_preset({"like": like}, daily=False)
    return {key: layout[key] for key in ("timezone", "stamp") if key in layout}


def _preset(table: Table, keys: Mapping[str, Any]) -> str | None:
    """Return the vendor that the columns give away, or None."""
    if keys.get("separator") == ";" and not table.header:
        stamp = str(table.columns[0][0])
        return "ninjatrader" if re.fullmatch(r"\d{8}( \d{6})?", stamp) else None
    names = set(table.names)
    return next((preset for preset, signs in _SIGNS.items() if signs <= names), None)
