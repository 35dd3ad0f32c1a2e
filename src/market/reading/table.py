"""Data files as columns of text or numbers, every row with its line number."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import BadBars, DataError, SourceChanged
from lockstep.market.bars import Flags
from lockstep.market.source import Source

_SHOWN = 60
# Header lines end before this many bytes.
_TOP = 1 << 16
# The last line is looked for in this many bytes.
_TAIL = 1 << 12
_CHUNK = 1 << 20
# Stands for a separator inside quotes while the columns are split.
_SHIELD = "\x1f"
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Layout(NamedTuple):
    """How the text of a table is written: what separates columns, whether they are named, the encoding."""

    separator: str = ","
    header: bool = True
    encoding: str = "utf-8"

    @classmethod
    def of(cls, source: Source | None) -> Layout:
        """Return what a source declares, or the usual layout."""
        return cls() if source is None else cls(source.separator, source.header, source.encoding)


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """The rows of one file.

    names     column names, lower case; "1", "2" … where the file does not name them
    columns   one chunked pyarrow array (n,) per name: text for CSV, any type for parquet and where it was
              read as numbers (`lockstep.market.reading.typed_table`)
    lines     int64 (n,): 1-based line of each row in the file (parquet: 1-based row)
    ragged    (line, columns found) of lines that have another number of columns
    text      the whole text, UTF-8; None for parquet and where it was read as numbers
    index     name of the column that a data frame was written with as its index, or None
    cut_off   the last line, where it has no end, or None
    """

    source: str
    names: tuple[str, ...]
    columns: tuple[Any, ...]
    lines: NDArray[np.int64]
    ragged: tuple[tuple[int, int], ...] = ()
    text: bytes | None = None
    index: str | None = None
    cut_off: str | None = None
    header: bool = True

    @cached_property
    def _texts(self) -> list[bytes]:
        return (self.text or b"").splitlines()

    def column(self, *names: str) -> Any:
        """Return the column with the first of these names that occurs; BadBars where none or two do."""
        wanted = next((name for name in names if name in self.names), None)
        if wanted is None:
            raise self.problem(1, f"columns {', '.join(self.names)}", f"column {names[0]} is missing")
        if self.names.count(wanted) > 1:
            raise self.problem(1, f"columns {', '.join(self.names)}", f"column {wanted} occurs twice")
        return self.columns[self.names.index(wanted)]

    def row_text(self, line: int) -> str:
        """Return what stands in a line: the original text, or parquet values with commas."""
        if self.text is not None:
            return self._texts[line - 1].decode()
        row = int(np.searchsorted(self.lines, line))
        return ",".join(str(column[row].as_py()) for column in self.columns)

    def only(self, rows: Flags) -> Table:
        """Return the table with the rows of a mask (n,)."""
        import pyarrow as pa

        mask = pa.array(rows)
        columns = tuple(column.filter(mask) for column in self.columns)
        return replace(self, columns=columns, lines=self.lines[rows])

    def problem(self, line: int, value: str, rule: str) -> BadBars:
        """Return the error that names this file."""
        return BadBars(source=self.source, line=line, value=value, rule=rule)


def read_table(path: Path, layout: Layout | None = None) -> Table:
    """Read a text file (.csv, .csv.gz, .txt …) or a .parquet file.

    DataError where it cannot be read, SourceChanged where it changed meanwhile, BadBars where it is empty
    or not a table.
    """
    return table_of(path, read_unchanged(path), layout or Layout())


def table_of(path: Path, data: bytes, layout: Layout) -> Table:
    """Return the table that the bytes of the file at `path` hold; raises what `read_table` raises."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        data = _unzipped(path, data)
    if not data.strip():
        raise BadBars(source=str(path), line=1, value="empty file", rule="expected a header and rows")
    table = _parquet(path, data) if suffix == ".parquet" else csv_table(path, data, layout)
    if not table.lines.size and not table.ragged:
        raise table.problem(1, "header only", "expected rows below the header")
    return table


@contextmanager
def unchanged(path: Path) -> Iterator[BinaryIO]:
    """Open a file; SourceChanged if size, time or identity are others afterwards, DataError for no file."""
    try:
        with path.open("rb") as handle:
            before = _identity(os.fstat(handle.fileno()))
            yield handle
            after = {_identity(os.fstat(handle.fileno())), _identity(path.stat())}
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}: cannot be read; check the path") from error
    if after != {before}:
        raise SourceChanged(f"{path}: the file changed while it was read; run again when it is complete")


