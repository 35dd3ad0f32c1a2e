"""A crash at any moment leaves the old or the new manifest, and many writers lose nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lockstep.files import remove_leftovers, replace_file

ROOT = Path(__file__).resolve().parents[2]


def driven(call: str) -> Any:
    """Run a function of `support.model_faults` in a fresh interpreter, which may fork as it likes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", f"from support import model_faults; model_faults.{call}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("verb", ["promote", "register"])
def test_killed_at_any_moment_the_store_is_the_old_or_the_new_one(verb: str, tmp_path: Path) -> None:
    found = driven(f"killed({str(tmp_path)!r}, {verb!r})")
    assert {each["state"] for each in found} == {"old", "new"}
    calls = [each for each in found if "call" in each["fault"]]
    assert sum(each["died"] for each in calls) >= 5
    assert not calls[-1]["died"], "the last faults must lie behind the last call"
    assert calls[-1]["state"] == "new"
    within = [each for each in found if "portion" in each["fault"]]
    assert len(within) == 24
    assert all(each["died"] for each in within)
    assert {each["state"] for each in within} == {"old"}


def test_a_writer_in_place_is_caught(tmp_path: Path) -> None:
    found = driven(f"killed({str(tmp_path)!r}, 'promote', in_place=True)")
    assert found[-1]["state"] == "damaged"


def test_twenty_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    found = driven(f"collided({str(tmp_path)!r}, 20)")
    assert found == {
        "versions": 20, "registered": 20, "promoted": 20, "used": 20, "writers": 20, "production": 1,
        "intact": "old",
    }  # fmt: skip


def test_without_the_lock_something_is_lost(tmp_path: Path) -> None:
    assert driven(f"unlocked({str(tmp_path)!r})") == 1


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    (tmp_path / ".manifest.json.123-4.tmp").write_bytes(b'{"half')
    (tmp_path / ".other.json.123-4.tmp").write_bytes(b"not ours")
    remove_leftovers(path)
    replace_file(path, b"{}")
    assert sorted(each.name for each in tmp_path.iterdir()) == [".other.json.123-4.tmp", "manifest.json"]


def test_a_folder_that_cannot_be_synced_undoes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    folders = []

    def refusing(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            folders.append(handle)
            raise OSError(22, "Invalid argument")
        real(handle)

    monkeypatch.setattr(os, "fsync", refusing)
    replace_file(tmp_path / "manifest.json", b"{}")
    assert len(folders) == 1
    assert (tmp_path / "manifest.json").read_bytes() == b"{}"
