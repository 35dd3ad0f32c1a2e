"""`scripts/add_source.py`: files as vendors write them, a person's answers, and what is written."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from lockstep.errors import LockstepError
from lockstep.market.config import load_instruments, shipped_config
from lockstep.market.loader import load_bars
from research.utils.add_source import with_source
from scripts.add_source import app

ROOT = Path(__file__).resolve().parents[2]
# Three daily bars, and three bars of a minute that are complete at 14:31, 14:32 and 14:33 UTC.
DAYS = ("2024-01-11", "2024-01-12", "2024-01-16")
BARS = ((4780.25, 4781.5, 4779.75, 4781.0, 1200.0), (4781.25, 4782.5, 4780.75, 4782.0, 1210.0),
        (4782.25, 4783.5, 4781.75, 4783.0, 1220.0))  # fmt: skip
MINUTES = tuple(np.datetime64(f"2024-01-11T14:3{minute}", "ns") for minute in (1, 2, 3))
CLOSES = tuple(np.datetime64(f"{day}T22:00", "ns") for day in DAYS)


def rows(*stamps: str, form: str = "{},{},{},{},{},{:.0f}") -> str:
    return "".join(form.format(stamp, *bar) + "\n" for stamp, bar in zip(stamps, BARS, strict=True))


class Case(NamedTuple):
    """A file, the answers in their order, the keys that say how it is laid out, and the ends of its bars."""

    name: str
    content: bytes
    answers: tuple[str, ...]
    keys: dict[str, object]
    ends: tuple[np.datetime64, ...] = CLOSES


HEADER = "Date,Open,High,Low,Close,Volume\n"
MT5 = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
CASES = {
    "plain": Case("ES_bt.csv", (HEADER + rows(*DAYS)).encode(), (), {}),
    "newest first": Case(
        "ES_bt.csv", (HEADER + "".join(reversed(rows(*DAYS).splitlines(keepends=True)))).encode(), (),
        {"order": "any"},
    ),
    "day first, known by a 16th": Case(
        "ES_bt.csv", (HEADER + rows("11/01/2024", "12/01/2024", "16/01/2024")).encode(), (),
        {"stamp_format": "%d/%m/%Y"},
    ),
    "decimal comma, UTF-16": Case(
        "ES_bt.csv",
        (HEADER.replace(",", ";") + rows(*DAYS, form="{};{};{};{};{};{:.0f}").replace(".", ","))
        .encode("utf-16"), (), {"separator": ";", "decimal": ",", "encoding": "utf-16"},
    ),
    "thousands in quotes": Case(
        "ES_bt.csv", (HEADER + rows(*DAYS, form='{},"{:,}","{:,}","{:,}","{:,}","{:,.0f}"')).encode(), (),
        {"thousands": ","},
    ),
    "renamed, without volume": Case(
        "prices of ES.csv", ("day,o,h,l,last\n" + rows(*DAYS, form="{},{},{},{},{}")).encode(), (),
        {"file": "prices of {symbol}", "volume": "none",
         "columns": {"datetime": "day", "open": "o", "high": "h", "low": "l", "close": "last"}},
    ),
    "names of months, gzipped": Case(
        "ES_bt.csv.gz",
        gzip.compress((HEADER + rows("11-Jan-2024", "12-Jan-2024", "16-Jan-2024")).encode()), (),
        {"stamp_format": "%d-%b-%Y"},
    ),
    "MetaTrader 5": Case(
        "ES_M1.csv",
        (MT5 + rows("2024.01.11\t16:30:00", "2024.01.11\t16:31:00", "2024.01.11\t16:32:00",
                    form="{}\t{}\t{}\t{}\t{}\t{:.0f}\t0\t25")).encode(),
        ("Europe/Helsinki",), {"like": "mt5", "file": "{symbol}_M1", "timezone": "Europe/Helsinki"}, MINUTES,
    ),
    "NinjaTrader": Case(
        "ES.Last.txt",
        rows(*(f"20240111 143{i}00" for i in (1, 2, 3)), form="{};{};{};{};{};{:.0f}").encode(), (),
        {"like": "ninjatrader"}, MINUTES,
    ),
    "dates and times without a header": Case(
        "ES_1min.txt",
        rows("01/11/2024,09:30", "01/11/2024,09:31", "01/11/2024,09:32").encode(),
        ("1", "America/New_York", "open"),
        {"header": False, "suffix": ".txt", "stamp_format": "%m/%d/%Y %H:%M", "timezone": "America/New_York",
         "columns": {"datetime": [1, 2], "open": 3, "high": 4, "low": 5, "close": 6, "volume": 7},
         "stamp": "open", "file": "{symbol}_1min"}, MINUTES,
    ),
    "epoch in milliseconds": Case(
        "ES_bt.csv",
        (HEADER.replace("Date", "Timestamp") + rows(*(f"{1704983400000 + 60_000 * i}" for i in range(3))))
        .encode(),
        ("1",), {"epoch": "ms", "timezone": "UTC", "stamp": "open"}, MINUTES,
    ),
    "offsets": Case(
        "ES_bt.csv",
        (HEADER + rows(*(f"2024-01-11 09:3{i}:00-05:00" for i in (1, 2, 3)))).encode(), ("close",),
        {"stamp": "close"}, MINUTES,
    ),
    "one contract of two": Case(
        "ES_bt.csv",
        ("datetime,open,high,low,close,volume,contract\n"
         + "".join(f"{day},{','.join(map(str, bar))},ESH4\n{day},1,1,1,1,1,ESM4\n"
                   for day, bar in zip(DAYS, BARS, strict=True))).encode(),
        ("ESH4",), {"select": {"contract": "ESH4"}},
    ),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "vendor"
    path.mkdir()
    return path


def written(path: Path) -> dict[str, dict[str, object]]:
    return dict(yaml.safe_load(path.read_text())["sources"])


def load(mine: Path, folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    monkeypatch.setenv("LOCKSTEP_INSTRUMENTS", str(mine))
    bars = load_bars("ES", folder, book=load_instruments(), source=source)
    return list(zip(bars.end.view("M8[ns]"), *bars.columns().values(), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_read_as_it_is_meant(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    file, mine = folder / case.name, folder.parent / "new" / "mine.yml"
    file.write_bytes(case.content)
    answers = "\n".join((*case.answers, "none", "yes", ""))
    done = CliRunner().invoke(app, [str(file), "--symbol", "ES", "--instruments", str(mine)], input=answers)
    assert done.exit_code == 0, done.output + repr(done.exception)
    ((source, values),) = written(mine).items()
    assert case.keys.items() <= values.items(), values
    assert values["folder"] == "vendor"
    assert done.output.rstrip().endswith(f" --instruments {mine}")
    expected = [(end, *bar) for end, bar in zip(case.ends, BARS, strict=True)]
    if "volume" in case.keys:
        expected = [(*each[:-1], 0.0) for each in expected]
    assert load(mine, folder, source, monkeypatch) == expected
    for end in (case.ends[0], case.ends[-1]):
        assert str(end.astype("M8[s]")).replace("T", " ") in done.output, "the end of a bar is shown in UTC"


def refusal(*arguments: object, answers: str = "") -> str:
    done = CliRunner().invoke(app, [str(each) for each in arguments], input=answers)
    assert isinstance(done.exception, LockstepError), done.output
    return str(done.exception)


AMBIGUOUS = (HEADER + rows("01/02/2024", "02/02/2024", "05/02/2024")).encode()


def test_days_and_months_that_can_be_read_both_ways_are_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, mine = folder / "ES_bt.csv", folder / "mine.yml"
    file.write_bytes(AMBIGUOUS)
    answers = "ES\nFebruary\n2\nnone\ny\n"
    done = CliRunner().invoke(app, [str(file), "--instruments", str(mine)], input=answers)
    assert done.exit_code == 0, done.output
    assert "'February' cannot be used" in done.output
    assert "1  %m/%d/%Y  01/02/2024 is Tuesday, 2 January 2024" in done.output
    assert "2  %d/%m/%Y  01/02/2024 is Thursday, 1 February 2024" in done.output
    ((source, values),) = written(mine).items()
    assert values["stamp_format"] == "%d/%m/%Y"
    assert str(load(mine, folder, source, monkeypatch)[0][0]).startswith("2024-02-01")


def test_without_questions_what_is_open_is_refused_and_nothing_is_written(folder: Path) -> None:
    file, mine = folder / "ES_bt.csv", folder / "mine.yml"
    cases = {
        AMBIGUOUS: r"Give --stamp-format VALUE",
        (HEADER + rows(*(f"2024-01-11 09:3{i}" for i in range(3)))).encode(): "Give --timezone VALUE",
        CASES["epoch in milliseconds"].content: "close: when it is complete) Give --stamp VALUE",
        CASES["one contract of two"].content: "(ESH4; ESM4) Give --select contract=VALUE",
        (HEADER + rows(*DAYS, form='{},"1,234","1,235","1,233","1,234",{}')).encode(): "Give --decimal VALUE",
    }  # fmt: skip
    for content, message in cases.items():
        file.write_bytes(content)
        assert message in refusal(file, "--instruments", mine, "--yes")
        assert not mine.exists()


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"", (), "empty file"),
        (b"hello world\nthis is prose\n", (), "no separator makes columns"),
        (
            HEADER.encode() + b"soon,1,1,1,1,1\n",
            (),
            "stamp 'soon': of no form that is known; give --stamp-format",
        ),
        (
            HEADER.encode() + rows("2024-01-05", "2024-01-12", "2024-01-19").encode(),
            (),
            "bars are 7 days apart",
        ),
        (b"Date,Open,High,Shut\n2024-01-02,1,2,1\n2024-01-03,1,2,1\n", (), "none of them is the "),
        ((HEADER + rows(*DAYS).replace("4779.75", "9779.75")).encode(), (), "high"),
        (CASES["plain"].content, ("--symbol", "KO"), "symbol 'KO': not declared"),
        (CASES["plain"].content, ("--name", "futures_daily"), "source futures_daily: is declared already"),
        (CASES["plain"].content, ("--like", "mt6"), "--like mt6: no such vendor; did you mean 'mt"),
        (CASES["plain"].content, ("--column", "open"), "--column open: write it as NAME=VALUE"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_nothing_is_written(
    folder: Path, content: bytes, arguments: tuple[str, ...], message: str
) -> None:
    file, mine = folder / "ES_bt.csv", folder / "mine.yml"
    file.write_bytes(content)
    said = refusal(file, "--instruments", mine, "--yes", *arguments)
    assert message in said
    assert [path.name for path in folder.iterdir()] == ["ES_bt.csv"]


def test_the_shipped_file_is_never_written(folder: Path) -> None:
    shipped = shipped_config("instruments.yml")
    before = shipped.read_bytes()
    (folder / "ES_bt.csv").write_bytes(CASES["plain"].content)
    said = refusal(folder / "ES_bt.csv", "--instruments", shipped, "--yes")
    assert "is the shipped file" in said
    assert shipped.read_bytes() == before


def command(*arguments: object, answers: str, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(ROOT / "scripts" / "add_source.py"), *map(str, arguments)]
    return subprocess.run(
        line, input=answers, capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, **environment},
    )  # fmt: skip


COMMENTED = """# mine
sources:  # by hand
  # the first
  a: {folder: a, timeframe: 1d, stamp: session_date, adjustment: none}

