"""How numbers are written: a true minus sign, thousands separated, a dash for what is undefined."""

from __future__ import annotations

import math

EN_DASH = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
UNDEFINED = EN_DASH
_MINUS = "\N{MINUS SIGN}"


def _written(value: float | int | None, pattern: str, before: str = "", after: str = "") -> str:
    if value is None or not math.isfinite(value):
        return UNDEFINED
    digits = format(abs(value), pattern)
    is_negative = value < 0 and any(character in "123456789" for character in digits)
    return f"{_MINUS if is_negative else ''}{before}{digits}{after}"


def usd(value: float | int | None, decimals: int = 0) -> str:
    """Return whole dollars, or cents too: `$12,345`, the minus sign before the dollar."""
    return _written(value, f",.{decimals}f", before="$")


def percent(value: float | int | None, decimals: int = 1) -> str:
    """Return a fraction as `12.3%`."""
    return _written(None if value is None else value * 100, f",.{decimals}f", after="%")


def ratio(value: float | int | None, decimals: int = 2) -> str:
    """Return `1.23`."""
    return _written(value, f",.{decimals}f")


def count(value: float | int | None) -> str:
    """Return `12,345`."""
    return _written(value, ",.0f")


def price(value: float | int | None) -> str:
    """Return a price with up to ten significant digits and no trailing zeros."""
    return _written(value, ",.10g")
