"""The quick forest against scikit-learn's: the same bits, or it is not used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from research.training import pipeline as quick_forest
from research.training import scheme as folds
from research.training.config import ModelSettings
from research.training.pipeline import agrees_with_scikit_learn, forest_answers
from research.training.scheme import Fold, cross_validate, fold_workers
from support.training import DAY, invented

parameters = st.fixed_dictionaries(
    {
        "n_estimators": st.integers(1, 12),
        "max_depth": st.none() | st.integers(1, 8),
        "min_samples_leaf": st.integers(1, 40),
        "max_features": st.sampled_from(["sqrt", "log2", 0.3, 0.5]),
        "max_samples": st.floats(0.3, 1.0),
        "class_weight": st.sampled_from([None, "balanced_subsample"]),
    }
)


@settings(max_examples=60, deadline=None)
@given(parameters, st.integers(0, 2**31 - 1), st.integers(60, 200), st.booleans())
def test_the_bits_are_those_of_scikit_learn(
    drawn: dict[str, Any], seed: int, size: int, weighted: bool
) -> None:
    random = np.random.default_rng(seed)
    features, tested = random.normal(size=(size, 5)), random.normal(size=(30, 5))
    target = (features[:, 0] + random.normal(size=size) > 0.5).astype(np.int64)
    target[:2] = 0, 1
    weight = random.uniform(0.5, 2.0, size) if weighted else np.ones(size)
    forest = RandomForestClassifier(**drawn, n_jobs=1, random_state=seed)
    known = forest.fit(features, target, sample_weight=weight).predict_proba(tested)[:, 1]
    assert forest_answers(drawn, features, target, weight, tested, seed=seed).tobytes() == known.tobytes()


def scored(**changes: Any) -> bytes:
    samples = invented(120).samples
    rows = np.arange(120)
    model = ModelSettings()
    point = {
        "n_estimators": 9, "max_depth": 3, "min_samples_leaf": 5, "max_features": "sqrt",
        "max_samples": 0.8, "class_weight": None, **changes,
    }  # fmt: skip
    halves = ((rows[:60], rows[60:]), (rows[60:], rows[:60]))
    both = [Fold(train=train, test=test, columns=(0, 2)) for train, test in halves]
    with fold_workers(1) as run:
        found = cross_validate(model, point, "log_loss", samples, both, run, seed=3, embargo=DAY)
    return found.probabilities.tobytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"max_features": 2}, {"max_features": None}, {"min_samples_leaf": 0.1}, {"max_samples": 30},
        {"max_samples": None}, {"class_weight": "balanced"},
    ],
    ids=str,
)  # fmt: skip
def test_other_kinds_of_parameters_are_left_to_scikit_learn(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    found = scored(**changes)
    monkeypatch.setattr(folds, "can_answer", lambda parameters: False)
    assert scored(**changes) == found


def test_without_agreement_the_pipeline_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert agrees_with_scikit_learn()
    quick = scored()
    monkeypatch.setattr(quick_forest, "agrees_with_scikit_learn", lambda: False)
    monkeypatch.setattr(folds, "forest_answers", None)
    assert scored() == quick


def test_other_trees_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = quick_forest._counts

    def without_weights(*arguments: Any) -> Any:
        return np.minimum(counts(*arguments), 1.0)

    monkeypatch.setattr(quick_forest, "_counts", without_weights)
    assert not agrees_with_scikit_learn.__wrapped__()


def test_a_changed_interior_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*arguments: Any) -> Any:
        raise AttributeError("module 'sklearn.tree._tree' has no attribute 'DepthFirstTreeBuilder'")

    monkeypatch.setattr(quick_forest, "_builder", gone)
    assert not agrees_with_scikit_learn.__wrapped__()
