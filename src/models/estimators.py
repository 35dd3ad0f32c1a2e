"""Estimators of our own: a step that keeps chosen columns, and ensembles whose members differ by seed."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin, clone

from lockstep.models.kinds import MOST_MEMBERS


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


class _SeedEnsemble(BaseEstimator):
    """Members of one kind, each with a seed of its own; their answers are added in order, then divided.

    numpy's mean over members would add them in another order for one row than for many.
    """

    def __init__(self, estimator: Any = None, seeds: tuple[int, ...] = (0,)) -> None:
        self.estimator = estimator
        self.seeds = seeds

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit one copy of `estimator` per seed; arguments as in scikit-learn.

        ValueError for more than 8 seeds, or the same one twice.
        """
        seeds = self.seeds
        if not 1 <= len(seeds) <= MOST_MEMBERS or len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds {seeds}: give 1 to {MOST_MEMBERS}, each once")
        self.members_ = []
        for seed in seeds:
            # Not by `set_params`, which LightGBM takes for a parameter of the library beside its own.
            settings = {**self.estimator.get_params(deep=False), "random_state": seed}
            member = clone(type(self.estimator)(**settings))
            self.members_.append(member.fit(X, y, sample_weight=sample_weight))
        self.n_features_in_ = int(np.shape(X)[1])
        return self


class SeedEnsembleClassifier(ClassifierMixin, _SeedEnsemble):
    """The mean probability of up to 8 classifiers that differ by `random_state`. Follows scikit-learn.

    >>> from sklearn.ensemble import RandomForestClassifier
    >>> forest = RandomForestClassifier(5, n_jobs=1)
    >>> ensemble = SeedEnsembleClassifier(forest, seeds=(1, 2, 3)).fit([[0.1], [0.4], [0.9]], [0, 0, 1])
    >>> ensemble.predict_proba([[0.2], [0.8]]).shape, len(ensemble.members_)
    ((2, 2), 3)
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit one copy of `estimator` per seed; arguments as in scikit-learn."""
        super().fit(X, y, sample_weight)
        self.classes_ = self.members_[0].classes_
        return self

    def predict_proba(self, X: Any) -> Any:
        """Return the mean of the members' probabilities, float64 (n, 2)."""
        return mean_in_order([each.predict_proba(X) for each in self.members_])

    def predict(self, X: Any) -> Any:
        """Return the class with the larger mean probability, (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class SeedEnsembleRegressor(RegressorMixin, _SeedEnsemble):
    """The mean answer of up to 8 regressors that differ by `random_state`. Follows scikit-learn.

    >>> from sklearn.ensemble import RandomForestRegressor
    >>> forest = RandomForestRegressor(5, n_jobs=1)
    >>> ensemble = SeedEnsembleRegressor(forest, seeds=(1, 2)).fit([[0.1], [0.4], [0.9]], [2.0, 3.0, 5.0])
    >>> ensemble.predict([[0.2], [0.8]]).shape
    (2,)
    """

    def predict(self, X: Any) -> Any:
        """Return the mean of the members' answers, float64 (n,)."""
        return mean_in_order([each.predict(X) for each in self.members_])


def mean_in_order(answers: list[Any]) -> Any:
    """Return the mean of arrays of one shape, float64: added one after the other, then divided."""
    total = np.array(answers[0], dtype=np.float64)
    for each in answers[1:]:
        total += each
    return total / len(answers)