# end
"""
ADDED = """  vendor_1min:
    folder: vendor
    file: '{symbol}_1min'
    timeframe: 1min
    timezone: America/New_York
    stamp: open
    adjustment: none
"""


def test_the_real_command_with_piped_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes where the user's file is looked for, and all else in it stays."""
    minutes = (f"2024-01-11 09:3{i}" for i in range(3))
    (folder / "ES_1min.csv").write_bytes((HEADER + rows(*minutes)).encode())
    place = folder.parent / "config" / "lockstep" / "instruments.yml"
    monkeypatch.delenv("LOCKSTEP_INSTRUMENTS")
    environment = {"XDG_CONFIG_HOME": str(folder.parent / "config")}
    asked = "\nMars/Base\nAmerica/New_York\nopen\n\n"
    declined = command(folder / "ES_1min.csv", answers=f"{asked}no\n", **environment)
    assert (declined.returncode, place.exists()) == (0, False), declined.stderr
    assert "nothing was written" in declined.stdout
    place.parent.mkdir(parents=True)
    place.write_text(COMMENTED)
    done = command(folder / "ES_1min.csv", answers=f"{asked}y\n", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    before, end = COMMENTED.split("\n\n")
    assert place.read_text() == f"{before}\n{ADDED}\n{end}"
    assert "2024-01-11 14:31:00" in done.stdout
    line = f"python -m research.backtest_runner --symbol ES --data-dir {folder}"
    assert done.stdout.splitlines()[-1] == line


def test_answers_that_end_too_early_write_nothing(folder: Path) -> None:
    file, mine = folder / "ES_bt.csv", folder / "mine.yml"
    file.write_bytes(AMBIGUOUS)
    stopped = CliRunner().invoke(app, [str(file), "--instruments", str(mine)], input="\n1st of February\n")
    assert stopped.exit_code == 1
    assert not mine.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "sources:\n  x:\n    folder: y\n"),
        ("instruments: {}", "instruments: {}\n\nsources:\n  x:\n    folder: y\n"),
        ("sources: {}\n", "sources:\n  x:\n    folder: y\n"),
        (
            "sources: null  # none yet\nfamilies: {}\n",
            "sources:  # none yet\n  x:\n    folder: y\nfamilies: {}\n",
        ),
        (
            "sources:\n    a: {folder: b}\n# c\ninstruments: {}\n",
            "sources:\n    a: {folder: b}\n    x:\n        folder: y\n# c\ninstruments: {}\n",
        ),
    ],
)
def test_an_entry_is_added_and_all_else_stays(text: str, expected: str) -> None:
    assert with_source(text, "x", {"folder": "y"}) == expected


