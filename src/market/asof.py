"""As-of joins: the newest bar that was complete at a moment, unless it is too old."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lockstep.errors import ConfigError
from lockstep.market.bars import Stamps
from lockstep.market.schedule import DAY
from lockstep.market.timeframe import Timeframe


@dataclass(frozen=True)
class MaxAge:
    """How old the newest bar of a joined series may be before its values count as missing.

    bars   for intraday series: that many bar lengths
    days   for session series: that many calendar days, so that a long weekend is not too old
    """

    bars: int = 3
    days: int = 4

    def __post_init__(self) -> None:
        if self.bars < 0 or self.days < 0:
            raise ConfigError(f"maximum age of {self.bars} bars, {self.days} days: must not be negative")

    def nanoseconds(self, timeframe: Timeframe) -> int:
        """Return the limit for a joined series of `timeframe`."""
        return self.days * DAY if timeframe.is_session else self.bars * timeframe.nanoseconds


def asof_rows(target: Stamps, source: Stamps, max_age_ns: int) -> Stamps:
    """Return, for each target stamp, the index of the source bar to use there, or -1; int64 (n,).

    It is the last one with end <= target; -1 where there is none or target - end > max_age_ns.
    target (n,) and source (m,) are bar ends, UTC nanoseconds; source rises.
    """
    rows = np.searchsorted(source, target, side="right").astype(np.int64) - 1
    found = rows >= 0
    age = target[found] - source[rows[found]]
    rows[np.flatnonzero(found)[age > max_age_ns]] = -1
    return rows
