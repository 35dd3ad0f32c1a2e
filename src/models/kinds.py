"""The classes that a pipeline may be made of, an explicit list, and what of each is kept.

A new kind is one entry of `KINDS`. Of what `fit` has learned, name the attributes that `predict_proba` or
`transform` reads, with their shapes; what is no number, text or array of numbers gets functions of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from lockstep.models.pickle_machine import Pickled
from lockstep.models.pickled_values import (
    Pair,
    class_of,
    function_named,
    items_of,
    records_of,
    state_of,
    value_of,
)
from lockstep.models.trees import NodeFault, joined, node_record, predictors_read, trees_read, trees_written

State = Mapping[str, Any]
NodeOf = Callable[[Any], dict[str, Any]]
EstimatorOf = Callable[[Any], Any]

# Shapes: a scalar, one value per column of the features, a curve of any length.
SCALAR: tuple[str, ...] = ()
COLUMNS = ("k",)
CURVE = ("n",)
CLASSES = (2,)
FEATURES = "n_features_in_"

_TREE = ("sklearn.tree._tree", "Tree")
_DECISION_TREES = tuple(
    ("sklearn.tree._classes", name) for name in ("DecisionTreeClassifier", "ExtraTreeClassifier")
)
_REGRESSION_TREE = ("sklearn.tree._classes", "DecisionTreeRegressor")
_MOST_COLUMNS = 100_000


class Form(NamedTuple):
    """How an argument that is no plain value becomes one, and back."""

    write: Callable[[Any, NodeOf], Any]
    read: Callable[[Any, EstimatorOf], Any]


@dataclass(frozen=True, kw_only=True)
class EstimatorKind:
    """A class that a bundle may hold.

    fitted         attributes by name, with their shapes
    params         arguments of the constructor that are no plain values
    write, read    what else `fit` has learned: attributes -> document, and a document onto a new estimator
    names, make    where they are not scikit-learn's: names of the arguments, and the constructor
    pickled_with   what else a pickle of schema 1 names
    """

    module: str
    name: str
    fitted: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    params: Mapping[str, Form] = field(default_factory=dict)
    write: Callable[[State, NodeOf], dict[str, Any]] | None = None
    read: Callable[[Any, Mapping[str, Any], EstimatorOf], None] | None = None
    names: Callable[[Any], Sequence[str]] = lambda cls: tuple(cls._get_param_names())
    make: Callable[[Any, dict[str, Any]], Any] = lambda cls, arguments: cls(**arguments)
    pickled_with: Sequence[Pair] = ()

    @property
    def pair(self) -> Pair:
        """Module and name."""
        return (self.module, self.name)

    @property
    def parameters(self) -> Sequence[str]:
        """Names of the constructor's arguments."""
        return self.names(self._class)

    def made(self, arguments: dict[str, Any]) -> Any:
        """Return an unfitted estimator."""
        return self.make(self._class, arguments)

    @property
    def _class(self) -> Any:
        return getattr(importlib.import_module(self.module), self.name)

    def require_shapes(self, fitted: Mapping[str, Any]) -> None:
        """Raise NodeFault where an attribute is not of its declared shape, numbers only."""
        features = fitted.get(FEATURES)
        if features is not None and not (type(features) is int and 1 <= features <= _MOST_COLUMNS):
            raise NodeFault(f"{self.name}: {FEATURES} must be a number from 1 to {_MOST_COLUMNS}")
        for name, value in fitted.items():
            shape = tuple(features if side == "k" else side for side in self.fitted[name])
            if not _has_shape(value, shape):
                raise NodeFault(f"{self.name}: {name} must be of shape {shape}")


def _has_shape(value: Any, shape: tuple[Any, ...]) -> bool:
    if not shape:
        return type(value) in (bool, int, float, str)
    if not isinstance(value, np.ndarray) or value.ndim != len(shape):
        return False
    return all(side in ("n", length) for side, length in zip(shape, value.shape, strict=True))


def require_parts(content: Mapping[str, Any], *names: str) -> list[Any]:
    """Return the parts of a document by name; NodeFault where it has others."""
    if set(content) != set(names):
        raise NodeFault(f"must hold {', '.join(names)}")
    return [content[name] for name in names]


def _estimator(value: Any, node_of: NodeOf) -> Any:
    return None if value is None else node_of(value)


ESTIMATOR = Form(_estimator, lambda node, estimator_of: None if node is None else estimator_of(node))


def _nothing(value: Any, _: Any) -> None:
    if value is not None:
        raise NodeFault("memory must be nothing: a bundle writes no files")


def _write_steps(steps: Any, node_of: NodeOf) -> list[Any]:
    return [
        [name, each if each in (None, "passthrough") else node_of(each)] for name, each in map(tuple, steps)
    ]


