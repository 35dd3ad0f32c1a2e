"""The store's commands: what they print, their exit codes, and a deployment from end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lockstep.models.store import ModelStore
from support.models import NOW, RECORD, asking_for_validation, evidence, make_bundle, vouched
from support.processes import ROOT, python

GIT = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
}


def filled(folder: Path, versions: int = 2) -> ModelStore:
    """Return a store of validated versions, the first of which is in production."""
    store = asking_for_validation(ModelStore(folder))
    for number in range(versions):
        version = store.register(make_bundle(threshold=0.5 + number / 10), record=RECORD, by="ann", now=NOW)
        found = evidence(store.manifest().entry("ES", version).sha256)
        store.attach("ES", version, found, by="ann", now=NOW)
    store.promote("ES", "v1", by="ann", now=NOW)
    return store


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return filled(tmp_path / "store")


def script(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "COLUMNS": "160", **environment}
    return python(f"scripts/{name}.py", *arguments, environment=settings)


def test_promote_roll_back_and_retire(store: ModelStore) -> None:
    place = ("--store", store.folder)
    done = script("promote_model", "ES", "v2", "--by", "bob", "--reason", "better", *place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "ES ibs_veto: promoted v2; production v1 -> v2"
    assert "  threshold: 0.5 -> 0.6" in done.stdout
    last = store.manifest().history[-1]
    assert (last.by, last.reason) == ("bob", "better")

    done = script(
        "rollback_model", "ES", "--reason", "losses", "--json", LOCKSTEP_MODEL_STORE=str(store.folder)
    )
    assert done.returncode == 0, done.stderr
    change = json.loads(done.stdout)
    assert (change["before"], change["after"], change["action"]) == ("v2", "v1", "rollback")

    done = script("retire_model", "ES", "v2", "--reason", "losses", "--json", *place)
    assert json.loads(done.stdout)["version"] == "v2"

    done = script("list_models", "--json", "--symbol", "ES", *place)
    versions = json.loads(done.stdout)["instruments"]["ES"]["ibs_veto"]["versions"]
    assert {version: entry["status"] for version, entry in versions.items()} == {
        "v1": "production", "v2": "retired",
    }  # fmt: skip
    done = script("list_models", *place)
    assert "2024-01-08 to 2026-01-08" in done.stdout
    assert "validation passed" in done.stdout


def test_refusals_are_one_line_and_change_nothing(store: ModelStore) -> None:
    place = ("--store", store.folder)
    before = (store.folder / "manifest.json").read_bytes()
    for arguments, message in (
        (("promote_model", "ES", "v7"), "version 'v7': not in the manifest"),
        (("promote_model", "ES", "v1"), "in production already"),
        (("promote_model", "ES", "v2", "--force"), "force needs a reason"),
        (("rollback_model", "ES", "--reason", "x"), "nothing was in production before v1"),
        (("retire_model", "ES", "v1", "--reason", "x"), "is in production"),
        (("list_models", "--symbol", "EZ"), "not in the manifest"),
        (("fetch_model", "ES", "v1", "--from", "nowhere"), "nowhere: has no manifest.json"),
        (("fetch_model", "ES", "v1", "--from", store.folder), "has no manifest.sig"),
        (("fetch_model", "ES", "v9", "--from", store.folder, "--sha256", "0" * 64), "'v9': not in the man"),
        (("model_keys", "sign", "nowhere.key"), "nowhere.key: no key"),
    ):
        done = script(*arguments, *place)
        assert done.returncode == 2, (arguments, done.stdout)
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert (store.folder / "manifest.json").read_bytes() == before


ATTACH = """
import sys
from pathlib import Path
from support.models import NOW, evidence
from lockstep.models.store import ModelStore
ModelStore(Path(sys.argv[1])).attach("ES", "v2", evidence(sys.argv[2]), by="eve", now=NOW)
"""


class Deployment:
    """A desk that trained v2, signed with a key that the engine trusts, and an engine that trades v1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.desk = filled(folder / "desk")
        self.engine = asking_for_validation(ModelStore(folder / "engine"))
        self.engine.fetch(vouched(self.desk, self.engine), "ES", "v1", by="ann", now=NOW)
        self.engine.promote("ES", "v1", by="ann", now=NOW, reason="first", force=True)
        self.status = folder / "status.json"
        self.says("v1")

    def says(self, version: str) -> None:
        self.status.write_text(json.dumps({"versions": {"ES": version}}))

    def run(
        self, *arguments: object, passes: bool = True, parity: bool = True, **settings: Any
    ) -> subprocess.CompletedProcess[str]:
        source = settings.pop("source", ("--from", self.desk.folder))
        environment = {
            **os.environ,
            "LOCKSTEP_PYTHON": sys.executable,
            "LOCKSTEP_VALIDATE": "true" if passes else "false",
            "LOCKSTEP_CERTIFY": "true" if parity else "false",
            **settings,
        }
        command = ["deploy/update_model.sh", "ES", "v2", *source, "--store", self.engine.folder, *arguments]
        return subprocess.run(
            [str(each) for each in command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def production(self) -> str:
        return self.engine.manifest().resolve("ES")


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


def follow(deployment: Deployment, done: threading.Event) -> None:
    """Act as the engine: report what is in production as soon as it changes."""
    while not done.wait(0.05):
        if deployment.production == "v2":
            deployment.says("v2")
            return


def test_a_version_that_the_engine_takes_stays(deployment: Deployment) -> None:
    done = threading.Event()
    engine = threading.Thread(target=follow, args=(deployment, done))
    engine.start()
    result = deployment.run(
        "--status", deployment.status, "--timeout", 30, "--reason", "monthly", "--by", "eve"
    )
    done.set()
    engine.join()
    assert result.returncode == 0, result.stderr
    assert "the engine trades ES v2" in result.stdout
    assert deployment.production == "v2"
    last = deployment.engine.manifest().history[-1]
    assert (last.action, last.by, last.reason) == ("promote", "eve", "monthly")


def test_a_version_that_the_engine_does_not_take_is_rolled_back(deployment: Deployment) -> None:
    result = deployment.run("--status", deployment.status, "--timeout", 0)
    assert result.returncode == 1
    assert "the engine did not take v2 within 0 s; production is v1 again" in result.stderr
    assert deployment.production == "v1"
    assert deployment.engine.manifest().history[-1].action == "rollback"


def test_a_version_that_does_not_pass_is_not_promoted(deployment: Deployment) -> None:
    result = deployment.run("--status", deployment.status, passes=False)
    assert result.returncode == 1
    assert "validation did not pass; production is still v1" in result.stderr
    assert deployment.production == "v1"


def test_a_store_without_a_signature_needs_the_hash(deployment: Deployment) -> None:
    (deployment.desk.folder / "manifest.sig").unlink()
    result = deployment.run()
    assert result.returncode == 2
    assert "pin the bundle with --sha256, or sign that store and trust its key here" in result.stderr
    assert "fetching failed; production is unchanged" in result.stderr
    result = deployment.run("--sha256", "0" * 64)
    assert result.returncode == 2
    assert "pinned is 000000000000" in result.stderr
    # The desk's evidence is not believed: what the policy asks for is gathered here, or nothing is promoted.
    sha256 = deployment.desk.manifest().entry("ES", "v2").sha256
    result = deployment.run("--sha256", sha256)
    assert result.returncode == 1
    assert "validation: there is none" in result.stderr
    assert "promotion was refused; production is still v1" in result.stderr
    judge = deployment.folder / "judge.py"
    judge.write_text(ATTACH)
    command = f"{sys.executable} {judge} {deployment.engine.folder} {sha256}"
    settings = {"LOCKSTEP_VALIDATE": command, "PYTHONPATH": str(ROOT / "tests")}
    result = deployment.run("--sha256", sha256, **settings)
    assert result.returncode == 0, result.stderr
    assert deployment.production == "v2"


def test_keys_are_made_used_and_trusted(tmp_path: Path, store: ModelStore) -> None:
    key, engine = tmp_path / "desk.key", tmp_path / "engine"
    assert "keep it secret" in script("model_keys", "new", key).stdout
    assert "signed with key" in script("model_keys", "sign", key, "--store", store.folder).stdout
    assert "trusts what desk signs" in script("model_keys", "trust", "desk", key, "--store", engine).stdout
    done = script("fetch_model", "ES", "v2", "--from", store.folder, "--store", engine)
    assert done.returncode == 0, done.stderr
    assert "ES ibs_veto: fetched v2, candidate, SHA-256" in done.stdout
    assert "signed with the key of desk" in (engine / "manifest.json").read_text()


def spoil_bundle(deployment: Deployment) -> tuple[Any, ...]:
    path = deployment.desk.path("ES", "v2")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    return ("--from", deployment.desk.folder)


def git_remote(deployment: Deployment) -> tuple[Any, ...]:
    folder = deployment.desk.folder
    for command in (("init", "-q"), ("add", "-f", "."), ("commit", "-q", "-m", "models")):
        subprocess.run(["git", *command], cwd=folder, env={**os.environ, **GIT}, check=True)
    return ("--git", folder, "--path", ".", "--ref", "HEAD")


def test_without_parity_nothing_is_promoted(deployment: Deployment) -> None:
    result = deployment.run(parity=False)
    assert result.returncode == 1
    assert "parity is not certified; production is still v1" in result.stderr
    assert deployment.engine.manifest().model("ES", "ibs_veto").production == "v1"


def test_a_git_remote_serves_as_well(deployment: Deployment) -> None:
    result = deployment.run(source=git_remote(deployment))
    assert result.returncode == 0, result.stderr
    assert "nobody has looked whether the engine took it" in result.stdout
    assert deployment.production == "v2"
    again = deployment.run(passes=False)
    assert again.returncode == 0, again.stderr
    assert "v2 is in production already" in again.stdout


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (spoil_bundle, "not the registered file"),
        (lambda _: ("--from", "nowhere"), "nowhere: not a folder"),
        (lambda _: ("--git", "/nowhere"), "/nowhere: cannot be cloned"),
        (lambda _: (), "usage: update_model.sh"),
        (lambda d: ("--from", d.desk.folder, "--git", "x"), "usage: update_model.sh"),
        (lambda d: ("--from", d.desk.folder, "--timeout", "soon"), "must be whole seconds"),
        (lambda d: ("--from", d.desk.folder, "--wait", "5"), "usage: update_model.sh"),
    ],
    ids=["damaged bundle", "no folder", "no remote", "no source", "two sources", "timeout", "option"],
)
def test_what_cannot_be_deployed_changes_nothing(
    deployment: Deployment, source: Callable[[Deployment], tuple[Any, ...]], message: str
) -> None:
    result = deployment.run(source=source(deployment))
    assert result.returncode == 2
    assert message in result.stderr
    assert deployment.production == "v1"
