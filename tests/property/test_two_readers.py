"""The typed reader and that of text give the same bars, to the bit, or the same refusal: on random files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstep.errors import BadBars
from lockstep.market.reading import files, parsed_cache, stamps
from lockstep.market.source import Source
from support.vendor_files import loaded, minutes

Outcome = tuple[Any, ...]
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "naive UTC": ("%Y-%m-%d %H:%M:%S", {}),
    "New York": ("%Y-%m-%d %H:%M", {"timezone": "America/New_York"}),
    "offsets": ("%Y-%m-%dT%H:%M:%S%z", {"timezone": None}),
    "a format": ("%d.%m.%Y %H:%M", {"stamp_format": "%d.%m.%Y %H:%M"}),
    "a date and a time": ("%Y-%m-%d,%H:%M", {"columns": {"datetime": ["datetime", "clock"]}}),
    "both in a format": (
        "%d.%m.%y,%H%M",
        {"columns": {"datetime": ["datetime", "clock"]}, "stamp_format": "%d.%m.%y %H%M"},
    ),
    "no leading zeros": ("%-m/%-d/%Y %-H:%M", {"stamp_format": "%m/%d/%Y %H:%M"}),
    "epoch": ("%s", {"epoch": "s"}),
    "any order": ("%Y-%m-%d %H:%M", {"order": "any", "timezone": "America/New_York"}),
    "a selection": ("%Y-%m-%d %H:%M", {"select": {"symbol": "ESH4"}}),
    "decimal comma": ("%Y-%m-%d %H:%M", {"separator": ";", "decimal": ","}),
    "scaled": ("%Y-%m-%d %H:%M", {"scale": 0.01}),
}
CELLS = (
    "", "x", "nan", "inf", "-1", "1e3", " 4 ", '"5"', "0x10", "1,5", "1_0", "é", "9" * 400, "\t6", "1.", ".5",
)  # fmt: skip
STAMPS = (
    "", "2024-01-08", "2024-01-08 24:00", "2024-03-10 02:30", "2024-11-03 01:30", "2024-02-30 10:00",
    "2024-01-08 10:00:00.123456789", "2024-01-08T10:00Z", "1500-01-01 00:00", "9999-12-31 00:00", "20240108",
    "1704708000", "1e9", "0x659B", "2024-01-08 10:07:30", " 2024-01-08 10:00", "08.01.2024 24:00",
)  # fmt: skip
FIRST = ("2024-01-08 15:00", "2024-03-10 04:30", "2024-11-03 05:10", "2024-01-07 22:50")
LINES = ("", "   ", "a,b", "1,2,3,4,5,6,7,8,9", ",,,,,", '"')


@pytest.fixture(autouse=True)
def _every_file_is_worth_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parsed_cache, "WORTH", 1)
    monkeypatch.setattr(stamps, "_WORTH_SPLITTING", 1)
    monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path / "cache"))


def moments(first: str, count: int, source: Source) -> pd.DatetimeIndex:
    """Return minutes as the clock of a source shows them."""
    utc = pd.date_range(first, periods=count, freq="1min", tz="UTC")
    return utc.tz_convert(source.timezone or "Asia/Tokyo")


@st.composite
def written_files(draw: st.DrawFn) -> tuple[str, Source]:
    """Return the text of a file of minutes with a few faults, and its source."""
    form, declared = FORMS[draw(st.sampled_from(sorted(FORMS)))]
    source = minutes(**({"stamp": draw(st.sampled_from(["open", "close"]))} | declared))
    count = draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    close = np.round(100 + random.normal(size=count), draw(st.integers(0, 15))).tolist()
    when = moments(draw(st.sampled_from(FIRST)), count, source)
    rows = [
        [*stamp.strftime(form).split(","), *map(repr, (c, c + 1, c - 1, c)), str(random.integers(0, 9))]
        for stamp, c in zip(when, close, strict=True)
    ]
    names = ["datetime", *(["clock"] if "," in form else []), "open", "high", "low", "close", "volume"]
    if source.order == "any" and draw(st.booleans()):
        rows = rows[::-1]
    if source.select or draw(st.booleans()):
        names.append("symbol")
        symbols = st.sampled_from(["ESH4"] * 9 + ["ESM4"]) if source.select else st.just("ES")
        rows = [[*row, draw(symbols)] for row in rows]
    for _ in range(draw(st.sampled_from([0, 0, 1, 2, 3]))):
        row, column = draw(st.integers(0, count - 1)), draw(st.integers(0, 5))
        rows[row][column] = draw(st.sampled_from(STAMPS if column == 0 else CELLS))
    if source.decimal == ",":
        rows = [[cell.replace(".", ",") for cell in row] for row in rows]
    text = [source.separator.join(each) for each in (names, *rows)]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1]))):
        text.insert(draw(st.integers(1, len(text))), draw(st.sampled_from(LINES)))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return end.join(text) + draw(st.sampled_from([end, end, ""])), source


def outcome(path: Path, source: Source, *, quarantine: bool) -> Outcome:
    """Return all that a load gives, or what refuses it."""
    try:
        found = loaded(path, source, quarantine=quarantine)
    except BadBars as error:
        return (str(error),)
    arrays = (found.data.end, *found.data.columns().values())
    return (*(each.tobytes() for each in arrays), found.rows, found.rejected, found.findings)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=written_files(), quarantine=st.booleans())
def test_both_readers_and_the_cache_agree(
    file: tuple[str, Source], quarantine: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, source = file
    path = tmp_path / "ES_bt.csv"
    path.write_bytes(text.encode())
    with monkeypatch.context() as slowly:
        slowly.setattr(files, "_quick", lambda *_: None)
        slowly.setattr(stamps, "_WORTH_SPLITTING", 10**9)
        slowly.setattr(parsed_cache, "keep", lambda *_: None)
        expected = outcome(path, source, quarantine=quarantine)
    assert outcome(path, source, quarantine=quarantine) == expected
    assert outcome(path, source, quarantine=quarantine) == expected, "the second load, from the cache"


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_file_without_a_fault_is_read_typed(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the property compares two readers, and not one with itself."""
    stamp, declared = FORMS[form]
    source = minutes(**declared)
    when = moments("2024-01-08 15:00", 20, source).strftime(stamp)
    names = ["datetime", *(["clock"] if "," in stamp else []), "open,high,low,close,volume,symbol"]
    text = "\n".join([",".join(names), *(f"{each},1,1,1,1,5,ESH4" for each in when), ""])
    path = tmp_path / "ES_bt.csv"
    path.write_text(text.replace(",", source.separator))
    monkeypatch.setattr(files, "table_of", lambda *_: pytest.fail("read as text"))
    assert len(loaded(path, source).data) == 20
