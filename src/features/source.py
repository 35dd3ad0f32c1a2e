"""`FeatureSource`: what a strategy sees of features, in research and live."""

from __future__ import annotations

from typing import Protocol

from lockstep.features.plan import FeaturePlan
from lockstep.market.bars import Floats

COLD = "cold"
MISSING = "missing"


class FeatureSource(Protocol):
    """Feature vectors by decision stamp."""

    @property
    def plan(self) -> FeaturePlan:
        """The ids, in the order of the vector, and what is computed for them."""

    def vector(self, stamp: int) -> Floats:
        """Return the vector at the base bar that ended at `stamp`: float64 (ids,), read-only.

        NaN where a window is not full or a value is missing. FeatureError where no base bar ended then.
        """

    def absence(self, column: int, stamp: int) -> str:
        """Return why the value in `column` is NaN at `stamp`: COLD (window not full yet) or MISSING."""
