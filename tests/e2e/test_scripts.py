"""The checks as commands: what they print, and their exit codes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.processes import python

BASELINE = "configs/strategies/ibs_baseline.yaml"

# Runs a script after replacing the engine's one door to feature vectors.
LEAKING = """
import runpy, sys
from lockstep.features.batch import BatchFeatures

def next_row(source, stamp):
    return source.matrix[min(source.row(stamp) + 1, len(source.matrix) - 1)]

BatchFeatures.vector = next_row
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return python(*arguments)


def lookahead(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run("scripts/check_lookahead.py", "--strategy", BASELINE, *arguments)


def features(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run("scripts/validate_features.py", "--symbol", "COMP", *arguments)


def refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.strip().splitlines()[-1]


class TestCheckLookahead:
    def test_the_catalogue_passes(self) -> None:
        done = lookahead("--symbol", "COMP", "--cuts", 3, "--catalogue", "--start", "2003-01-02")
        assert done.returncode == 0, done.stderr
        assert last_line(done).startswith("no look-ahead: ")
        checked = int(last_line(done).split()[2])
        assert checked > 60
        assert "seed 0" in done.stdout

    def test_a_leak_is_a_verdict(self) -> None:
        done = run(
            "-c", LEAKING, "scripts/check_lookahead.py", "--strategy", BASELINE, "--symbol", "COMP",
            "--cuts", 2, "--start", "2016-01-04", "--seed", 5,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert last_line(done).startswith("look-ahead: decision vector ibs at ")
        assert "moves when later bars are dropped" in last_line(done)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--symbol", "ES"), "ES: no data comes with Lockstep"),
            (("--symbol", "COMP", "--cuts", 0), "0 cuts in 5031 bars"),
            (("--symbol", "COMP", "--timeframe", "1h"), "cannot be made of"),
            (("--symbol", "COMP", "--start", "2030-01-01"), "nothing from 2030-01-01"),
        ],
    )
    def test_refusals_are_one_line(self, arguments: tuple[object, ...], message: str) -> None:
        refused(lookahead(*arguments), message)

    def test_daily_context_on_real_hours(self, shared_data: Path) -> None:
        hours = ("--symbol", "SPY", "--data-dir", shared_data / "equity_hourly", "--end", "2001-12-31")
        hourly = "configs/strategies/ibs_hourly.yaml"
        done = run("scripts/check_lookahead.py", "--strategy", hourly, *hours, "--cuts", 2)
        assert done.returncode == 0, done.stdout + done.stderr


class TestValidateFeatures:
    def test_without_a_second_source(self, tmp_path: Path) -> None:
        done = features("--month", "2018-12", "--out", tmp_path)
        assert done.returncode == 0, done.stderr
        assert last_line(done).startswith("within 5%: COMP 2018-12 against slow formulas")
        assert "2018-12-03" in done.stdout
        assert f"plot: {tmp_path}" in done.stdout
        (page,) = tmp_path.iterdir()
        again = features("--month", "2018-12", "--out", tmp_path / "again")
        assert again.returncode == 0
        assert (tmp_path / "again" / page.name).read_bytes() == page.read_bytes()

    def test_values_that_differ_are_a_verdict(self, tmp_path: Path) -> None:
        other = tmp_path / "vendor.csv"
        days = [f"2018-12-{day:02d},0.5" for day in range(3, 32)]
        other.write_text("\n".join(("date,ibs", *days, "")))
        done = features("--month", "2018-12", "--features", "ibs", "--against", other, "--out", tmp_path)
        assert done.returncode == 1, done.stderr
        assert last_line(done).startswith("not within 5%: COMP 2018-12 against vendor.csv")
        assert "missing here" in done.stdout

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--month", "2018-13"), "must be a month like 2018-12"),
            (("--month", "2018-12", "--features", "ibss"), "did you mean ibs?"),
            (("--month", "2018-12", "--against", "nowhere.csv"), "nowhere.csv: No such file"),
        ],
    )
    def test_refusals_are_one_line_and_write_nothing(
        self, tmp_path: Path, arguments: tuple[object, ...], message: str
    ) -> None:
        refused(features("--out", tmp_path, *arguments), message)
        assert list(tmp_path.iterdir()) == []
