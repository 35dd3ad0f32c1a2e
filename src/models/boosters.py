"""LightGBM's and XGBoost's classifiers and regressors as nodes, through the libraries' own model formats.

Both libraries trust the model that they load: a child or a column that is not there sends their compiled
loops astray. What they are handed is therefore put together here from parts that were understood and checked.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.models.kinds import CLASSES, EstimatorKind, EstimatorOf, Form, NodeOf, State, require_parts
from lockstep.models.pickle_machine import Pickled
from lockstep.models.pickled_values import state_of, value_of
from lockstep.models.trees import Integers, NodeFault, depths, joined, require_features, split
from lockstep.models.ubjson import ubjson_read, ubjson_written

_END, _GAP = "end of trees", "\n\n\n"
# A finite number, as C prints it: LightGBM ends the process where it cannot read one.
_REAL = r"-?[0-9]{1,20}+(?:\.[0-9]{1,20}+)?+(?:e[+-](?:[0-2]?[0-9]?[0-9]|30[0-7])(?![0-9]))?+"
_WHOLE = r"-?[0-9]{1,7}+"
BINARY, REGRESSION = "binary", "regression"
LOGISTIC, SQUARED = "binary:logistic", "reg:squarederror"
# Splits by category have odd numbers.
_EVEN = r"(?:1[02]|[02468])"
_LINES: Mapping[str, str] = {
    "split_feature": _WHOLE, "split_gain": _REAL, "threshold": _REAL, "decision_type": _EVEN,
    "left_child": _WHOLE, "right_child": _WHOLE, "leaf_value": _REAL, "leaf_weight": _REAL,
    "leaf_count": _WHOLE, "internal_value": _REAL, "internal_weight": _REAL, "internal_count": _WHOLE,
}  # fmt: skip
_TREE = re.compile(
    r"Tree=([0-9]{1,6})\nnum_leaves=([0-9]{1,6})\nnum_cat=0\n"
    + "".join(f"{name}=((?:{one}(?: {one})*+)?+)\n" for name, one in _LINES.items())
    + f"is_linear=0\nshrinkage={_REAL}"
)
_FIRST = re.compile(
    r"tree\nversion=v[0-9]\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=([0-9]{1,5})\n"
    r"objective=(binary sigmoid:1|regression)\nfeature_names=([^\n]*)\nfeature_infos=([^\n]*)\n"
    r"tree_sizes=([^\n]*)\n\n"
)
_RANGE = re.compile(rf"none|\[{_REAL}:{_REAL}\]")
# Arguments beyond scikit-learn's that training gives; others could name files or machines.
_OTHERS = ("deterministic", "force_col_wise", "force_row_wise", "verbose")


def lightgbm_text(text: Any, objective: str) -> tuple[str, int]:
    """Return a model of an objective, without training parameters, and how many columns it reads.

    NodeFault where a line is not as LightGBM writes it, or a tree could mislead a walk.
    """
    found = _FIRST.match(text) if isinstance(text, str) else None
    if found is None or found.group(2).partition(" ")[0] != objective:
        raise NodeFault(f"a LightGBM model of another kind than plain trees with objective {objective}")
    features = int(found.group(1)) + 1
    names, ranges = found.group(3).split(" "), found.group(4).split(" ")
    if names != [f"Column_{number}" for number in range(features)]:
        raise NodeFault("a LightGBM model with names of columns")
    if len(ranges) != features or not all(map(_RANGE.fullmatch, ranges)):
        raise NodeFault("a LightGBM model with ranges of other columns")
    body, _, _ = text[found.end() :].partition(_END)
    *blocks, last = body.split(_GAP)
    trees = [_TREE.fullmatch(block) for block in blocks]
    if last or not trees:
        raise NodeFault("a LightGBM model without trees")
    _require_trees(trees, features)
    sizes = " ".join(str(len(block) + len(_GAP)) for block in blocks)
    whole = (text[: found.start(5)], sizes, "\n\n", *(f"{block}{_GAP}" for block in blocks), f"{_END}\n")
    return "".join(whole), features


def _require_trees(trees: Sequence[re.Match[str] | None], features: int) -> None:
    """Raise NodeFault where a tree has other lines, lengths, columns or children than it says."""
    leaves = []
    for number, tree in enumerate(trees):
        if tree is None or int(tree.group(1)) != number or tree.group(2) == "0":
            raise NodeFault(f"tree {number}: other lines than {', '.join(_LINES)}")
        leaves.append(int(tree.group(2)))
        for place, name in enumerate(_LINES, start=3):
            text = tree.group(place)
            # LightGBM leaves out the weight of a leaf that is alone.
            alone = leaves[-1] == 1 and name == "leaf_weight"
            count = leaves[-1] - (not name.startswith("leaf_") or alone)
            if (text.count(" ") + 1 if text else 0) != count:
                raise NodeFault(f"tree {number}: {name} must be {count} numbers")
    places = dict(zip(_LINES, range(3, 99), strict=False))
    columns, left, right = (
        np.array([int(one) for tree in trees if tree for one in tree.group(places[name]).split()], np.int64)
        for name in ("split_feature", "left_child", "right_child")
    )
    require_features(columns, features)
    _require_walks(np.array(leaves), left, right)


def _require_walks(leaves: Integers, left: Integers, right: Integers) -> None:
    """Raise NodeFault where a walk through the inner nodes of trees with so many leaves might not end.

    A child below 0 is a leaf, the first of which is -1; here the leaves follow the inner nodes.
    """
    inner, nodes = leaves - 1, 2 * leaves - 1
    tree = np.repeat(np.arange(len(leaves)), inner)
    place = np.arange(len(left)) - (np.cumsum(inner) - inner)[tree] + (np.cumsum(nodes) - nodes)[tree]
    leaf = np.ones(nodes.sum(), dtype=np.bool_)
    leaf[place] = False
    sides = []
    for side in (left, right):
        children = np.zeros(leaf.size, dtype=np.int64)
        children[place] = np.where(side < 0, inner[tree] - 1 - side, side)
        sides.append(children)
    depths(nodes, leaf, *sides)


def _write_lightgbm(state: State, _: NodeOf) -> dict[str, Any]:
    if state.get("_Booster") is None:
        return {}
    booster, classes = state["_Booster"], value_of(state["_classes"])
    objective = BINARY if isinstance(classes, np.ndarray) else REGRESSION
    text = (
        state_of(booster)["_handle"]
        if isinstance(booster, Pickled)
        else booster.model_to_string(num_iteration=-1)
    )
    model, _features = lightgbm_text(text, objective)
    return {"model": model} if objective == REGRESSION else {"classes": classes, "model": model}


def _read_lightgbm(model: Any, content: Mapping[str, Any], _: EstimatorOf) -> None:
    from sklearn.preprocessing import LabelEncoder

    classes, text = require_parts(content, "classes", "model")
    if not isinstance(classes, np.ndarray) or classes.shape != CLASSES:
        raise NodeFault("a model must have two classes")
    model._le = LabelEncoder().fit(classes)
    model._classes, model._n_classes = classes, len(classes)
    _read_booster(model, text, BINARY)


def _read_lightgbm_regression(model: Any, content: Mapping[str, Any], _: EstimatorOf) -> None:
    (text,) = require_parts(content, "model")
    _read_booster(model, text, REGRESSION)


def _read_booster(model: Any, text: Any, objective: str) -> None:
    library: Any = importlib.import_module("lightgbm")
    whole, features = lightgbm_text(text, objective)
    model._n_features = model._n_features_in = features
    model._objective, model._class_weight, model.fitted_ = objective, None, True
    model._class_map = None
    model._best_iteration, model._best_score, model._evals_result = 0, {}, {}
    try:
        model._Booster = library.Booster(model_str=whole)
        # It looks at its arguments when it is asked, and its errors are of no kind that is caught elsewhere.
        model.predict(np.zeros((1, features)))
    except library.basic.LightGBMError as error:
        raise NodeFault(f"LightGBM refuses the model: {error}") from error


def _read_others(others: Any, _: EstimatorOf) -> dict[str, Any]:
    if not isinstance(others, dict) or not set(others) <= set(_OTHERS):
        raise NodeFault(f"other arguments than {', '.join(_OTHERS)}")
    return {name: value_of(value) for name, value in others.items()}


def _write_others(others: Any, estimator_of: NodeOf) -> dict[str, Any]:
    return dict(sorted(_read_others(others, estimator_of).items()))


def _lightgbm(objective: str) -> Callable[[Any, dict[str, Any]], Any]:
    def make(cls: Any, arguments: dict[str, Any]) -> Any:
        others = arguments.pop("_other_params", {})
        if arguments.get("objective") not in (None, objective) or arguments.get("n_jobs") not in (None, 1):
            raise NodeFault(f"objective must be {objective}, n_jobs 1")
        return cls(**arguments, **others)

    return make


_XGBOOST_NODE = np.dtype([
    ("base_weights", "f4"), ("default_left", "u1"), ("left_children", "i4"), ("loss_changes", "f4"),
    ("right_children", "i4"), ("split_conditions", "f4"), ("split_indices", "i4"), ("sum_hessian", "f4"),
])  # fmt: skip
_NO_PARENT, _NO_CHILD = 2**31 - 1, -1
_NUMBER = re.compile(r"\[?-?\d{1,12}(\.\d{1,12})?([eE][+-]?\d{1,3})?\]?")


def _write_xgboost(state: State, _: NodeOf) -> dict[str, Any]:
    if "_Booster" not in state:
        return {}
    booster = state["_Booster"]
    if isinstance(booster, Pickled):
        handle = state_of(booster)["handle"]
        # `bytearray(content)`, as pickles of this protocol make one.
        found = ubjson_read(handle.arguments[0])["Model"]
    else:
        found = ubjson_read(bytes(booster.save_raw("ubj")))
    learner = found["learner"]
    model, known = learner["gradient_booster"]["model"], learner["learner_model_param"]
    plain = (
        learner["gradient_booster"]["name"] == "gbtree"
        and learner["objective"]["name"] == state["objective"]
        and state["objective"] in (LOGISTIC, SQUARED)
        and not learner["attributes"]
        and not learner["feature_names"]
        and model["gbtree_model_param"]["num_parallel_tree"] == "1"
        and known["num_target"] == "1"
    )
    if not plain:
        raise NodeFault(
            f"an XGBoost model of another kind than plain trees with objective {LOGISTIC} or {SQUARED}"
        )
    return {
        "base_score": known["base_score"],
        "categories": "cats" in model,
        "features": int(known["num_feature"]),
        "scale_pos_weight": learner["objective"]["reg_loss_param"]["scale_pos_weight"],
        "trees": joined([_xgboost_table(tree) for tree in model["trees"]]),
        "version": found["version"],
    }


def _xgboost_table(tree: Mapping[str, Any]) -> NDArray[Any]:
    if tree["tree_param"]["num_deleted"] != "0" or tree["split_type"].any():
        raise NodeFault("an XGBoost model with removed nodes or splits by category")
    table = np.zeros(len(tree["left_children"]), _XGBOOST_NODE)
    for name in _XGBOOST_NODE.names or ():
        table[name] = tree[name]
    return table


def _read_xgboost(model: Any, content: Mapping[str, Any], _: EstimatorOf) -> None:
    _load_xgboost(model, content, LOGISTIC)
    model.n_classes_ = 2


def _read_xgboost_regression(model: Any, content: Mapping[str, Any], _: EstimatorOf) -> None:
    _load_xgboost(model, content, SQUARED)


def _load_xgboost(model: Any, content: Mapping[str, Any], objective: str) -> None:
    library: Any = importlib.import_module("xgboost")
    found = _xgboost_model(content, objective)
    model._Booster = library.Booster({"nthread": 1})
    model._Booster.load_model(bytearray(ubjson_written(found)))


def _xgboost_model(content: Mapping[str, Any], objective: str) -> dict[str, Any]:
    """Return the model in XGBoost's form; NodeFault where a part is wrong."""
    names = ("base_score", "categories", "features", "scale_pos_weight", "trees", "version")
    score, categories, features, weight, document, version = require_parts(content, *names)
    fits = type(features) is int and 1 <= features <= 100_000 and type(categories) is bool
    texts = all(isinstance(each, str) and _NUMBER.fullmatch(each) for each in (score, weight))
    numbers = isinstance(version, list) and len(version) == 3
    if (
        not fits
        or not texts
        or not numbers
        or not all(type(each) is int and 0 <= each < 1000 for each in version)
    ):
        raise NodeFault("an XGBoost model with wrong settings")
    tables = split(document, _XGBOOST_NODE)
    whole = np.concatenate(tables)
    leaf = whole["left_children"] == _NO_CHILD
    if (whole["right_children"][leaf] != _NO_CHILD).any() or (whole["default_left"] > 1).any():
        raise NodeFault("nodes: a leaf with a child")
    depths(document["tree_sizes"], leaf, whole["left_children"], whole["right_children"])
    require_features(whole["split_indices"], features)
    trees = [_xgboost_tree(number, table, features) for number, table in enumerate(tables)]
    empty = np.empty(0, np.int32)
    forest = {
        **({"cats": {"enc": [], "feature_segments": empty, "sorted_idx": empty}} if categories else {}),
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
        "iteration_indptr": list(range(len(trees) + 1)),
        "tree_info": [0] * len(trees),
        "trees": trees,
    }
    known = {
        "base_score": score, "boost_from_average": "1", "num_class": "0", "num_feature": str(features),
        "num_target": "1",
    }  # fmt: skip
    learner = {
        "attributes": {},
        "feature_names": [],
        "feature_types": [],
        "gradient_booster": {"model": forest, "name": "gbtree"},
        "learner_model_param": known,
        "objective": {"name": objective, "reg_loss_param": {"scale_pos_weight": weight}},
    }
    return {"learner": learner, "version": version}


