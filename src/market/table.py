"""Data files as columns of text or numbers, every row with its line number."""

from __future__ import annotations

import codecs
import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import BadBars, DataError, SourceChanged
from lockstep.market.bars import Flags, Floats

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?([nN][aA][nN]|[iI][nN][fF])$"
_SHOWN = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """The rows of one file.

    names     column names, lower case
    columns   one chunked pyarrow array (n,) per name: text for CSV, any type for parquet
    lines     int64 (n,): 1-based line of each row in the file (parquet: 1-based row)
    ragged    (line, columns found) of lines that have another number of columns
    texts     the original lines, the header first, without line ends; None for parquet
    """

    source: str
    names: tuple[str, ...]
    columns: tuple[Any, ...]
    lines: NDArray[np.int64]
    ragged: tuple[tuple[int, int], ...] = ()
    texts: tuple[bytes, ...] | None = None

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
        if self.texts is not None:
            return self.texts[line - 1].decode()
        return ",".join(str(column[line - 1].as_py()) for column in self.columns)

    def problem(self, line: int, value: str, rule: str) -> BadBars:
        """Return the error that names this file."""
        return BadBars(source=self.source, line=line, value=value, rule=rule)


def read_table(path: Path) -> Table:
    """Read a .csv, .csv.gz or .parquet file.

    DataError where it cannot be read, SourceChanged where it changed meanwhile, BadBars where it is empty
    or not a table.
    """
    data = read_unchanged(path)
    if path.suffix == ".gz":
        data = _unzipped(path, data)
    if not data.strip():
        raise BadBars(source=str(path), line=1, value="empty file", rule="expected a header and rows")
    table = _parquet(path, data) if path.suffix == ".parquet" else csv_table(path, data)
    if not table.lines.size and not table.ragged:
        raise table.problem(1, "header only", "expected rows below the header")
    return table


def read_unchanged(path: Path) -> bytes:
    """Return a file's bytes, from one handle, if size, time and identity are the same afterwards."""
    try:
        with path.open("rb") as handle:
            before = _identity(os.fstat(handle.fileno()))
            data = _content(handle)
            after = {_identity(os.fstat(handle.fileno())), _identity(path.stat())}
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}: cannot be read; check the path") from error
    if after != {before} or len(data) != before[1]:
        raise SourceChanged(f"{path}: the file changed while it was read; run again when it is complete")
    return data


def _content(handle: BinaryIO) -> bytes:
    return handle.read()


def _identity(stat: os.stat_result) -> tuple[int, int, int]:
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)


def _unzipped(path: Path, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        rule = "must be a complete gzip file"
        raise BadBars(source=str(path), line=None, value=str(error), rule=rule) from error


def csv_table(path: Path, data: bytes) -> Table:
    """Return the rows of CSV text, header first; BadBars, naming `path`, where it is not UTF-8."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as csv

    _require_utf8(path, data)
    data = data.removeprefix(codecs.BOM_UTF8)
    texts = tuple(data.splitlines())
    header = [name.strip(' "\t').lower() for name in texts[0].decode().split(",")]
    if len(texts) == 1:
        return Table(source=str(path), names=tuple(header), columns=(), lines=np.arange(0), texts=texts)
    ragged: list[tuple[int, int]] = []

    def skip(row: Any) -> str:
        ragged.append((row.number, row.actual_columns))
        return "skip"

    slots = [f"column {i}" for i in range(len(header))]
    read = csv.read_csv(
        pa.BufferReader(data),
        # Row numbers are only reported by the single-threaded reader. Quotes are taken off below: a stray
        # one must not swallow the lines behind it.
        read_options=csv.ReadOptions(use_threads=False, column_names=slots, skip_rows=1),
        parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False, invalid_row_handler=skip),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(slots, pa.string()), strings_can_be_null=False
        ),
    )
    lines = np.setdiff1d(np.arange(2, len(texts) + 1), [line for line, _ in ragged])
    kept = np.ones(lines.size, dtype=np.bool_)
    for row in np.flatnonzero(pc.equal(read[0], "").to_numpy()):
        kept[row] = bool(texts[lines[row] - 1].strip())
    columns = tuple(_trimmed(read[slot].filter(pa.array(kept))) for slot in slots)
    return Table(
        source=str(path),
        names=tuple(header),
        columns=columns,
        lines=lines[kept],
        ragged=tuple((line, found) for line, found in ragged if texts[line - 1].strip()),
        texts=texts,
    )


def _require_utf8(path: Path, data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        value = f"byte {data[error.start]:#04x}"
        raise BadBars(source=str(path), line=line, value=value, rule="must be UTF-8 text") from error


def _trimmed(column: Any) -> Any:
    import pyarrow.compute as pc

    return pc.utf8_trim(column, characters=' \t"')


def _parquet(path: Path, data: bytes) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        read = parquet.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise BadBars(source=str(path), line=None, value=reason, rule="must be a parquet file") from error
    return Table(
        source=str(path),
        names=tuple(str(name).strip().lower() for name in read.column_names),
        columns=tuple(read.columns),
        lines=np.arange(1, read.num_rows + 1),
    )


def numbers(column: Any) -> tuple[Floats, Flags]:
    """Return a column as float64 (n,), and which rows are not a number at all (NaN there)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if numeric or pa.types.is_decimal(column.type):
        return _floats(column.cast(pa.float64())), np.zeros(len(column), dtype=np.bool_)
    text = column.cast(pa.string())
    try:
        return _floats(text.cast(pa.float64())), np.asarray(text.is_null())
    except pa.ArrowInvalid:
        good = pc.fill_null(pc.match_substring_regex(text, _NUMBER), False)
        cleaned = pc.if_else(good, text, pa.scalar(None, pa.string()))
        return _floats(cleaned.cast(pa.float64())), ~np.asarray(good)


def _floats(column: Any) -> Floats:
    return np.array(column.to_numpy(), dtype=np.float64)


def shown(column: Any, row: int) -> str:
    """Return the value in a row for a message."""
    value = column[row].as_py()
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
