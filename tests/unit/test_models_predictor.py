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
from lockstep.models.predictor import CompiledForest, Forest, RowByRow, predictor
from support.models import forest, samples

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
    assert flat.chances(rows).tobytes() == model.predict_proba(rows).tobytes()
    assert turned.chances(rows).tobytes() != model.predict_proba(rows).tobytes()
    np.testing.assert_allclose(turned.chances(rows), flat.chances(rows), rtol=1e-12)


def test_a_row_on_the_threshold_goes_left_and_the_control_goes_right() -> None:
    features = np.repeat([[0.0], [1.0]], 20, axis=0)
    model = RandomForestClassifier(3, random_state=1).fit(features, np.repeat([0, 1], 20))
    flat = Forest.of(model)
    on = np.array([[0.5]])
    assert flat.chances(on.astype(np.float32)).tolist() == model.predict_proba(on).tolist() == [[1.0, 0.0]]
    strict = Forest(**{**vars(flat), "threshold": np.nextafter(flat.threshold, -np.inf)})
    assert strict.chances(on.astype(np.float32)).tolist() == [[0.0, 1.0]]


def test_inputs_are_rounded_to_float32_as_scikit_learn_does() -> None:
    features = np.repeat([[0.0], [1.0]], 20, axis=0)
    model = RandomForestClassifier(3, random_state=1).fit(features, np.repeat([0, 1], 20))
    # In float64 this is above the threshold of 0.5, in float32 it is on it.
    above = np.array([[0.5 + 1e-12]])
    assert (
        predictor(model).predict_proba(above).tolist() == model.predict_proba(above).tolist() == [[1.0, 0.0]]
    )
