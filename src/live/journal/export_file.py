"""A table as a csv or parquet file that appears whole or not at all."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from lockstep.errors import JournalError
from lockstep.market.validation import suggestion

SCHEMA = 1
"""Raised whenever a column changes its name, type or meaning."""


def require_format(form: str) -> None:
    """JournalError, with the nearest name, for a format that is not written."""
    if form not in _WRITERS:
        raise JournalError(f"--format {form!r}: unknown{suggestion(form, _WRITERS)}")


def write(table: pa.Table, path: Path, form: str, *, kind: str, compressed: bool = False) -> None:
    """Write `table`, replacing an earlier file; equal tables give equal bytes.

    csv      numbers with all their digits, NaN and NULL empty, times in ISO 8601 (UTC), vectors as JSON
    parquet  types as they are; the metadata hold `lockstep.export` (the kind) and `lockstep.schema`
    JournalError for an unknown format, and where the file cannot be written.
    """
    require_format(form)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        _WRITERS[form](table, partial, kind, compressed)
        os.replace(partial, path)
    except OSError as error:
        raise JournalError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _write_parquet(table: pa.Table, path: Path, kind: str, compressed: bool) -> None:
    named = {"lockstep.export": kind, "lockstep.schema": str(SCHEMA)}
    codec = "gzip" if compressed else "snappy"
    pq.write_table(table.replace_schema_metadata(named), path, compression=codec)


def _write_csv(table: pa.Table, path: Path, kind: str, compressed: bool) -> None:
    spelled = pa.table({name: _spelled(table[name]) for name in table.column_names})
    content = pa.BufferOutputStream()
    pyarrow.csv.write_csv(spelled, content, pyarrow.csv.WriteOptions(quoting_style="needed"))
    raw = content.getvalue().to_pybytes()
    # A time stamp in the gzip header would make equal tables differ.
    path.write_bytes(gzip.compress(raw, mtime=0) if compressed else raw)


def _spelled(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Return a column as csv can hold it."""
    if pa.types.is_timestamp(column.type):
        return _iso(column)
    if pa.types.is_list(column.type):
        return pa.array([json.dumps(row) for row in column.to_pylist()], pa.string())
    return column


def _iso(column: pa.ChunkedArray) -> pa.Array:
    """Return times as ISO 8601: moments in UTC to the nanosecond, times without a zone as dates."""
    zone = column.type.tz
    values = column.cast(pa.timestamp("ns")).to_numpy()
    text = np.datetime_as_string(values, unit="ns" if zone else "D")
    return pa.array(
        [None if each == "NaT" else each + ("Z" if zone else "") for each in text.tolist()], pa.string()
    )


_WRITERS: Mapping[str, Callable[[pa.Table, Path, str, bool], None]] = {
    "csv": _write_csv,
    "parquet": _write_parquet,
}