def read_unchanged(path: Path) -> bytes:
    """Return a file's bytes, from one handle; raises what `unchanged` raises."""
    with unchanged(path) as handle:
        return _content(handle)


def _content(handle: BinaryIO) -> bytes:
    return handle.read()


def _identity(stat: os.stat_result) -> tuple[int, int, int]:
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)


class Scan(NamedTuple):
    """What the bytes of a file show before they are parsed.

    digest    SHA-256 (hex) of all of them
    plain     whether they are ASCII without quotes or other marks that were asked for
    cut_off   the last line, where it has no end, or None
    """

    digest: str
    plain: bool
    cut_off: str | None


def head_of(handle: BinaryIO) -> bytes:
    """Return the first bytes of an open file, in which its header ends; the file is at its start again."""
    head = handle.read(_TOP)
    handle.seek(0)
    return head


def scanned(handle: BinaryIO, *, marks: bytes = b"") -> Scan:
    """Return what the bytes of an open file show, reading them once, a few at a time.

    marks   bytes that a plain file does not hold below its first line
    """
    digest = hashlib.sha256()
    odd = [bytes([each]) for each in b'"\0' + marks]
    plain, tail = True, b""
    while chunk := handle.read(_CHUNK):
        digest.update(chunk)
        plain = plain and chunk.isascii()
        below = chunk if tail else chunk.partition(b"\n")[2]
        plain = plain and not any(mark in below for mark in odd)
        tail = (tail + chunk)[-_TAIL:]
    return Scan(digest.hexdigest(), plain, _unended(tail))


def _unended(tail: bytes) -> str | None:
    """Return the last line of a text where it has no end."""
    if not tail or tail.endswith((b"\n", b"\r")):
        return None
    return tail.splitlines()[-1].decode(errors="replace")


def _unzipped(path: Path, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        rule = "must be a complete gzip file"
        raise BadBars(source=str(path), line=None, value=str(error), rule=rule) from error


def csv_table(path: Path, data: bytes, layout: Layout | None = None) -> Table:
    """Return the rows of CSV text; BadBars, naming `path`, where it is not text in the declared encoding.

    Quotes are taken off; a separator inside a pair of them, in one line, belongs to the value. The three
    header lines of yfinance (prices, tickers, name of the index) count as one.
    """
    layout = layout or Layout()
    text = _as_utf8(path, data, layout.encoding)
    shielded = _shielded(text, layout.separator) if b'"' in text else text
    top = [line.decode(errors="replace") for line in shielded[:_TOP].splitlines()[:4]]
    if not top:
        raise BadBars(source=str(path), line=1, value="empty file", rule="expected a header and rows")
    names, below = column_names(path, top[:3], layout)
    if len(top) <= below and len(text) <= _TOP:
        return Table(source=str(path), names=names, columns=(), lines=np.arange(0), text=text)
    columns, ragged = _split(shielded, len(names), below, layout.separator)
    count = below + len(ragged) + len(columns[0])
    is_row = np.ones(count + 1, dtype=np.bool_)
    is_row[: below + 1] = False
    is_row[[line for line, _ in ragged]] = False
    table = Table(
        source=str(path),
        names=names,
        columns=columns,
        lines=np.flatnonzero(is_row),
        ragged=ragged,
        text=text,
        cut_off=_unended(text[-_TAIL:]),
        header=layout.header,
    )
    return _without_blank_lines(table, restored=layout.separator if shielded is not text else None)


def column_names(path: Path, top: list[str], layout: Layout) -> tuple[tuple[str, ...], int]:
    """Return the names of the columns and how many lines they take."""
    rows = [[_name(cell, layout.separator) for cell in line.split(layout.separator)] for line in top]
    if not layout.header:
        return tuple(str(number) for number in range(1, len(rows[0]) + 1)), 0
    if len(rows) < 3 or rows[1][0] != "ticker" or len(rows[1]) != len(rows[0]) or any(rows[2][1:]):
        return tuple(rows[0]), 1
    tickers = sorted({cell.strip() for cell in top[1].split(layout.separator)[1:]})
    if len(tickers) > 1:
        rule = "a file holds one symbol; download them one by one"
        raise BadBars(source=str(path), line=2, value=f"tickers {', '.join(tickers)}", rule=rule)
    return (rows[2][0], *rows[0][1:]), 3


def _name(cell: str, separator: str) -> str:
    return cell.replace(_SHIELD, separator).strip(' "\t').lower()


def _split(data: bytes, count: int, below: int, separator: str) -> tuple[tuple[Any, ...], Any]:
    """Return the cells of each column as text, and (line, columns found) of lines with another number."""
    import pyarrow as pa
    import pyarrow.csv as csv

    ragged: list[tuple[int, int]] = []

    def skip(row: Any) -> str:
        ragged.append((row.number, row.actual_columns))
        return "skip"

    slots = [f"column {i}" for i in range(count)]
    read = csv.read_csv(
        pa.BufferReader(data),
        # Row numbers are only reported by the single-threaded reader. Quotes are taken off below: a stray
        # one must not swallow the lines behind it.
        read_options=csv.ReadOptions(use_threads=False, column_names=slots, skip_rows=below),
        parse_options=csv.ParseOptions(
            delimiter=separator, quote_char=False, ignore_empty_lines=False, invalid_row_handler=skip
        ),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(slots, pa.string()), strings_can_be_null=False
        ),
    )
    return tuple(read.columns), tuple(ragged)


