"""Fitted pipelines as nodes of plain values and arrays, and back: no object is pickled.

A node is `{"class": name, "params": what the constructor takes, "fitted": what `fit` has learned}`. The class
is one of an explicit list (`kinds.py`, `tree_kinds.py`, `boosters.py`); of what it has learned, what a
prediction reads is kept, each attribute of a declared shape. Reading constructs exactly these classes and
sets these attributes.

Bundles of schema 1 hold a pickle. It is read as data (`pickle_machine.py`) and becomes the same nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lockstep.errors import ForeignPickle, UnfitBundle
from lockstep.models.boosters import BOOSTERS
from lockstep.models.kinds import MOVED, SKLEARN, EstimatorKind
from lockstep.models.pickle_machine import ARRAYS, Machine, PickleFault
from lockstep.models.pickled_values import NUMPY, Pair, class_of, state_of, value_of
from lockstep.models.tree_kinds import TREES
from lockstep.models.trees import NodeFault

KINDS: Mapping[Pair, EstimatorKind] = {kind.pair: kind for kind in (*SKLEARN, *TREES, *BOOSTERS)}
_BY_NAME: Mapping[str, EstimatorKind] = {kind.name: kind for kind in KINDS.values()}
_NODE = {"class", "params", "fitted"}
_MOST_LEVELS = 8
_SCALARS = (bool, int, float, str, type(None))
# What constructors and numpy raise on values that do not fit.
_FAULTS = (
    NodeFault, PickleFault, ArithmeticError, AttributeError, ImportError, LookupError, TypeError, ValueError,
)  # fmt: skip


def pipeline_node(pipeline: Any) -> dict[str, Any]:
    """Return the document of a fitted pipeline; UnfitBundle where a bundle may not hold a part of it."""
    try:
        return _Writer().node(pipeline)
    except _FAULTS as fault:
        known = ", ".join(sorted(name for name in _BY_NAME if not name.startswith("_")))
        raise UnfitBundle(f"{type(pipeline).__name__}: {_reason(fault)}; make it of {known}") from fault


def pipeline_of(node: Any, what: str) -> Any:
    """Return the pipeline of a document; ForeignPickle where it is not what `pipeline_node` writes."""
    try:
        return _read(node, 0)
    except _FAULTS as fault:
        raise ForeignPickle(
            f"{what}: no pipeline of Lockstep: {_reason(fault)}; train the model with Lockstep"
        ) from fault


def node_of_pickle(content: Any, what: str) -> dict[str, Any]:
    """Return the document of the pipeline that a bundle of schema 1 holds as a pickle; nothing in it is run.

    ForeignPickle where it names what no bundle may hold.
    """
    with_kinds = (pair for kind in KINDS.values() for pair in (kind.pair, *kind.pickled_with))
    try:
        if type(content) is not bytes:
            raise NodeFault("no pickle")
        allowed = ARRAYS | NUMPY | {*with_kinds}
        return _Writer().node(Machine(content, allowed=allowed, moved=MOVED, objects=True).run())
    except _FAULTS as fault:
        raise ForeignPickle(f"{what}: {_reason(fault)}; train the model with Lockstep") from fault


def _reason(fault: Exception) -> str:
    kind = "" if isinstance(fault, NodeFault | PickleFault) else f"{type(fault).__name__}: "
    return f"{kind}{' '.join(str(fault).split())[:300]}"


class _Writer:
    """Makes nodes of estimators, or of what a pickle says about them; each may be there once."""

    def __init__(self) -> None:
        self._written: dict[int, Any] = {}
        self._level = 0

    def node(self, value: Any) -> dict[str, Any]:
        """Return the node of an estimator."""
        kind = KINDS.get(class_of(value))
        if kind is None:
            raise NodeFault(f"holds {'.'.join(class_of(value))}, which no bundle may hold")
        if id(value) in self._written or self._level > _MOST_LEVELS:
            raise NodeFault(f"a {kind.name} occurs twice, or in more than {_MOST_LEVELS} others")
        # The value itself is kept, so that no other one gets its id.
        self._written[id(value)] = value
        self._level += 1
        state = state_of(value)
        names = [name for name in sorted(kind.parameters) if name in state]
        params = {name: self._parameter(kind, name, state[name]) for name in names}
        fitted = {name: value_of(state[name]) for name in kind.fitted if state.get(name) is not None}
        kind.require_shapes(fitted)
        if kind.write is not None:
            fitted |= kind.write(state, self.node)
        self._level -= 1
        return {"class": kind.name, "params": params, "fitted": dict(sorted(fitted.items()))}

    def _parameter(self, kind: EstimatorKind, name: str, value: Any) -> Any:
        form = kind.params.get(name)
        return form.write(value, self.node) if form else _plain(name, value)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {"pairs": [[_scalar(name, key), _scalar(name, each)] for key, each in value.items()]}
    if isinstance(value, tuple | list):
        return [_scalar(name, each) for each in value]
    return _scalar(name, value)


def _scalar(name: str, value: Any) -> Any:
    found = value_of(value)
    if type(found) not in _SCALARS:
        raise NodeFault(f"{name} is a {type(found).__name__}: a bundle holds numbers and text")
    return found


def _read(node: Any, level: int) -> Any:
    if not isinstance(node, dict) or set(node) != _NODE or level > _MOST_LEVELS:
        raise NodeFault(
            f"a node must have class, params and fitted, and lie in at most {_MOST_LEVELS} others"
        )
    kind = _BY_NAME.get(node["class"]) if isinstance(node["class"], str) else None
    params, fitted = node["params"], node["fitted"]
    if kind is None or not isinstance(params, dict) or not isinstance(fitted, dict):
        raise NodeFault(f"holds {str(node['class'])[:80]!r}, which no bundle may hold")

    def inner(part: Any) -> Any:
        return _read(part, level + 1)

    made = kind.made({name: _argument(kind, name, each, inner) for name, each in params.items()})
    own = {name: each for name, each in fitted.items() if name in kind.fitted}
    kind.require_shapes(own)
    for name, each in own.items():
        setattr(made, name, each)
    rest = {name: each for name, each in fitted.items() if name not in kind.fitted}
    if fitted and kind.read is not None:
        kind.read(made, rest, inner)
    elif rest:
        raise NodeFault(f"{kind.name} has no {str(sorted(rest))[:80]}")
    return made


def _argument(kind: EstimatorKind, name: str, value: Any, estimator_of: Callable[[Any], Any]) -> Any:
    form = kind.params.get(name)
    if form is not None:
        return form.read(value, estimator_of)
    if isinstance(value, dict):
        return {_scalar(name, key): _scalar(name, each) for key, each in value["pairs"]}
    return [_scalar(name, each) for each in value] if isinstance(value, list) else _scalar(name, value)
