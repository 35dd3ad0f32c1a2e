"""`train_model.py` and `rebuild_model.py` as commands: killed, resumed, rebuilt, refused."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockstep.models.store import ModelStore
from support.processes import ROOT, python
from support.training import SMALL_FOREST, STRATEGY

CONTENT: dict[str, Any] = {
    "symbol": "SPX",
    "data": {"start": "2008-01-02", "end": "2018-12-31"},
    "strategy": STRATEGY,
    "features": {"ids": ["ibs", "rsi_2", "zscore_20", "ret_1"]},
    "model": SMALL_FOREST,
    "search": {"trials": 4, "initial": 2},
    "validation": {"groups": 4, "test_groups": 2, "embargo_days": 3, "walk_forward": "4y/2y/2y"},
    "hold_out": {"start": "2017-01-03"},
}


class Desk:
    """A folder with a configuration, a store and a ledger of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.said = ""
        self.config = folder / "SPX.yml"
        self.config.write_text(yaml.safe_dump(CONTENT))
        self.environment = {**os.environ, "LOCKSTEP_DB": f"sqlite:///{folder / 'ledger.db'}"}

    def command(self, *arguments: object, out: str = "runs") -> list[str]:
        return [
            str(ROOT / "scripts/train_model.py"), "--config", str(self.config),
            "--store", str(self.store), "--out", str(self.folder / out), "--by", "tester", "--jobs", "1",
            *map(str, arguments),
        ]  # fmt: skip

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return python(*command, environment=self.environment)

    def train(self, *arguments: object, out: str = "runs") -> subprocess.CompletedProcess[str]:
        return self.run(self.command(*arguments, out=out))

    def rebuild(self, version: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        script = str(ROOT / "scripts/rebuild_model.py")
        return self.run([script, "SPX", version, "--store", str(self.store), *map(str, arguments)])

    def sha256(self, version: str) -> str:
        return ModelStore(self.store).manifest().entry("SPX", version).sha256


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    done = desk.train()
    assert done.returncode == 0, done.stderr
    desk.said = done.stdout
    return desk


def test_it_registers_a_candidate_and_leaves_a_run_folder(desk: Desk) -> None:
    entry = ModelStore(desk.store).manifest().entry("SPX", "v1")
    assert entry.status == "candidate"
    (folder,) = (desk.folder / "runs").iterdir()
    assert {path.name for path in folder.iterdir()} >= {
        "outcome.joblib", "dataset.parquet", "training.json", "report.html", "report.json", "steps",
    }  # fmt: skip
    assert len(list((folder / "steps").iterdir())) == 4 * 3
    summary = json.loads((folder / "training.json").read_text())
    assert summary["record"]["seed"] == 0
    assert "SPX v1 is a candidate" in desk.said
    assert "training SPX: 12 of 12 steps; final, best -0." in desk.said


def test_the_printed_command_judges_the_version(desk: Desk) -> None:
    (line,) = (each for each in desk.said.splitlines() if " validate SPX " in each)
    done = subprocess.run(
        shlex.split(line), cwd=ROOT, env=desk.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    assert "checks" in done.stdout
    entry = ModelStore(desk.store).manifest().entry("SPX", "v1")
    assert [each.kind for each in entry.evidence] == ["reference", "validation"]


def test_killed_in_the_middle_and_resumed_it_gives_the_same_bundle(desk: Desk) -> None:
    process = subprocess.Popen(
        [sys.executable, *desk.command(out="killed")], cwd=ROOT, env=desk.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    finished = wait_for_steps(process, desk.folder / "killed", 5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 5 <= finished < 12
    done = desk.train("--resume", out="killed")
    assert done.returncode == 0, done.stderr
    assert desk.sha256("v2") == desk.sha256("v1")


def wait_for_steps(process: subprocess.Popen[bytes], folder: Path, count: int) -> int:
    """Return how many steps are stored once there are at least `count`."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        finished = len(list(folder.glob("*/steps/*.joblib")))
        if finished >= count:
            return finished
        time.sleep(0.002)
    raise AssertionError(f"process ended or hung: {process.poll()}")


def test_a_version_is_rebuilt(desk: Desk) -> None:
    done = desk.rebuild("v1")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "the same" in done.stdout
    assert desk.sha256("v1") in done.stdout


def refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"serch": {}}, "unknown key 'serch'; did you mean 'search'?"),
        ({"data": {"start": "1990-01-02", "end": "2018-12-31"}}, "the configuration asks for 1990-01-02"),
        ({"features": {"ids": ["ibs", "exit_price"]}}, "no feature 'exit_price'"),
        ({"validation": {"walk_forward": "1y/1y/1y"}}, "samples for 6 groups of at least 10"),
        ({"hold_out": {"start": "2008-01-02"}}, "overlaps all of the training"),
    ],
)
def test_refusals_are_one_line_and_register_nothing(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    desk = Desk(tmp_path)
    desk.config.write_text(yaml.safe_dump({**CONTENT, **changes}))
    refused(desk.train(), message)
    assert not (desk.store / "manifest.json").exists()