def _xgboost_tree(number: int, table: NDArray[Any], features: int) -> dict[str, Any]:
    parents = np.full(len(table), _NO_PARENT, dtype=np.int32)
    inner = np.flatnonzero(table["left_children"] != _NO_CHILD)
    for side in ("left_children", "right_children"):
        parents[table[side][inner]] = inner
    none, long = np.empty(0, np.int32), np.empty(0, np.int64)
    return {
        **{name: table[name] for name in table.dtype.names or ()},
        "categories": none,
        "categories_nodes": none,
        "categories_segments": long,
        "categories_sizes": long,
        "id": number,
        "parents": parents,
        "split_type": np.zeros(len(table), dtype=np.uint8),
        "tree_param": {
            "num_deleted": "0", "num_feature": str(features), "num_nodes": str(len(table)),
            "size_leaf_vector": "1",
        },
    }  # fmt: skip


def _xgboost(objective: str) -> Callable[[Any, dict[str, Any]], Any]:
    def make(cls: Any, arguments: dict[str, Any]) -> Any:
        if arguments.get("objective") not in (None, objective) or arguments.get("device") not in (
            None,
            "cpu",
        ):
            raise NodeFault(f"objective must be {objective}, device cpu")
        return cls(**arguments)

    return make


def _xgboost_names(cls: Any) -> Sequence[str]:
    return tuple(cls().get_params(deep=False))


