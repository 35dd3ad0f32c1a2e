"""What goes wrong at night: one line and an exit code each, nothing half-done; a later start completes it."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lockstep.console import run
from lockstep.errors import PipelineError
from operations.main import app
from research.ledger import database
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.pipeline import execution
from research.pipeline.book import NightBook
from research.pipeline.execution import StepOutcome, digest_of, only_one_night
from support.nights import ROOT, bars_until, dump, nights, space, write_bars, written

Command = Callable[..., tuple[int, str, str]]
TINY = space(
    parameters={"entry.high": [0.1, 0.2, 0.3], "max_bars": [3, 5, 8, 10]}, per_night=6,
    split={
        "train": ["2011-01-03", "2011-12-30"], "validation": ["2012-01-03", "2012-12-31"],
        "holdout": ["2013-01-02", "2013-12-31"],
    },
)  # fmt: skip


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Return `lockstep pipeline` as a user runs it: exit code, what it printed, what it complained of."""
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'experiments.db'}")

    def called(*words: str) -> tuple[int, str, str]:
        called = ["lockstep", "pipeline", *words, "--config", str(tmp_path / "nightly.yml")]
        monkeypatch.setattr(sys, "argv", called)
        with pytest.raises(SystemExit) as ended:
            run(lambda: app(prog_name="lockstep"))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return called


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Return a folder with two markets' bars and the configuration of a night on them."""
    folder = tmp_path / "futures_daily"
    for symbol, embedded in (("ES", "SPX"), ("NQ", "COMP")):
        write_bars(folder, bars_until("2014-06-30", embedded), symbol)
    written(
        tmp_path, symbols=["ES", "NQ"], data_dir=str(folder), spaces=[TINY],
        accepted=["stale_open", "off_grid"],
    )  # fmt: skip
    return tmp_path


def cut(path: Path, lines: int) -> None:
    path.write_text("\n".join(path.read_text().splitlines()[:lines]) + "\n")


def test_a_half_written_file_stops_its_symbol_and_no_other(desk: Path, command: Command) -> None:
    path = desk / "futures_daily" / "ES_bt.csv"
    whole = path.read_text()
    path.write_text(whole[: len(whole) - 30])
    code, out, _ = command("run")
    assert code == 1
    told = out.splitlines()[-1]
    assert f"ES_bt.csv:{len(whole.splitlines())}: " in told
    assert "the file is cut off" in told
    assert "ingest: done: bars of NQ up to 2014-06-30" in out
    assert command("run")[0] == 1
    path.write_text(whole)
    code, out, _ = command("run")
    assert (code, "ingest: done: bars of ES, NQ" in out) == (0, True)


def test_a_file_that_shrank_is_not_used_until_it_has_grown_again(desk: Path, command: Command) -> None:
    path = desk / "futures_daily" / "NQ_bt.csv"
    whole = path.read_text()
    assert command("run")[0] == 0
    cut(path, len(whole.splitlines()) - 5)
    for _ in range(2):
        code, out, _ = command("run")
        assert code == 1
        assert "a file that shrank is not used; fetch it again" in out.splitlines()[-1]
        assert "up to 2014-06-23, and the last night saw" in out.splitlines()[-1]
    path.write_text(whole)
    assert command("run")[:2] == (0, "nothing new since 2014-06-30\n")


def test_no_new_bars_are_no_night(desk: Path, command: Command) -> None:
    assert command("run")[0] == 0
    before = digest_of(desk)
    assert command("run")[:2] == (0, "nothing new since 2014-06-30\n")
    assert digest_of(desk) == before
    assert command("resume")[0] == 2


