"""Models of the zoo as bundles and versions: schema 4, what is no combination, and what nothing trades."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sklearn.linear_model import Ridge

from lockstep import errors
from lockstep.live.traded import TradedModel
from lockstep.models.bundle import Bundle, bundle_bytes, bundle_of, read_bundle, save_bundle
from lockstep.models.listing import versions_table
from lockstep.models.manifest_file import MANIFEST
from lockstep.models.pickling import pickled, unpickled
from lockstep.models.store import ModelStore, load_bundle
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.model_validation.gathering import ValidationRequest, gather
from support.models import NOW, RECORD, bare_bundle, forest, make_bundle, ranges, samples, zoo_bundle

OUTPUTS = ("value", "state", "probability")
REFUSAL = "a model of the zoo is a column of specs; nothing trades it"
# Fields of a veto's file, in the order in which they always lay there.
OF_A_VETO = (
    "format", "schema", "symbol", "name", "target", "fingerprints", "strategy", "threshold", "training",
    "metrics", "libraries", "feature_ids", "golden", "pipeline",
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """Return a store with a veto, v1 of ES, and a model of the zoo, v1 of ES volatility_h1."""
    found = ModelStore(tmp_path / "store")
    for bundle in (make_bundle(), zoo_bundle()):
        found.register(bundle, record=RECORD, by="test", now=NOW)
    return found


@pytest.mark.parametrize("output", OUTPUTS)
def test_it_comes_back_as_it_was_saved(tmp_path: Path, output: Any) -> None:
    bundle, path = zoo_bundle(output=output), tmp_path / "x.joblib"
    found = read_bundle(path, expected_sha256=save_bundle(bundle, path), symbol="ES")
    assert (found.schema, found.of_zoo, found.has_model, found.threshold) == (4, True, True, None)
    assert (found.task, found.output, found.horizon) == (bundle.task, output, bundle.horizon)
    assert found.golden.answers.tobytes() == bundle.golden.answers.tobytes()
    features = samples()[1]
    assert found.pipeline.predict(features).tobytes() == bundle.pipeline.predict(features).tobytes()
    assert bundle_bytes(found) == bundle_bytes(bundle)


def test_its_golden_vectors_hold_what_it_answers() -> None:
    value, state, chance = (zoo_bundle(output=each) for each in OUTPUTS)
    rows = [row.reshape(1, -1) for row in value.golden.vectors]
    assert value.golden.answers.tolist() == [value.pipeline.predict(row)[0] for row in rows]
    chances = [chance.pipeline.predict_proba(row)[0, 1] for row in rows]
    assert chance.golden.answers.tolist() == chances
    assert state.golden.answers.tolist() == [float(each >= 0.5) for each in chances]
    assert set(state.golden.answers) == {0.0, 1.0}


def test_a_veto_is_written_as_it_always_was() -> None:
    for bundle, schema in ((make_bundle(), 2), (bare_bundle(), 3)):
        document = unpickled(bundle_bytes(bundle), "x")
        assert tuple(document) == OF_A_VETO
        assert document["schema"] == schema
        again = bundle_of(bundle_bytes(bundle), "x")
        assert (again.task, again.output, again.horizon, again.of_zoo) == ("veto", "probability", 0, False)
    assert tuple(unpickled(bundle_bytes(zoo_bundle()), "x"))[:13] == (
        *OF_A_VETO[:10],
        "task",
        "output",
        "horizon",
    )


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a classifier for a value": (
        {"pipeline": forest()},
        "a value is what a regressor predicts, RandomForestClassifier is none; fit a regressor",
    ),
    "a regressor for a state": (
        {"task": "regime", "output": "state"},
        "a state needs `predict_proba`, RandomForestRegressor has none; fit a classifier",
    ),
    "a volatility as a probability": (
        {"output": "probability"},
        "task volatility answers with a value, not with a probability",
    ),
    "a direction as a value": (
        {"task": "direction"},
        "task direction answers with a probability or a state, not with a value",
    ),
    "a veto as a value": ({"task": "veto"}, "task veto answers with a probability, not with a value"),
    "a veto that looks ahead": (
        {"task": "veto", "output": "probability"},
        "horizon 1: a veto looks as far as its trades; leave it at 0",
    ),
    "another task": ({"task": "weather"}, "task 'weather' with output 'value': must be one of veto, dir"),
    "another output": ({"output": "class"}, "with output 'class': must be one of .*value, state"),
    "no horizon": ({"horizon": 0}, "horizon 0: task volatility looks 1 to 250 bars ahead"),
    "a horizon of a year": ({"horizon": 251}, "horizon 251: task volatility looks 1 to 250 bars ahead"),
    "a threshold": ({"threshold": 0.5}, "with a strategy or a threshold: a model of the zoo belongs to no"),
    "a strategy": ({"strategy": {"family": "ibs"}}, "belongs to no strategy; leave both out"),
    "the name of vetoes": ({"name": "ibs_veto"}, "name the model after what it is asked"),
    "no target": ({"target": ""}, "name 'volatility_h1' and target '': .* say what it answers"),
    "no pipeline": ({"pipeline": None}, "task volatility without a pipeline; give the fitted model"),
    "no range of labels": ({"training": {}}, "training has no label_range of two finite numbers"),
    "a range without a width": (
        {"training": {"label_range": [0.1, 0.1]}},
        "label_range of two finite numbers, the first below the second",
    ),
    "a range without an end": ({"training": {"label_range": [0.0, float("inf")]}}, "two finite numbers"),
    "a range of truths": ({"training": {"label_range": [False, True]}}, "two finite numbers"),
}  # fmt: skip


@pytest.mark.parametrize("how", WRONG)
def test_what_is_no_combination_is_refused_in_one_line(tmp_path: Path, how: str) -> None:
    """When it is saved, and where a file says so all the same."""
    changes, message = WRONG[how]
    with pytest.raises(errors.UnfitBundle, match=f"bundle of ES: .*{message}") as refused:
        save_bundle(replace(zoo_bundle(), **changes), tmp_path / "x.joblib")
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
    if "pipeline" not in changes:
        content = pickled({**unpickled(bundle_bytes(zoo_bundle()), "x"), **changes})
        with pytest.raises(
            errors.ForeignPickle, match=rf"x: not a Lockstep bundle: .*({message}|schema 4 of)"
        ):
            bundle_of(content, "x")


@pytest.mark.parametrize(
    ("output", "answers", "message"),
    [
        ("state", [0.0, 1.0, 0.5, 1.0], "golden answer 0.5 is no state"),
        ("probability", [0.0, 1.0, 1.5, 1.0], "golden answer 1.5 is no probability"),
        ("value", [0.0, 1.0, np.nan, 1.0], "golden answer nan is no value"),
        ("value", [], "0 answers of 4 golden vectors"),
    ],
)
def test_golden_answers_are_of_the_output(
    tmp_path: Path, output: Any, answers: list[float], message: str
) -> None:
    bundle = zoo_bundle(output=output)
    with pytest.raises(errors.UnfitBundle, match=message):
        bundle_bytes(replace(bundle, golden=replace(bundle.golden, answers=np.array(answers))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": True}, "horizon is a bool"),
        ({"task": None}, "task is a NoneType"),
        ({"schema": 3}, "schema 3 with a pipeline"),
        ({"schema": 2}, "strategy has no family"),
        ({"pipeline": None}, "schema 4 without a pipeline"),
        ({"schema": 5}, "reads up to 4; update Lockstep"),
    ],
)
def test_a_file_of_another_form_is_refused(changes: dict[str, Any], message: str) -> None:
    content = pickled({**unpickled(bundle_bytes(zoo_bundle()), "x"), **changes})
    with pytest.raises(errors.BundleRefused, match=message):
        bundle_of(content, "x")


def test_one_changed_leaf_is_a_golden_mismatch(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of golden values: the file is the registered one, the model's answers are others."""
    assert load_bundle("ES", "v1", store=store, name="volatility_h1").of_zoo
    bundle = zoo_bundle()
    model = bundle.pipeline
    leaf = int(model.estimators_[0].apply(np.float32(bundle.golden.vectors[:1]))[0])
    spoilt = unpickled(bundle_bytes(bundle), "x")
    spoilt["pipeline"]["fitted"]["trees"]["values"][leaf] += 1e-3
    monkeypatch.setattr(ModelStore, "content", lambda self, entry: pickled(spoilt))
    with pytest.raises(errors.GoldenMismatch, match=r"golden vectors: the value at 20.*Z is .*, recorded"):
        load_bundle("ES", "v1", store=store, name="volatility_h1")


