"""The command itself, as a process where that matters and inside this one elsewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import pytest

from lockstep.console import run
from lockstep.market.reading import table
from support.markets import DAILY_HEADER, DAILY_ROWS, write_daily

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_data.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("check_data", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def command(
    script: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[object, str, str]]:
    """Run the command with arguments and return its exit code, output and errors."""

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["check_data.py", *arguments])
        with pytest.raises(SystemExit) as stopped:
            run(script.app)
        said = capsys.readouterr()
        return stopped.value.code, said.out, said.err

    return call


Command = Callable[..., tuple[object, str, str]]

REFUSED = {
    "empty file": ("", (), ":1: empty file"),
    "header only": (DAILY_HEADER, (), ":1: header only"),
    "missing column": (
        "datetime,Open,High,Low,volume",
        ("2018-12-10,1,1,1,1",),
        ":1: .*column close is missing",
    ),
    "text in a number": (DAILY_HEADER, ("2018-12-10,abc,1,1,1,1,0",), ":2: open 'abc': must be a number"),
    "NaN": (DAILY_HEADER, ("2018-12-10,nan,1,1,1,1,0",), ":2: open 'nan': must be a finite number"),
    "high < low": (
        DAILY_HEADER,
        ("2018-12-10,1,1,2,1,1,0",),
        ":2: high '1' and low '2': high must be >= low",
    ),
    "close outside": (
        DAILY_HEADER,
        ("2018-12-10,1,2,1,3,1,0",),
        ":2: close '3' and high '2': close must be <= high",
    ),
    "negative volume": (DAILY_HEADER, ("2018-12-10,1,1,1,1,-5,0",), ":2: volume '-5': volume must be >= 0"),
    "duplicate": (
        DAILY_HEADER,
        (DAILY_ROWS[0], DAILY_ROWS[0]),
        ":3: datetime '2018-12-03' after '2018-12-03': .*duplicate",
    ),
    "falling": (
        DAILY_HEADER,
        (DAILY_ROWS[1], DAILY_ROWS[0]),
        ":3: datetime '2018-12-03' after '2018-12-04': .*falling",
    ),
    "hourly": (
        DAILY_HEADER,
        ("2018-12-10 10:00,1,1,1,1,1,0",),
        ":2: datetime '2018-12-10 10:00': wrong timeframe",
    ),
    "monthly": (
        DAILY_HEADER,
        tuple(f"2018-{m:02}-05,1,1,1,1,1,0" for m in range(1, 13)),
        "wrong timeframe: 1d",
    ),
}


def assert_refused(answer: tuple[object, str, str], message: str) -> None:
    import re

    code, out, err = answer
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1, "one line"
    assert re.search(message, err), err


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(
    tmp_path: Path, command: Command, case: str
) -> None:
    header, rows, message = REFUSED[case]
    path = write_daily(tmp_path, *rows, header=header)
    assert_refused(command("--symbol", "ES", "--data-dir", str(path.parent)), message)
    assert sorted(tmp_path.rglob("*")) == [path.parent, path]


def test_a_naive_stamp_without_a_declared_timezone(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from research.utils import data_report
    from support.markets import BOOK

    undeclared = BOOK.sources["futures_1min"].model_copy(update={"timezone": None})
    book = BOOK.model_copy(update={"sources": {"futures_1min": undeclared}})
    monkeypatch.setattr(data_report, "load_instruments", lambda: book)
    folder = tmp_path / "futures_1min"
    folder.mkdir()
    (folder / "ES_bt.csv").write_text("datetime,open,high,low,close,volume\n2024-01-04 10:00,1,1,1,1,1\n")
    answer = command("--symbol", "ES", "--data-dir", str(folder))
    assert_refused(answer, ":2: datetime '2024-01-04 10:00': has no offset from UTC.*declare it")


def test_an_unknown_symbol_and_folder_and_timeframe(tmp_path: Path, command: Command) -> None:
    folder = str(write_daily(tmp_path, *DAILY_ROWS).parent)
    assert_refused(command("--symbol", "ESX", "--data-dir", folder), "did you mean 'ES'")
    assert_refused(command("--symbol", "NQ", "--data-dir", folder), "no file NQ_bt")
    assert_refused(command("--symbol", "ES", "--data-dir", folder, "--timeframe", "1h"), "longer timeframe")
    assert_refused(command("--symbol", "ES", "--data-dir", folder, "--timeframe", "daily"), "15min, 1h or 1d")


def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_daily(tmp_path, *DAILY_ROWS)
    read = table._content

    def growing(handle: BinaryIO) -> bytes:
        content = read(handle)
        with path.open("a") as writer:
            writer.write("2018-12-10,1,1,1,1,1,0\n")
        return content

    monkeypatch.setattr(table, "_content", growing)
    assert_refused(command("--symbol", "ES", "--data-dir", str(path.parent)), "changed while it was read")


def test_a_good_file_is_described(tmp_path: Path, command: Command) -> None:
    path = write_daily(tmp_path, *DAILY_ROWS, "2018-12-12,1,1,1,1,1,0")
    code, out, err = command("--symbol", "ES", "--data-dir", str(path.parent))
    assert (code, err) == (0, "")
    assert "futures_daily: 1d, stamps mean session_date" in out
    assert "5 bars, 2018-12-03 to 2018-12-12" in out
    assert "missing_session" in out
    assert list(path.parent.iterdir()) == [path]


def test_quarantine_says_how_many_and_where(tmp_path: Path, command: Command) -> None:
    path = write_daily(tmp_path, *DAILY_ROWS, "2018-12-10,nan,1,1,1,1,0", "2018-12-11,1,1")
    code, out, _ = command("--symbol", "ES", "--data-dir", str(path.parent), "--quarantine")
    rejected = path.with_name("ES_bt.csv.rejected.csv")
    assert code == 0
    assert " rejected 2 written to " in " ".join(out.split())
    assert len(rejected.read_text().splitlines()) == 3


def test_longer_bars_and_the_embedded_data(command: Command) -> None:
    code, out, _ = command("--symbol", "COMP")
    assert code == 0
    assert "COMP 1d: 5,031 bars, 1999-01-04 to 2018-12-31" in out
    assert "nothing suspicious" in out


def test_the_score_is_a_gate(command: Command) -> None:
    code, out, _ = command("--symbol", "SPX", "--min-quality", "60")
    assert code == 1
    assert "quality 50.00 of 100" in out, "a finding about all of a file spoils every session"
    assert "--min-quality 60: the score is 50.00" in out
    assert command("--symbol", "SPX", "--min-quality", "50")[0] == 0
    code, out, _ = command("--symbol", "SPX", "--strict")
    assert (code, "of these may make results wrong" in out) == (1, True)
    code, out, _ = command("--symbol", "COMP", "--min-quality", "100", "--strict")
    assert (code, "quality 100.00 of 100" in out) == (0, True)
    assert command("--symbol", "COMP", "--min-quality", "101")[0] == 2


def test_the_process_itself(tmp_path: Path) -> None:
    path = write_daily(tmp_path, "2018-12-03,1,0,2,1,1,0")
    arguments = ["--symbol", "ES", "--data-dir", str(path.parent)]
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