def test_a_full_disk_is_said_and_the_night_goes_on_later(
    desk: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def full(source: str | Path, target: str | Path) -> None:
        if "/verify/" in str(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        code, _, err = command("run")
    assert code == 2
    assert err.startswith("error: night 2014-06-30: verify: ")
    assert "cannot be written: No space left on device; nothing was changed" in err
    assert len(err.splitlines()) == 1
    assert not list((desk / "results/steps/verify").glob("*"))
    assert "not finished: verify: " in command("status")[1]
    code, out, _ = command("resume")
    assert code == 0
    assert "sweep: kept: 12 variants evaluated" in out


def test_a_locked_database_is_said(desk: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Database.open(f"sqlite:///{desk / 'experiments.db'}")
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0)
    with closing(sqlite3.connect(desk / "experiments.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        before = digest_of(desk / "futures_daily")
        code, _, err = command("run")
        other.execute("ROLLBACK")
    assert code == 2
    assert "database is locked" in err
    assert len(err.splitlines()) == 1
    assert digest_of(desk / "futures_daily") == before
    assert command("run")[0] == 0


def test_code_that_changes_in_the_middle_stops_the_night(
    desk: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = desk / "results/steps/sweep"
    with monkeypatch.context() as patched:
        patched.setattr(execution, "is_changed_on_disk", swept.exists)
        code, _, err = command("run")
    assert code == 2
    assert "the code on the disk changed while it ran; run it again" in err
    code, out, _ = command("run")
    assert (code, "sweep: kept" in out) == (0, True)


def test_a_strategy_that_is_edited_in_the_middle_is_the_next_nights(tmp_path: Path) -> None:
    """What the night began with is what it searches; a later start sees the edit, and searches that."""
    strategy = tmp_path / "mine.yaml"
    strategy.write_text((ROOT / "configs/strategies/ibs_baseline.yaml").read_text())
    spaces = [{**TINY, "strategy": str(strategy)}]

    def edit(outcome: StepOutcome) -> None:
        if outcome.name == "features":
            strategy.write_text(f"{strategy.read_text()}auto_close: null\ncapital: 50000.0\n")

    nights(tmp_path, spaces=spaces).make(edit)
    later = nights(tmp_path, spaces=spaces)
    assert not later.nothing_new
    later.make()
    with closing(sqlite3.connect(tmp_path / "experiments.db")) as connection:
        rows = connection.execute("SELECT plan FROM experiment ORDER BY id").fetchall()
    assert [json.loads(plan)["strategy"]["capital"] for (plan,) in rows] == [100_000.0, 50_000.0]


def test_a_clock_that_went_back_is_refused(desk: Path, command: Command) -> None:
    ledger = Ledger(Database.open(f"sqlite:///{desk / 'experiments.db'}"))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    NightBook(ledger=ledger, now=lambda: tomorrow).record("2014-06-30", "begun")
    rows = dump(desk / "experiments.db")
    code, _, err = command("run")
    assert code == 2
    assert "it went back; set it, then begin the night again" in err
    assert dump(desk / "experiments.db") == rows
    assert not (desk / "results").exists()


def test_a_second_start_hears_who_is_at_work(desk: Path, command: Command) -> None:
    with only_one_night(desk / "results/steps", "2014-06-30", datetime(2026, 3, 2, 7, tzinfo=UTC)):
        code, _, err = command("run")
        assert f"process {os.getpid()} is at work on night 2014-06-30" in command("status")[1]
    assert code == 2
    assert f"process {os.getpid()} is at work on night 2014-06-30, since 2026-03-02 07:00 UTC" in err
    assert not list((desk / "results/steps").glob("*/*"))


def test_a_rehearsal_changes_no_byte_of_the_tree(desk: Path, command: Command) -> None:
    before = digest_of(desk)
    code, out, _ = command("run", "--dry-run")
    assert (code, out.count("would run")) == (0, 16)
    assert digest_of(desk) == before


def test_findings_of_the_newest_year_stop_a_symbol(desk: Path, command: Command) -> None:
    path = desk / "futures_daily" / "ES_bt.csv"
    *lines, last = path.read_text().splitlines()
    flat = [f"{line.split(',')[0]},{','.join([last.split(',')[4]] * 4)},0,0" for line in (*lines[-9:], last)]
    path.write_text("\n".join([*lines[:-9], *flat]) + "\n")
    code, out, _ = command("run")
    assert code == 1
    said = [line.partition(": ")[2].partition(":")[0] for line in out.splitlines() if line.startswith("ES: ")]
    assert said == ["flat", "silent"]
    assert "quality: done" in out
    shutil.rmtree(desk / "results")


def test_a_score_below_the_least_stops_a_symbol(tmp_path: Path) -> None:
    bars = bars_until("2014-06-30")
    low = bars.low.copy()
    low[2_000::10] /= 2
    folder = tmp_path / "futures_daily"
    write_bars(folder, replace(bars, low=low), "ES")
    write_bars(folder, bars, "NQ")
    given = {
        "symbols": ["ES", "NQ"], "data_dir": str(folder), "spaces": [TINY], "accepted": ["off_grid", "spike"],
    }  # fmt: skip
    # Prices of an index, of which no bar lies on the grid of a future: half of every session.
    made = nights(tmp_path, min_quality=49.0, **given).make()
    (line,) = made.troubles
    assert re.match(r"ES: quality 47\.\d\d, below min_quality 49; `lockstep data check` shows why", line)


def test_revised_history_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bars = bars_until("2014-06-30")
    folder = tmp_path / "futures_daily"
    given = {"symbols": ["NQ"], "data_dir": str(folder), "spaces": [TINY], "accepted": ["off_grid"]}

    def made(until: int, *, revised: bool) -> tuple[tuple[str, ...], list[str]]:
        close = bars.close.copy()
        close[1_000] += 0.01 * revised
        write_bars(folder, replace(bars, close=close).rows(0, until), "NQ")
        caplog.clear()
        with caplog.at_level("INFO", logger="lockstep.alerts"):
            troubles = nights(tmp_path, **given).make().troubles
        return troubles, [each.message for each in caplog.records if "Quality of data" in each.message]

    assert made(len(bars) - 2, revised=False) == ((), [])
    troubles, told = made(len(bars) - 1, revised=True)
    (line,) = troubles
    assert line.startswith("NQ: revised: 1 month of history changed since it was looked at last: 2002-12 (")
    assert told == [f"Quality of data, 2014-06-27: {line}"]
    assert made(len(bars), revised=True) == ((), [])


def test_a_new_warning_is_told_with_the_score(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bars = bars_until("2014-06-30")
    low = bars.low.copy()
    low[-1] /= 2
    folder = tmp_path / "futures_daily"
    given = {
        "symbols": ["NQ"], "data_dir": str(folder), "spaces": [TINY],
        "accepted": ["off_grid", "missing_session", "unknown_session"],
    }  # fmt: skip
    for until, told in ((len(bars) - 1, 0), (len(bars), 1)):
        write_bars(folder, replace(bars, low=low).rows(0, until), "NQ")
        caplog.clear()
        with caplog.at_level("INFO", logger="lockstep.alerts"), suppress(PipelineError):
            nights(tmp_path, **given).make()
        said = [each.message for each in caplog.records if "Quality of data" in each.message]
        assert len(said) == told
    assert "before: spike: 1 bar with a price that is impossible beside its neighbours: 2014-06-30" in said[0]