# Versions


def test_the_manifest_tells_what_it_answers_and_says_nothing_new_of_vetoes(store: ModelStore) -> None:
    written = json.loads((store.folder / MANIFEST).read_text())["instruments"]["ES"]
    veto, zoo = (written[name]["versions"]["v1"] for name in ("ibs_veto", "volatility_h1"))
    assert {key: zoo[key] for key in zoo.keys() - veto.keys()} == {
        "task": "volatility", "output": "value", "horizon": 1,
    }  # fmt: skip
    assert veto.keys() < zoo.keys(), "what an earlier version wrote has the same bytes"
    entry = store.manifest().entry("ES", "v1", "volatility_h1")
    assert (entry.of_zoo, entry.task, entry.output, entry.horizon) == (True, "volatility", "value", 1)
    assert store.manifest().entry("ES", "v1").of_zoo is False


def test_an_edit_of_the_task_by_hand_is_noticed(store: ModelStore) -> None:
    path = store.folder / MANIFEST
    path.write_text(path.read_text().replace('"horizon": 1', '"horizon": 2'))
    with pytest.raises(errors.ManifestEdited, match="instruments were edited"):
        store.manifest()


def test_versions_are_listed_with_their_task(store: ModelStore) -> None:
    text = io.StringIO()
    Console(width=200, file=text).print(versions_table(store.manifest()))
    veto, zoo = text.getvalue().splitlines()[-2:]
    assert "v1 veto candidate 2024-01-08 to 2026-01-08 0.55" in " ".join(veto.split())
    assert "v1 volatility, value in 1 bar candidate 2024-01-08 to 2026-01-08 loss 0.02" in " ".join(
        zoo.split()
    )


