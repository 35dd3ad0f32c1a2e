"""The rules of `Bars` for a single bar, at the cost of a few comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lockstep.market.bars import BAR_COLUMNS, first_violation

# How far a bar may end after it was received, since clocks differ; beyond it was not complete.
AHEAD_NS = 5_000_000_000

_INFINITE = math.inf


def broken_rule(values: Sequence[float]) -> str:
    """Return the first rule of `Bars` that (open, high, low, close, volume) breaks, with the value, or ""."""
    if len(values) != len(BAR_COLUMNS):
        return f"{len(values)} values: a bar has {', '.join(BAR_COLUMNS)}"
    open_, high, low, close, volume = values
    if low <= open_ <= high and low <= close <= high and 0 <= volume < _INFINITE:
        if -_INFINITE < low and high < _INFINITE:
            return ""
    columns = {name: np.array([value]) for name, value in zip(BAR_COLUMNS, values, strict=True)}
    found = first_violation(np.zeros(1, dtype=np.int64), columns)
    return "" if found is None else f"{found[1]}: {found[2]}"
