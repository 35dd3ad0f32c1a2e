"""How pipelines are asked: compiled, as they are, or row by row; never on several threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from lockstep.errors import UnfitBundle
from lockstep.models.estimators import SeedEnsembleRegressor
from lockstep.models.predictor import (
    CompiledForest,
    CompiledRegressor,
    Forest,
    RowByRow,
    answers,
    predictor,
)
from support.families import ENSEMBLES, REGRESSORS
from support.models import forest, ranges, samples

PIPELINES: dict[str, tuple[Callable[[], Any], type | None]] = {
    "bare forest": (lambda: RandomForestClassifier(4, random_state=1), CompiledForest),
    "chosen columns": (
        lambda: Pipeline(
            [("k", SelectKBest(f_classif, k=2)), ("m", RandomForestClassifier(4, random_state=1))]
        ),
        CompiledForest,
    ),
    "scaled forest": (
        lambda: Pipeline([("s", StandardScaler()), ("m", RandomForestClassifier(4, random_state=1))]),
        None,
    ),
    "calibrated forest": (
        lambda: CalibratedClassifierCV(RandomForestClassifier(4, random_state=1), cv=2, ensemble=False),
        None,
    ),
    "boosting": (lambda: HistGradientBoostingClassifier(max_iter=3), None),
    "logistic": (lambda: Pipeline([("s", StandardScaler()), ("m", LogisticRegression())]), RowByRow),
    "calibrated logistic": (lambda: CalibratedClassifierCV(LogisticRegression(), cv=2), RowByRow),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_the_answer_is_scikit_learns_for_each_row(name: str) -> None:
    make, expected = PIPELINES[name]
    _, features, target = samples()
    pipeline = make().fit(features, target)
    asked = predictor(pipeline)
    assert asked is pipeline if expected is None else type(asked) is expected
    rows = features[:50]
    single = np.concatenate([pipeline.predict_proba(row.reshape(1, -1)) for row in rows])
    assert asked.predict_proba(rows).tobytes() == single.tobytes()


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_value_is_scikit_learns_for_each_row(name: str) -> None:
    """Alone and together: of trees, of ensembles of eight, and of what multiplies matrices."""
    _, features, _ = samples()
    pipeline = REGRESSORS[name]().fit(features, ranges())
    asked, rows = predictor(pipeline), features[:50]
    expected = {
        "ridge": RowByRow,
        **dict.fromkeys(("random_forest", "chosen_forest", "forests"), CompiledRegressor),
    }
    assert type(asked) is expected.get(name, type(pipeline))
    single = np.concatenate([pipeline.predict(row.reshape(1, -1)) for row in rows]).astype(np.float64)
    assert len(set(single.tolist())) > 4
    assert answers(asked, "value", rows).tobytes() == single.tobytes()
    alone = [answers(asked, "value", row.reshape(1, -1)) for row in rows]
    assert np.concatenate(alone).tobytes() == single.tobytes()


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_ensembles_probability_is_its_own_for_each_row(name: str) -> None:
    _, features, target = samples()
    pipeline = ENSEMBLES[name]().fit(features, target)
    asked, rows = predictor(pipeline), features[:50]
    assert isinstance(asked, CompiledForest) is (name == "forests")
    single = np.concatenate([pipeline.predict_proba(row.reshape(1, -1)) for row in rows])
    assert asked.predict_proba(rows).tobytes() == single.tobytes()
    chance = answers(asked, "probability", rows)
    assert answers(asked, "state", rows).tolist() == [float(each >= 0.5) for each in chance]
    assert chance.tobytes() == np.ascontiguousarray(single[:, 1]).tobytes()


def test_a_state_begins_at_one_half() -> None:
    class Even:
        def predict_proba(self, features: Any, /) -> Any:
            return np.array([[0.5, 0.5], [np.nextafter(0.5, 1), np.nextafter(0.5, 0)]])

    assert answers(Even(), "state", np.zeros((2, 1))).tolist() == [1.0, 0.0]


def test_members_are_added_one_after_the_other() -> None:
    """The control of the order: numpy's own mean over eight members rounds one row otherwise than many."""
    _, features, _ = samples()
    model = REGRESSORS["forests"]().fit(features, ranges())
    assert isinstance(model, SeedEnsembleRegressor)
    each = np.array([member.predict(features) for member in model.members_])
    naive = np.array([np.average(column[:, np.newaxis].T, axis=1)[0] for column in each.T])
    assert naive.tobytes() != model.predict(features).tobytes()
    np.testing.assert_allclose(naive, model.predict(features), rtol=1e-12)


