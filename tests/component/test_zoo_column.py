"""Models of the zoo as columns: values, states and probabilities at every door, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from certify.sweep_side import compare_with_sweep
from lockstep.errors import FeatureError
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.market.dates import DateRange
from lockstep.models import model_column
from lockstep.models.store import ModelStore
from research.backtest.run import run_backtest
from research.sweep.run import trace
from support.families import REGRESSORS
from support.feature_checks import batch, check_batch_equals_streaming
from support.models import BASE, IDS, NOW, history, make_bundle, ranges, samples, zoo_bundle
from support.zoo import hybrid, registered

REGISTRY = FeatureRegistry()


@pytest.fixture(autouse=True)
def no_store_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test finds the models of another, nor those of the desk."""
    monkeypatch.setattr(model_column, "_opened", {})
    monkeypatch.setenv("LOCKSTEP_MODEL_STORE", str(tmp_path / "default"))


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """The default store."""
    return ModelStore(tmp_path / "default")


@pytest.mark.no_cover
@pytest.mark.parametrize("name", REGRESSORS)
def test_a_value_is_what_the_model_predicts_row_by_row(store: ModelStore, name: str) -> None:
    pipeline = REGRESSORS[name]().fit(samples()[1], ranges())
    column = registered(store, zoo_bundle(pipeline=pipeline))
    ids, bars = ("ibs", column), history(bars=120)
    found, inputs = batch(REGISTRY, ids, bars, BASE), batch(REGISTRY, IDS, bars, BASE)
    complete = ~np.isnan(inputs).any(axis=1)
    expected = np.array([pipeline.predict(row.reshape(1, -1))[0] for row in inputs[complete]], np.float64)
    low, high = REGISTRY.parse(column).low, REGISTRY.parse(column).high
    assert found[complete, 1].tobytes() == np.clip(expected, low, high).tobytes()
    assert np.isnan(found[~complete, 1]).all()
    assert len(set(expected.tolist())) > 4
    check_batch_equals_streaming(REGISTRY, ids, bars, BASE)


def test_a_state_is_the_probability_from_one_half_on(store: ModelStore) -> None:
    state, chance = (registered(store, zoo_bundle(output=each)) for each in ("state", "probability"))
    found = batch(REGISTRY, (state, chance), history(), BASE)
    complete = ~np.isnan(found).any(axis=1)
    assert (found[complete, 0] == (found[complete, 1] >= 0.5)).all()
    assert set(found[complete, 0]) == {0.0, 1.0}
    assert [(each.low, each.high) for each in map(REGISTRY.parse, (state, chance))] == [(0.0, 1.0)] * 2
    check_batch_equals_streaming(REGISTRY, (state, chance), history(bars=120), BASE)


def test_a_value_stays_within_the_labels_of_its_training(store: ModelStore) -> None:
    """A line goes on beyond what it was fitted on, the column does not; and the range is in the bundle."""
    ridge = REGRESSORS["ridge"]().fit(samples()[1], ranges())
    whole = zoo_bundle(pipeline=ridge)
    narrow = zoo_bundle(pipeline=ridge, training={**whole.training, "label_range": [0.072, 0.074]})
    wide, held = registered(store, whole), registered(store, narrow)
    found = batch(REGISTRY, (wide, held), history(), BASE)
    inside = found[~np.isnan(found).any(axis=1)]
    assert inside[:, 0].min() < 0.072 < 0.074 < inside[:, 0].max()
    assert inside[:, 1].tobytes() == np.clip(inside[:, 0], 0.072, 0.074).tobytes()
    assert (REGISTRY.parse(held).low, REGISTRY.parse(held).high) == (0.072, 0.074)
    check_batch_equals_streaming(REGISTRY, (held,), history(bars=120), BASE)


def test_what_is_known_of_it(store: ModelStore) -> None:
    value, state = (registered(store, zoo_bundle(output=each)) for each in ("value", "state"))
    assert value.startswith("model:ES_volatility_h1@v1#")
    told = REGISTRY.describe(value)
    assert "Value of what tomorrow brings that v1 of volatility_h1 gives, on ES" in told
    assert "task        volatility, value in 1 bar" in told
    assert "range       [0, 0.14]" in told
    assert "State (0 or 1) of what tomorrow brings" in REGISTRY.describe(state)
    assert "regime, state in 5 bars" in REGISTRY.describe(state)
    assert "task " not in REGISTRY.describe(registered(store, make_bundle()))


# What is refused


def test_a_retired_version_and_another_hash_are_refused(store: ModelStore) -> None:
    column = registered(store, zoo_bundle())
    wrong = f"{column[:-12]}{'0' * 12}"
    with pytest.raises(FeatureError, match=rf"model reference with another hash: in .* it is {column}"):
        REGISTRY.parse(wrong)
    with pytest.raises(FeatureError, match=f"write model:NAME@vN#HASH, .*: {column}$"):
        REGISTRY.parse("model:ES_volatility_h1@latest")
    REGISTRY.parse(column)
    store.retire("ES", "v1", by="test", now=NOW, reason="worse", name="volatility_h1")
    with pytest.raises(FeatureError, match=r"v1 of ES volatility_h1 is retired in .*; name another version"):
        REGISTRY.parse(column)


