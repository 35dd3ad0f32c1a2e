"""What moves when all prices are shifted or scaled: found by computation, not by declaration.

A difference-adjusted series has had a constant added to all prices before each roll. What changes under
such a shift (percent returns, logs) means something else on it than on the contract that trades.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from lockstep.features.canonical import (
    Resolver,
    canonical_history,
    canonical_values,
    term_values,
)
from lockstep.features.feature_id import Term
from lockstep.market.bars import PRICE_COLUMNS, Bars, Floats
from lockstep.market.history import History

TOLERANCE = 1e-9
# Multiples of the canonical tick: on them every shifted price is exact. The pair moves by another amount,
# since every instrument has rolls of its own.
_SHIFTS = (512.0, -384.0)
_SCALES = (4.0, 0.5)


def shift_sensitive(ids: Iterable[str], registry: Resolver) -> tuple[str, ...]:
    """Return the ids whose values change when constants are added to all prices, in their order.

    A value counts as changed where it differs by more than 1e-9, relative to the largest finite value of the
    id, or where it becomes or ceases to be NaN.
    """
    return tuple(text for text in ids if not _same_after(text, registry, _SHIFTS, shifted))


def scale_sensitive(ids: Iterable[str], registry: Resolver) -> tuple[str, ...]:
    """Return the ids whose values change when all prices are multiplied by constants, in their order."""
    return tuple(text for text in ids if not _same_after(text, registry, _SCALES, scaled))


def price_levels(ids: Iterable[str], registry: Resolver) -> tuple[str, ...]:
    """Return the ids that follow the level of prices: they change under a shift and under scaling."""
    return scale_sensitive(shift_sensitive(ids, registry), registry)


def shifted(bars: Bars, amount: float) -> Bars:
    """Return the bars with `amount` points added to all prices."""
    return replace(bars, **{name: getattr(bars, name) + amount for name in PRICE_COLUMNS})


def scaled(bars: Bars, factor: float) -> Bars:
    """Return the bars with all prices multiplied by `factor` > 0."""
    return replace(bars, **{name: getattr(bars, name) * factor for name in PRICE_COLUMNS})


def _same_after(
    feature_id: str, registry: Resolver, amounts: tuple[float, float], change: Callable[[Bars, float], Bars]
) -> bool:
    def after(term: Term) -> Floats:
        history = canonical_history(term.lookback)
        bars = {
            key: change(series, amount)
            for (key, series), amount in zip(history.bars.items(), amounts, strict=True)
        }
        return term_values(term, registry, History(bars=bars, markets=history.markets))

    return _equal(canonical_values(feature_id, registry), registry.parse(feature_id).value(after))


def _equal(before: Floats, after: Floats) -> bool:
    if not np.array_equal(np.isnan(before), np.isnan(after)):
        return False
    size = max(1e-300, float(np.nanmax(np.abs(before), initial=0.0)))
    return bool(np.all(np.isnan(before) | (np.abs(after - before) <= TOLERANCE * size)))
