"""`Ticks`: trades in time order, the other thing that bars are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import BadBars
from lockstep.market.bars import Floats, Stamps


@dataclass(frozen=True, kw_only=True, eq=False)
class Ticks:
    """Trades of one instrument; n ticks in time order.

    stamp    int64 (n,): moment of the trade, nanoseconds since 1970 UTC; several trades may share one
    price    float64 (n,): finite, negative allowed
    volume   float64 (n,): >= 0, fractions allowed

    A row that breaks a rule raises BadBars.
    """

    symbol: str
    stamp: Stamps
    price: Floats
    volume: Floats
    source: str = "ticks"

    def __post_init__(self) -> None:
        if not self.stamp.shape == self.price.shape == self.volume.shape == (self.stamp.size,):
            raise BadBars(source=self.source, line=None, value="shape", rule="columns are 1-D, of one length")
        falling = np.flatnonzero(np.diff(self.stamp) < 0) + 1
        self._refuse(falling, self.stamp.astype("M8[ns]"), "stamps must not fall")
        self._refuse(np.flatnonzero(~np.isfinite(self.price)), self.price, "price must be finite")
        self._refuse(np.flatnonzero(~(np.isfinite(self.volume) & (self.volume >= 0))), self.volume,
                     "volume must be a finite number >= 0")  # fmt: skip

    def _refuse(self, rows: Stamps, values: NDArray[np.generic], rule: str) -> None:
        if rows.size:
            row = int(rows[0])
            raise BadBars(source=self.source, line=None, value=f"tick {row}: {values[row]}", rule=rule)

    def __len__(self) -> int:
        return int(self.stamp.size)

    def rows(self, start: int, stop: int) -> Ticks:
        """Return ticks start <= i < stop."""
        cut = slice(start, stop)
        return Ticks(
            symbol=self.symbol,
            stamp=self.stamp[cut],
            price=self.price[cut],
            volume=self.volume[cut],
            source=self.source,
        )