def _without_blank_lines(table: Table, *, restored: str | None) -> Table:
    """Return the table without rows of empty lines, its cells without quotes and blanks around them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = np.ones(table.lines.size, dtype=np.bool_)
    for row in np.flatnonzero(pc.equal(table.columns[0], "").to_numpy()):
        kept[row] = bool(table._texts[table.lines[row] - 1].strip())
    mask = None if kept.all() else pa.array(kept)
    ragged = table.ragged and tuple(
        (line, found) for line, found in table.ragged if table._texts[line - 1].strip()
    )
    columns = (cleaned(column if mask is None else column.filter(mask), restored) for column in table.columns)
    return replace(table, columns=tuple(columns), lines=table.lines[kept], ragged=ragged)


def cleaned(column: Any, separator: str | None) -> Any:
    """Return text without quotes and blanks around it; `separator` takes the place of `_SHIELD`."""
    import pyarrow.compute as pc

    if separator is not None:
        column = pc.replace_substring(column, _SHIELD, separator)
    return pc.utf8_trim(column, characters=' \t"')


def _as_utf8(path: Path, data: bytes, encoding: str) -> bytes:
    """Return text as UTF-8 without a byte order mark."""
    if data.startswith(_UTF16_MARKS):
        encoding = "utf-16"
    try:
        if encoding != "utf-8":
            return data.decode(encoding).encode()
        if not data.isascii():
            data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        value = f"byte {data[error.start]:#04x}"
        rule = f"must be {encoding.upper()} text; declare the encoding of the file, such as encoding: cp1252"
        raise BadBars(source=str(path), line=line, value=value, rule=rule) from error
    return data.removeprefix(codecs.BOM_UTF8)


def _shielded(data: bytes, separator: str) -> bytes:
    """Return the text with `_SHIELD` for separators inside quotes, in lines where the quotes are paired."""
    text = np.frombuffer(data, dtype=np.uint8).copy()
    quotes = np.flatnonzero(text == ord('"'))
    line = np.searchsorted(np.flatnonzero((text == ord("\n")) | (text == ord("\r"))), quotes)
    rank = np.arange(quotes.size) - np.searchsorted(line, line)
    paired = np.bincount(line)[line] % 2 == 0
    opening, closing = quotes[paired & (rank % 2 == 0)], quotes[paired & (rank % 2 == 1)]
    separators = np.flatnonzero(text == ord(separator))
    before = np.searchsorted(opening, separators) - 1
    inside = before >= 0
    inside[inside] = separators[inside] < closing[before[inside]]
    text[separators[inside]] = ord(_SHIELD)
    return text.tobytes()


def _parquet(path: Path, data: bytes) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        read = parquet.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise BadBars(source=str(path), line=None, value=reason, rule="must be a parquet file") from error
    written = (read.schema.pandas_metadata or {}).get("index_columns", [])
    return Table(
        source=str(path),
        names=tuple(str(name).strip().lower() for name in read.column_names),
        columns=tuple(read.columns),
        lines=np.arange(1, read.num_rows + 1),
        index=next(_index_names(written), None),
    )


def _index_names(written: Iterable[object]) -> Iterator[str]:
    """Yield the columns among pandas' index levels; a plain count of rows is none."""
    return iter([name.strip().lower() for name in written if isinstance(name, str)])


def shown(column: Any, row: int) -> str:
    """Return the value in a row for a message."""
    value = column[row].as_py()
    if isinstance(value, dict):
        value = " ".join(map(str, value.values()))
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
