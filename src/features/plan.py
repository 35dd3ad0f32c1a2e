"""`FeaturePlan`: what has to be computed, on which series, for a list of ids.

`FeatureSource`: what a strategy sees of features, in research and live.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lockstep.errors import FeatureError
from lockstep.features.feature_id import FeatureId, Term
from lockstep.features.inputs import PAIR_SUFFIX
from lockstep.market.bars import Floats
from lockstep.market.history import SeriesKey
from lockstep.market.sessions import CALENDAR_COLUMNS


@dataclass(frozen=True, kw_only=True)
class FeaturePlan:
    """The unique terms behind a list of ids and where each is computed.

    terms    unique terms in order of first use; column j of a term matrix belongs to terms[j]
    factors  per id, the one or two columns of the term matrix whose product it is
    """

    base: SeriesKey
    ids: tuple[str, ...]
    terms: tuple[Term, ...]
    factors: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, parsed: tuple[FeatureId, ...], base: SeriesKey) -> FeaturePlan:
        """Build the plan of `parsed` for a strategy that trades `base`; FeatureError on a repeated id."""
        ids = tuple(map(str, parsed))
        for text in ids:
            if ids.count(text) > 1:
                raise FeatureError(f"feature id {text!r}: listed twice")
        terms: dict[str, Term] = {}
        for feature_id in parsed:
            for term in feature_id.terms:
                terms.setdefault(str(term), term)
        columns = list(terms)
        factors = tuple(tuple(columns.index(str(term)) for term in each.terms) for each in parsed)
        plan = cls(base=base, ids=ids, terms=tuple(terms.values()), factors=factors)
        for term in plan.terms:
            _check_direction(term, base)
        return plan

    def series(self, column: int) -> SeriesKey:
        """Return the series that term `column` is computed on."""
        return self.terms[column].series(self.base)

    def positions(self, key: SeriesKey) -> dict[Term, list[int]]:
        """Return the columns of the terms on `key`, by the term without modifiers that they are made of."""
        found: dict[Term, list[int]] = {}
        for position, term in enumerate(self.terms):
            if term.series(self.base) == key:
                found.setdefault(term.plain, []).append(position)
        return found

    @property
    def keys(self) -> tuple[SeriesKey, ...]:
        """All series that terms are computed on, sorted; the base series is always among them."""
        return tuple(sorted({self.base, *(term.series(self.base) for term in self.terms)}))

    @property
    def pair_keys(self) -> tuple[SeriesKey, ...]:
        """Series whose pair instrument is an input, sorted."""
        return tuple(sorted({term.series(self.base) for term in self.terms if term.feature.needs_pair}))

    def inputs(self, key: SeriesKey) -> tuple[str, ...]:
        """Return the input columns that the terms on `key` read, sorted."""
        names = {name for term in self.terms if term.series(self.base) == key for name in term.feature.inputs}
        return tuple(sorted(names))

    def lookback(self, key: SeriesKey) -> int:
        """Return how many bars of `key` the terms on it need; at least 1."""
        return max((term.lookback for term in self.terms if term.series(self.base) == key), default=1)

    def multiply(self, terms: Floats) -> Floats:
        """Return values by id, float64 (..., ids), from values by term, float64 (..., terms)."""
        first = terms[..., [factor[0] for factor in self.factors]]
        second = [column for column, factor in enumerate(self.factors) if len(factor) == 2]
        if second:
            first[..., second] *= terms[..., [self.factors[column][1] for column in second]]
        return np.ascontiguousarray(first)


def needs_calendar(names: tuple[str, ...]) -> bool:
    """Whether any of these input columns comes from the session calendar."""
    return any(name in CALENDAR_COLUMNS for name in names)


def needs_pair(names: tuple[str, ...]) -> bool:
    """Whether any of these input columns comes from the pair instrument."""
    return any(name.endswith(PAIR_SUFFIX) for name in names)


def _check_direction(term: Term, base: SeriesKey) -> None:
    finer = not base.timeframe.is_session and (
        term.timeframe is not None
        and not term.timeframe.is_session
        and term.timeframe.minutes < base.timeframe.minutes
    )
    intraday_under_daily = base.timeframe.is_session and (
        term.timeframe is not None and not term.timeframe.is_session
    )
    if finer or intraday_under_daily:
        raise FeatureError(
            f"feature id {str(term)!r}: {term.timeframe} is finer than the traded {base.timeframe}; "
            "trade the finer timeframe instead"
        )


COLD = "cold"
MISSING = "missing"


class FeatureSource(Protocol):
    """Protocol of everything that supplies feature vectors by decision stamp.

    >>> from lockstep.features import BatchFeatures, WindowFeatures
    >>> all(hasattr(kind, "vector") and hasattr(kind, "absence") for kind in (BatchFeatures, WindowFeatures))
    True
    """

    @property
    def plan(self) -> FeaturePlan:
        """The ids, in the order of the vector, and what is computed for them."""

    def vector(self, stamp: int) -> Floats:
        """Return the vector at the base bar that ended at `stamp`: float64 (ids,), read-only.

        NaN where a window is not full or a value is missing. FeatureError where no base bar ended then.
        """

    def absence(self, column: int, stamp: int) -> str:
        """Return why the value in `column` is NaN at `stamp`: COLD (window not full yet) or MISSING."""
