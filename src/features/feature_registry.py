"""`FeatureRegistry`: every feature that exists, by its canonical id."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lockstep.errors import FeatureError, UnknownFeature
from lockstep.features.batch import BatchFeatures
from lockstep.features.catalogue import catalogue
from lockstep.features.derived import derived_column, is_derived
from lockstep.features.feature import Feature
from lockstep.features.feature_id import (
    PRODUCT,
    FeatureId,
    Term,
    read_modifiers,
    split_modifiers,
    split_name,
    split_qualifier,
)
from lockstep.features.fingerprint import fingerprint
from lockstep.features.plan import FeaturePlan
from lockstep.market.bars import Bars, Floats
from lockstep.market.frames import labelled_frame
from lockstep.market.history import History, SeriesKey

if TYPE_CHECKING:
    import pandas as pd


class FeatureRegistry:
    """All known features, by canonical id.

    `FeatureRegistry()` contains the catalogue; `register` adds another feature, for example from a notebook.

    >>> from lockstep.market.loader import load_bars
    >>> registry = FeatureRegistry()
    >>> registry.matrix(["ibs", "rsi_2"], load_bars("COMP", start="2018-12-27")).round(3).ibs.iloc[-1] <= 1
    np.True_
    >>> "Internal bar strength" in registry.describe("ibs")
    True
    """

    def __init__(self, features: Iterable[Feature] | None = None) -> None:
        self._features: dict[str, Feature] = {}
        for declared in catalogue() if features is None else features:
            self.register(declared)

    def register(self, declared: Feature) -> Feature:
        """Add a feature and return it; FeatureError where the name is taken."""
        if declared.name in self._features:
            taken = self._features[declared.name]
            raise FeatureError(f"feature {declared.name}: already declared in {taken.family}; choose a name")
        self._features[declared.name] = declared
        return declared

    def __iter__(self) -> Iterator[Feature]:
        return iter(self._features.values())

    def __len__(self) -> int:
        return len(self._features)

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the families, sorted."""
        return tuple(sorted({declared.family for declared in self}))

    def list(self, family: str | None = None) -> tuple[str, ...]:
        """Return example ids of all features, or of one family, sorted."""
        if family is not None and family not in self.families:
            raise FeatureError(f"family {family!r}: there are {', '.join(self.families)}")
        return tuple(
            sorted(
                declared.spell(example)
                for declared in self
                if family in (None, declared.family)
                for example in declared.examples
            )
        )

    def parse(self, text: str) -> FeatureId:
        """Return the parsed id; UnknownFeature or FeatureError, saying the spelling that was meant.

        The id of a model's column loads the model, from the default store or one that was used before.
        """
        if is_derived(text):
            column = derived_column(text, self)
            return FeatureId.derived(text, column, tuple(map(self.parse, column.inputs)))
        terms = tuple(self._term(part, text) for part in text.split(PRODUCT))
        if len(terms) > 2:
            raise FeatureError(f"feature id {text!r}: a product has two factors")
        parsed = FeatureId(tuple(sorted(terms, key=str)))
        if str(parsed) != text:
            raise FeatureError(f"feature id {text!r}: the canonical spelling is {parsed}")
        return parsed

    def _term(self, part: str, text: str) -> Term:
        before, at, behind = part.partition("@")
        (spelled, modifiers), (qualifier, misplaced) = split_modifiers(before), split_modifiers(behind)
        name, parameters = split_name(spelled)
        if name not in self._features:
            raise UnknownFeature(f"feature id {text!r}: no feature {name!r}{self._nearest(spelled, name)}")
        self._features[name].validate(parameters)
        symbol, timeframe = split_qualifier(qualifier, text) if at else (None, None)
        rank, lag = read_modifiers([*modifiers, *misplaced], spelled, text)
        term = Term(self._features[name], parameters, symbol, timeframe, rank, lag)
        term.validate()
        return term

    def _nearest(self, spelled: str, name: str) -> str:
        near = difflib.get_close_matches(spelled, self.list(), n=1, cutoff=0.5)
        near = near or difflib.get_close_matches(name, self._features, n=1, cutoff=0.0)
        return f"; did you mean {near[0]}?" if near else ""

    def plan(self, ids: Iterable[str], base: SeriesKey) -> FeaturePlan:
        """Return what has to be computed for `ids` when `base` is traded."""
        return FeaturePlan.of(tuple(self.parse(text) for text in ids), base)

    def calculate(self, feature_id: str, bars: Bars, *, history: History | None = None) -> Floats:
        """Return one feature over `bars`: float64 (n,), NaN while the window is not full.

        `history` supplies what lies outside the bars: sessions for calendar features, the pair's bars,
        other instruments and timeframes.
        """
        return self._batch((feature_id,), bars, history).matrix[:, 0]

    def matrix(self, ids: Iterable[str], bars: Bars, *, history: History | None = None) -> pd.DataFrame:
        """Return the features over `bars` as a DataFrame: index `end` (UTC), one column per id."""
        batch = self._batch(tuple(ids), bars, history)
        return labelled_frame(batch.end, batch.plan.ids, batch.matrix)

    def _batch(self, ids: tuple[str, ...], bars: Bars, history: History | None) -> BatchFeatures:
        key = SeriesKey(bars.symbol, bars.timeframe)
        known = history or History(bars={}, markets={})
        return BatchFeatures(
            self.plan(ids, key), History(bars={**known.bars, key: bars}, markets=known.markets)
        )

    def describe(self, feature_id: str) -> str:
        """Return what a reader needs to know about an id: definition, range, inputs, fingerprint."""
        parsed = self.parse(feature_id)
        if parsed.column is not None:
            return "\n".join((parsed.column.describe(), f"fingerprint {fingerprint(parsed)}"))
        return "\n\n".join(_describe(term) for term in parsed.terms)

    def fingerprint(self, feature_id: str) -> str:
        """Return the hash of everything that defines the values of an id; see `fingerprint.py`."""
        return fingerprint(self.parse(feature_id))


def _describe(term: Term) -> str:
    declared = term.feature
    lines = [
        str(term),
        *_describe_modifiers(term),
        declared.documentation,
        "",
        f"family      {declared.family}",
        f"inputs      {', '.join(declared.inputs)}",
        f"lookback    {term.lookback} bars",
        f"range       [{term.low:g}, {term.high:g}]",
        f"NaN         {_describe_nan(term)}; and while the window is not full or an input is missing",
        f"invariant   shift of prices: {_invariance(term, declared.shift_invariant)}, "
        f"scale of prices: {_invariance(term, declared.scale_invariant)}",
        f"fingerprint {fingerprint(FeatureId((term,)))}",
    ]
    return "\n".join(lines)


def _describe_modifiers(term: Term) -> Iterator[str]:
    if term.lag:
        yield f"The value {term.lag} bar{'s' if term.lag > 1 else ''} earlier, on its own series, of:"
    if term.rank:
        yield f"The share of the {term.rank} earlier values that lie below it, ties counting half, of:"


def _describe_nan(term: Term) -> str:
    nan = term.feature.nan
    if nan == "never" or not (term.rank or term.lag):
        return nan
    return f"{nan}, for " + (f"any of the {term.rank + 1} values ranked" if term.rank else "that earlier bar")


def _invariance(term: Term, flag: bool) -> str:
    return "yes" if flag else "not promised" if term.rank else "no"


@functools.cache
def default_registry() -> FeatureRegistry:
    """Return the registry of the catalogue, made once."""
    return FeatureRegistry()
