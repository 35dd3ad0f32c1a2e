from __future__ import annotations

import gzip
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from lockstep.errors import BadBars, DataError, SourceChanged
from lockstep.market.reading import table as tables
from lockstep.market.reading.numbers import numbers
from lockstep.market.reading.table import read_table, shown


def written(folder: Path, content: bytes, name: str = "X.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_names_lines_and_text_of_a_file_with_every_oddity(tmp_path: Path) -> None:
    lines = (
        'Date , "Open",x',
        "2010-01-04,1, 2",
        "",
        "  ",
        "a,b",
        '"2010-01-05", 3 ,"4"',
        "1,2,3,4",
        ",,",
        "",
        "",
    )
    content = b"\xef\xbb\xbf" + "\r\n".join(lines).encode()
    table = read_table(written(tmp_path, content))
    assert table.names == ("date", "open", "x")
    assert table.lines.tolist() == [2, 6, 8]
    assert table.ragged == ((5, 2), (7, 4))
    assert table.column("timestamp", "date").to_pylist() == ["2010-01-04", "2010-01-05", ""]
    assert table.column("open").to_pylist() == ["1", "3", ""]
    assert table.row_text(5) == "a,b"


def test_a_stray_quote_does_not_swallow_the_lines_behind_it(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, b'a,b\n"1,2\n3,4\n'))
    assert table.column("a").to_pylist() == ["1", "3"]


def test_the_last_line_needs_no_end(tmp_path: Path) -> None:
    assert read_table(written(tmp_path, b"a,b\n1,2")).lines.tolist() == [2]


def test_gzip_and_parquet(tmp_path: Path) -> None:
    zipped = read_table(written(tmp_path, gzip.compress(b"a,b\n1,2\n"), "X.csv.gz"))
    assert zipped.column("b").to_pylist() == ["2"]
    path = tmp_path / "X.parquet"
    parquet.write_table(pa.table({"A": [1.5, None], "b": ["x", "y"]}), path)
    table = read_table(path)
    assert table.lines.tolist() == [1, 2]
    assert table.row_text(2) == "None,y"
    assert numbers(table.column("a"))[1].tolist() == [False, False]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("X.csv", b"", "X.csv:1: empty file"),
        ("X.csv", b" \n\n", "X.csv:1: empty file"),
        ("X.csv", b"\xef\xbb\xbf", "X.csv:1: empty file"),
        ("X.csv", b"\xff\xfe", "X.csv:1: empty file"),
        ("X.csv", b"a,b\n", "X.csv:1: header only"),
        ("X.csv", b"a,b\n\n", "X.csv:1: header only"),
        ("X.csv", b"a,b\n1,2\n\xff,3\n", "X.csv:3: byte 0xff: must be UTF-8"),
        ("X.csv.gz", b"a,b\n1,2\n", "complete gzip file"),
        ("X.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-20], "complete gzip file"),
        ("X.parquet", b"a,b\n1,2\n", "parquet file"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(BadBars, match=message):
        read_table(written(tmp_path, content, name))


def test_columns_are_there_once(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, b"a,Close,close\n1,2,3\n"))
    with pytest.raises(BadBars, match="occurs twice"):
        table.column("close")
    with pytest.raises(BadBars, match="open is missing"):
        table.column("open")


def test_a_file_that_cannot_be_read_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.csv"):
        read_table(tmp_path / "nothing.csv")


@pytest.mark.parametrize("how", ["grows", "is replaced", "shrinks"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = written(tmp_path, b"a,b\n1,2\n")
    read = tables._content

    def disturbed(handle: BinaryIO) -> bytes:
        content = read(handle)
        if how == "grows":
            path.write_bytes(b"a,b\n1,2\n3,4\n")
        elif how == "shrinks":
            path.write_bytes(b"a,b\n")
        else:
            written(tmp_path, b"a,b\n1,9\n", "Y.csv").replace(path)
        return content

    monkeypatch.setattr(tables, "_content", disturbed)
    with pytest.raises(SourceChanged, match="changed while it was read"):
        read_table(path)


def test_numbers_are_strict() -> None:
    texts = ["1", "-2.5", "+.5", "1e3", "nan", "-INF", "", "1_000", "0x10", "1,2", "abc", "1 2"]
    values, bad = numbers(pa.chunked_array([texts]))
    assert bad.tolist() == [False] * 6 + [True] * 6
    assert values[:4].tolist() == [1.0, -2.5, 0.5, 1000.0]
    assert np.isnan(values[6:]).all()


def test_numbers_are_exact_and_flags_are_no_numbers() -> None:
    texts = ["0.1", "397.615", "4.35", "1e22", "123456789.123456789"]
    assert numbers(pa.chunked_array([texts]))[0].tolist() == [float(text) for text in texts]
    assert numbers(pa.chunked_array([pa.array([1, 2])]))[0].tolist() == [1.0, 2.0]
    assert numbers(pa.chunked_array([pa.array([True])]))[1].tolist() == [True]


def test_long_values_are_shortened() -> None:
    text = shown(pa.chunked_array([["x" * 500]]), 0)
    assert len(text) == 60
    assert text.endswith("…")
