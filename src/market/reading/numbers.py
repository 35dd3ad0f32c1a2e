"""Columns of a data file as float64: decimal commas, grouped digits, 1.82M, $4.83."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lockstep.market.bars import Flags, Floats
from lockstep.market.source import Source

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?([nN][aA][nN]|[iI][nN][fF])$"
_SHORT = r"^\$?[+-]?(\d+\.?\d*|\.\d+)[kKmMbB]?$"
_POWERS = {"k": "e3", "m": "e6", "b": "e9"}
_BLANKS = "\u00a0\u202f"


class Notation(NamedTuple):
    """How a file writes numbers: the decimal separator, and what groups digits by three."""

    decimal: str = "."
    thousands: str | None = None

    @classmethod
    def of(cls, source: Source) -> Notation:
        """Return what a source declares."""
        return cls(source.decimal, source.thousands)


_USUAL = Notation()


def numbers(column: Any, notation: Notation = _USUAL) -> tuple[Floats, Flags]:
    """Return a column as float64 (n,), and which rows are not a number at all (NaN there).

    Text is read to the nearest double. `$4.83`, `15K`, `1.82M` and `2B` are numbers; grouped digits only
    where the notation declares what groups them, and only in groups of three.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if numeric or pa.types.is_decimal(column.type):
        return _floats(column.cast(pa.float64())), np.zeros(len(column), dtype=np.bool_)
    text = _plain(column.cast(pa.string()), notation)
    try:
        return _floats(text.cast(pa.float64())), np.asarray(text.is_null())
    except pa.ArrowInvalid:
        text = _expanded(text)
        good = pc.fill_null(pc.match_substring_regex(text, _NUMBER), False)
        cleaned = pc.if_else(good, text, pa.scalar(None, pa.string()))
        return _floats(cleaned.cast(pa.float64())), ~np.asarray(good)


def _plain(text: Any, notation: Notation) -> Any:
    """Return text with a decimal point and without grouping; what is grouped otherwise becomes null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    decimal, thousands = notation
    good = None
    if thousands is not None:
        if thousands == " ":
            text = pc.replace_substring_regex(text, f"[{_BLANKS}]", " ")
        mark, point = _literal(thousands), _literal(decimal)
        grouped = rf"^\$?[+-]?\d{{1,3}}({mark}\d{{3}})+({point}\d*)?[kKmMbB]?$"
        good = pc.or_(pc.match_substring_regex(text, grouped), pc.invert(pc.match_substring(text, thousands)))
        text = pc.replace_substring(text, thousands, "")
    if decimal != ".":
        bare = pc.invert(pc.match_substring(text, "."))
        good = bare if good is None else pc.and_(good, bare)
        text = pc.replace_substring(text, decimal, ".")
    return text if good is None else pc.if_else(pc.fill_null(good, False), text, pa.scalar(None, pa.string()))


def _literal(character: str) -> str:
    """Return a pattern that matches the character itself."""
    return f"[{character}]" if character not in "^]\\" else f"\\{character}"


def _expanded(text: Any) -> Any:
    """Return text with powers of ten for K, M and B, and without a dollar sign."""
    import pyarrow.compute as pc

    short = pc.fill_null(pc.match_substring_regex(text, _SHORT), False)
    long = pc.replace_substring_regex(text, r"^\$", "")
    for letter, power in _POWERS.items():
        long = pc.replace_substring_regex(long, f"[{letter}{letter.upper()}]$", power)
    return pc.if_else(short, long, text)


def _floats(column: Any) -> Floats:
    return np.asarray(column.to_numpy(), dtype=np.float64)
