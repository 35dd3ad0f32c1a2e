"""What is asked for twice is trained once: by eight processes at once, and after one of them was killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from lockstep.errors import LockstepError, StoreFailure, TrainingError, VerbRefused
from lockstep.market.history import History
from lockstep.market.loader import load_history
from lockstep.models.bundle import bundle_bytes
from lockstep.models.manifest import Manifest
from lockstep.models.store import ModelStore, load_bundle
from research.ledger.append_only import LedgerRow
from research.ledger.zoo_tables import ModelBuildRow
from research.zoo import bundling, zoo
from research.zoo.bundling import rebuilt
from research.zoo.learning import LearningBars
from research.zoo.zoo import ModelZoo, model_of_column
from support.databases import KINDS, fresh_url
from support.evidence import NOW
from support.zoo import learning, spec, zoo_of

FORK = multiprocessing.get_context("fork")
ASKED = spec()


@pytest.fixture(scope="module")
def history() -> History:
    return load_history("COMP", start="2003-01-02", end="2009-12-31")


@pytest.fixture(scope="module")
def bars(history: History) -> LearningBars:
    found = learning(history)
    found.samples(ASKED)
    return found


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path) as found:
        yield found


def rows(zoo: ModelZoo, model: Any) -> list[Any]:
    with zoo.ledger.database.read() as connection:
        return list(connection.execute(select(model.__table__).order_by(model.id)))


def ask(folder: Path, url: str, bars: LearningBars, answers: Any, kill_at: str) -> None:
    """Ask for a model in a process of its own, which is killed where it comes to `kill_at`."""
    places: dict[str, tuple[Any, str]] = {
        "begun": (zoo, "built"),
        "trained": (ModelStore, "register"),
        "registered": (zoo, "trial_of"),
    }
    if kill_at:
        owner, name = places[kill_at]
        setattr(owner, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    try:
        found = zoo_of(folder, url).get_or_create_model(ASKED, bars)
        answers.put((found.column, found.created))
    except LockstepError as error:
        answers.put((str(error), False))


def asked_by(kills: list[str], folder: Path, url: str, bars: LearningBars) -> list[tuple[str, bool]]:
    answers = FORK.Queue()
    processes = [FORK.Process(target=ask, args=(folder, url, bars, answers, each)) for each in kills]
    for each in processes:
        each.start()
    for each in processes:
        each.join(120)
    killed = [each.exitcode for each in processes].count(-signal.SIGKILL)
    return [answers.get(timeout=10) for _ in range(len(kills) - killed)]


def require_trained_once(zoo: ModelZoo, columns: set[str]) -> None:
    assert len(columns) == 1
    (row,) = rows(zoo, ModelBuildRow)
    (trial,) = rows(zoo, LedgerRow)
    assert (trial.kind, trial.status, trial.symbol) == ("zoo", "ok", "COMP")
    assert [path.name for path in zoo.store.folder.glob("*.joblib")] == ["COMP_volatility_h1_v1.joblib"]
    bundle = load_bundle("COMP", "v1", store=zoo.store, name="volatility_h1")
    assert (row.version, row.sha256) == ("v1", bundle.sha256)
    zoo.ledger.verify()


def test_eight_that_ask_at_once_train_once(tmp_path: Path, url: str, bars: LearningBars) -> None:
    found = asked_by([""] * 8, tmp_path, url, bars)
    assert [created for _, created in found].count(True) == 1
    require_trained_once(zoo_of(tmp_path, url), {column for column, _ in found})


@pytest.mark.parametrize("kill_at", ["begun", "trained", "registered"])
def test_another_finishes_what_a_killed_one_began(tmp_path: Path, bars: LearningBars, kill_at: str) -> None:
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    assert asked_by([kill_at], tmp_path, url, bars) == []
    found = asked_by(["", "", kill_at], tmp_path, url, bars)
    require_trained_once(zoo_of(tmp_path, url), {column for column, _ in found})


def test_without_the_lock_several_train(
    tmp_path: Path, bars: LearningBars, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault of the test of eight: it would see it."""
    two = zoo_of(tmp_path)
    monkeypatch.setattr(ModelZoo, "_known", lambda *_: None)
    monkeypatch.setattr(zoo, "same_bundle", lambda *_: None)
    two.get_or_create_model(ASKED, bars)
    with pytest.raises(LockstepError, match="model_build is append-only"):
        two.get_or_create_model(ASKED, bars)
    assert len(list(two.store.folder.glob("*.joblib"))) == 2


