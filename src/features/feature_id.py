"""Canonical feature ids: one spelling for one value, everywhere.

    rsi_2                      a feature and its parameters
    rsi_2~1                    its value one bar earlier
    rsi_2%252                  its rank: the share of its 252 earlier values that lie below it, ties half
    rsi_2%252~1                its rank one bar earlier
    ibs@NQ   ibs@1d            of another instrument, of another timeframe
    zscore_20~5@NQ:1d          of both, five of its daily bars earlier
    rsi_2*volume_pctile_20     the product of two, in alphabetical order

Parameters are plain numbers: 14 or 0.02, never 2.0. Rank and lag count bars of the feature's own series.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lockstep.errors import FeatureError
from lockstep.features.feature import MAX_LOOKBACK, Feature, Parameters, format_parameter
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
    """A parsed id: one term, or the product of two."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return PRODUCT.join(map(str, self.terms))


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
