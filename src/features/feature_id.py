"""Canonical feature ids: one spelling for one value, everywhere.

    rsi_2                      a feature and its parameters
    ibs@NQ   ibs@1d            of another instrument, of another timeframe
    zscore_20@NQ:1d            of both
    rsi_2*volume_pctile_20     the product of two, in alphabetical order

Parameters are plain numbers: 14 or 0.02, never 2.0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lockstep.errors import FeatureError
from lockstep.features.feature import Feature, Parameters, format_parameter
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import Timeframe

_NUMBER = re.compile(r"(0|[1-9]\d{0,8})(\.\d{1,9})?")
_TIMEFRAME = re.compile(r"\d+(min|h|d)")
PRODUCT = "*"


@dataclass(frozen=True)
class Term:
    """One feature with its parameters, on the base series or a qualified one."""

    feature: Feature
    parameters: Parameters
    symbol: str | None = None
    timeframe: Timeframe | None = None

    @property
    def lookback(self) -> int:
        """Bars of its own series that the value depends on."""
        return self.feature.lookback(self.parameters)

    def series(self, base: SeriesKey) -> SeriesKey:
        """Return the series that the term is computed on when `base` is traded."""
        return SeriesKey(self.symbol or base.symbol, self.timeframe or base.timeframe)

    def __str__(self) -> str:
        spelled = self.feature.spell(self.parameters)
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


def split_qualifier(text: str, spelled: str) -> tuple[str | None, Timeframe | None]:
    """Split `NQ`, `1d` or `NQ:1d` into symbol and timeframe."""
    symbol, colon, timeframe = text.partition(":")
    if not colon and _TIMEFRAME.fullmatch(symbol):
        symbol, timeframe = "", symbol
    if (colon and not (symbol and timeframe)) or not (symbol or timeframe):
        raise FeatureError(f"feature id {spelled!r}: qualifier is @SYMBOL, @TIMEFRAME or @SYMBOL:TIMEFRAME")
    return symbol or None, Timeframe.parse(timeframe) if timeframe else None