class TestSeveralStores:
    """Whatever other stores this process has opened, the line is of the bundle that is meant."""

    @pytest.fixture
    def opened(self, store: ModelStore, tmp_path: Path) -> tuple[ModelStore, str]:
        """Return a store that was opened last and has another v1 than the default one, and its column."""
        registered(store, zoo_bundle(training={**zoo_bundle().training, "label_range": [0.0, 0.2]}))
        found = ModelStore(tmp_path / "opened")
        column = registered(found, zoo_bundle())
        model_column.remember(found.folder)
        return found, column

    def test_the_hash_finds_its_store(self, opened: tuple[ModelStore, str], tmp_path: Path) -> None:
        found, column = opened
        model_column.remember(tmp_path / "default")
        assert model_column.derived_column(column, REGISTRY).bundle.sha256.startswith(column[-12:])
        found.retire("ES", "v1", by="test", now=NOW, reason="worse", name="volatility_h1")
        line = rf"v1 of ES volatility_h1 is retired in {found.folder}; name another version"
        with pytest.raises(FeatureError, match=line):
            REGISTRY.parse(column)

    def test_a_copy_that_is_not_retired_does_not_hide_that_it_is(
        self, opened: tuple[ModelStore, str], tmp_path: Path
    ) -> None:
        found, column = opened
        copy = ModelStore(tmp_path / "copy")
        assert registered(copy, zoo_bundle()) == column
        model_column.remember(copy.folder)
        model_column.remember(found.folder)
        REGISTRY.parse(column)
        found.retire("ES", "v1", by="test", now=NOW, reason="worse", name="volatility_h1")
        with pytest.raises(FeatureError, match=rf"is retired in {found.folder}"):
            REGISTRY.parse(column)

    def test_another_hash(self, opened: tuple[ModelStore, str]) -> None:
        found, column = opened
        line = rf"model reference with another hash: in {found.folder} it is {column}$"
        with pytest.raises(FeatureError, match=line):
            REGISTRY.parse(f"{column[:-12]}{'0' * 12}")

    def test_another_task_and_another_version(
        self, store: ModelStore, opened: tuple[ModelStore, str]
    ) -> None:
        """The hash of a volatility under the name of a regime, which the default store has."""
        found, column = opened
        registered(store, zoo_bundle(output="state"))
        line = (
            rf"model reference with another task: this hash is that of {column}, which answers volatility, "
            rf"value in 1 bar; it is in {found.folder}$"
        )
        with pytest.raises(FeatureError, match=line):
            REGISTRY.parse(column.replace("volatility_h1", "regime_h5"))
        with pytest.raises(FeatureError, match=rf"another version: this hash is that of {column}; it is in"):
            REGISTRY.parse(column.replace("@v1", "@v7"))


def test_a_model_that_answers_otherwise_than_recorded_is_refused(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = registered(store, zoo_bundle())
    asked = model_column.answers
    monkeypatch.setattr(model_column, "answers", lambda *given: asked(*given) * (1.0 + 2.0**-40))
    with pytest.raises(FeatureError, match="golden vectors are not answered as recorded"):
        REGISTRY.parse(column)
    monkeypatch.setattr(
        model_column, "answers", lambda *given: asked(*given) + (2.0**-40 if len(given[2]) > 1 else 0.0)
    )
    with pytest.raises(FeatureError, match="answers a row otherwise among others than alone"):
        REGISTRY.parse(column)


@pytest.mark.parametrize(
    ("output", "constant", "message"),
    [
        ("value", 0.5, r"condition on model:ES_volatility_h1@v1#.*: 0.5 is outside its range, 0 to 0.14"),
        ("state", 1.5, r"condition on model:ES_regime_h5@v1#.*: 1.5 is outside its range, 0 to 1"),
        ("veto", 14.0, r"condition on model:ES@v1#.*: 14 is outside its range, 0 to 1"),
    ],
)
def test_a_constant_that_no_answer_reaches_is_refused(
    store: ModelStore, output: str, constant: float, message: str
) -> None:
    """A veto answers with a probability, whatever a spec takes it for; a value keeps to its labels."""
    bundle = make_bundle() if output == "veto" else zoo_bundle(output=output)
    column = registered(store, bundle)
    with pytest.raises(ValidationError, match=message):
        hybrid(column, constant)
    assert column in hybrid(column, 0.1).feature_ids


def test_the_doors_say_what_stands_against_a_column(store: ModelStore) -> None:
    """A spec that is sound when it is written, and whose model is retired afterwards."""
    column = registered(store, zoo_bundle())
    config = hybrid(column, 0.1)
    run_backtest(config, history(bars=200), "ES")
    store.retire("ES", "v1", by="test", now=NOW, reason="worse", name="volatility_h1")
    for door in (run_backtest, trace):
        with pytest.raises(FeatureError, match=f"'{column}': v1 of ES volatility_h1 is retired"):
            door(config, history(bars=200), "ES")


@pytest.mark.no_cover
def test_research_and_the_sweep_read_the_same_column(store: ModelStore) -> None:
    config = hybrid(registered(store, zoo_bundle()), 0.065)
    found = run_backtest(config, history(), "ES")
    swept = compare_with_sweep(found, config, history(), "ES", span=DateRange(), veto=None)
    assert (swept.first, swept.fills > 40) == (None, True)
    other = hybrid(registered(store, zoo_bundle(output="state")), 0.5)
    assert not run_backtest(other, history(), "ES").equity.equals(found.equity)
