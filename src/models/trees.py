"""Fitted trees of scikit-learn as arrays, and back, checked so that no array can mislead compiled code.

scikit-learn's loops follow children and features without looking at bounds, and its `Tree` copies the nodes
that it is given. So every child must lie in its own tree, be reached once, and every feature must exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

_MOST_TREES = 100_000


class NodeFault(ValueError):
    """A part of a pipeline that no bundle may hold."""


def joined(tables: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the fields of node tables, tree behind tree, and `tree_sizes`, the nodes of each tree."""
    if not tables:
        raise NodeFault("an ensemble without trees")
    whole = np.concatenate(tables)
    columns = {name: np.ascontiguousarray(whole[name]) for name in whole.dtype.names or ()}
    return {"tree_sizes": np.array([len(table) for table in tables], dtype=np.int64), **columns}


def split(columns: Any, record: np.dtype[Any]) -> list[NDArray[Any]]:
    """Return the node tables that `joined` was given; NodeFault where a field does not fit."""
    names = tuple(record.names or ())
    if not isinstance(columns, dict) or set(columns) != {"tree_sizes", *names}:
        raise NodeFault(f"nodes: fields must be tree_sizes, {', '.join(names)}")
    total = len(_column(columns["tree_sizes"], "tree_sizes", np.dtype(np.int64)))
    counts = columns["tree_sizes"]
    if not 1 <= total <= _MOST_TREES or (counts < 1).any():
        raise NodeFault(f"{total} trees: must be 1 to {_MOST_TREES}, none of them empty")
    nodes = len(columns[names[0]]) if isinstance(columns[names[0]], np.ndarray) else 0
    # Not a sum of int64, which wraps.
    if sum(counts.tolist()) != nodes:
        raise NodeFault(f"nodes: {nodes}, but {total} trees announce {sum(counts.tolist())}")
    whole = np.zeros(nodes, record)
    for name in names:
        column = _column(columns[name], name, record[name])
        if len(column) != nodes:
            raise NodeFault(f"nodes: {len(column)} values of {name} for {nodes} nodes")
        whole[name] = column
    return np.split(whole, np.cumsum(counts)[:-1])


def _column(values: Any, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype != dtype:
        raise NodeFault(f"nodes: {name} must be a column of {dtype}")
    return values


def depths(counts: Integers, leaf: NDArray[np.bool_], left: NDArray[Any], right: NDArray[Any]) -> Integers:
    """Return the depth of each tree, int64 (trees,), 0 for a leaf alone.

    counts        int64 (trees,): nodes of each tree, which lie behind each other
    leaf          bool (n,)
    left, right   (n,): children of a node that is no leaf, counted from the root of its tree

    NodeFault where a child lies outside its tree, or is reached twice: then a walk might not end.
    """
    first = np.repeat(np.cumsum(counts) - counts, counts)
    size, tree = np.repeat(counts, counts), np.repeat(np.arange(len(counts)), counts)
    for side in (left, right):
        if ((side < 1) | (side >= size))[~leaf].any():
            raise NodeFault("nodes: a child lies outside its tree")
    found, level = np.zeros(len(counts), dtype=np.int64), 0
    seen = np.zeros(len(leaf), dtype=np.bool_)
    here = np.cumsum(counts) - counts
    while (here := here[~leaf[here]]).size:
        children = np.concatenate((left[here], right[here])).astype(np.int64) + np.tile(first[here], 2)
        level += 1
        if seen[children].any() or np.unique(children).size != children.size:
            raise NodeFault("nodes: a child is reached twice")
        seen[children] = True
        found[tree[children]] = level
        here = children
    return found


def require_features(used: NDArray[Any], features: int) -> None:
    """Raise NodeFault where a node reads a column that its model does not have."""
    if ((used < 0) | (used >= features)).any():
        raise NodeFault(f"nodes: a split reads a column beyond the {features} of its model")


def node_record() -> np.dtype[Any]:
    """Return the dtype of a node of the installed scikit-learn's `Tree`."""
    from sklearn.tree._tree import NODE_DTYPE

    found: np.dtype[Any] = NODE_DTYPE
    return found


def trees_written(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document of trees of one output, from what `Tree.__getstate__` gives for each."""
    values = [state["values"] for state in states]
    if any(each.ndim != 3 or each.shape[1] != 1 for each in values):
        raise NodeFault("trees of several outputs")
    if len({each.shape[2] for each in values}) > 1:
        raise NodeFault("trees of different numbers of classes")
    nodes = joined([state["nodes"] for state in states])
    return {"nodes": nodes, "values": np.ascontiguousarray(np.concatenate(values)[:, 0, :])}


def trees_read(document: Any, *, features: int, classes: int) -> list[Any]:
    """Return the `Tree`s of a document; NodeFault where one of them could mislead a walk."""
    from sklearn.tree._tree import TREE_LEAF, Tree

    if not isinstance(document, dict) or set(document) != {"nodes", "values"}:
        raise NodeFault("trees: must have nodes and values")
    tables, values = split(document["nodes"], node_record()), document["values"]
    whole = np.concatenate(tables)
    shape = (len(whole), classes)
    if not isinstance(values, np.ndarray) or values.dtype != np.float64 or values.shape != shape:
        raise NodeFault(f"trees: values must be float64 of shape {shape}")
    leaf = whole["left_child"] == TREE_LEAF
    deep = depths(document["nodes"]["tree_sizes"], leaf, whole["left_child"], whole["right_child"])
    require_features(whole["feature"][~leaf], features)
    made, start, width = [], 0, np.array([classes], dtype=np.intp)
    for table, depth in zip(tables, deep.tolist(), strict=True):
        tree, stop = Tree(features, width, 1), start + len(table)
        own = np.ascontiguousarray(values[start:stop]).reshape(len(table), 1, classes)
        tree.__setstate__(
            {"max_depth": depth, "node_count": len(table), "nodes": table.copy(), "values": own}
        )
        made.append(tree)
        start = stop
    return made


def predictors_read(document: Any, *, features: int) -> list[Any]:
    """Return the predictors of histogram gradient boosting, one per tree; NodeFault as for `trees_read`."""
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    tables = split(document, PREDICTOR_RECORD_DTYPE)
    whole = np.concatenate(tables)
    leaf = whole["is_leaf"] != 0
    depths(document["tree_sizes"], leaf, whole["left"].astype(np.int64), whole["right"].astype(np.int64))
    require_features(whole["feature_idx"][~leaf], features)
    if whole["is_categorical"].any():
        raise NodeFault("a split by category: bundles hold numeric features only")
    none = np.zeros((0, 8), dtype=np.uint32)
    return [TreePredictor(table.copy(), none, none) for table in tables]
