"""The compiled forest gives scikit-learn's bits, for any forest and any row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import Pipeline

from lockstep.models import predictor as forests
from lockstep.models.estimators import ColumnSelector
from lockstep.models.predictor import CompiledForest, CompiledRegressor, predictor
from support.interpreted import interpreted


@st.composite
def fitted(draw: st.DrawFn) -> tuple[Pipeline, np.ndarray]:
    """Return a pipeline and rows to ask it: random ones, and ones that lie on the thresholds."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns = draw(st.integers(1, 6))
    # Few distinct values: many rows lie on a threshold, and many leaves are mixed.
    features = random.choice(random.normal(size=draw(st.integers(2, 40))), size=(60, columns))
    target = (features[:, 0] + random.normal(size=60) > 0).astype(np.int64)
    target[:2] = 0, 1
    family = draw(st.sampled_from([RandomForestClassifier, ExtraTreesClassifier, RandomForestRegressor]))
    balanced = draw(st.sampled_from([None, "balanced_subsample"]))
    of_values = family is RandomForestRegressor
    model = family(
        draw(st.integers(1, 9)),
        max_depth=draw(st.sampled_from([None, 1, 3])),
        max_features=draw(st.sampled_from(["sqrt", None])),
        max_leaf_nodes=draw(st.sampled_from([None, 5])),
        **({} if of_values else {"class_weight": balanced}),
        bootstrap=True,
        random_state=draw(st.integers(0, 99)),
    )
    kept = tuple(draw(st.permutations(range(columns)))[: draw(st.integers(1, columns))])
    first = draw(st.sampled_from([ColumnSelector(kept), "passthrough", None]))
    pipeline = Pipeline([("select", first), ("model", model)])
    pipeline.fit(features, features[:, 0] + random.normal(size=60) if of_values else target)
    thresholds = np.concatenate([tree.tree_.threshold for tree in model.estimators_])
    near = np.concatenate([thresholds, np.nextafter(thresholds, 9), thresholds.astype(np.float32)])
    rows = np.concatenate([features, random.choice(near, size=(40, columns)), 10 * features])
    return pipeline, np.ascontiguousarray(rows)


def answered(model: Any, rows: np.ndarray) -> np.ndarray:
    """Return all that a classifier or a regressor answers."""
    asked = getattr(model, "predict_proba", None) or model.predict
    return np.asarray(asked(rows))


@settings(max_examples=40, deadline=None)
@given(fitted())
def test_compiled_forests_equal_scikit_learn_bit_for_bit(case: tuple[Pipeline, np.ndarray]) -> None:
    pipeline, rows = case
    asked = predictor(pipeline)
    assert isinstance(asked, CompiledForest | CompiledRegressor)
    expected = answered(pipeline, rows)
    assert answered(asked, rows).tobytes() == expected.tobytes()
    single = np.concatenate([answered(asked, row.reshape(1, -1)) for row in rows])
    assert single.tobytes() == expected.tobytes()


@settings(max_examples=5, deadline=None)
@given(fitted())
@pytest.mark.uncompiled
def test_the_source_of_the_kernel_gives_the_same_bits(case: tuple[Pipeline, np.ndarray]) -> None:
    pipeline, rows = case
    asked = predictor(pipeline)
    assert isinstance(asked, CompiledForest | CompiledRegressor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forests, "fill_means", interpreted(forests.fill_means))
        found = answered(asked, rows[::7])
    assert found.tobytes() == answered(pipeline, rows[::7]).tobytes()
