"""The way a pipeline is asked: fast for forests, with scikit-learn's bits, and single-threaded.

A fitted random forest as flat arrays, and one compiled walk through them.

The walk gives scikit-learn's bits: inputs are rounded to float32, compared with float64 thresholds, and
what the leaves say is added tree by tree in float64, then divided by the number of trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import kernel
from lockstep.errors import UnfitBundle
from lockstep.market.bars import Floats
from lockstep.models.libraries import estimators_in, require_single_threaded
from lockstep.models.tasks import STATE, VALUE, Output

Integers = NDArray[np.int32]
Rows = NDArray[np.float32]

_LEAF = -1
# From where on a probability is a state.
_EVEN = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Forest:
    """All trees behind each other, n nodes; children are positions in these arrays.

    roots       int32 (trees,)
    column      int32 (n,): the column that a node compares, -1 in a leaf
    threshold   float64 (n,): a row goes left where its value is <= threshold
    left, right int32 (n,)
    values      float64 (n, outputs): what a leaf says: fractions of the two classes among its training
                samples, or the one value of a regressor
    """

    roots: Integers
    column: Integers
    threshold: Floats
    left: Integers
    right: Integers
    values: Floats

    @classmethod
    def of(cls, model: Any) -> Self:
        """Flatten a fitted forest of one output: of two classes, or of values."""
        trees = [estimator.tree_ for estimator in model.estimators_]
        counts = [tree.node_count for tree in trees]
        roots = np.concatenate(([0], np.cumsum(counts)[:-1]))
        pairs = list(zip(trees, roots, strict=True))

        def joined(values: list[Any], dtype: Any) -> Any:
            return np.ascontiguousarray(np.concatenate(values), dtype=dtype)

        return cls(
            roots=roots.astype(np.int32),
            column=joined([np.where(t.children_left < 0, _LEAF, t.feature) for t in trees], np.int32),
            threshold=joined([t.threshold for t in trees], np.float64),
            left=joined([t.children_left + root for t, root in pairs], np.int32),
            right=joined([t.children_right + root for t, root in pairs], np.int32),
            values=joined([t.value[:, 0, :] for t in trees], np.float64),
        )

    def means(self, rows: Rows) -> Floats:
        """Return what scikit-learn answers to float32 (n, columns), finite: float64 (n, outputs)."""
        out = np.zeros((len(rows), self.values.shape[1]))
        nodes = (self.column, self.threshold, self.left, self.right, self.values)
        fill_means(rows, self.roots, *nodes, out)
        return out


@kernel
def fill_means(
    rows: Rows,
    roots: Integers,
    column: Integers,
    threshold: Floats,
    left: Integers,
    right: Integers,
    values: Floats,
    out: Floats,
) -> None:
    """Write the mean over all trees for each row of `rows` into `out`, which holds zeros; see `Forest`."""
    for row in range(rows.shape[0]):
        for root in roots:
            node = root
            while column[node] >= 0:
                node = left[node] if rows[row, column[node]] <= threshold[node] else right[node]
            for each in range(values.shape[1]):
                out[row, each] += values[node, each]
        for each in range(values.shape[1]):
            out[row, each] /= roots.size


class Classifier(Protocol):
    """Anything with scikit-learn's `predict_proba` for two classes."""

    def predict_proba(self, features: Any, /) -> Any:
        """Return float64 (n, 2) for float64 (n, k); column 1 is the chance of the target."""


def predictor(pipeline: Any) -> Classifier:
    """Return what answers as `pipeline.predict_proba` does, bit for bit, whether asked for one row or many.

    A regressor's has `predict` instead. A plain forest, or an ensemble of some, behind steps that only choose
    columns, becomes compiled arrays. Other trees are asked as they are. What multiplies matrices is asked row
    by row: BLAS rounds a row otherwise within a batch.
    UnfitBundle where an estimator would use several threads.
    """
    require_single_threaded(pipeline)
    columns = _columns_of_forests(pipeline)
    if columns is not None:
        forests = tuple(Forest.of(each) for each in _members(_last(pipeline)))
        of_values = forests[0].values.shape[1] == 1
        compiled: Any = CompiledRegressor if of_values else CompiledForest
        return compiled(pipeline=pipeline, width=_width(pipeline), columns=columns, forests=forests)  # type: ignore[no-any-return]
    if any(hasattr(each, "coef_") for each in estimators_in(pipeline)):
        return RowByRow(pipeline=pipeline)
    return pipeline  # type: ignore[no-any-return]


def answers(model: Any, output: Output, rows: Floats) -> Floats:
    """Return what a model, a pipeline or its `predictor`, answers to float64 (n, k): float64 (n,).

    A probability is column 1 of `predict_proba`, a state 1.0 where that is at least .5 and else 0.0, a value
    what `predict` gives. UnfitBundle where the model gives another number of answers.
    """
    asked = model.predict if output == VALUE else model.predict_proba
    found = np.asarray(asked(rows), dtype=np.float64)
    shape = (len(rows),) if output == VALUE else (len(rows), 2)
    if found.shape != shape:
        raise UnfitBundle(
            f"answered shape {found.shape} to {len(rows)} rows, expected {shape}; validate the bundle again"
        )
    if output == VALUE:
        return found
    chance: Floats = found[:, 1]
    return (chance >= _EVEN).astype(np.float64) if output == STATE else chance


