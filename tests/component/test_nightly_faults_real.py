"""Faults of a night that are real: full file systems, locks of other processes, sources that are edited."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from research.ledger import database
from research.ledger.database import Database
from support.forked_nights import ForkedNight
from support.nights import dump, nights, space, written
from support.planted import SourceCopy

TINY = space(
    parameters={"entry.high": [0.1, 0.2, 0.3], "max_bars": [3, 5, 8, 10]}, per_night=6,
    split={"train": ["2011-01-03", "2011-12-30"], "validation": ["2012-01-03", "2012-12-31"]},
)  # fmt: skip
Rows = dict[str, list[Any]]


def desk(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    written(folder, spaces=[TINY])
    return folder


def run(folder: Path, before: Callable[[], None] = lambda: None) -> tuple[int, str, list[str]]:
    return ForkedNight.begin(folder, before).end()


def rows(folder: Path) -> Rows:
    """Return what a night recorded, without that it failed before and without the bytes of its folders."""
    found = dump(folder / "experiments.db")
    night = [(*each[1:4], each[-1]) for each in found["night"] if "failed" not in each]
    return {**found, "night": sorted(set(night)), "link": []}


def require_the_same(folder: Path, whole: Rows) -> None:
    found = rows(folder)
    assert found.keys() == whole.keys()
    for name, each in found.items():
        assert each == whole[name], name


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Return what a night records that nothing disturbs.

    This process makes it, so that its forks find all code that they need compiled.
    """
    folder = desk(tmp_path_factory.mktemp("whole"))
    nights(folder, spaces=[TINY]).make()
    return rows(folder)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount(8) here")
    if done.returncode:
        pytest.skip(f"this user may not mount a file system: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, room: int) -> Path:
    """Fill a file system but for so many bytes, and return the file that does it."""
    found = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(found.f_bavail * found.f_frsize - room))
    return filler


def require_nothing_half_done(folder: Path) -> None:
    assert not list(folder.rglob("*.tmp"))
    assert not list((folder / "results").glob("night-*"))


@pytest.mark.parametrize("room", [8_192, 50_000, 150_000])
def test_a_full_file_system_is_said_and_the_night_is_made_later(disk: Path, whole: Rows, room: int) -> None:
    """Full before there is a database, before the first step, and in the middle of the search."""
    folder = desk(disk / "desk")
    if room > 8_192:
        Database.open(f"sqlite:///{folder / 'experiments.db'}")
    filler = fill(disk, room)
    code, out, errors = run(folder)
    assert code == 2, out
    (line,) = errors
    assert line.startswith("error: ")
    assert any(said in line for said in ("No space left on device", "is full", "disk I/O error")), line
    require_nothing_half_done(folder)
    filler.unlink()
    code, out, errors = run(folder)
    assert (code, errors) == (0, []), out
    require_the_same(folder, whole)


def test_a_limit_on_the_size_of_files_is_said_and_the_night_is_made_later(
    tmp_path: Path, whole: Rows
) -> None:
    """Where nothing can be mounted: a limit of the system, to which the database comes in the middle."""
    folder = desk(tmp_path / "desk")
    Database.open(f"sqlite:///{folder / 'experiments.db'}")
    size = (folder / "experiments.db").stat().st_size + 12_000
    code, out, errors = run(folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    assert code == 2, out
    (line,) = errors
    assert line.startswith("error: ")
    assert "experiments.db" in line
    assert "disk I/O error" in line or "full" in line
    require_nothing_half_done(folder)
    code, out, errors = run(folder)
    assert (code, errors) == (0, []), out
    require_the_same(folder, whole)


def test_of_two_processes_that_start_at_once_one_makes_the_night(tmp_path: Path, whole: Rows) -> None:
    folder = desk(tmp_path / "desk")
    closed, gate = os.pipe()

    def wait() -> None:
        os.close(gate)
        os.read(closed, 1)

    both = [ForkedNight.begin(folder, wait) for _ in range(2)]
    os.close(gate)
    ends = [each.end() for each in both]
    os.close(closed)
    (first, (_, out, errors)), (second, (code, _, refusal)) = sorted(
        zip(both, ends, strict=True), key=lambda pair: pair[1][0]
    )
    assert (errors, "report: done" in out, code) == ([], True, 2), refusal
    assert first.pid != second.pid
    (line,) = refusal
    assert f"process {first.pid} is at work on night 2018-12-31, since " in line
    assert line.endswith("let it finish")
    require_the_same(folder, whole)


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_database_that_another_process_locks_is_said(
    tmp_path: Path, whole: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = desk(tmp_path / "desk")
    file = folder / "experiments.db"
    Database.open(f"sqlite:///{file}")
    empty = dump(file)
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0)
    holder = subprocess.Popen(
        [sys.executable, "-S", "-c", HOLDER, str(file)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        code, out, errors = run(folder)
        assert (code, out) == (2, "")
        (line,) = errors
        assert line.startswith("error: ")
        assert line.endswith("experiments.db: database is locked")
        require_nothing_half_done(folder)
        # It dies with its lock; nobody has to tidy up after it.
        holder.send_signal(signal.SIGKILL)
    assert dump(file) == empty
    code, out, errors = run(folder)
    assert (code, errors) == (0, []), out
    require_the_same(folder, whole)


def test_a_source_that_is_edited_in_the_middle_stops_the_night(tmp_path: Path, whole: Rows) -> None:
    """A copy of the sources makes a night, and somebody saves a file of it after the first step."""
    copy = SourceCopy(tmp_path / "copy", "src", "research", "operations", "certify", "configs", "scripts")
    folder = desk(tmp_path / "desk")
    command = [sys.executable, str(copy.root / "scripts/pipeline.py"), "run", "--config"]
    running = subprocess.Popen(
        [*command, str(folder / "nightly.yml")], text=True, cwd=copy.root,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=copy.environment(compiled=False) | {"LOCKSTEP_DB": f"sqlite:///{folder / 'experiments.db'}"},
    )  # fmt: skip
    with running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("ingest: done")
        running.send_signal(signal.SIGSTOP)
        edited = copy.root / "research/sweep/run.py"
        edited.write_text(edited.read_text(encoding="utf-8") + "\nEDITED = True\n", encoding="utf-8")
        running.send_signal(signal.SIGCONT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 2, out
    (line,) = err.splitlines()
    assert line.startswith("error: night 2018-12-31: the code on the disk changed while it ran; run it again")
    assert "sweep" not in out
    require_nothing_half_done(folder)
    # The checkout, whose code is what the copy's was, goes on where that stopped.
    code, out, errors = run(folder)
    assert (code, errors) == (0, []), out
    assert "ingest: kept" in out
    require_the_same(folder, whole)
