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

from lockstep.errors import FeatureError, LockstepError, StoreFailure, TrainingError, VerbRefused
from lockstep.features.feature_registry import default_registry
from lockstep.market.history import History
from lockstep.market.loader import load_history
from lockstep.models.bundle import bundle_bytes
from lockstep.models.manifest import Manifest
from lockstep.models.store import ModelStore, load_bundle
from research.ledger.append_only import LedgerRow
from research.ledger.zoo_tables import ModelBuildRow
from research.zoo import bundling, zoo
from research.zoo.bundling import build_of
from research.zoo.learning import LearningBars
from research.zoo.zoo import ModelZoo
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


PLACES: dict[str, tuple[Any, str]] = {
    "begun": (zoo, "built"),
    "trained": (ModelStore, "register"),
    "registered": (zoo, "trial_of"),
}


def ask(folder: Path, url: str, bars: LearningBars, answers: Any, kill_at: str, kills: Any) -> None:
    """Ask for a model in a process of its own; the first one that comes to `kill_at` is killed there."""
    if kill_at:
        owner, name = PLACES[kill_at]
        original = getattr(owner, name)

        def killed(*given: Any, **named: Any) -> Any:
            with kills.get_lock():
                mine = kills.value > 0
                kills.value -= mine
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*given, **named)

        setattr(owner, name, killed)
    try:
        found = zoo_of(folder, url).get_or_create_model(ASKED, bars)
        answers.put((found.column, found.created))
    except LockstepError as error:
        answers.put((str(error), False))


def asked_by(
    count: int, folder: Path, url: str, bars: LearningBars, kill_at: str = ""
) -> tuple[list[tuple[str, bool]], int]:
    """Let so many processes ask at once; what they were answered, and how many were killed."""
    answers, kills = FORK.Queue(), FORK.Value("i", 1)
    processes = [
        FORK.Process(target=ask, args=(folder, url, bars, answers, kill_at, kills)) for _ in range(count)
    ]
    for each in processes:
        each.start()
    for each in processes:
        each.join(120)
    killed = [each.exitcode for each in processes].count(-signal.SIGKILL)
    return [answers.get(timeout=10) for _ in range(count - killed)], killed


def require_trained_once(zoo: ModelZoo, columns: set[str]) -> None:
    assert len(columns) == 1
    (row,) = rows(zoo, ModelBuildRow)
    (trial,) = rows(zoo, LedgerRow)
    assert (trial.kind, trial.status, trial.symbol) == ("zoo", "ok", "COMP")
    assert [path.name for path in zoo.store.folder.glob("*.joblib")] == ["COMP_volatility_h1_v1.joblib"]
    bundle = load_bundle("COMP", "v1", store=zoo.store, name="volatility_h1")
    assert (row.version, row.sha256) == ("v1", bundle.sha256)
    zoo.ledger.verify()


@pytest.mark.parametrize(("kill_at", "count"), [("", 8), ("begun", 3), ("trained", 3), ("registered", 8)])
def test_all_that_ask_at_once_train_once(
    tmp_path: Path, url: str, bars: LearningBars, kill_at: str, count: int
) -> None:
    """Also where the one that trains is killed: when it begins, before the store, and before its row."""
    found, killed = asked_by(count, tmp_path, url, bars, kill_at)
    assert killed == bool(kill_at)
    assert [created for _, created in found].count(True) == 1
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
        assert build_of(entry.record).spec == ASKED
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
        with pytest.raises(FeatureError, match="v1 of COMP volatility_h1 is retired"):
            default_registry().parse(column)

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