@dataclass(frozen=True, kw_only=True, eq=False)
class _Compiled:
    """Forests as compiled arrays; of `width` input columns they read `columns`, int64."""

    pipeline: Any
    width: int
    columns: NDArray[np.int64]
    forests: tuple[Forest, ...]

    def means(self, features: Any) -> Floats | None:
        """Return the mean over the forests, float64 (n, outputs).

        None for what is not a finite matrix of floats: scikit-learn answers, or refuses, that.
        """
        values = np.asarray(features)
        if values.ndim != 2 or values.shape[1] != self.width or values.dtype != np.float64:
            return None
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(values[:, self.columns], dtype=np.float32)
        if not np.isfinite(values).all() or not np.isfinite(rows).all():
            return None
        first, *others = self.forests
        total = first.means(rows)
        for each in others:
            total += each.means(rows)
        return total / len(self.forests)


class CompiledForest(_Compiled):
    """A forest of two classes, or an ensemble of some, as compiled arrays."""

    def predict_proba(self, features: Any, /) -> Any:
        """Return float64 (n, 2), with scikit-learn's bits."""
        found = self.means(features)
        return self.pipeline.predict_proba(features) if found is None else found


class CompiledRegressor(_Compiled):
    """A forest of values, or an ensemble of some, as compiled arrays."""

    def predict(self, features: Any, /) -> Any:
        """Return float64 (n,), with scikit-learn's bits."""
        found = self.means(features)
        return self.pipeline.predict(features) if found is None else found[:, 0]


@dataclass(frozen=True, kw_only=True, eq=False)
class RowByRow:
    """A pipeline that is asked for one row at a time, however many are wanted."""

    pipeline: Any

    def predict_proba(self, features: Any, /) -> Floats:
        """Return float64 (n, 2)."""
        answers = [self.pipeline.predict_proba(row) for row in _single(features)]
        return np.concatenate(answers) if answers else np.empty((0, 2))

    def predict(self, features: Any, /) -> Floats:
        """Return what `pipeline.predict` gives, (n,)."""
        answers = [self.pipeline.predict(row) for row in _single(features)]
        return np.concatenate(answers) if answers else np.empty(0)


def _single(features: Any) -> list[Floats]:
    return [row.reshape(1, -1) for row in np.asarray(features, dtype=np.float64)]


def _steps(pipeline: Any) -> list[Any]:
    """Return the steps that do something; a bare estimator is the only one of its own."""
    steps = [step for _, step in getattr(pipeline, "steps", (("model", pipeline),))]
    return [step for step in steps if step is not None and step != "passthrough"]


def _last(pipeline: Any) -> Any:
    return _steps(pipeline)[-1]


def _width(pipeline: Any) -> int:
    return int(_steps(pipeline)[0].n_features_in_)


def _members(model: Any) -> list[Any]:
    """Return the members of an ensemble; another estimator is its only one."""
    from lockstep.models.estimators import SeedEnsembleClassifier, SeedEnsembleRegressor

    is_ensemble = type(model) in (SeedEnsembleClassifier, SeedEnsembleRegressor)
    return list(model.members_) if is_ensemble else [model]


def _columns_of_forests(pipeline: Any) -> NDArray[np.int64] | None:
    """Return which input columns plain forests of one kind read, or None for any other pipeline."""
    from sklearn.feature_selection import SelectorMixin

    from lockstep.models.estimators import ColumnSelector

    members = _members(_last(pipeline))
    if len({type(each) for each in members}) > 1 or not all(map(_is_plain_forest, members)):
        return None
    selections = _steps(pipeline)[:-1]
    if not all(isinstance(step, ColumnSelector | SelectorMixin) for step in selections):
        return None
    # What only chooses columns answers which, when it is shown their numbers.
    numbers = np.arange(_width(pipeline), dtype=np.float64).reshape(1, -1)
    for step in selections:
        numbers = np.asarray(step.transform(numbers))
    columns: NDArray[np.int64] = numbers[0].astype(np.int64)
    # The compiled walk does not look at bounds; scikit-learn says what is wrong.
    return columns if all(each.n_features_in_ == columns.size for each in members) else None


def _is_plain_forest(model: Any) -> bool:
    """Whether a model is a fitted forest of one output: of two classes, or of values."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, RandomForestRegressor

    if type(model) is RandomForestRegressor:
        return bool(model.n_outputs_ == 1)
    is_classifier = type(model) in (RandomForestClassifier, ExtraTreesClassifier)
    return is_classifier and bool(model.n_outputs_ == 1 and model.n_classes_ == 2)
