"""How the dashboard writes moments, ages, sizes and results."""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup

from research.report import page as kit

SECOND = 1_000_000_000
_SPANS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


def minute(stamp: int | None) -> str:
    """Return a UTC moment as `2026-03-02 21:00`; a dash for none.

    >>> minute(1_709_931_600_000_000_000)
    '2024-03-08 21:00'
    """
    if not stamp:
        return kit.UNDEFINED
    return str(np.datetime_as_string(np.datetime64(stamp, "ns"), unit="m")).replace("T", " ")


def span(seconds: float) -> str:
    """Return a time that has passed, in its largest unit.

    >>> span(59.0), span(7_300.0)
    ('59 s', '2 h')
    """
    for length, unit in _SPANS:
        if seconds >= length:
            return f"{seconds // length:,.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def ago(stamp: int, now: int) -> str:
    """Return how long ago a moment was, or how far ahead it is: then a clock is wrong.

    >>> ago(0, 7_300 * SECOND), ago(120 * SECOND, 0)
    ('2 h ago', '2 min ahead')
    """
    seconds = (now - stamp) / SECOND
    return f"{span(seconds)} ago" if seconds >= 0 else f"{span(-seconds)} ahead"


def contracts(value: float | None) -> str:
    """Return a signed size; `flat` for none.

    >>> contracts(2.0), contracts(0.0)
    ('+2', 'flat')
    """
    if value is None or math.isnan(value):
        return kit.UNDEFINED
    return f"{value:+g}".replace("-", "\N{MINUS SIGN}") if value else "flat"


def money(value: float | None) -> Markup:
    """Return dollars and cents, in the colour of losses where negative."""
    return kit.coloured(kit.usd(value, 2))
