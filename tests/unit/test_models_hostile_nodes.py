"""Nodes in which one value was changed to mislead the library that they are read into: each is refused."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ForeignPickle
from lockstep.models.nodes import pipeline_node, pipeline_of
from lockstep.models.pickling import pickled, unpickled
from support.families import ENSEMBLES, FAMILIES, REGRESSORS
from support.models import ranges, samples

# Kinds that answer with a value, and ensembles, beside those of the vetoes.
VALUE = "value of "
HISTOGRAM, BOOSTING, FOREST = "hist_gradient_boosting", "gradient_boosting", "random_forest"
LIGHTGBM, XGBOOST = "lightgbm", "xgboost"
Spoil = Callable[[dict[str, Any]], object]


@functools.cache
def fitted(family: str) -> Any:
    _, features, target = samples()
    if family.startswith(VALUE):
        return REGRESSORS[family.removeprefix(VALUE)]().fit(features, ranges())
    return {**FAMILIES, **ENSEMBLES}[family]().fit(features, target)


def step(number: int, part: str, **values: Any) -> Spoil:
    """Return what changes the arguments or the fitted attributes of a pipeline's step."""
    return lambda node: node["params"]["steps"][number][1][part].update(values)


def scaler(**attributes: Any) -> Spoil:
    """Return what puts a scaler with these attributes into a pipeline."""
    other = {"class": "StandardScaler", "params": {}, "fitted": attributes}
    return lambda node: node["params"].update(steps=[["scale", other]])


def nodes(node: dict[str, Any]) -> dict[str, Any]:
    found = node["fitted"]["trees"]
    return found.get("nodes", found)


def loop(left: str, right: str) -> Spoil:
    """Return what makes the first inner nodes of a tree, but for its root, each other's children."""

    def spoil(node: dict[str, Any]) -> None:
        table = nodes(node)
        inner = np.flatnonzero(table[left][: table["tree_sizes"][0]].astype(np.int64) > 0)[1:3]
        assert len(inner) == 2
        table[left][inner] = table[right][inner] = inner[::-1]

    return spoil


def put(name: str, value: Any, place: int = 0) -> Spoil:
    def spoil(node: dict[str, Any]) -> None:
        nodes(node)[name][place] = value

    return spoil


def drop(*path: str) -> Spoil:
    def spoil(node: dict[str, Any]) -> None:
        for name in path[:-1]:
            node = node[name]
        del node[path[-1]]

    return spoil


def change(path: str, value: Any) -> Spoil:
    def spoil(node: dict[str, Any]) -> None:
        *names, last = path.split(".")
        for name in names:
            node = node[name]
        node[last] = value(node[last]) if callable(value) else value

    return spoil


def edit(old: str, new: str) -> Spoil:
    """Return what replaces the first `old` in the text of a LightGBM model."""

    def spoil(node: dict[str, Any]) -> None:
        text = node["fitted"]["model"]
        assert old in text
        node["fitted"]["model"] = text.replace(old, new, 1)

    return spoil


def edit_line(name: str, change: Callable[[list[str]], list[str]]) -> Spoil:
    def spoil(node: dict[str, Any]) -> None:
        lines = node["fitted"]["model"].split("\n")
        number = next(n for n, line in enumerate(lines) if line.startswith(f"{name}="))
        lines[number] = f"{name}={' '.join(change(lines[number].partition('=')[2].split()))}"
        node["fitted"]["model"] = "\n".join(lines)

    return spoil