def test_another_number_of_answers_is_refused() -> None:
    _, features, target = samples()
    of_classes = RandomForestClassifier(2, random_state=1).fit(features, target)
    with pytest.raises(UnfitBundle, match=r"answered shape \(3, 2\) to 3 rows, expected \(3,\)"):
        answers(type("Wide", (), {"predict": of_classes.predict_proba})(), "value", features[:3])


@pytest.mark.parametrize(
    "rows",
    [np.full((1, 4), np.nan), np.full((2, 3), 0.5), [[0.1, 0.2, 0.3, 0.4]], np.zeros((1, 4), np.float32)],
    ids=["missing", "too narrow", "a list", "float32"],
)
def test_what_is_no_plain_matrix_is_left_to_scikit_learn(rows: Any) -> None:
    pipeline = forest()
    assert predictor(pipeline).predict_proba(rows).tobytes() == pipeline.predict_proba(rows).tobytes()


@pytest.mark.parametrize(
    "rows", [np.full((1, 4), 1e300), np.full((1, 4), np.inf), np.zeros(4)], ids=["huge", "infinite", "flat"]
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_what_scikit_learn_refuses_is_refused(rows: Any) -> None:
    with pytest.raises((ValueError, IndexError)):
        predictor(forest()).predict_proba(rows)


def test_no_rows_have_no_answers() -> None:
    _, features, target = samples()
    asked = predictor(LogisticRegression().fit(features, target))
    assert asked.predict_proba(features[:0]).shape == (0, 2)


def test_more_than_two_classes_are_left_to_scikit_learn() -> None:
    _, features, target = samples()
    pipeline = RandomForestClassifier(3, random_state=1).fit(features, target + (features[:, 0] > 0.9))
    assert predictor(pipeline) is pipeline


def test_several_threads_are_refused() -> None:
    with pytest.raises(UnfitBundle, match="n_jobs=2: several threads give other bits"):
        predictor(forest().set_params(model__n_jobs=2))


def test_a_change_of_the_order_of_trees_is_noticed() -> None:
    """The control of bit equality: the same fractions added in another order round otherwise."""
    _, features, _ = samples()
    model = forest(60).steps[-1][1]
    flat = Forest.of(model)
    rows = np.ascontiguousarray(features[:, [2, 0, 1]], dtype=np.float32)
    turned = Forest(**{**vars(flat), "roots": np.ascontiguousarray(flat.roots[::-1])})
    assert flat.means(rows).tobytes() == model.predict_proba(rows).tobytes()
    assert turned.means(rows).tobytes() != model.predict_proba(rows).tobytes()
    np.testing.assert_allclose(turned.means(rows), flat.means(rows), rtol=1e-12)


def test_a_row_on_the_threshold_goes_left_and_the_control_goes_right() -> None:
    features = np.repeat([[0.0], [1.0]], 20, axis=0)
    model = RandomForestClassifier(3, random_state=1).fit(features, np.repeat([0, 1], 20))
    flat = Forest.of(model)
    on = np.array([[0.5]])
    assert flat.means(on.astype(np.float32)).tolist() == model.predict_proba(on).tolist() == [[1.0, 0.0]]
    strict = Forest(**{**vars(flat), "threshold": np.nextafter(flat.threshold, -np.inf)})
    assert strict.means(on.astype(np.float32)).tolist() == [[0.0, 1.0]]


def test_inputs_are_rounded_to_float32_as_scikit_learn_does() -> None:
    features = np.repeat([[0.0], [1.0]], 20, axis=0)
    model = RandomForestClassifier(3, random_state=1).fit(features, np.repeat([0, 1], 20))
    # In float64 this is above the threshold of 0.5, in float32 it is on it.
    above = np.array([[0.5 + 1e-12]])
    assert (
        predictor(model).predict_proba(above).tolist() == model.predict_proba(above).tolist() == [[1.0, 0.0]]
    )
