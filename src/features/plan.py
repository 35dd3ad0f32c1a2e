"""`FeaturePlan`: what has to be computed, on which series, for a list of ids.

`FeatureSource`: what a strategy sees of features, in research and live.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from lockstep.errors import FeatureError
from lockstep.features.derived import DerivedColumn, answers_of
from lockstep.features.feature_id import FeatureId, Term
from lockstep.features.inputs import PAIR_SUFFIX
from lockstep.market.bars import Floats
from lockstep.market.history import SeriesKey
from lockstep.market.sessions import CALENDAR_COLUMNS


class DerivedStep(NamedTuple):
    """How a derived column is made.

    position   of its id among the ids; inputs   per input, the one or two columns of the term matrix whose
               product it is
    """

    position: int
    id: str
    column: DerivedColumn
    inputs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class FeaturePlan:
    """The unique terms behind a list of ids and where each is computed.

    terms    unique terms in order of first use; column j of a term matrix belongs to terms[j]
    factors  per id, the columns of the term matrix that it is made of: the one or two whose product it is;
             of a derived column all that its inputs are made of
    derived  what makes the ids that are no product
    """

    base: SeriesKey
    ids: tuple[str, ...]
    terms: tuple[Term, ...]
    factors: tuple[tuple[int, ...], ...]
    derived: tuple[DerivedStep, ...] = ()

    @classmethod
    def of(cls, parsed: tuple[FeatureId, ...], base: SeriesKey) -> FeaturePlan:
        """Build the plan of `parsed` for a strategy that trades `base`; FeatureError on a repeated id."""
        ids = tuple(map(str, parsed))
        for text in ids:
            if ids.count(text) > 1:
                raise FeatureError(f"feature id {text!r}: listed twice")
        computed = tuple(each.on(base) for each in parsed)
        terms: dict[str, Term] = {}
        for feature_id in computed:
            for term in feature_id.terms:
                _check_direction(term, base, str(feature_id))
                terms.setdefault(str(term), term)
        columns = {text: column for column, text in enumerate(terms)}

        def factors(feature_id: FeatureId) -> tuple[int, ...]:
            return tuple(columns[str(term)] for term in feature_id.terms)

        derived = tuple(
            DerivedStep(position, ids[position], each.column, tuple(map(factors, each.inputs)))
            for position, each in enumerate(computed)
            if each.column is not None
        )
        return cls(
            base=base, ids=ids, terms=tuple(terms.values()), factors=tuple(map(factors, computed)),
            derived=derived,
        )  # fmt: skip

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
        values = _products(terms, self._products)
        for each in self.derived:
            inputs = np.ascontiguousarray(_products(terms, each.inputs))
            values[..., each.position] = answers_of(each.id, each.column, inputs)
        return np.ascontiguousarray(values)

    @functools.cached_property
    def _products(self) -> tuple[tuple[int, ...], ...]:
        """Factors of the ids that are products; derived ones hold a place."""
        places = {each.position for each in self.derived}
        return tuple(each[:1] if i in places else each for i, each in enumerate(self.factors))


def _products(terms: Floats, factors: Sequence[tuple[int, ...]]) -> Floats:
    """Return the products of the columns that `factors` names, float64 (..., products)."""
    first = terms[..., [factor[0] for factor in factors]]
    second = [column for column, factor in enumerate(factors) if len(factor) == 2]
    if second:
        first[..., second] *= terms[..., [factors[column][1] for column in second]]
    return first


def needs_calendar(names: tuple[str, ...]) -> bool:
    """Whether any of these input columns comes from the session calendar."""
    return any(name in CALENDAR_COLUMNS for name in names)


def needs_pair(names: tuple[str, ...]) -> bool:
    """Whether any of these input columns comes from the pair instrument."""
    return any(name.endswith(PAIR_SUFFIX) for name in names)


def _check_direction(term: Term, base: SeriesKey, spelled: str) -> None:
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
            f"feature id {spelled!r}: {term.timeframe} is finer than the traded {base.timeframe}; "
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
