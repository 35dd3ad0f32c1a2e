"""Faults of a night that are real: the system itself refuses to write any more."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from research.ledger.database import Database
from support.nights import ROOT, space, written

TINY = space(
    parameters={"entry.high": [0.1, 0.2, 0.3], "max_bars": [3, 5, 8, 10]}, per_night=6,
    split={"train": ["2011-01-03", "2011-12-30"], "validation": ["2012-01-03", "2012-12-31"]},
)  # fmt: skip


def called(folder: Path, before: Callable[[], None] | None = None) -> tuple[int, str, list[str]]:
    """Call the real command: exit code, what it printed, and its lines of complaint."""
    environment = {
        **os.environ, "LOCKSTEP_DB": f"sqlite:///{folder / 'experiments.db'}",
        "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
    }  # fmt: skip
    command = [
        sys.executable,
        str(ROOT / "scripts/pipeline.py"),
        "run",
        "--config",
        str(folder / "nightly.yml"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, preexec_fn=before
    )
    return done.returncode, done.stdout, done.stderr.splitlines()


def no_file_beyond(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_file_system_without_room_is_said_and_the_night_is_made_later(tmp_path: Path) -> None:
    """A limit of the system on the size of files, which the database comes to: the refusal is a real one."""
    written(tmp_path, spaces=[TINY])
    Database.open(f"sqlite:///{tmp_path / 'experiments.db'}")
    size = (tmp_path / "experiments.db").stat().st_size + 12_000
    code, out, errors = called(tmp_path, no_file_beyond(size))
    assert code == 2, (out, errors)
    (line,) = errors
    assert line.startswith("error: ")
    assert "experiments.db" in line
    assert "disk I/O error" in line or "full" in line
    assert not list((tmp_path / "results").glob("night-*"))
    code, out, errors = called(tmp_path)
    assert (code, errors) == (0, [])
    assert "report: done" in out
