"""Pipelines as nodes: what is read answers with the bits of what was written, or is refused."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from lockstep.errors import ForeignPickle, UnfitBundle
from lockstep.models.estimators import ColumnSelector, SeedEnsembleClassifier
from lockstep.models.nodes import node_of_pickle, pipeline_node, pipeline_of
from lockstep.models.pickling import pickled, unpickled
from lockstep.models.predictor import CompiledForest, predictor
from lockstep.models.trees import NodeFault, depths
from support.families import ENSEMBLES, FAMILIES, REGRESSORS
from support.first_pickles import first_pickle
from support.models import forest, ranges, samples


@functools.cache
def fitted(family: str) -> Any:
    _, features, target = samples()
    return FAMILIES[family]().fit(features, target)


def stored(node: dict[str, Any]) -> dict[str, Any]:
    """Return a node as it comes back from a file; its values may be changed."""
    found: dict[str, Any] = unpickled(pickled(node), "x")
    return found


def answers(model: Any) -> bytes:
    return bytes(model.predict_proba(samples()[1]).tobytes())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_comes_back_and_gives_the_same_bytes(family: str) -> None:
    model = fitted(family)
    node = pipeline_node(model)
    again = pipeline_of(stored(node), "x")
    assert type(again) is type(model)
    assert answers(again) == answers(model)
    assert answers(predictor(again)) == answers(predictor(model))
    assert (again.predict(samples()[1]) == model.predict(samples()[1])).all()
    content = pickled(node)
    assert pickled(pipeline_node(again)) == content
    assert pickled(pipeline_node(fitted.__wrapped__(family))) == content
    assert pickled(pipeline_node(pickle.loads(pickle.dumps(model)))) == content


@pytest.mark.parametrize("family", REGRESSORS)
def test_every_regressor_comes_back_and_gives_the_same_bytes(family: str) -> None:
    features = samples()[1]
    model = REGRESSORS[family]().fit(features, ranges())
    content = pickled(pipeline_node(model))
    again = pipeline_of(unpickled(content, "x"), "x")
    assert type(again) is type(model)
    assert again.predict(features).tobytes() == model.predict(features).tobytes()
    assert pickled(pipeline_node(again)) == content
    assert pickled(pipeline_node(REGRESSORS[family]().fit(features, ranges()))) == content
    assert pickled(pipeline_node(pickle.loads(pickle.dumps(model)))) == content


@pytest.mark.parametrize("family", ENSEMBLES)
def test_every_ensemble_of_classifiers_comes_back(family: str) -> None:
    _, features, target = samples()
    model = ENSEMBLES[family]().fit(features, target)
    content = pickled(pipeline_node(model))
    again = pipeline_of(unpickled(content, "x"), "x")
    assert answers(again) == answers(model)
    assert (again.predict(features) == model.predict(features)).all()
    assert pickled(pipeline_node(again)) == content
    if family == "forests":
        assert len({answers(each) for each in model.members_}) == len(model.seeds), (
            "seeds make the difference"
        )


@pytest.mark.parametrize("seeds", [(), (1, 1), tuple(range(9))])
def test_an_ensemble_has_up_to_eight_members_each_with_its_own_seed(seeds: tuple[int, ...]) -> None:
    _, features, target = samples()
    with pytest.raises(ValueError, match="give 1 to 8, each once"):
        SeedEnsembleClassifier(RandomForestClassifier(2), seeds).fit(features, target)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pickle_of_the_first_schema_gives_the_same_bits(family: str) -> None:
    model = fitted(family)
    node = node_of_pickle(first_pickle(Pipeline([("model", model)])), "x")
    again = pipeline_of(stored(node), "x")
    assert answers(again) == answers(model)
    assert pickled(pipeline_node(again)) == pickled(node)


def test_a_fitted_forest_is_whole() -> None:
    model = forest(9)["model"]
    again = pipeline_of(stored(pipeline_node(model)), "x")
    assert again.feature_importances_.tobytes() == model.feature_importances_.tobytes()
    for one, other in zip(again.estimators_, model.estimators_, strict=True):
        assert (one.get_depth(), one.get_params()) == (other.get_depth(), other.get_params())
    assert again.get_params() == model.get_params()
    assert again.estimator_ is again.estimator


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (GaussianNB(), r"holds sklearn\.naive_bayes\.GaussianNB, which no bundle may hold; make it of "),
        (Pipeline([("near", KNeighborsClassifier())]), "KNeighborsClassifier"),
        (Pipeline([("f", FunctionTransformer(np.abs)), ("m", LogisticRegression())]), "FunctionTransformer"),
        (LogisticRegression(class_weight={0: object()}), "class_weight is a object: a bundle holds numbers"),
        (RandomForestClassifier(2, random_state=np.random.RandomState(1)), "random_state is a RandomState"),
        (HistGradientBoostingRegressor(loss="absolute_error"), "loss must be one of log_loss, squared_error"),
        (
            Pipeline([("c", ColumnSelector((0,))), ("m", LogisticRegression())], memory="cache"),
            "memory must be nothing",
        ),
    ],
)
def test_what_no_bundle_may_hold_is_refused_when_it_is_saved(model: Any, message: str) -> None:
    _, features, target = samples()
    with pytest.raises(UnfitBundle, match=message):
        pipeline_node(model.fit(features, target) if "class_weight" not in message else model)


def test_an_estimator_is_in_a_pipeline_once() -> None:
    scaler = ColumnSelector((0, 1, 2, 3))
    _, features, target = samples()
    pipeline = Pipeline([("a", scaler), ("b", scaler), ("m", LogisticRegression())]).fit(features, target)
    with pytest.raises(UnfitBundle, match="a ColumnSelector occurs twice"):
        pipeline_node(pipeline)


def test_three_classes_are_refused() -> None:
    features = samples()[1]
    three = RandomForestClassifier(2, random_state=1).fit(features, np.arange(len(features)) % 3)
    with pytest.raises(UnfitBundle, match=r"classes_ must be of shape \(2,\)"):
        pipeline_node(three)


@pytest.mark.parametrize(
    "node", [None, [], {}, {"class": "Pipeline"}, {"class": [], "params": {}, "fitted": {}}]
)
def test_what_is_no_node_is_refused(node: Any) -> None:
    with pytest.raises(ForeignPickle, match="x: no pipeline of Lockstep"):
        pipeline_of(node, "x")


def test_nodes_do_not_lie_in_each_other_without_end() -> None:
    node = stored(pipeline_node(fitted("logistic")))
    for _ in range(9):
        node = {"class": "Pipeline", "params": {"steps": [["model", node]]}, "fitted": {}}
    with pytest.raises(ForeignPickle, match="lie in at most 8 others"):
        pipeline_of(node, "x")


def test_a_walk_ends_or_the_tree_is_refused() -> None:
    left, right = np.array([1, 0, 3, 0, 0, 0]), np.array([2, 0, 4, 0, 0, 0])
    leaf = np.array([False, True, False, True, True, True])
    assert depths(np.array([5, 1]), leaf, left, right).tolist() == [2, 0]
    for place, child in ((2, 1), (2, 2), (2, 5), (0, 0)):
        spoilt = left.copy()
        spoilt[place] = child
        with pytest.raises(NodeFault):
            depths(np.array([5, 1]), leaf, spoilt, right)


def test_a_forest_of_other_columns_is_not_compiled() -> None:
    pipeline = forest(3)
    node = stored(pipeline_node(pipeline))
    node["params"]["steps"][0][1]["params"]["columns"] = [0]
    narrow = pipeline_of(node, "x")
    assert isinstance(predictor(pipeline), CompiledForest)
    with pytest.raises(ValueError, match="features"):
        predictor(narrow).predict_proba(samples()[1])
