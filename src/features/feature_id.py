"""Canonical feature ids: one spelling for one value, everywhere.

    rsi_2                      a feature and its parameters
    rsi_2~1                    its value one bar earlier
    rsi_2%252                  its rank: the share of its 252 earlier values that lie below it, ties half
    rsi_2%252~1                its rank one bar earlier
    ibs@NQ   ibs@1d            of another instrument, of another timeframe
    zscore_20~5@NQ:1d          of both, five of its daily bars earlier
    rsi_2*volume_pctile_20     the product of two, in alphabetical order
    model:COMP@v3#3f2a9c1b04de what a model answers, see `derived.py`

Parameters are plain numbers: 14 or 0.02, never 2.0. Rank and lag count bars of the feature's own series.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lockstep.errors import FeatureError
from lockstep.features.derived import DerivedColumn, answers_of
from lockstep.features.feature import MAX_LOOKBACK, Feature, Parameters, format_parameter
from lockstep.market.bars import Floats
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import Timeframe

_NUMBER = re.compile(r"(0|[1-9]\d{0,8})(\.\d{1,9})?")
_TIMEFRAME = re.compile(r"\d+(min|h|d)")
_BARS = re.compile(r"[1-9]\d{0,8}")
PRODUCT = "*"
RANK = "%"
LAG = "~"
_MODIFIER = re.compile(rf"(?=[{RANK}{LAG}])")
_EXAMPLE_BARS = {RANK: 252, LAG: 1}


@dataclass(frozen=True)
class Term:
    """One feature with its parameters and modifiers, on the base series or a qualified one.

    rank   the number of earlier values that the value is ranked among; 0: the value itself
    lag    how many bars of its own series earlier
    """

    feature: Feature
    parameters: Parameters
    symbol: str | None = None
    timeframe: Timeframe | None = None
    rank: int = 0
    lag: int = 0

    @property
    def lookback(self) -> int:
        """Bars of its own series that the value depends on, those of rank and lag included."""
        return self.feature.lookback(self.parameters) + self.rank + self.lag

    @property
    def low(self) -> float:
        """Smallest value."""
        return 0.0 if self.rank else self.feature.low

    @property
    def high(self) -> float:
        """Largest value."""
        return 1.0 if self.rank else self.feature.high

    @property
    def plain(self) -> Term:
        """The term without its modifiers."""
        return replace(self, rank=0, lag=0)

    @property
    def unqualified(self) -> Term:
        """The term on the base series."""
        return replace(self, symbol=None, timeframe=None)

    def validate(self) -> None:
        """Raise FeatureError where modifiers make the lookback longer than a feature's may be."""
        if self.lookback > MAX_LOOKBACK:
            raise FeatureError(f"{self}: lookback {self.lookback}: must be 1 to {MAX_LOOKBACK} bars")

    def series(self, base: SeriesKey) -> SeriesKey:
        """Return the series that the term is computed on when `base` is traded."""
        return SeriesKey(self.symbol or base.symbol, self.timeframe or base.timeframe)

    def __str__(self) -> str:
        spelled = self.feature.spell(self.parameters)
        spelled += f"{RANK}{self.rank}" if self.rank else ""
        spelled += f"{LAG}{self.lag}" if self.lag else ""
        if self.symbol is None and self.timeframe is None:
            return spelled
        qualifiers = (str(part) for part in (self.symbol, self.timeframe) if part is not None)
        return f"{spelled}@{':'.join(qualifiers)}"


