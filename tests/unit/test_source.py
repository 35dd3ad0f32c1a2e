from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lockstep.errors import DataError
from lockstep.market.source import Source, package_folder

GOOD: dict[str, Any] = {
    "name": "minutes",
    "folder": "minutes*",
    "timeframe": "1min",
    "stamp": "close",
    "timezone": "UTC",
    "session": "CME",
    "adjustment": "none",
}


def source(**changes: Any) -> Source:
    return Source(**(GOOD | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": None}, "either folder or package"),
        ({"package": "arch"}, "either folder or package"),
        ({"stamp": "session_date"}, "1d files"),
        ({"timeframe": "1d"}, "1d files"),
        ({"timeframe": "tick"}, "tick files"),
        ({"stamp": "trade"}, "tick files"),
        ({"timeframe": "60min"}, "spelled 1h"),
        ({"timezone": "Mars"}, "IANA"),
        ({"adjustment": "panama"}, "difference"),
        ({"symbols": []}, "at least 1"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        source(**changes)


def test_keys_as_people_write_them() -> None:
    assert [source(separator=each).separator for each in ("tab", "\\t", "\t", "space", ";")] == [
        "\t",
        "\t",
        "\t",
        " ",
        ";",
    ]
    assert source(ignore="openinterest").ignore == ("openinterest",)
    assert source(columns={"close": "Last", "datetime": ["Date", "Time"]}).theirs("datetime") == (
        "date",
        "time",
    )
    assert source(select={"rtype": 33}).select == {"rtype": "33"}
    assert source(header=False).theirs("close") == ("5",)
    assert source(header=False, timeframe="tick", stamp="trade").theirs("price") == ("2",)


def test_timeframes_as_configuration_files_spell_them() -> None:
    assert source().spelled_timeframe == "1min"
    assert source(timeframe="tick", stamp="trade").spelled_timeframe == "tick"
    assert source(timeframe=source().timeframe).timeframe == source().timeframe


def test_symbols_and_folders_are_patterns(tmp_path: Path) -> None:
    currencies = source(symbols=["6?", "BTC-*"])
    assert [currencies.holds(symbol) for symbol in ("6E", "BTC-USD", "ES")] == [True, True, False]
    assert source().matches(tmp_path / "minutes_2024")
    assert not source().matches(tmp_path / "hours")
    assert not source().matches(None)
    embedded = source(folder=None, package="arch")
    assert embedded.matches(None)
    assert not embedded.matches(tmp_path)


def test_the_file_is_found_with_any_suffix_but_only_once(tmp_path: Path) -> None:
    assert source().find("ES", tmp_path) is None
    assert source().find("ES", None) is None
    first = tmp_path / "ES_bt.parquet"
    first.write_text("x")
    assert source().find("ES", tmp_path) == first
    (tmp_path / "ES_bt.csv.gz").write_text("x")
    with pytest.raises(DataError, match=r"ES_bt\.csv\.gz, ES_bt\.parquet"):
        source().find("ES", tmp_path)


def test_a_package_is_found_without_importing_it() -> None:
    assert package_folder("no_such_package_here") is None
    folder = package_folder("arch")
    assert folder is not None
    assert (folder / "data" / "nasdaq" / "nasdaq.csv.gz").is_file()
    assert source(folder=None, package="no_such_package_here").find("ES", None) is None