class TestAnswers:
    def test_a_version_says_what_it_is(self, tmp_path: Path, bars: LearningBars) -> None:
        found = zoo_of(tmp_path)
        model = found.get_or_create_model(ASKED, bars, note="asked by a test")
        entry = found.store.manifest().entry("COMP", model.version, model.name)
        assert (entry.task, entry.output, entry.horizon) == ("volatility", "value", 1)
        assert entry.training_range == ("2005-01-03", "2008-12-31")
        assert entry.metrics["loss_out_of_fold"] < entry.metrics["loss_of_a_constant"]  # type: ignore[operator]
        assert entry.metrics["samples"] == len(bars.samples(ASKED).row)
        assert model_of_column(found.store, model.column) == (
            zoo.ZooModel(symbol="COMP", name="volatility_h1", version="v1", sha256=entry.sha256), ASKED,
        )  # fmt: skip
        (row,) = rows(found, ModelBuildRow)
        assert json.loads(row.content)["spec"]["features"] == ["ibs", "range_atr_14", "ret_5"]

    def test_what_is_asked_otherwise_is_another_version(self, tmp_path: Path, bars: LearningBars) -> None:
        found = zoo_of(tmp_path)
        asked = [
            found.get_or_create_model(each, bars, measured=False)
            for each in (
                ASKED,
                spec(features=("ret_5", "range_atr_14", "ibs")),
                spec(label="clipped"),
                spec(parameters={"n_estimators": 5, "min_samples_leaf": 20}),
                spec(members=2),
            )
        ]
        assert [each.version for each in asked] == ["v1", "v1", "v2", "v3", "v4"]
        shorter = found.get_or_create_model(ASKED, bars.until(bars.size - 1), measured=False)
        assert shorter.version == "v5"

    @pytest.mark.parametrize("task", ["direction", "return", "volatility", "regime"])
    def test_every_task_is_trained(self, tmp_path: Path, bars: LearningBars, task: str) -> None:
        found = zoo_of(tmp_path)
        model = found.get_or_create_model(spec(task=task, horizon=2), bars)
        assert load_bundle("COMP", "v1", store=found.store, name=model.name).task == task

    def test_a_rebuild_gives_the_same_bytes(self, tmp_path: Path, bars: LearningBars) -> None:
        found = zoo_of(tmp_path)
        whole = learning(load_history("COMP", end="2008-12-31"))
        model = found.get_or_create_model(ASKED, whole)
        record = found.store.manifest().entry("COMP", "v1", model.name).record
        assert rebuilt(record) == model.sha256
        with pytest.raises(TrainingError, match="data hashes: not those of the record"):
            rebuilt(record.model_copy(update={"data_hashes": {}}))

    def test_no_pointer_moves(self, tmp_path: Path, bars: LearningBars) -> None:
        found = zoo_of(tmp_path)
        found.get_or_create_model(ASKED, bars, measured=False)
        assert all(
            model.production is None
            for models in found.store.manifest().instruments.values()
            for model in models.values()
        )


class TestRefusals:
    @pytest.fixture
    def trained(self, tmp_path: Path, bars: LearningBars) -> tuple[ModelZoo, str]:
        found = zoo_of(tmp_path)
        return found, found.get_or_create_model(ASKED, bars, measured=False).column

    def test_a_retired_version(self, trained: tuple[ModelZoo, str], bars: LearningBars) -> None:
        found, column = trained
        found.store.retire("COMP", "v1", by="test", now=NOW, reason="wrong bars", name="volatility_h1")
        line = "COMP volatility_h1 v1: it was retired and must not be used again"
        with pytest.raises(VerbRefused, match=line):
            found.get_or_create_model(ASKED, bars, measured=False)
        with pytest.raises(VerbRefused, match=line):
            model_of_column(found.store, column)

    def test_references_to_something_else(self, trained: tuple[ModelZoo, str]) -> None:
        found, column = trained
        other = column[:-12] + "0" * 12
        with pytest.raises(VerbRefused, match=r"the store has .*, the reference says 000000000000"):
            model_of_column(found.store, other)
        with pytest.raises(VerbRefused, match="answers volatility, asked for is regime"):
            model_of_column(found.store, column, task="regime")
        with pytest.raises(VerbRefused, match="'ibs': no column of a model"):
            model_of_column(found.store, "ibs")

    def test_a_training_that_fails_is_a_trial(self, tmp_path: Path, bars: LearningBars) -> None:
        found = zoo_of(tmp_path)
        with pytest.raises(TrainingError):
            found.get_or_create_model(spec(parameters={"max_depth": -1}), bars)
        (trial,) = rows(found, LedgerRow)
        assert (trial.kind, trial.status) == ("zoo", "failed")
        assert rows(found, ModelBuildRow) == []
        assert found.store.manifest() == Manifest()

    def test_a_store_that_cannot_be_written(
        self, tmp_path: Path, bars: LearningBars, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "store").write_text("a file where the folder should be")
        with pytest.raises(StoreFailure, match=r"store: cannot be locked: .*; check its permissions"):
            zoo_of(tmp_path).get_or_create_model(ASKED, bars)


def test_the_bundle_does_not_depend_on_who_asks(tmp_path: Path, bars: LearningBars) -> None:
    build = bundling.ModelBuild.of(ASKED, bars)
    one, other = (bundle_bytes(bundling.built(build, bars)) for _ in "ab")
    assert one == other
