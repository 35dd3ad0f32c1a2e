"""`scripts/experiments.py` as a user calls it, killed and resumed, with the real sweep and Backtrader."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from lockstep.errors import ExperimentError, PromotionRefused
from research.experiments.cli import app, sweep_app
from research.experiments.store import Store
from research.ledger.database import Database
from support.databases import KINDS, fresh_url
from support.processes import ROOT, python

STRATEGY = ROOT / "configs/strategies/baseline_v1.yaml"
GRID = """
symbols: [COMP]
parameters:
  entry.high: [0.1, 0.2, 0.3]
  exit.low: [0.6, 0.8]
  stop.percent: [null, 3.0]
split:
  train: [2012-01-03, 2012-12-31]
  validation: [2013-01-02, 2013-12-31]
  holdout: [2014-01-02, 2014-12-31]
"""
# The bars hold no edge that the gate would take for one.
FORCED = ("--force", "--reason", "to see the way")

# Ends the process, without a word, at a chosen call of a chosen step of a search.
DYING = """
import os, runpy, signal, sys
from research.experiments import execution, search, verification
search._BATCH = (4, 4)
step, call = sys.argv[1], int(sys.argv[2])

def dying(function):
    seen = []
    def wrapped(*arguments, **named):
        seen.append(1)
        if len(seen) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return wrapped

if step == "evaluate":
    search.evaluate = dying(search.evaluate)
elif step == "transaction":
    from research.ledger import ledger
    ledger.append_rows = dying(ledger.append_rows)
elif step == "stored":
    search.Search._do_batch = dying(search.Search._do_batch)
elif step == "verify":
    verification._compare = dying(verification._compare)
elif step == "close":
    execution.Lab._close = dying(execution.Lab._close)
sys.argv = ["experiments.py", *sys.argv[3:]]
runpy.run_path("scripts/experiments.py", run_name="__main__")
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return path


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with fresh_url(request.param, tmp_path) as found:
        monkeypatch.setenv("LOCKSTEP_DB", found)
        yield found


@pytest.fixture
def sqlite_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    found = f"sqlite:///{tmp_path / 'experiments.db'}"
    monkeypatch.setenv("LOCKSTEP_DB", found)
    return found


def search(grid: Path, *more: str) -> tuple[str, ...]:
    return (
        "grid-search",
        "--name",
        "small",
        "--strategy",
        str(STRATEGY),
        "--grid",
        str(grid),
        *more,
    )