def test_a_notebook_shows_what_it_answers(store: ModelStore) -> None:
    shown = zoo_bundle()._repr_html_()
    assert "volatility, value in 1 bar" in shown
    assert "what tomorrow brings" in shown
    assert "Threshold" not in shown
    assert "Threshold" in make_bundle()._repr_html_()
    assert "volatility, value in 1 bar" in store._repr_html_()


def test_a_name_stands_for_one_question(store: ModelStore) -> None:
    with pytest.raises(
        errors.VerbRefused,
        match="ES volatility_h1 v2: answers volatility, value in 5 bars; v1 under this name answers "
        "volatility, value in 1 bar; register it under another name",
    ):
        store.register(zoo_bundle(horizon=5), record=RECORD, by="test", now=NOW)
    with pytest.raises(errors.VerbRefused, match="answers veto; v1 under this name answers volatility"):
        store.register(replace(make_bundle(), name="volatility_h1"), record=RECORD, by="test", now=NOW)
    assert list(store.manifest().model("ES", "volatility_h1").versions) == ["v1"]
    assert store.register(zoo_bundle(), record=RECORD, by="test", now=NOW, parent="v1") == "v2"


def test_another_store_takes_it(store: ModelStore, tmp_path: Path) -> None:
    entry, copy = store.manifest().entry("ES", "v1", "volatility_h1"), ModelStore(tmp_path / "copy")
    copy.folder.mkdir()
    fetched = {"sha256": entry.sha256, "name": "volatility_h1", "by": "test", "now": NOW}
    assert copy.fetch(store, "ES", "v1", **fetched) == "v1"
    assert copy.manifest().entry("ES", "v1", "volatility_h1") == entry
    lying = entry.model_copy(update={"horizon": 2})
    told = store.manifest()
    model = told.model("ES", "volatility_h1").with_versions({"v1": lying})
    other = ModelStore(tmp_path / "other")
    other.folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "manifest", lambda: told.with_model("ES", "volatility_h1", model))
        with pytest.raises(
            errors.VerbRefused, match=r"horizon: the manifest of .* says other than the bundle"
        ):
            other.fetch(store, "ES", "v1", **fetched)


# What nothing trades

ACTS: dict[str, Callable[[ModelStore], object]] = {
    "promoted": lambda it: it.promote("ES", "v1", by="test", now=NOW, name="volatility_h1"),
    "promoted by force": lambda it: it.promote(
        "ES", "v1", by="test", now=NOW, name="volatility_h1", reason="test", force=True
    ),
    "a rollback": lambda it: it.rollback(
        "ES", to="v1", by="test", now=NOW, name="volatility_h1", reason="test"
    ),
    "validated": lambda it: gather(
        ValidationRequest(symbol="ES", version="v1", store=it, reports=it.folder, name="volatility_h1"),
        Ledger(Database.open("sqlite://")),
        now=NOW,
    ),
}


@pytest.mark.parametrize("how", ACTS)
def test_it_is_never_in_production(store: ModelStore, how: str) -> None:
    before = (store.folder / MANIFEST).read_bytes()
    with pytest.raises(errors.VerbRefused) as refused:
        ACTS[how](store)
    assert str(refused.value) == f"ES volatility_h1 v1: {REFUSAL}"
    assert (store.folder / MANIFEST).read_bytes() == before
    # Control: a veto beside it goes into production.
    store.promote("ES", "v1", by="test", now=NOW, reason="test", force=True)
    assert store.manifest().model("ES").production == "v1"


def test_the_live_engine_seats_no_model_of_the_zoo(store: ModelStore) -> None:
    with pytest.raises(errors.StrategyError, match=f"ES volatility_h1 v1: {REFUSAL}"):
        TradedModel.of(load_bundle("ES", "v1", store=store, name="volatility_h1"))


def test_it_is_retired_as_any_other(store: ModelStore) -> None:
    store.retire("ES", "v1", by="test", now=NOW, reason="worse than none", name="volatility_h1")
    assert store.manifest().entry("ES", "v1", "volatility_h1").status == "retired"


def test_a_regressor_of_matrices_is_verified_row_by_row(tmp_path: Path) -> None:
    """Ridge multiplies matrices, and BLAS rounds a row otherwise among others."""
    store = ModelStore(tmp_path)
    ridge = Ridge(alpha=2.0).fit(samples()[1], ranges())
    version = store.register(zoo_bundle(pipeline=ridge), record=RECORD, by="test", now=NOW)
    found: Bundle = load_bundle("ES", version, store=store, name="volatility_h1")
    assert found.golden.answers.tolist() == [
        float(ridge.predict(row.reshape(1, -1))[0]) for row in found.golden.vectors
    ]
