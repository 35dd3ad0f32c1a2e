"""The way a pipeline is asked: fast for forests, with scikit-learn's bits, and single-threaded.

A fitted random forest as flat arrays, and one compiled walk through them.

The walk gives scikit-learn's bits: inputs are rounded to float32, compared with float64 thresholds, and
the fractions of the leaves are added tree by tree in float64, then divided by the number of trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import kernel
from lockstep.market.bars import Floats
from lockstep.models.libraries import estimators_in, require_single_threaded

Integers = NDArray[np.int32]
Rows = NDArray[np.float32]

_LEAF = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Forest:
    """All trees behind each other, n nodes; children are positions in these arrays.

    roots       int32 (trees,)
    column      int32 (n,): the column that a node compares, -1 in a leaf
    threshold   float64 (n,): a row goes left where its value is <= threshold
    left, right int32 (n,)
    losing, winning   float64 (n,): fractions of the two classes among a leaf's training samples
    """

    roots: Integers
    column: Integers
    threshold: Floats
    left: Integers
    right: Integers
    losing: Floats
    winning: Floats

    @classmethod
    def of(cls, model: Any) -> Self:
        """Flatten a fitted forest of two classes and one output."""
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
            losing=joined([t.value[:, 0, 0] for t in trees], np.float64),
            winning=joined([t.value[:, 0, 1] for t in trees], np.float64),
        )

    def chances(self, rows: Rows) -> Floats:
        """Return scikit-learn's `predict_proba` of float32 (n, columns), finite: float64 (n, 2)."""
        out = np.empty((len(rows), 2))
        nodes = (self.column, self.threshold, self.left, self.right, self.losing, self.winning)
        fill_chances(rows, self.roots, *nodes, out)
        return out


@kernel
def fill_chances(
    rows: Rows,
    roots: Integers,
    column: Integers,
    threshold: Floats,
    left: Integers,
    right: Integers,
    losing: Floats,
    winning: Floats,
    out: Floats,
) -> None:
    """Write both chances of each row of `rows` into `out`; see `Forest`."""
    for row in range(rows.shape[0]):
        lost, won = 0.0, 0.0
        for root in roots:
            node = root
            while column[node] >= 0:
                node = left[node] if rows[row, column[node]] <= threshold[node] else right[node]
            lost += losing[node]
            won += winning[node]
        out[row, 0] = lost / roots.size
        out[row, 1] = won / roots.size


class Classifier(Protocol):
    """Anything with scikit-learn's `predict_proba` for two classes."""

    def predict_proba(self, features: Any, /) -> Any:
        """Return float64 (n, 2) for float64 (n, k); column 1 is the chance of the target."""


def predictor(pipeline: Any) -> Classifier:
    """Return what answers as `pipeline.predict_proba` does, bit for bit, whether asked for one row or many.

    A plain forest, behind steps that only choose columns, becomes compiled arrays. Other trees are asked as
    they are. What multiplies matrices is asked row by row: BLAS rounds a row otherwise within a batch.
    UnfitBundle where an estimator would use several threads.
    """
    require_single_threaded(pipeline)
    columns = _columns_of_forest(pipeline)
    if columns is not None:
        forest = Forest.of(_last(pipeline))
        return CompiledForest(pipeline=pipeline, width=_width(pipeline), columns=columns, forest=forest)
    if any(hasattr(each, "coef_") for each in estimators_in(pipeline)):
        return RowByRow(pipeline=pipeline)
    return pipeline  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledForest:
    """A forest as compiled arrays; of `width` input columns it reads `columns`, int64."""

    pipeline: Any
    width: int
    columns: NDArray[np.int64]
    forest: Forest

    def predict_proba(self, features: Any, /) -> Any:
        """Return float64 (n, 2); scikit-learn answers, or refuses, what is not a finite matrix of floats."""
        values = np.asarray(features)
        if values.ndim != 2 or values.shape[1] != self.width or values.dtype != np.float64:
            return self.pipeline.predict_proba(features)
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(values[:, self.columns], dtype=np.float32)
        if not np.isfinite(values).all() or not np.isfinite(rows).all():
            return self.pipeline.predict_proba(features)
        return self.forest.chances(rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class RowByRow:
    """A pipeline that is asked for one row at a time, however many are wanted."""

    pipeline: Any

    def predict_proba(self, features: Any, /) -> Floats:
        """Return float64 (n, 2)."""
        rows = np.asarray(features, dtype=np.float64)
        answers = [self.pipeline.predict_proba(row.reshape(1, -1)) for row in rows]
        return np.concatenate(answers) if answers else np.empty((0, 2))


def _steps(pipeline: Any) -> list[Any]:
    """Return the steps that do something; a bare estimator is the only one of its own."""
    steps = [step for _, step in getattr(pipeline, "steps", (("model", pipeline),))]
    return [step for step in steps if step is not None and step != "passthrough"]


def _last(pipeline: Any) -> Any:
    return _steps(pipeline)[-1]


def _width(pipeline: Any) -> int:
    return int(_steps(pipeline)[0].n_features_in_)


def _columns_of_forest(pipeline: Any) -> NDArray[np.int64] | None:
    """Return which input columns a plain two-class forest reads, or None for any other pipeline."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
    from sklearn.feature_selection import SelectorMixin

    from lockstep.models.estimators import ColumnSelector

    model = _last(pipeline)
    if type(model) not in (RandomForestClassifier, ExtraTreesClassifier):
        return None
    if model.n_outputs_ != 1 or model.n_classes_ != 2:
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
    return columns if columns.size == model.n_features_in_ else None