HOSTILE: dict[str, tuple[str, Spoil, str]] = {
    "trees: a loop": (FOREST, loop("left_child", "right_child"), "a child is reached twice"),
    "trees: a child beyond": (FOREST, put("left_child", 10**9), "a child lies outside its tree"),
    "trees: a child before": (FOREST, put("right_child", -7), "a child lies outside its tree"),
    "trees: the root as a child": (FOREST, put("left_child", 0), "a child lies outside its tree"),
    "trees: another column": (FOREST, put("feature", 4), "reads a column beyond the 4"),
    "trees: no column": ("extra_trees", put("feature", -2), "reads a column beyond the 4"),
    "trees: more nodes": (
        FOREST,
        lambda n: nodes(n)["tree_sizes"].__setitem__(0, 10**6),
        "5 trees announce",
    ),
    "trees: an empty one": (FOREST, lambda n: nodes(n)["tree_sizes"].__setitem__(0, 0), "none of them empty"),
    "trees: a wrapped sum": (
        FOREST,
        lambda n: nodes(n)["tree_sizes"].__setitem__(slice(2), [2**62, -(2**62)]),
        "none of them empty",
    ),
    "trees: a shorter column": (
        FOREST,
        lambda n: nodes(n).update(threshold=nodes(n)["threshold"][:-1]),
        "values of threshold",
    ),
    "trees: another type": (
        FOREST,
        lambda n: nodes(n).update(feature=nodes(n)["feature"].astype(np.int32)),
        "feature must be a column of int64",
    ),
    "trees: a field less": (FOREST, drop("fitted", "trees", "nodes", "impurity"), "fields must be"),
    "trees: values of a class": (
        FOREST,
        change("fitted.trees.values", lambda v: v[:, :1].copy()),
        "values must be float64",
    ),
    "trees: fewer seeds": (FOREST, change("fitted.random_state", lambda v: v[:-1]), "one seed per tree"),
    "boosting: a loop": (BOOSTING, loop("left_child", "right_child"), "reached twice"),
    "boosting: no prior": (BOOSTING, drop("fitted", "prior"), "must hold trees, prior"),
    "boosting: a long prior": (BOOSTING, change("fitted.prior", np.zeros(9)), "two probabilities"),
    "histograms: a loop": (HISTOGRAM, loop("left", "right"), "reached twice"),
    "histograms: a child beyond": (HISTOGRAM, put("right", 2**31), "outside its tree"),
    "histograms: another column": (HISTOGRAM, put("feature_idx", 2**40), "a column beyond"),
    "histograms: a category": (HISTOGRAM, put("is_categorical", 1), "a split by category"),
    "histograms: a wide baseline": (
        HISTOGRAM,
        change("fitted.baseline", np.zeros((1, 10**6))),
        "must be one number",
    ),
    "lightgbm: a child beyond": (
        LIGHTGBM,
        edit_line("left_child", lambda v: ["99", *v[1:]]),
        "outside its tree",
    ),
    "lightgbm: a leaf beyond": (
        LIGHTGBM,
        edit_line("left_child", lambda v: ["-99", *v[1:]]),
        "outside its tree",
    ),
    "lightgbm: a loop": (LIGHTGBM, edit_line("left_child", lambda v: ["1", "1", *v[2:]]), "reached twice"),
    "lightgbm: another column": (
        LIGHTGBM,
        edit_line("split_feature", lambda v: ["4", *v[1:]]),
        "beyond the 4",
    ),
    "lightgbm: a category": (
        LIGHTGBM,
        edit_line("decision_type", lambda v: ["1", *v[1:]]),
        "other lines than",
    ),
    "lightgbm: a number less": (LIGHTGBM, edit_line("leaf_value", lambda v: v[1:]), "leaf_value must be"),
    "lightgbm: no number": (LIGHTGBM, edit_line("leaf_value", lambda v: ["x", *v[1:]]), "other lines than"),
    "lightgbm: an endless number": (
        LIGHTGBM,
        edit_line("leaf_value", lambda v: ["1e309", *v[1:]]),
        "other lines",
    ),
    "lightgbm: not a number": (LIGHTGBM, edit_line("threshold", lambda v: ["nan", *v[1:]]), "other lines"),
    "lightgbm: a line more": (
        LIGHTGBM,
        edit("num_cat=0\n", "num_cat=0\ncat_boundaries=0\n"),
        "other lines than",
    ),
    "lightgbm: more leaves": (
        LIGHTGBM,
        edit_line("num_leaves", lambda _: ["999999"]),
        "must be 999998 numbers",
    ),
    "lightgbm: more columns": (
        LIGHTGBM,
        edit_line("max_feature_idx", lambda _: ["99999"]),
        "names of columns",
    ),
    "lightgbm: another objective": (LIGHTGBM, edit("objective=binary", "objective=custom"), "another kind"),
    "lightgbm: no trees": (LIGHTGBM, edit("Tree=0", "Tree=7"), "tree 0: other lines"),
    "lightgbm: machines": (
        LIGHTGBM,
        change("params._other_params", {"machines": "evil:1"}),
        "other arguments than deterministic",
    ),
    "lightgbm: several threads": (LIGHTGBM, change("params.n_jobs", 64), "n_jobs 1"),
    "lightgbm: an argument it refuses": (LIGHTGBM, change("params.boosting_type", "x"), "LightGBM refuses"),
    "xgboost: a loop": (XGBOOST, loop("left_children", "right_children"), "reached twice"),
    "xgboost: a child beyond": (XGBOOST, put("right_children", 10**6), "outside its tree"),
    "xgboost: a leaf with a child": (XGBOOST, put("right_children", 3, -1), "a leaf with a child"),
    "xgboost: another column": (XGBOOST, put("split_indices", 4), "a column beyond the 4"),
    "xgboost: a text as score": (XGBOOST, change("fitted.base_score", "x" * 99), "wrong settings"),
    "xgboost: no columns": (XGBOOST, change("fitted.features", 0), "wrong settings"),
    "xgboost: another objective": (XGBOOST, change("params.objective", "multi:softprob"), "must be binary"),
    "values: a loop": (f"{VALUE}random_forest", loop("left_child", "right_child"), "is reached twice"),
    "values: another column": (f"{VALUE}random_forest", put("feature", 4), "reads a column beyond the 4"),
    "values: two a leaf": (
        f"{VALUE}random_forest",
        change("fitted.trees.values", lambda v: np.repeat(v, 2, axis=1)),
        "values must be float64",
    ),
    "values: a forest of classes": (
        FOREST,
        change("class", "RandomForestRegressor"),
        "unexpected keyword argument 'class_weight'",
    ),
    "values of histograms: a loop": (f"{VALUE}{HISTOGRAM}", loop("left", "right"), "reached twice"),
    "values of histograms: another loss": (
        f"{VALUE}{HISTOGRAM}",
        change("params.loss", "poisson"),
        "loss must be squared_error",
    ),
    "values of lightgbm: a child beyond": (
        f"{VALUE}{LIGHTGBM}",
        edit_line("left_child", lambda v: ["99", *v[1:]]),
        "outside its tree",
    ),
    "values of lightgbm: another objective": (
        f"{VALUE}{LIGHTGBM}",
        edit("objective=regression", "objective=binary sigmoid:1"),
        "another kind",
    ),
    "values of lightgbm: an objective of its own": (
        f"{VALUE}{LIGHTGBM}",
        change("params.objective", "huber"),
        "objective must be regression",
    ),
    "values of xgboost: another column": (f"{VALUE}{XGBOOST}", put("split_indices", 4), "a column beyond"),
    "values of xgboost: another objective": (
        f"{VALUE}{XGBOOST}",
        change("params.objective", "reg:gamma"),
        "objective must be reg:squarederror",
    ),
    "ridge: wide coefficients": (
        f"{VALUE}ridge",
        lambda n: n["params"]["steps"][1][1]["fitted"].update(coef_=np.zeros((10**3, 4))),
        r"coef_ must be of shape \(4,\)",
    ),
    "an ensemble: a member less": (
        f"{VALUE}forests",
        change("fitted.members", lambda v: v[:-1]),
        "one member per seed",
    ),
    "an ensemble: nine seeds": (
        "forests",
        change("params.seeds", list(range(9))),
        "seeds must be 1 to 8 numbers",
    ),
    "an ensemble: a seed in text": ("forests", change("params.seeds", ["1"] * 8), "seeds must be 1 to 8"),
    "an ensemble: another class": (
        "forests",
        lambda n: n["fitted"]["members"][0].update({"class": "subprocess.Popen"}),
        "'subprocess.Popen'",
    ),
    "an ensemble: no members": ("forests", drop("fitted", "members"), "must hold members"),
    "another class": (
        "logistic",
        change("class", "GaussianNB"),
        "holds 'GaussianNB', which no bundle may hold",
    ),
    "a class with a path": ("logistic", change("class", "subprocess.Popen"), "'subprocess.Popen'"),
    "a class that is none": ("logistic", change("class", None), "which no bundle may hold"),
    "another argument": (
        "logistic",
        change("params", {"shell": True}),
        "unexpected keyword argument 'shell'",
    ),
    "another attribute": ("logistic", scaler(transform=1), r"StandardScaler has no \['tr"),
    "a broadcast": (
        "logistic",
        scaler(n_features_in_=4, mean_=np.zeros((10**3, 1))),
        r"mean_ must be of shape \(4,\)",
    ),
    "columns without end": (
        "chain",
        step(0, "fitted", n_features_in_=10**9),
        "must be a number from 1 to 100000",
    ),
    "a column before the first": (
        "chain",
        step(0, "params", columns=[-1]),
        "columns must be numbers from 0 on",
    ),
    "another score": (
        "chain",
        step(2, "params", score_func="os.system"),
        "'os.system': none of f_classif, chi2",
    ),
    "a calibration without a model": ("calibrated", change("fitted.calibrated", []), "of one model at least"),
    "another calibration": (
        "calibrated",
        change("params.method", "temperature"),
        "must be one of isotonic, sigmoid",
    ),
    "a curve of other lengths": (
        "calibrated",
        lambda n: n["fitted"]["calibrated"][0]["calibrators"][0]["fitted"].update(y_thresholds_=np.zeros(1)),
        "as many values as thresholds",
    ),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_node_that_could_mislead_a_library_is_refused(how: str) -> None:
    family, spoil, message = HOSTILE[how]
    node: dict[str, Any] = unpickled(pickled(pipeline_node(fitted(family))), "x")
    pipeline_of(copy.deepcopy(node), "x")
    spoil(node)
    with pytest.raises(ForeignPickle, match=message) as refused:
        pipeline_of(node, "x")
    assert "\n" not in str(refused.value)
