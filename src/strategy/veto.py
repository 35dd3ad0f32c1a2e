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
