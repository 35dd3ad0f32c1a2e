"""`scripts/status.py`: what it prints, and its exit codes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import time
from pathlib import Path

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