def _read_steps(steps: Any, estimator_of: EstimatorOf) -> list[Any]:
    return [
        (str(name), each if each in (None, "passthrough") else estimator_of(each)) for name, each in steps
    ]


def _function(module: str, *names: str) -> Form:
    def write(value: Any, _: NodeOf) -> str:
        found = function_named(value)
        if found[0] != module or found[1] not in names:
            raise NodeFault(f"{'.'.join(found)}: none of {', '.join(names)}")
        return found[1]

    def read(name: Any, _: EstimatorOf) -> Any:
        if name not in names:
            raise NodeFault(f"{str(name)[:40]!r}: none of {', '.join(names)}")
        return getattr(importlib.import_module(module), name)

    return Form(write, read)


def _read_columns(columns: Any, _: EstimatorOf) -> tuple[int, ...]:
    if not isinstance(columns, list) or not all(type(each) is int and each >= 0 for each in columns):
        raise NodeFault("columns must be numbers from 0 on")
    return tuple(columns)


_CHOSEN = Form(lambda columns, _: [value_of(each) for each in columns], _read_columns)
_LIMITS = Form(lambda limits, _: [value_of(each) for each in limits], lambda limits, _: tuple(limits))
_SCORES = ("f_classif", "chi2")
_SCORE = _function("sklearn.feature_selection._univariate_selection", *_SCORES)


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
    trees = [state_of(each, *_DECISION_TREES) for each in items_of(state["estimators_"])]
    return {
        "trees": _trees_of(trees),
        "random_state": np.array([value_of(each["random_state"]) for each in trees], dtype=np.int64),
        "max_features": value_of(trees[0]["max_features_"]),
    }


def _read_forest(forest: Any, content: Mapping[str, Any], _: EstimatorOf) -> None:
    most, seeds, document = require_parts(content, "max_features", "random_state", "trees")
    trees = trees_read(document, features=forest.n_features_in_, classes=len(forest.classes_))
    if not isinstance(seeds, np.ndarray) or seeds.shape != (len(trees),) or seeds.dtype != np.int64:
        raise NodeFault("one seed per tree must be there")
    forest.n_outputs_, forest.n_classes_ = 1, len(forest.classes_)
    forest.estimator_ = forest.estimator
    settings = {name: getattr(forest, name) for name in forest.estimator_params}
    forest.estimators_ = []
    for tree, seed in zip(trees, seeds.tolist(), strict=True):
        made = type(forest.estimator)(**settings)
        made.random_state, made.max_features_, made.tree_ = seed, most, tree
        made.n_features_in_, made.n_outputs_ = forest.n_features_in_, 1
        made.n_classes_, made.classes_ = (
            len(forest.classes_),
            np.arange(len(forest.classes_), dtype=np.float64),
        )
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


def _write_histogram(state: State, _: NodeOf) -> dict[str, Any]:
    if "_predictors" not in state:
        return {}
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

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
    from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper
    from sklearn.preprocessing import LabelEncoder

    baseline, document = require_parts(content, "baseline", "trees")
    if not isinstance(baseline, np.ndarray) or baseline.shape != (1, 1) or baseline.dtype != np.float64:
        raise NodeFault("the baseline must be one number")
    trees = predictors_read(document, features=model.n_features_in_)
    mapper = _BinMapper(n_bins=model.max_bins + 1)
    mapper.is_categorical_ = np.zeros(model.n_features_in_, dtype=np.uint8)
    mapper.bin_thresholds_ = []
    model._bin_mapper, model._baseline_prediction = mapper, baseline
    model._label_encoder, model._loss = LabelEncoder().fit(model.classes_), HalfBinomialLoss()
    model._n_features, model.n_trees_per_iteration_ = model.n_features_in_, 1
    model.is_categorical_ = model._preprocessor = model._is_categorical_remapped = model._scorer = None
    model.do_early_stopping_ = model._use_validation_data = False
    model.train_score_ = model.validation_score_ = np.empty(0)
    model._predictors = [[each] for each in trees]


_CALIBRATED = ("sklearn.calibration", "_CalibratedClassifier")
_METHODS = ("isotonic", "sigmoid")


def _write_calibrated(state: State, node_of: NodeOf) -> dict[str, Any]:
    if "calibrated_classifiers_" not in state:
        return {}
    found = []
    for each in items_of(state["calibrated_classifiers_"]):
        own = state_of(each, _CALIBRATED)
        calibrators = [node_of(one) for one in items_of(own["calibrators"])]
        found.append({"calibrators": calibrators, "estimator": node_of(own["estimator"])})
    return {"calibrated": found}


