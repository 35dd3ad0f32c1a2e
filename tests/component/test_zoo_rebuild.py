"""A version of the zoo made again: the same bytes, what is told where an input differs, and the command."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lockstep.errors import TrainingError, UnknownModel
from lockstep.market.loader import load_history
from lockstep.models.manifest import TrainingRecord
from lockstep.models.store import ModelStore
from operations.rebuild_cli import app
from research.training.config import recorded_config
from research.training.rebuild import rebuild_from_input
from research.zoo import rebuild
from support.evidence import NOW
from support.models import RECORD, make_bundle
from support.zoo import learning, spec, zoo_of

OTHER = f"c1-{'0' * 61}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """Return a store with COMP volatility_h1 v1, trained on the shared bars, and a veto of ES."""
    zoo = zoo_of(tmp_path_factory.mktemp("rebuild"))
    bars = learning(load_history("COMP", end="2008-12-31"))
    zoo.get_or_create_model(spec(), bars, measured=False)
    zoo.store.register(make_bundle(), record=RECORD, by="test", now=NOW)
    return zoo.store


@pytest.fixture(scope="module")
def record(store: ModelStore) -> TrainingRecord:
    return store.manifest().entry("COMP", "v1", "volatility_h1").record


def test_the_same_inputs_give_the_same_bytes(store: ModelStore, record: TrainingRecord) -> None:
    entry = store.manifest().entry("COMP", "v1", "volatility_h1")
    assert rebuild.rebuild_anywhere(record).verdict(entry.sha256) == f"the same, {entry.sha256}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"code_hash": OTHER}, "code sources: c1-0000000000000 was recorded"),
        ({"data_hashes": {"COMP:1d": "d" * 64}}, "bars COMP:1d: dddddddddddddddd was recorded"),
        ({"versions": {"numpy": "1.0"}}, "library numpy: 1.0 was recorded"),
    ],
)
def test_what_differs_is_named_and_nothing_is_trained(
    record: TrainingRecord, changes: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "built", None)
    found = rebuild.rebuild(record.model_copy(update=changes))
    assert found.sha256 == ""
    assert any(sentence.startswith(said) for sentence in found.differences)


def test_other_code_is_taken_from_its_commit(record: TrainingRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def ran(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        answer = {"sha256": "f" * 64, "differences": [], "remarks": []}
        return subprocess.CompletedProcess(command, 0, stdout=json.dumps(answer), stderr="")

    monkeypatch.setattr(subprocess, "run", ran)
    asked = record.model_copy(update={"code_hash": OTHER, "code_revision": "0" * 40})
    assert rebuild.rebuild_anywhere(asked).sha256 == "f" * 64
    assert commands[1][1:] == ["-m", "research.zoo.rebuild", "", "1"]


def test_as_a_module_it_reads_and_writes_json(
    record: TrainingRecord, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = record.model_copy(update={"data_hashes": {}})
    monkeypatch.setattr("sys.stdin", io.StringIO(asked.model_dump_json()))
    rebuild_from_input(lambda given, folder, _: rebuild.rebuild(given, folder), "", "1")
    assert json.loads(capsys.readouterr().out)["differences"]


class TestCommand:
    def run(self, *arguments: object) -> Any:
        return CliRunner().invoke(app, list(map(str, arguments)))

    def test_it_makes_a_model_of_the_zoo_again(self, store: ModelStore, tmp_path: Path) -> None:
        done = self.run("COMP", "v1", "--name", "volatility_h1", "--store", store.folder)
        entry = store.manifest().entry("COMP", "v1", "volatility_h1")
        assert (done.exit_code, done.stdout.strip()) == (
            0, f"COMP volatility_h1 v1: the same, {entry.sha256}",
        )  # fmt: skip

    def test_without_its_name_the_veto_is_meant(self, store: ModelStore) -> None:
        done = self.run("COMP", "v1", "--store", store.folder)
        assert isinstance(done.exception, UnknownModel)

    def test_a_veto_is_not_taken_for_one(self, record: TrainingRecord) -> None:
        with pytest.raises(TrainingError, match="it is no model of the zoo"):
            rebuild.rebuild(RECORD)
        with pytest.raises(Exception, match="record of the release: "):
            recorded_config(record)
