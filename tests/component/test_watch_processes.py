"""An engine that trades in its process, and monitors that are killed in theirs: the same rows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lockstep.errors import JournalError, MonitorError
from lockstep.live.journal import Journal
from lockstep.live.status.monitor import read_monitor
from operations.watch import rows
from operations.watch.config import MonitoringConfig
from operations.watch.database import MonitorDatabase
from operations.watch.monitor import Monitor
from operations.watch.reading import CURSOR
from support import papers
from support.processes import ROOT, python
from support.watching import WatchedDesk, watched_desk

KILLS, PATIENCE = 3, 120.0
# Eight bars a second: an engine that never waited would be over before it was watched.
FEED = {"kind": "replay", "start": "2010-01-04", "end": "2018-12-28", "speed": 1e6}
MONITOR = (sys.executable, str(ROOT / "scripts/monitor.py"), "run", "--every", "0.2", "--config")
ENGINE = (sys.executable, "-P", "-m", "lockstep.live.main", "--config")


def read_up_to(desk: WatchedDesk) -> int:
    """Return the last entry of the journal that a monitor has read."""
    try:
        with MonitorDatabase.open(desk.database, readonly=True) as database:
            return int((rows.state(database, CURSOR) or {"sequence": 0})["sequence"])
    except MonitorError:
        return 0


def sets_in(desk: WatchedDesk) -> int:
    try:
        with Journal.open(desk.journal, readonly=True) as journal:
            return len(journal.select("SELECT 1 FROM sets"))
    except JournalError:
        return 0  # the engine is making the file


def waited_for(happened: Callable[[], bool], *processes: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert all(each.poll() is None for each in processes), "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def killed_while_it_watches(desk: WatchedDesk, engine: subprocess.Popen[bytes]) -> None:
    """Start a monitor beside the engine, and kill it as soon as it has read what came while it watched."""
    before = read_up_to(desk)
    with (desk.folder / "monitor.log").open("ab") as log:
        monitor = subprocess.Popen([*MONITOR, str(desk.config)], stdout=log, stderr=log)
    try:
        waited_for(lambda: read_up_to(desk) > before, monitor, engine)
        there = read_up_to(desk)
        waited_for(lambda: read_up_to(desk) > there, monitor, engine)
    finally:
        monitor.kill()
        monitor.wait()
    assert monitor.returncode == -signal.SIGKILL


@pytest.mark.no_cover
def test_a_running_desk_is_watched_by_monitors_that_are_killed(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path)
    papers.config(tmp_path, feeds=[FEED])
    with (tmp_path / "engine.log").open("wb") as log:
        engine = subprocess.Popen(
            [*ENGINE, str(tmp_path / "live.yml")], stdout=log, stderr=log, env=dict(os.environ)
        )
    try:
        waited_for(lambda: sets_in(desk) > 20, engine)
        for _ in range(KILLS):
            killed_while_it_watches(desk, engine)
        engine.terminate()
        assert engine.wait(PATIENCE) == 0, (tmp_path / "engine.log").read_text()
    finally:
        engine.kill()
        engine.wait()
    with Journal.open(desk.journal, readonly=True) as journal:
        assert journal.verify() == [], "whoever watches leaves a journal as it is"
    done = python(ROOT / "scripts/monitor.py", "run", "--config", desk.config)
    assert done.returncode == 0, done.stderr
    assert len(desk.rows("sessions")) == sets_in(desk) > 50
    assert desk.report().counts()["taken"] > 10
    assert desk.digest() == fresh_digest(desk)
    summary = read_monitor(tmp_path / "monitor.json")
    assert summary is not None
    assert summary.outcomes == desk.report().counts()


def fresh_digest(desk: WatchedDesk) -> str:
    """Return the digest of a monitor that sees the whole journal at once."""
    text = desk.config.read_text(encoding="utf-8").replace("monitor.db", "fresh.db")
    config = desk.folder / "fresh.yml"
    config.write_text(text, encoding="utf-8")
    settings = MonitoringConfig.load(config)
    with MonitorDatabase.open(settings.database) as database:
        Monitor(settings).run(database, now=time.time_ns())
        return database.digest()