def test_a_section_in_brackets_is_left_to_the_user(folder: Path) -> None:
    file, mine = folder / "ES_bt.csv", folder / "mine.yml"
    file.write_bytes(CASES["plain"].content)
    text = "sources: {a: {folder: a, timeframe: 1d, stamp: session_date, adjustment: none}}\n"
    mine.write_text(text)
    assert "add the entry above by hand" in refusal(file, "--instruments", mine, "--yes")
    assert mine.read_text() == text


def test_a_parquet_file_as_pandas_writes_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = pd.DatetimeIndex(pd.to_datetime([str(each) for each in MINUTES]).tz_localize("UTC"))
    names = ["open", "high", "low", "close", "volume"]
    frame = pd.DataFrame(BARS, columns=names, index=index)
    frame.to_parquet(folder / "ES_bt.parquet")
    mine = folder / "mine.yml"
    done = CliRunner().invoke(
        app, [str(folder / "ES_bt.parquet"), "--instruments", str(mine)], input="\nclose\nnone\ny\n"
    )
    assert done.exit_code == 0, done.output + repr(done.exception)
    expected = [(end, *bar) for end, bar in zip(MINUTES, BARS, strict=True)]
    assert load(mine, folder, "vendor_1min", monkeypatch) == expected


def test_bars_outside_the_session_are_said(folder: Path) -> None:
    """SPY trades from 09:30 to 16:00 New York: nearly none of these hours, read in another zone."""
    hours = "".join(f"2024-01-{day} {hour:02d}:00,1,2,1,2,5\n" for day in (11, 12) for hour in range(10, 17))
    (folder / "SPY_bt.csv").write_text("datetime,open,high,low,close,volume\n" + hours)
    asked = [
        str(folder / "SPY_bt.csv"),
        "--instruments",
        str(folder / "mine.yml"),
        "--yes",
        "--stamp",
        "close",
    ]
    right = CliRunner().invoke(app, [*asked, "--timezone", "America/New_York"])
    assert right.exit_code == 0, right.output
    assert "outside the session" not in right.output
    wrong = CliRunner().invoke(app, [*asked, "--timezone", "Europe/Berlin"])
    assert "outside the session NYSE: 12 of 14 bars; are time zone and stamp right?" in wrong.output