def call(*arguments: object) -> Result:
    """Run a command within this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(each) for each in arguments])


def process(*arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    words = (*(("-c", code) if code else ("scripts/experiments.py",)), *arguments)
    return python(*words, environment={**os.environ, "COLUMNS": "200"})


def runs(url: str, number: int = 1) -> pd.DataFrame:
    return Store(Database.open(url)).runs(number).drop(columns="experiment_id")


def test_a_sweep_is_a_counted_search_with_the_usual_values(grid: Path, sqlite_url: str) -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(
        sweep_app, ["--grid", str(grid), "--strategy", str(STRATEGY)]
    )
    assert done.exit_code == 0, done.output
    assert "12 of 12 runs succeeded (100.0%)" in done.output
    assert "`--export html` draws it" in done.output
    assert call("trials", "--symbol", "NQ").output.startswith("NASDAQ100: 12 trials\n"), (
        "every combination is counted"
    )
    (record,) = Store(Database.open(sqlite_url)).records()
    assert record.name == grid.stem
    searched = call(*search(grid)).output
    table = [line for line in done.output.splitlines() if line.startswith(("1 ", "2 "))]
    assert len(table) == 2
    assert all(line in searched for line in table)


def test_from_search_to_promotion(url: str, grid: Path, tmp_path: Path) -> None:
    done = call(*search(grid))
    assert done.exit_code == 0, done.output
    assert "12 of 12 runs succeeded (100.0%)" in done.output
    assert "small" in call("list").output
    assert call("trials", "--symbol", "NQ").output.startswith("NASDAQ100: 12 trials\n")
    assert "12 trials" in call("show", 1, "--why", "--top", 3, "--select-by", "cagr").output
    pages = [call("show", 1, "--export", "html", "--out", tmp_path / name) for name in ("a", "b")]
    assert all(page.exit_code == 0 for page in pages)
    one, other = (next((tmp_path / name).iterdir()).read_bytes() for name in ("a", "b"))
    assert one == other
    assert call("export", 1, "--format", "parquet", "--out", tmp_path).exit_code == 0
    assert len(pd.read_parquet(tmp_path / "experiment-1.parquet")) == 12
    places = ("--out", tmp_path / "strategies", "--log", tmp_path / "LOG.md")
    refused = call("promote", 1, "--output-name", "baseline_v2", *places)
    assert isinstance(refused.exception, PromotionRefused)
    promoted = call(
        "promote", 1, "--output-name", "baseline_v2", "--expected-impact", "more", *places, *FORCED
    )
    assert promoted.exit_code == 0, promoted.output
    assert "overruled: " in promoted.output
    compared = call(
        "compare", STRATEGY, tmp_path / "strategies" / "baseline_v2.yaml", "--start", "2014-01-02"
    )
    assert "difference" in compared.output
    again = call("promote", 1, "--output-name", "baseline_v3", *places)
    assert isinstance(again.exception, PromotionRefused)
    assert call("rename", 1, "renamed").exit_code == 0
    assert call("delete", 1, "--yes").exit_code == 0
    counted = call("trials", "--symbol", "COMP", "--end", "2013-12-31").output
    assert counted.startswith("NASDAQ100: 12 trials\n")


def figures_in(log: str, name: str) -> list[tuple[str, str, dict[str, str]]]:
    """Return (first date, last date, figures) of every line of a log or strategy file that begins so."""
    lines = re.findall(rf"^[-#] {name} COMP ([0-9-]+) to ([0-9-]+): Sharpe (.*)$", log, re.MULTILINE)
    found = []
    for first, last, rest in lines:
        sharpe, *_timing, cagr, drawdown, factor, trades, profit = rest.removesuffix(" USD").split(", ")
        words = {"cagr": cagr, "max drawdown fraction": drawdown, "profit factor": factor}
        figures = {"sharpe": sharpe, "trades": trades.removesuffix(" trades")}
        figures |= {measure: text.rpartition(" ")[2] for measure, text in words.items()}
        found.append((first, last, {**figures, "net profit": profit.removeprefix("P&L ")}))
    return found


@pytest.mark.parametrize(
    ("more", "test"),
    [((), "2013-01-02 to 2013-12-31"), (("--walk-forward", "9m/4m/4m"), "2012-10-03 to 2013-12-31")],
)
def test_compare_finds_the_promoted_figures_on_their_dates(
    sqlite_url: str, grid: Path, tmp_path: Path, more: tuple[str, ...], test: str
) -> None:
    assert call(*search(grid, *more)).exit_code == 0
    places = ("--out", tmp_path / "strategies", "--log", tmp_path / "LOG.md")
    assert call("promote", 1, "--output-name", "baseline_v2", *places, *FORCED).exit_code == 0
    log, strategy = (tmp_path / "LOG.md").read_text(), tmp_path / "strategies" / "baseline_v2.yaml"
    parts = ("train", "test", "hold-out") if not more else ("test", "hold-out")
    said = [each for part in parts for each in figures_in(log, part)]
    assert said == [each for part in parts for each in figures_in(strategy.read_text(), part)]
    assert len(said) == len(parts)
    assert test in [f"{first} to {last}" for first, last, _ in said]
    for first, last, figures in said:
        done = call("compare", strategy, STRATEGY, "--start", first, "--end", last)
        assert f"COMP, {first}" in done.output
        for measure, text in figures.items():
            (row,) = [line for line in done.output.splitlines() if line.startswith(f"{measure} ")]
            own = row.removeprefix(measure).split()[0]
            assert own.replace("−", "-").replace("$", "").replace("–", "nan") == text, measure


def test_a_run_folder_fills_in_the_actual_impact(sqlite_url: str, grid: Path, tmp_path: Path) -> None:
    places = ("--out", tmp_path / "strategies", "--log", tmp_path / "LOG.md")
    assert call(*search(grid)).exit_code == 0
    assert call("promote", 1, "--output-name", "baseline_v2", *places, *FORCED).exit_code == 0
    config = tmp_path / "strategies" / "baseline_v2.yaml"
    ran = python(
        "-m", "research.backtest_runner", "--symbol", "COMP", "--start", "2015-01-02", "--end", "2015-06-30",
        "--strategy", config, "--out", tmp_path / "runs",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    found = call("actual", "baseline_v2", "--journal", folder, "--log", tmp_path / "LOG.md")
    assert found.exit_code == 0, found.output
    log = (tmp_path / "LOG.md").read_text()
    assert re.search(r"- actual impact \(.*\): COMP from 2015-01-02 to 2015-06-30: Sharpe", log)


@pytest.mark.parametrize(
    ("step", "number"),
    [("evaluate", 1), ("evaluate", 4), ("transaction", 2), ("stored", 3), ("verify", 3), ("close", 1)],
)
def test_killed_and_resumed_equals_uninterrupted(
    url: str, grid: Path, tmp_path: Path, step: str, number: int
) -> None:
    killed = process(step, str(number), *search(grid), code=DYING)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "small" in call("list").output
    shown = call("show", 1)
    assert isinstance(shown.exception, ExperimentError)
    assert "`lockstep experiments resume 1` does the rest" in str(shown.exception)
    resumed = process("resume", "1")
    assert resumed.returncode == 0, resumed.stderr
    whole = f"sqlite:///{tmp_path / 'whole.db'}"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LOCKSTEP_DB", whole)
        assert call(*search(grid)).exit_code == 0
        call("show", 1, "--export", "html", "--out", tmp_path / "whole")
    pd.testing.assert_frame_equal(runs(url), runs(whole), check_exact=True)
    call("show", 1, "--export", "html", "--out", tmp_path / "resumed")
    one, other = (next((tmp_path / name).iterdir()).read_bytes() for name in ("whole", "resumed"))
    assert one == other
    assert call("trials", "--symbol", "NQ").output.startswith("NASDAQ100: 12 trials\n")


def test_control_c_says_how_to_go_on(sqlite_url: str, grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from research.experiments import execution

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "verify", interrupted)
    done = call(*search(grid))
    assert done.exit_code == 130
    assert "`lockstep experiments resume 1` does the rest" in done.output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--test-start", "2012-06-01"), "overlap"),
        (("--budget", "0.0001"), "12 combinations, 12 runs: about"),
        (("--select-by", "beauty"), "choose one of sharpe"),
        (("--symbols", "CMP"), "did you mean 'COMP'"),
        (("--train-start", "1950-01-01", "--train-end", "1951-01-01"), "nothing from 1950-01-01"),
        (("--walk-forward", "9y/1y/1y"), "too short"),
    ],
)
def test_refusals_are_one_line_and_leave_no_experiment(
    sqlite_url: str, grid: Path, more: tuple[str, ...], message: str
) -> None:
    done = process(*search(grid, *more))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert call("list").output == "no experiment yet\n"


def test_other_refusals(sqlite_url: str, grid: Path) -> None:
    for arguments, message in (
        (("show", 7), "experiment 7: not in the database; there is none yet"),
        (("resume", 7), "not in the database"),
        (("show", 1, "--export", "pdf"), "only html"),
        (("actual", "v9", "--journal", "paper.db"), "was never promoted"),
    ):
        failed = call(*arguments)
        assert message in str(failed.exception)


def test_walk_forward_and_random_search(sqlite_url: str, grid: Path) -> None:
    done = call(*search(grid, "--walk-forward", "365/180/180", "--random", "4", "--seed", "1", "--yes"))
    assert done.exit_code == 0, done.output
    assert "random search" in done.output
    assert "windows of 365/180/180" in done.output
    assert set(runs(sqlite_url)["variant"].value_counts()) == {2}
