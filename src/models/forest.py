"""A fitted random forest as flat arrays, and one compiled walk through them.

The walk gives scikit-learn's bits: inputs are rounded to float32, compared with float64 thresholds, and
the fractions of the leaves are added tree by tree in float64, then divided by the number of trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import kernel
from lockstep.market.bars import Floats

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