BOOSTERS: tuple[EstimatorKind, ...] = (
    EstimatorKind(
        module="lightgbm.sklearn",
        name="LGBMClassifier",
        params={"_other_params": Form(_write_others, _read_others)},
        names=lambda cls: (*cls._get_param_names(), "_other_params"),
        make=_lightgbm(BINARY),
        write=_write_lightgbm,
        read=_read_lightgbm,
        pickled_with=(
            ("lightgbm.basic", "Booster"), ("collections", "OrderedDict"), ("collections", "defaultdict"),
            ("sklearn.preprocessing._label", "LabelEncoder"),
        ),
    ),
    EstimatorKind(
        module="lightgbm.sklearn",
        name="LGBMRegressor",
        params={"_other_params": Form(_write_others, _read_others)},
        names=lambda cls: (*cls._get_param_names(), "_other_params"),
        make=_lightgbm(REGRESSION),
        write=_write_lightgbm,
        read=_read_lightgbm_regression,
    ),
    EstimatorKind(
        module="xgboost.sklearn",
        name="XGBClassifier",
        names=_xgboost_names,
        make=_xgboost(LOGISTIC),
        write=_write_xgboost,
        read=_read_xgboost,
        pickled_with=(("xgboost.core", "Booster"), ("builtins", "bytearray")),
    ),
    EstimatorKind(
        module="xgboost.sklearn",
        name="XGBRegressor",
        names=_xgboost_names,
        make=_xgboost(SQUARED),
        write=_write_xgboost,
        read=_read_xgboost_regression,
    ),
)  # fmt: skip
