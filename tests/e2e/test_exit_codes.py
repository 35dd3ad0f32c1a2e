"""How a process of the engine ends, by exit code, status file and its last line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STOPPED, UNEXPECTED, REFUSED, FAULT = 0, 1, 2, 75
ENDS = {
    "refusal": (REFUSED, "stopped", "SPX: no version is in production"),
    "unreadable": (REFUSED, "stopped", "live.yml"),
    "mismatch": (REFUSED, "mismatch", "replay of the journal: "),
    "disk": (FAULT, "stopped", "the disk refused; nothing of this was written"),
    "feed": (FAULT, "stopped", "feed tail COMP_bt.csv: "),
    "lock": (FAULT, "stopped", "its lock file was removed or replaced"),
    "uncaught": (UNEXPECTED, "stopped", "ZeroDivisionError: planted"),
    "sigterm": (STOPPED, "stopped", ""),
    "sigterm_early": (STOPPED, "stopped", ""),
    "second": (REFUSED, "running", "is writing it: stop that one first"),
    "money": (STOPPED, "stopped", ""),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What every scenario of `support/exit_driver.py` led to."""
    # One thread: the program forks.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    path = f"{ROOT / 'tests'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-m", "support.exit_driver", str(tmp_path_factory.mktemp("ends")), *ENDS],
        cwd=ROOT,
        env={**os.environ, **threads, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {(found := json.loads(line))["scenario"]: found for line in done.stdout.splitlines()}


@pytest.mark.parametrize("scenario", ENDS)
def test_how_it_ends(ended: dict[str, dict[str, Any]], scenario: str) -> None:
    code, state, said = ENDS[scenario]
    found = ended[scenario]
    assert (found["code"], found["state"]) == (code, state), found
    assert said in found["said"], found
    if code in (REFUSED, FAULT):
        assert found["said"].startswith("error: ")


def test_the_status_says_why(ended: dict[str, dict[str, Any]]) -> None:
    for scenario, (code, state, said) in ENDS.items():
        if code and state != "running":
            assert said in ended[scenario]["detail"], ended[scenario]
    assert ended["sigterm"]["detail"] == "as asked"
    assert ended["sigterm_early"]["detail"] == "SIGTERM before it was ready"


def test_the_status_is_there_from_the_first_second(ended: dict[str, dict[str, Any]]) -> None:
    assert ended["refusal"]["seen"][0].startswith("starting: ")
    seen = "; ".join(ended["sigterm_early"]["seen"])
    assert re.search("reading history and filling windows; stopped", seen)


def test_a_full_disk_is_over_when_there_is_room(ended: dict[str, dict[str, Any]]) -> None:
    assert ended["disk"]["after"] == STOPPED


def test_an_engine_that_is_refused_leaves_the_status_of_the_other_one(
    ended: dict[str, dict[str, Any]],
) -> None:
    assert {each.split(":")[0] for each in ended["second"]["seen"]} == {"running"}
    assert ended["second"]["first"] == STOPPED


def test_mode_live_starts_with_a_comparison_of_positions(ended: dict[str, dict[str, Any]]) -> None:
    assert "positions.csv is not there; or confirm" in ended["money"]["waits"]
    assert ended["money"]["kinds"] == ["unreconciled", "unreconciled", "reconciled"]


def test_systemd_restarts_faults_and_leaves_refusals_down() -> None:
    unit = (ROOT / "deploy" / "systemd" / "lockstep.service").read_text(encoding="utf-8")
    assert re.search(r"^Restart=on-failure$", unit, re.MULTILINE)
    assert re.search(rf"^RestartPreventExitStatus={REFUSED}$", unit, re.MULTILINE)
