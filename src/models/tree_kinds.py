"""Kinds of a bundle that are made of scikit-learn's trees: forests and boosting, see `kinds.py`.

What a classifier's leaf says are shares of the two classes, what a regressor's says is one value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lockstep.models.kinds import (
    CLASSES,
    FEATURES,
    LABELLED,
    SCALAR,
    EstimatorKind,
    EstimatorOf,
    NodeOf,
    State,
    require_parts,
)
from lockstep.models.pickle_machine import Pickled
from lockstep.models.pickled_values import class_of, items_of, records_of, state_of, value_of
from lockstep.models.trees import NodeFault, joined, node_record, predictors_read, trees_read, trees_written

_TREE = ("sklearn.tree._tree", "Tree")
_DECISION_TREES = tuple(
    ("sklearn.tree._classes", name) for name in ("DecisionTreeClassifier", "ExtraTreeClassifier")
)
_REGRESSION_TREE = ("sklearn.tree._classes", "DecisionTreeRegressor")


def _trees_of(estimators: list[State]) -> dict[str, Any]:
    """Return the document of the trees of some fitted decision trees."""
    found = []
    for each in estimators:
        tree = each["tree_"]
        if class_of(tree) != _TREE:
            raise NodeFault(f"holds {'.'.join(class_of(tree))}, which no bundle may hold")
        state = tree.state if isinstance(tree, Pickled) else tree.__getstate__()
        nodes = records_of(state["nodes"], node_record())
        found.append({"nodes": nodes, "values": value_of(state["values"])})
    return trees_written(found)


def _write_forest(state: State, _: NodeOf) -> dict[str, Any]:
    if "estimators_" not in state:
        return {}
    trees = [state_of(each, *_DECISION_TREES, _REGRESSION_TREE) for each in items_of(state["estimators_"])]
    return {
        "trees": _trees_of(trees),
        "random_state": np.array([value_of(each["random_state"]) for each in trees], dtype=np.int64),
        "max_features": value_of(trees[0]["max_features_"]),
    }


def _read_forest(forest: Any, content: Mapping[str, Any], _: EstimatorOf) -> None:
    _read_trees_of(forest, content, len(forest.classes_))
    forest.n_classes_ = len(forest.classes_)
    for made in forest.estimators_:
        made.n_classes_ = len(forest.classes_)
        made.classes_ = np.arange(len(forest.classes_), dtype=np.float64)


def _read_regression(forest: Any, content: Mapping[str, Any], _: EstimatorOf) -> None:
    _read_trees_of(forest, content, 1)


def _read_trees_of(forest: Any, content: Mapping[str, Any], outputs: int) -> None:
    """Give a forest its trees, each node of which holds `outputs` numbers: classes, or one value."""
    most, seeds, document = require_parts(content, "max_features", "random_state", "trees")
    trees = trees_read(document, features=forest.n_features_in_, classes=outputs)
    if not isinstance(seeds, np.ndarray) or seeds.shape != (len(trees),) or seeds.dtype != np.int64:
        raise NodeFault("one seed per tree must be there")
    forest.n_outputs_, forest.estimator_ = 1, forest.estimator
    settings = {name: getattr(forest, name) for name in forest.estimator_params}
    forest.estimators_ = []
    for tree, seed in zip(trees, seeds.tolist(), strict=True):
        made = type(forest.estimator)(**settings)
        made.random_state, made.max_features_, made.tree_ = seed, most, tree
        made.n_features_in_, made.n_outputs_ = forest.n_features_in_, 1
        forest.estimators_.append(made)


def _write_boosting(state: State, _: NodeOf) -> dict[str, Any]:
    if "estimators_" not in state:
        return {}
    trees = [state_of(each, _REGRESSION_TREE) for each in items_of(state["estimators_"])]
    found = {"trees": _trees_of(trees)}
    if state["init_"] == "zero":
        return found
    prior = state_of(state["init_"], ("sklearn.dummy", "DummyClassifier"))
    return {**found, "prior": value_of(prior["class_prior_"])}


def _read_boosting(model: Any, content: Mapping[str, Any], _: EstimatorOf) -> None:
    from sklearn._loss.loss import ExponentialLoss, HalfBinomialLoss
    from sklearn.tree import DecisionTreeRegressor

    names = ("trees",) if model.init == "zero" else ("trees", "prior")
    document, *prior = require_parts(content, *names)
    trees = trees_read(document, features=model.n_features_in_, classes=1)
    model.n_classes_, model.n_trees_per_iteration_ = len(model.classes_), 1
    model._loss = ExponentialLoss() if model.loss == "exponential" else HalfBinomialLoss()
    model.init_ = _prior(prior[0], model) if prior else "zero"
    model.n_estimators_ = len(trees)
    model.estimators_ = np.empty((len(trees), 1), dtype=object)
    for row, tree in enumerate(trees):
        made = DecisionTreeRegressor(max_depth=model.max_depth)
        made.n_features_in_, made.n_outputs_, made.tree_ = model.n_features_in_, 1, tree
        model.estimators_[row, 0] = made


def _prior(chances: Any, model: Any) -> Any:
    from sklearn.dummy import DummyClassifier

    if not isinstance(chances, np.ndarray) or chances.shape != CLASSES or chances.dtype != np.float64:
        raise NodeFault("a prior must be two probabilities")
    made = DummyClassifier(strategy="prior")
    made.n_features_in_, made.n_outputs_, made.n_classes_ = model.n_features_in_, 1, len(model.classes_)
    made.classes_, made.class_prior_ = np.arange(len(model.classes_), dtype=np.float64), chances
    made._strategy, made.sparse_output_ = "prior", False
    return made


_HISTOGRAM_LOSSES = ("log_loss", "squared_error")


def _write_histogram(state: State, _: NodeOf) -> dict[str, Any]:
    if "_predictors" not in state:
        return {}
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    if state.get("loss") not in _HISTOGRAM_LOSSES:
        raise NodeFault(f"loss must be one of {', '.join(_HISTOGRAM_LOSSES)}")
    if state.get("is_categorical_") is not None or state.get("_preprocessor") is not None:
        raise NodeFault("a model of categories: bundles hold numeric features only")
    rounds = [items_of(each) for each in items_of(state["_predictors"])]
    module = "sklearn.ensemble._hist_gradient_boosting.predictor"
    nodes = [state_of(each, (module, "TreePredictor"))["nodes"] for found in rounds for each in found]
    if len(nodes) != len(rounds):
        raise NodeFault("a model of more than two classes")
    return {
        "baseline": value_of(state["_baseline_prediction"]),
        "trees": joined([records_of(each, PREDICTOR_RECORD_DTYPE) for each in nodes]),
    }


def _read_histogram(model: Any, content: Mapping[str, Any], _: EstimatorOf) -> None:
    from sklearn._loss.loss import HalfBinomialLoss
    from sklearn.preprocessing import LabelEncoder

    _read_predictors_of(model, content)
    model._label_encoder, model._loss = LabelEncoder().fit(model.classes_), HalfBinomialLoss()


def _read_histogram_regression(model: Any, content: Mapping[str, Any], _: EstimatorOf) -> None:
    from sklearn._loss.loss import HalfSquaredError

    if model.loss != "squared_error":
        raise NodeFault("loss must be squared_error")
    _read_predictors_of(model, content)
    model._loss = HalfSquaredError()


def _read_predictors_of(model: Any, content: Mapping[str, Any]) -> None:
    from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper

    baseline, document = require_parts(content, "baseline", "trees")
    if not isinstance(baseline, np.ndarray) or baseline.shape != (1, 1) or baseline.dtype != np.float64:
        raise NodeFault("the baseline must be one number")
    trees = predictors_read(document, features=model.n_features_in_)
    mapper = _BinMapper(n_bins=model.max_bins + 1)
    mapper.is_categorical_ = np.zeros(model.n_features_in_, dtype=np.uint8)
    mapper.bin_thresholds_ = []
    model._bin_mapper, model._baseline_prediction = mapper, baseline
    model._n_features, model.n_trees_per_iteration_ = model.n_features_in_, 1
    model.is_categorical_ = model._preprocessor = model._is_categorical_remapped = model._scorer = None
    model.do_early_stopping_ = model._use_validation_data = False
    model.train_score_ = model.validation_score_ = np.empty(0)
    model._predictors = [[each] for each in trees]


_RANDOM = (
    ("numpy.random._mt19937", "MT19937"),
    ("numpy.random._pcg64", "PCG64"),
    ("numpy.random._pickle", "__bit_generator_ctor"),
    ("numpy.random._pickle", "__generator_ctor"),
    ("numpy.random._pickle", "__randomstate_ctor"),
    ("numpy.random.bit_generator", "SeedSequence"),
    ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
)
_LOSSES = (
    ("sklearn._loss._loss", "CyExponentialLoss"),
    ("sklearn._loss._loss", "CyHalfBinomialLoss"),
    ("sklearn._loss.link", "HalfLogitLink"),
    ("sklearn._loss.link", "Interval"),
    ("sklearn._loss.link", "LogitLink"),
    ("sklearn._loss.loss", "ExponentialLoss"),
    ("sklearn._loss.loss", "HalfBinomialLoss"),
)

TREES: tuple[EstimatorKind, ...] = (
    *(
        EstimatorKind(
            module="sklearn.ensemble._forest",
            name=name,
            fitted=LABELLED,
            write=_write_forest,
            read=_read_forest,
            pickled_with=(_TREE, *_DECISION_TREES),
        )
        for name in ("RandomForestClassifier", "ExtraTreesClassifier")
    ),
    EstimatorKind(
        module="sklearn.ensemble._forest",
        name="RandomForestRegressor",
        fitted={FEATURES: SCALAR},
        write=_write_forest,
        read=_read_regression,
    ),
    EstimatorKind(
        module="sklearn.ensemble._gb",
        name="GradientBoostingClassifier",
        fitted={**LABELLED, "max_features_": SCALAR},
        write=_write_boosting,
        read=_read_boosting,
        pickled_with=(
            _TREE, _REGRESSION_TREE, ("sklearn.dummy", "DummyClassifier"),
            *_LOSSES, *_RANDOM,
        ),
    ),
    EstimatorKind(
        module="sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
        name="HistGradientBoostingClassifier",
        fitted=LABELLED,
        write=_write_histogram,
        read=_read_histogram,
        pickled_with=(
            ("sklearn.ensemble._hist_gradient_boosting.binning", "_BinMapper"),
            ("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor"),
            ("sklearn.preprocessing._label", "LabelEncoder"),
            *_LOSSES, *_RANDOM,
        ),
    ),
    EstimatorKind(
        module="sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
        name="HistGradientBoostingRegressor",
        fitted={FEATURES: SCALAR},
        write=_write_histogram,
        read=_read_histogram_regression,
    ),
)  # fmt: skip