@dataclass(frozen=True)
class FeatureId:
    """A parsed id: one term, the product of two, or a column derived from other ids.

    terms    whose values its value is made of; of a derived column the unique ones behind its inputs
    spelled, column, inputs   of a derived column alone: its id, what makes it, and the ids that it reads
    """

    terms: tuple[Term, ...]
    spelled: str = ""
    column: DerivedColumn | None = None
    inputs: tuple[FeatureId, ...] = ()

    @classmethod
    def derived(cls, spelled: str, column: DerivedColumn, inputs: tuple[FeatureId, ...]) -> FeatureId:
        """Return the id of a column that reads `inputs`; FeatureError where one of them is derived too."""
        for each in inputs:
            if each.column is not None:
                raise FeatureError(
                    f"feature id {spelled!r}: reads {each}: a derived column reads features only"
                )
        terms = {str(term): term for each in inputs for term in each.terms}
        return cls(tuple(terms.values()), spelled, column, inputs)

    @property
    def low(self) -> float:
        """Smallest value that is declared; -inf for a product."""
        if self.column is not None:
            return self.column.low
        return self.terms[0].low if len(self.terms) == 1 else -math.inf

    @property
    def high(self) -> float:
        """Largest value that is declared; inf for a product."""
        if self.column is not None:
            return self.column.high
        return self.terms[0].high if len(self.terms) == 1 else math.inf

    def on(self, base: SeriesKey) -> FeatureId:
        """Return the id as it is computed when `base` is traded: a derived column reads its own series."""
        if self.column is None or self.column.base == base:
            return self
        own = self.column.base
        moved = (tuple(_moved(term, own, base) for term in each.terms) for each in self.inputs)
        return FeatureId.derived(self.spelled, self.column, tuple(map(FeatureId, moved)))

    def value(self, of: Callable[[Term], Floats]) -> Floats:
        """Return the values of the id, float64 (n,), from those of its terms, each float64 (n,)."""
        if self.column is None:
            return functools.reduce(np.multiply, map(of, self.terms))
        inputs = np.column_stack([each.value(of) for each in self.inputs])
        return answers_of(self.spelled, self.column, inputs)

    def __str__(self) -> str:
        return self.spelled or PRODUCT.join(map(str, self.terms))


def _moved(term: Term, own: SeriesKey, base: SeriesKey) -> Term:
    """Return a term of `own` as it is spelled where `base` is traded."""
    key = term.series(own)
    return replace(
        term,
        symbol=None if term.symbol is None and key.symbol == base.symbol else key.symbol,
        timeframe=None if term.timeframe is None and key.timeframe == base.timeframe else key.timeframe,
    )


def split_name(text: str) -> tuple[str, Parameters]:
    """Split `atr_pctile_14_252` into its name and its parameters; FeatureError on odd numbers."""
    parts = text.split("_")
    count = 0
    while count < len(parts) - 1 and parts[-1 - count][:1].isdigit():
        count += 1
    name = "_".join(parts[: len(parts) - count])
    return name, tuple(_number(part, text) for part in parts[len(parts) - count :])


def _number(part: str, text: str) -> int | float:
    plain = _NUMBER.fullmatch(part)
    value = (float(part) if plain.group(2) else int(part)) if plain else None
    if value is None or format_parameter(value) != part:
        raise FeatureError(f"feature id {text!r}: parameter {part!r}: write numbers plainly, like 14 or 0.02")
    return value


def split_modifiers(text: str) -> tuple[str, list[str]]:
    """Split `rsi_2%252~1` into `rsi_2` and its modifiers, `%252` and `~1`, as they are spelled."""
    plain, *modifiers = _MODIFIER.split(text)
    return plain, modifiers


def read_modifiers(modifiers: Sequence[str], plain: str, spelled: str) -> tuple[int, int]:
    """Return (rank, lag), 0 where there is none; FeatureError on a bad number of bars or a second rank.

    Lags add up: a value one bar earlier, two bars earlier, is the value three bars earlier.
    """
    for modifier in modifiers:
        mark, bars = modifier[0], modifier[1:]
        if not _BARS.fullmatch(bars):
            raise FeatureError(
                f"feature id {spelled!r}: {modifier!r}: behind {mark} stands a whole number of bars, "
                f"1 or more: write {plain}{mark}{_EXAMPLE_BARS[mark]}"
            )
    ranks, lags = ([int(each[1:]) for each in modifiers if each[0] == mark] for mark in (RANK, LAG))
    if len(ranks) > 1:
        raise FeatureError(
            f"feature id {spelled!r}: two ranks: an id has one at most: write {plain}{RANK}{ranks[0]}"
        )
    return sum(ranks), sum(lags)


def split_qualifier(text: str, spelled: str) -> tuple[str | None, Timeframe | None]:
    """Split `NQ`, `1d` or `NQ:1d` into symbol and timeframe."""
    symbol, colon, timeframe = text.partition(":")
    if not colon and _TIMEFRAME.fullmatch(symbol):
        symbol, timeframe = "", symbol
    if (colon and not (symbol and timeframe)) or not (symbol or timeframe):
        raise FeatureError(f"feature id {spelled!r}: qualifier is @SYMBOL, @TIMEFRAME or @SYMBOL:TIMEFRAME")
    return symbol or None, Timeframe.parse(timeframe) if timeframe else None
