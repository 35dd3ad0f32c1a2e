"""One Pipeline per fold: every family, calibration, selection, on one thread and the same bits every time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import joblib
import numpy as np
import pytest

from lockstep.errors import TrainingError
from lockstep.models.estimators import ColumnSelector
from research.training.config import ModelSettings, Selection
from research.training.estimators import ESTIMATORS, decoded
from research.training.pipeline import Samples, fit_pipeline, probabilities
from research.training.selection import clusters, selected_columns
from support.training import DAY, invented

SMALL = {"n_estimators": 20, "max_iter": 20}


def parameters_of(family: str) -> dict[str, Any]:
    """Return a point near the lower end of the family's space."""
    space = ESTIMATORS[family].space
    point = [0 if each.choice else (each.integer or each.real or (0,))[0] for each in space.values()]
    found = decoded(space, point)
    return {**found, **{name: value for name, value in SMALL.items() if name in found}}


def samples() -> Samples:
    return invented(160).samples


def fitted(family: str, columns: tuple[int, ...] = (0, 1, 2, 3), **settings: Any) -> Any:
    model = ModelSettings(family=family, **settings)
    return fit_pipeline(model, parameters_of(family), samples(), columns, seed=3, embargo=DAY)


@pytest.mark.parametrize("method", ["isotonic", "sigmoid"])
def test_calibration_is_in_the_pipeline_and_leaves_no_folds_behind(method: str) -> None:
    pipeline, known = fitted("random_forest", calibration=method), samples()
    plain = fitted("random_forest")
    assert not np.allclose(probabilities(pipeline, known.features), probabilities(plain, known.features))
    assert pipeline.named_steps["model"].cv is None
    assert len(joblib.hash(pipeline)) == len(joblib.hash(plain))


def test_a_calibration_fold_of_one_class_is_refused() -> None:
    known = samples()
    target = np.zeros_like(known.target)
    target[:50] = 1
    with pytest.raises(TrainingError, match=r"calibration fold 0: all \d+ samples lost"):
        fit_pipeline(
            ModelSettings(calibration="sigmoid"), parameters_of("random_forest"),
            replace(known, target=target), (0,), seed=1, embargo=0,
        )  # fmt: skip


def test_one_class_is_refused() -> None:
    known = samples()
    with pytest.raises(
        TrainingError, match="training samples: all 160 samples won: a model needs wins and losses"
    ):
        fit_pipeline(
            ModelSettings(), parameters_of("random_forest"),
            replace(known, target=np.ones_like(known.target)), (0,), seed=1, embargo=0,
        )  # fmt: skip


def test_only_selected_columns_are_read() -> None:
    pipeline, known = fitted("random_forest", columns=(0, 2)), samples()
    other = known.features.copy()
    other[:, [1, 3]] = 99.0
    assert probabilities(pipeline, other).tobytes() == probabilities(pipeline, known.features).tobytes()
    assert pipeline.named_steps["select"].columns == (0, 2)


def test_column_selector_follows_scikit_learn() -> None:
    selector = ColumnSelector((2, 0)).fit(np.zeros((3, 4)))
    assert selector.n_features_in_ == 4
    assert selector.transform(np.arange(8.0).reshape(2, 4)).tolist() == [[2.0, 0.0], [6.0, 4.0]]
    assert selector.get_params() == {"columns": (2, 0)}


@pytest.mark.parametrize("family", ["lightgbm", "xgboost"])
def test_a_missing_library_names_the_locked_way_to_it(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("research.training.estimators.importlib.import_module", without)
    with pytest.raises(TrainingError, match=r"run scripts/environment\.sh requirements-dev\.lock"):
        fitted(family)


class TestSelection:
    def test_none_keeps_all(self) -> None:
        assert selected_columns(Selection(), samples(), seed=1, embargo=0) == (0, 1, 2, 3)
        many = Selection(kind="mdi", keep=9)
        assert selected_columns(many, samples(), seed=1, embargo=0) == (0, 1, 2, 3)

    @pytest.mark.parametrize("kind", ["mdi", "clustered_permutation"])
    def test_the_feature_that_decides_is_kept(self, kind: str) -> None:
        kept = selected_columns(Selection(kind=kind, keep=1), samples(), seed=1, embargo=DAY)
        assert kept == (0,)

    def test_two_columns_that_say_the_same_are_one_cluster(self) -> None:
        features = samples().features.copy()
        features[:, 3] = -2.0 * features[:, 0]
        assert [each.tolist() for each in clusters(features)] == [[0, 3], [1], [2]]
        twins = replace(samples(), features=features)
        asked = Selection(kind="clustered_permutation", keep=2)
        assert selected_columns(asked, twins, seed=1, embargo=DAY) == (0, 3)

    def test_a_constant_column_is_a_cluster_of_its_own(self) -> None:
        features = samples().features.copy()
        features[:, 1] = 5.0
        assert [1] in [each.tolist() for each in clusters(features)]

    def test_a_fold_of_one_class_is_refused(self) -> None:
        known = samples()
        target = np.zeros_like(known.target)
        target[:50] = 1
        asked = Selection(kind="clustered_permutation", keep=2)
        with pytest.raises(TrainingError, match=r"feature selection, fold 0: all \d+ samples lost"):
            selected_columns(asked, replace(known, target=target), seed=1, embargo=0)
