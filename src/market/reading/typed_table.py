"""The fast way to read a plain CSV file: numbers and stamps are parsed while the columns are split.

It holds what `csv_table` and the readers of text give for the same bytes, or nothing at all: whatever is odd
about a file (a quote, an empty cell, a line of another length, a stamp in another form) is left to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import BadBars
from lockstep.market.reading.columns import chosen, telling
from lockstep.market.reading.stamps import has_offset
from lockstep.market.reading.table import Layout, Table, cleaned, column_names
from lockstep.market.source import STAMP, Source


def typed_table(
    path: Path, head: bytes, source: Source, usual: Mapping[str, tuple[str, ...]]
) -> Table | None:
    """Return the columns of a CSV file that a source uses, typed, or None where anything is odd.

    head    the first bytes of the file
    usual   our names, and the names that are taken for each where the source declares none

    The caller sees to it that the file is plain (`Scan.plain`). Rows are counted from the first below the
    header: lines of the table are no lines of the file.
    """
    import pyarrow as pa

    odd = path.suffix.lower() in (".gz", ".parquet") or source.encoding not in ("utf-8", "ascii")
    if odd or source.thousands is not None:
        return None
    try:
        lines = [line.decode() for line in head.splitlines()[:4]]
        names, below = column_names(path, lines[:3], Layout.of(source))
        types = _types(path, names, lines[below], source, usual)
    except (BadBars, UnicodeDecodeError, IndexError):
        return None
    read = _read(path, names, below, types, source)
    if read is None and any(pa.types.is_fixed_size_binary(each) for each in types.values()):
        # Stamps of several lengths, such as 1/4/1999 and 12/31/2018.
        types = {
            name: pa.string() if pa.types.is_fixed_size_binary(each) else each for name, each in types.items()
        }
        read = _read(path, names, below, types, source)
    if read is None:
        return None
    count, columns = read.num_rows, list(read.columns)
    del read
    return Table(
        source=str(path),
        names=tuple(name for name in names if name in types),
        columns=_whole(columns),
        lines=np.arange(below + 1, below + 1 + count),
        header=source.header,
    )


def _read(path: Path, names: tuple[str, ...], below: int, types: Mapping[str, Any], source: Source) -> Any:
    """Return the typed columns of a file, a pyarrow table, or None where a cell is not of its type."""
    import pyarrow as pa
    import pyarrow.csv as csv

    slots = [f"column {i}" for i in range(len(names))]
    wanted = {slots[i]: types[name] for i, name in enumerate(names) if name in types}
    try:
        return csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=slots, skip_rows=below),
            parse_options=csv.ParseOptions(delimiter=source.separator, quote_char=False),
            convert_options=csv.ConvertOptions(
                include_columns=list(wanted),
                column_types=wanted,
                null_values=[],
                strings_can_be_null=False,
                decimal_point=source.decimal,
            ),
        )
    except (pa.ArrowException, OSError):
        return None


def _types(
    path: Path,
    names: tuple[str, ...],
    first: str,
    source: Source,
    usual: Mapping[str, tuple[str, ...]],
) -> dict[str, Any]:
    """Return the type of each column that is needed, by name; `first` is the first row."""
    import pyarrow as pa

    header = Table(source=str(path), names=names, columns=names, lines=np.arange(0))
    used = chosen(header, source, usual)
    # Few values in many rows: each is kept once.
    repeated = pa.dictionary(pa.int32(), pa.string())
    types: dict[str, Any] = dict.fromkeys(
        (*telling(header, source, used), *map(str.lower, source.select)), repeated
    )
    for name, theirs in used.items():
        if name != STAMP:
            types |= dict.fromkeys(theirs, pa.float64())
    stamps = used[STAMP]
    if len(stamps) > 1:
        return types | dict.fromkeys(stamps, repeated)
    if source.epoch is not None:
        return types | {stamps[0]: pa.int64()}
    stamp = first.split(source.separator)[names.index(stamps[0])].strip()
    if source.stamp_format is not None:
        return types | {stamps[0]: pa.binary(len(stamp)) if stamp else pa.string()}
    return types | {stamps[0]: pa.timestamp("ns", "UTC" if has_offset(stamp) else None)}


def _whole(columns: list[Any]) -> tuple[Any, ...]:
    """Return each column in one piece; the pieces are let go one column at a time."""
    import pyarrow as pa

    for i in range(len(columns)):
        kind = columns[i].type
        if pa.types.is_string(kind):
            columns[i] = cleaned(columns[i], None)
        elif pa.types.is_dictionary(kind):
            whole = columns[i].unify_dictionaries().combine_chunks()
            texts = cleaned(whole.dictionary, None)
            columns[i] = pa.chunked_array([pa.DictionaryArray.from_arrays(whole.indices, texts)])
        elif pa.types.is_fixed_size_binary(kind):
            columns[i] = pa.chunked_array([columns[i].combine_chunks()])
        else:
            values = columns[i].to_numpy()
            columns[i] = None
            buffers = [None, pa.py_buffer(values.view(np.uint8))]
            columns[i] = pa.chunked_array([pa.Array.from_buffers(kind, values.size, buffers)])
        # The pieces would stay with the pool, beside what they were copied to.
        pa.default_memory_pool().release_unused()
    return tuple(columns)
