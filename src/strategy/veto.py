"""The model's veto: a probability that must reach the bundle's threshold before an entry is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lockstep.errors import StrategyError
from lockstep.market.bars import Floats

if TYPE_CHECKING:
    from lockstep.models.predictor import Classifier


@dataclass(frozen=True, kw_only=True)
class Veto:
    """A model, the feature ids it reads, in their order, and its threshold, 0 to 1.

    in_batches   whether the model answers many rows with the bits that it has for each alone, as those of
                 `lockstep.models.predictor` do; else it is asked for one row at a time

    >>> import numpy as np
    >>> class Half:
    ...     def predict_proba(self, features):
    ...         return np.full((len(features), 2), 0.5)
    >>> Veto(model=Half(), feature_ids=("ibs",), threshold=0.55).probability(np.array([0.1]))
    0.5
    """

    model: Classifier
    feature_ids: tuple[str, ...]
    threshold: float
    in_batches: bool = False

    def probability(self, values: Floats) -> float:
        """Return the chance that the trade wins, for one complete vector in the order of `feature_ids`.

        StrategyError where the model answers with anything but a chance: a model that fails must not trade.
        """
        answer = np.asarray(self.model.predict_proba(values.reshape(1, -1)), dtype=np.float64)
        if answer.shape != (1, 2) or not 0.0 <= answer[0, 1] <= 1.0:
            raise StrategyError(
                f"model answered {answer.tolist()} of shape {answer.shape}: expected one row of two "
                "probabilities; validate the bundle again"
            )
        return float(answer[0, 1])

    def probabilities(self, rows: Floats) -> Floats:
        """Return what `probability` gives for each of n vectors, float64 (n,); NaN where it may refuse.

        One call of the model, and only where that gives the same bits: all NaN unless `in_batches`.
        """
        chances = np.full(len(rows), np.nan)
        finite = np.isfinite(rows).all(axis=1)
        if self.in_batches and finite.any():
            answer = np.asarray(self.model.predict_proba(rows[finite]), dtype=np.float64)
            if answer.shape == (int(finite.sum()), 2):
                chances[finite] = np.where(
                    (answer[:, 1] >= 0.0) & (answer[:, 1] <= 1.0), answer[:, 1], np.nan
                )
        return chances
