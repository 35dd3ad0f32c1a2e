"""`scripts/status.py`: what it prints, and its exit codes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import time
from pathlib import Path

from lockstep.live.status.monitor import MonitorSummary, RaisedAlarm, monitor_file, write_monitor
from lockstep.live.status.status import Status, write_status
from support.processes import ROOT, python

SCRIPT = ROOT / "scripts/status.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python(SCRIPT, *arguments)


def test_fine_look_at_it_and_nothing_there(tmp_path: Path) -> None:
    path, now = tmp_path / "status.json", time.time_ns()
    absent = run("--file", str(path))
    assert (absent.returncode, absent.stdout) == (2, "")
    assert absent.stderr.count("\n") == 1
    status = Status(mode="paper", state="running", epoch=1, started=now, heartbeat=now)
    write_status(path, status)
    fine = run("--file", str(path))
    assert fine.returncode == 0, fine.stderr
    assert "paper, running, epoch 1" in fine.stdout
    write_status(path, dataclasses.replace(status, state="stopped"))
    stopped = run("--file", str(path), "--json")
    assert stopped.returncode == 1
    assert json.loads(stopped.stdout)["state"] == "stopped"


def test_an_alarm_or_a_monitor_that_does_not_run_is_a_reason_to_look(tmp_path: Path) -> None:
    path, now = tmp_path / "status.json", time.time_ns()
    write_status(path, Status(mode="paper", state="running", epoch=1, started=now, heartbeat=now))

    def told(summary: MonitorSummary) -> subprocess.CompletedProcess[str]:
        write_monitor(monitor_file(path), summary)
        return run("--file", str(path), "--stale", "3600")

    quiet = MonitorSummary(written=now, stale_after=3_600.0)
    watch = RaisedAlarm("COMP ic", "WATCH", "warning", now, now, "WATCH COMP: look")
    seen = told(dataclasses.replace(quiet, alarms=(watch,)))
    assert (seen.returncode, "WATCH COMP: look" in seen.stdout) == (0, True), seen.stderr
    alarmed = told(dataclasses.replace(quiet, alarms=(watch._replace(level="ALARM"),)))
    assert (alarmed.returncode, "ALARM of the model: COMP ic" in alarmed.stdout) == (1, True)
    stale = told(dataclasses.replace(quiet, written=now - 3 * 86_400 * 10**9))
    assert (stale.returncode, "stale: last run 3 d ago" in stale.stdout) == (1, True)
    printed = run("--file", str(path), "--stale", "3600", "--json")
    assert (printed.returncode, json.loads(printed.stdout)["monitor"]["stale"]) == (1, True)
