"""Windows over a roll: all prices as the contract of the window's last bar sees them.

A feature is a function of its window. Where a window reaches back into an earlier contract, the prices of
those
bars are moved by the whole ticks that lie between the contracts (`Rolls.seen_from`). So a value does not
depend on what is rolled later, and it is the same in a history that goes on as in one that ends at its bar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lockstep.features.inputs import PAIR_SUFFIX
from lockstep.market.bars import PRICE_COLUMNS, Floats, Stamps
from lockstep.market.rolls import Rolls, moved

UNPAIRED = np.iinfo(np.int64).min
"""Stands for the offset of a pair that has no bar."""

PAIR_PRICES = tuple(name + PAIR_SUFFIX for name in PRICE_COLUMNS)


def offsets_of(rolls: Rolls | None, ends: Stamps) -> Stamps:
    """Return how many ticks the contract of each bar stands above the first, int64 (n,); 0 without rolls."""
    return np.zeros(ends.size, dtype=np.int64) if rolls is None else rolls.ticks(ends)


def carried_forward(offsets: Stamps) -> Stamps:
    """Return offsets with each UNPAIRED as the newest before it, int64 (n,); those before the first as it.

    >>> carried_forward(np.array([UNPAIRED, 3, UNPAIRED, 5])).tolist()
    [3, 3, 3, 5]
    """
    there = offsets != UNPAIRED
    if not there.any():
        return np.zeros_like(offsets)
    newest = np.maximum.accumulate(np.where(there, np.arange(offsets.size), -1))
    return offsets[np.where(newest < 0, int(there.argmax()), newest)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Moving:
    """Columns of prices that move together: those of a series, or those of its pair.

    names     of the columns; tick   points of a tick
    offsets   int64 (n,): where the contract of each row stands, UNPAIRED for a pair that has no bar there
    """

    names: tuple[str, ...]
    tick: float
    offsets: Stamps

    def rows(self, first: int, stop: int) -> Moving:
        """Return rows first <= i < stop."""
        return Moving(names=self.names, tick=self.tick, offsets=self.offsets[first:stop])

    def seen(self, prices: Floats) -> Floats:
        """Return prices (n,) as the contract of the last row sees them."""
        ticks = carried_forward(self.offsets)[-1] - self.offsets
        return moved(prices, np.where(self.offsets == UNPAIRED, 0, ticks), self.tick)


def spans(moving: tuple[Moving, ...], n: int, lookback: int) -> Iterator[tuple[int, int, int]]:
    """Yield (first, start, stop): windows that end at start <= i < stop see one contract.

    They begin at row `first` or later.

    >>> one = Moving(names=("close",), tick=0.25, offsets=np.array([0, 0, 7, 7, 7]))
    >>> list(spans((one,), 5, lookback=2))
    [(0, 0, 2), (1, 2, 5)]
    """
    changes = np.zeros(max(n - 1, 0), dtype=np.bool_)
    for each in moving:
        changes |= np.diff(carried_forward(each.offsets)) != 0
    for start, stop in pairwise([0, *(np.flatnonzero(changes) + 1).tolist(), n]):
        yield max(0, start - lookback + 1), start, stop
