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

from lockstep.models.pickled_values import (
    Pair,
    function_named,
    items_of,
    state_of,
    value_of,
)
from lockstep.models.trees import NodeFault

State = Mapping[str, Any]
NodeOf = Callable[[Any], dict[str, Any]]
EstimatorOf = Callable[[Any], Any]

# Shapes: a scalar, one value per column of the features, a curve of any length.
SCALAR: tuple[str, ...] = ()
COLUMNS = ("k",)
CURVE = ("n",)
CLASSES = (2,)
FEATURES = "n_features_in_"
# What every classifier has learned.
LABELLED: Mapping[str, tuple[Any, ...]] = {FEATURES: SCALAR, "classes_": CLASSES}

MOST_MEMBERS = 8
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


def _read_seeds(seeds: Any, _: EstimatorOf) -> tuple[int, ...]:
    few = isinstance(seeds, list) and 1 <= len(seeds) <= MOST_MEMBERS
    if not few or not all(type(each) is int and 0 <= each < 2**32 for each in seeds):
        raise NodeFault(f"seeds must be 1 to {MOST_MEMBERS} numbers from 0 on")
    return tuple(seeds)


_SEEDS = Form(lambda seeds, _: list(_read_seeds([value_of(each) for each in seeds], _)), _read_seeds)


def _write_ensemble(state: State, node_of: NodeOf) -> dict[str, Any]:
    if "members_" not in state:
        return {}
    return {"members": [node_of(each) for each in items_of(state["members_"])]}


def _read_ensemble(ensemble: Any, content: Mapping[str, Any], estimator_of: EstimatorOf) -> None:
    (found,) = require_parts(content, "members")
    if not isinstance(found, list) or len(found) != len(ensemble.seeds):
        raise NodeFault("an ensemble must have one member per seed")
    ensemble.members_ = [estimator_of(each) for each in found]


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
        fitted={**LABELLED, "coef_": (1, "k"), "intercept_": (1,), "n_iter_": (1,)},
    ),
    EstimatorKind(
        module="sklearn.linear_model._ridge",
        name="Ridge",
        fitted={FEATURES: SCALAR, "coef_": COLUMNS, "intercept_": SCALAR, "solver_": SCALAR},
    ),
    *(
        EstimatorKind(
            module="lockstep.models.estimators",
            name=name,
            params={"estimator": ESTIMATOR, "seeds": _SEEDS},
            fitted=fitted,
            write=_write_ensemble,
            read=_read_ensemble,
        )
        for name, fitted in (
            ("SeedEnsembleClassifier", LABELLED), ("SeedEnsembleRegressor", {FEATURES: SCALAR}),
        )
    ),
    EstimatorKind(
        module="sklearn.calibration",
        name="CalibratedClassifierCV",
        params={"estimator": ESTIMATOR},
        fitted=LABELLED,
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
