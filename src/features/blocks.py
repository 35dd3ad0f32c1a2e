"""`BarBlock`: bar sets that are known before they are used, as columns by series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.market.bars import BAR_COLUMNS, Floats, Stamps
from lockstep.market.history import BarSet, SeriesKey

_NOWHERE = np.empty(0, dtype=np.int64)
_NOTHING = np.empty((0, len(BAR_COLUMNS)))


@dataclass(frozen=True, kw_only=True, eq=False)
class BarBlock:
    """Bar sets in the order in which they come, which need not be that of their stamps: some bars are late.

    stamps   of the sets, int64 (m,)
    places   by series, the places of the sets that hold a bar of it: int64 (n,), rising
    values   by series, its bars: float64 (n, 5)
    """

    sets: Sequence[BarSet]
    stamps: Stamps
    places: Mapping[SeriesKey, Stamps]
    values: Mapping[SeriesKey, Floats]

    @classmethod
    def of(cls, sets: Sequence[BarSet]) -> BarBlock:
        """Return the block of `sets`."""
        found: dict[SeriesKey, list[tuple[int, tuple[float, ...]]]] = defaultdict(list)
        for place, bar_set in enumerate(sets):
            for key, bar in bar_set.bars.items():
                found[key].append((place, bar))
        return cls(
            sets=sets,
            stamps=np.array([each.stamp for each in sets], dtype=np.int64),
            places={key: np.array([place for place, _ in bars]) for key, bars in found.items()},
            values={key: np.array([bar for _, bar in bars]) for key, bars in found.items()},
        )

    def bars(self, key: SeriesKey) -> tuple[Stamps, Stamps, Floats]:
        """Return (places, ends, values) of the bars of a series, none where it has none."""
        places = self.places.get(key, _NOWHERE)
        return places, self.stamps[places], self.values.get(key, _NOTHING)
