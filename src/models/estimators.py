"""`ColumnSelector`, a step of our own: it keeps the columns that a feature selection chose."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class ColumnSelector(TransformerMixin, BaseEstimator):
    """Keep `columns`, positions in the vector, in the order given. Follows scikit-learn.

    Choosing is left to the caller, who has seen the training samples of one fold only; `fit` learns nothing.
    """

    def __init__(self, columns: tuple[int, ...] = ()) -> None:
        self.columns = columns

    def fit(self, X: Any, y: Any = None) -> Self:
        """Remember how many columns there are; arguments as in scikit-learn."""
        self.n_features_in_ = int(np.shape(X)[1])
        return self

    def transform(self, X: Any) -> Any:
        """Return the kept columns: (n, len(columns)) for (n, k), contiguous rows."""
        return np.ascontiguousarray(np.asarray(X)[:, list(self.columns)])
