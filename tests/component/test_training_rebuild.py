"""Rebuilding a version: what is compared, what is said, and where the code comes from."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import TrainingError
from lockstep.models.bundle import bundle_bytes
from lockstep.models.content import sha256_of
from lockstep.models.manifest import TrainingRecord
from research.training import rebuild
from research.training.bundling import make_bundle
from research.training.run import Task, load_outcome, training_record
from research.training.train import train
from support.training import config, spx_dataset, spx_history

ELSEWHERE = "0" * 40
OTHER = f"c1-{'0' * 61}"


def record(**changes: Any) -> TrainingRecord:
    found = training_record(Task(config=config(), seed=4), spx_history(), spx_dataset())
    return found.model_copy(update=changes)


def test_the_same_inputs_give_the_same_bundle() -> None:
    known = make_bundle(train(config(), spx_dataset(), seed=4), spx_history())
    found = rebuild.rebuild(record(), jobs=1)
    assert found == rebuild.Rebuilt(sha256=sha256_of(bundle_bytes(known)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"code_hash": OTHER}, "code sources: c1-0000000000000 was recorded"),
        ({"code_hash": "c" * 64}, "code sources: its code hash is that of an earlier version"),
        ({"data_hashes": {"SPX:1d": "d" * 64}}, "bars SPX:1d: dddddddddddddddd was recorded"),
        ({"versions": {"numpy": "1.0"}}, "library numpy: 1.0 was recorded"),
        ({"versions": {"torch": "1.0"}}, "library torch: 1.0 was recorded, nothing is here"),
    ],
    ids=["code", "older", "bars", "version", "missing"],
)
def test_an_input_that_differs_is_named_and_nothing_is_trained(
    changes: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "train", None)
    found = rebuild.rebuild(record(**changes))
    assert found.sha256 == ""
    assert any(sentence.startswith(said) for sentence in found.differences)


def test_the_verdict_is_in_words() -> None:
    assert rebuild.Rebuilt(sha256="a").verdict("a") == "the same, a"
    assert rebuild.Rebuilt(sha256="b").verdict("a").startswith("another one: a was registered, b came out")
    assert "not trained" in rebuild.Rebuilt(sha256="").verdict("a")


def test_another_lock_file_is_a_remark() -> None:
    found = rebuild.rebuild(record(lock_hash="e" * 64), jobs=1)
    assert found.sha256
    assert found.remarks[0].startswith("lock file content: eeeeeeeeeeeeeeee was recorded")


def test_other_code_is_taken_from_its_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = record(code_hash="c" * 64, code_revision=ELSEWHERE)
    commands: list[list[str]] = []

    def ran(command: list[str], **settings: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        answer = {"sha256": "f" * 64, "differences": [], "remarks": []}
        assert settings.get("input") is None or TrainingRecord.model_validate_json(settings["input"])
        return subprocess.CompletedProcess(command, 0, stdout=json.dumps(answer), stderr="")

    monkeypatch.setattr(subprocess, "run", ran)
    assert rebuild.rebuild_anywhere(asked, tmp_path, jobs=1).sha256 == "f" * 64
    made, trained, removed = commands
    assert made[:4] == ["git", "worktree", "add", "--detach"]
    assert made[-1] == ELSEWHERE
    assert trained[1:] == ["-m", "research.training.rebuild", str(tmp_path), "1"]
    assert removed[:3] == ["git", "worktree", "remove"]
    assert not Path(made[4]).exists()


def test_a_commit_that_is_not_there_is_refused() -> None:
    with pytest.raises(TrainingError, match="commit 000000000000: cannot be checked out"):
        rebuild.rebuild_anywhere(record(code_hash="c" * 64, code_revision=ELSEWHERE))


def test_a_commit_that_cannot_rebuild_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = record(code_hash="c" * 64, code_revision=ELSEWHERE)

    def ran(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        failed = command[0] != "git"
        return subprocess.CompletedProcess(command, int(failed), stdout="", stderr="No module named x\n")

    monkeypatch.setattr(subprocess, "run", ran)
    with pytest.raises(TrainingError, match="cannot rebuild: No module named x"):
        rebuild.rebuild_anywhere(asked)


@pytest.mark.parametrize("revision", ["--force", "HEAD", "main; true", "0" * 6, "g" * 40])
def test_a_revision_that_is_no_commit_never_reaches_git(
    monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("git was asked")

    monkeypatch.setattr(rebuild, "_git", never)
    with pytest.raises(TrainingError, match="no commit of git; the record was not written by Lockstep"):
        rebuild.rebuild_anywhere(record(code_hash="c" * 64, code_revision=revision))


def test_the_same_code_is_used_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "rebuild", lambda *_, **__: rebuild.Rebuilt(sha256="a"))
    assert rebuild.rebuild_anywhere(record()).sha256 == "a"


def test_as_a_module_it_reads_and_writes_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(record(code_hash="c" * 64).model_dump_json()))
    rebuild.main("", "1")
    assert json.loads(capsys.readouterr().out)["differences"]


def test_a_folder_without_an_outcome_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"outcome.joblib: is not there"):
        load_outcome(tmp_path)