def _read_calibrated(model: Any, content: Mapping[str, Any], estimator_of: EstimatorOf) -> None:
    from sklearn.calibration import _CalibratedClassifier

    (found,) = require_parts(content, "calibrated")
    if model.method not in _METHODS or not isinstance(found, list) or not found:
        raise NodeFault(f"calibration must be one of {', '.join(_METHODS)}, of one model at least")
    model.calibrated_classifiers_ = [
        _CalibratedClassifier(
            estimator_of(each["estimator"]),
            [estimator_of(one) for one in each["calibrators"]],
            classes=model.classes_,
            method=model.method,
        )
        for each in found
    ]


def _read_curve(curve: Any, content: Mapping[str, Any], _: EstimatorOf) -> None:
    require_parts(content)
    if len(curve.X_thresholds_) != len(curve.y_thresholds_) or not len(curve.X_thresholds_):
        raise NodeFault("a calibration curve must have as many values as thresholds")
    curve._build_f(curve.X_thresholds_, curve.y_thresholds_)


_FITTED = {FEATURES: SCALAR, "classes_": CLASSES}
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

# Where classes of ours are now that earlier bundles name by where they were: a bundle of schema 1 holds
# dotted names. When such a class moves, its old name comes here, and stays.
MOVED: Mapping[Pair, Pair] = {
    ("lockstep.models.columns", "ColumnSelector"): ("lockstep.models.estimators", "ColumnSelector"),
}

SKLEARN: tuple[EstimatorKind, ...] = (
    EstimatorKind(
        module="sklearn.pipeline",
        name="Pipeline",
        params={"memory": Form(_nothing, _nothing), "steps": Form(_write_steps, _read_steps)},
    ),
    EstimatorKind(
        module="lockstep.models.estimators",
        name="ColumnSelector",
        params={"columns": _CHOSEN},
        fitted={FEATURES: SCALAR},
    ),
    EstimatorKind(
        module="sklearn.feature_selection._univariate_selection",
        name="SelectKBest",
        params={"score_func": _SCORE},
        fitted={FEATURES: SCALAR, "scores_": COLUMNS, "pvalues_": COLUMNS},
        pickled_with=[("sklearn.feature_selection._univariate_selection", each) for each in _SCORES],
    ),
    EstimatorKind(
        module="sklearn.feature_selection._variance_threshold",
        name="VarianceThreshold",
        fitted={FEATURES: SCALAR, "variances_": COLUMNS},
    ),
    EstimatorKind(
        module="sklearn.preprocessing._data",
        name="StandardScaler",
        fitted={
            FEATURES: SCALAR, "mean_": COLUMNS, "var_": COLUMNS, "scale_": COLUMNS, "n_samples_seen_": SCALAR,
        },
    ),
    EstimatorKind(
        module="sklearn.preprocessing._data",
        name="MinMaxScaler",
        params={"feature_range": _LIMITS},
        fitted={
            FEATURES: SCALAR, "min_": COLUMNS, "scale_": COLUMNS, "data_min_": COLUMNS, "data_max_": COLUMNS,
            "data_range_": COLUMNS, "n_samples_seen_": SCALAR,
        },
    ),
    EstimatorKind(
        module="sklearn.preprocessing._data",
        name="RobustScaler",
        params={"quantile_range": _LIMITS},
        fitted={FEATURES: SCALAR, "center_": COLUMNS, "scale_": COLUMNS},
    ),
    EstimatorKind(
        module="sklearn.linear_model._logistic",
        name="LogisticRegression",
        fitted={**_FITTED, "coef_": (1, "k"), "intercept_": (1,), "n_iter_": (1,)},
    ),
    *(
        EstimatorKind(
            module="sklearn.ensemble._forest",
            name=name,
            fitted=_FITTED,
            write=_write_forest,
            read=_read_forest,
            pickled_with=(_TREE, *_DECISION_TREES),
        )
        for name in ("RandomForestClassifier", "ExtraTreesClassifier")
    ),
    EstimatorKind(
        module="sklearn.ensemble._gb",
        name="GradientBoostingClassifier",
        fitted={**_FITTED, "max_features_": SCALAR},
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
        fitted=_FITTED,
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
        module="sklearn.calibration",
        name="CalibratedClassifierCV",
        params={"estimator": ESTIMATOR},
        fitted=_FITTED,
        write=_write_calibrated,
        read=_read_calibrated,
        pickled_with=(_CALIBRATED,),
    ),
    EstimatorKind(
        module="sklearn.calibration", name="_SigmoidCalibration", fitted={"a_": SCALAR, "b_": SCALAR}
    ),
    EstimatorKind(
        module="sklearn.isotonic",
        name="IsotonicRegression",
        fitted={
            "increasing_": SCALAR, "X_min_": SCALAR, "X_max_": SCALAR, "X_thresholds_": CURVE,
            "y_thresholds_": CURVE,
        },
        read=_read_curve,
    ),
)  # fmt: skip
