"""What a sweep keeps of each trial's returns: count, sum and sum of squares in each block of time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from lockstep.compiled import kernel
from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats
from research.validation.arrays import finite

# Sums of squares lose digits against the squared mean; spreads below this part of it are rounding.
_ROUNDING = 1e-12


@kernel
def sums_to_ratios(sums: Floats, squares: Floats, counts: Floats) -> None:
    """Turn sums of returns, float64 (c, n), into Sharpe ratios in place; see `BlockMoments.sharpe`.

    squares   float64 (c, n): sums of their squares; counts: float64 (c,), how many they are
    """
    for row in range(sums.shape[0]):
        count, line, square = counts[row], sums[row], squares[row]
        for trial in range(line.size):
            mean = line[trial] / count
            about_zero = square[trial] / count
            variance = about_zero - mean * mean
            flat = variance <= _ROUNDING * about_zero
            deviation = math.sqrt(1.0 if flat else variance * (count / (count - 1.0)))
            line[trial] = 0.0 if flat else mean / deviation


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockMoments:
    """Moments of n trials in S blocks of time that follow each other.

    sums      float64 (S, n): sum of returns
    squares   float64 (S, n): sum of squared returns
    counts    float64 (S,): number of returns, >= 1, the same for all trials

    S is even and at least 4, n at least 2. DataError otherwise, and for values that are not finite.
    """

    sums: Floats
    squares: Floats
    counts: Floats

    def __post_init__(self) -> None:
        sums = finite(self.sums, "block sums", dimensions=2)
        squares = finite(self.squares, "block squares", dimensions=2)
        counts = finite(self.counts, "block counts")
        if sums.shape != squares.shape or sums.shape[:1] != counts.shape:
            raise DataError(
                f"block sums {sums.shape}, squares {squares.shape}, counts {counts.shape}: "
                "need (S, n), (S, n) and (S,)"
            )
        if sums.shape[0] < 4 or sums.shape[0] % 2:
            raise DataError(f"{sums.shape[0]} blocks: need an even number, at least 4; 16 is usual")
        if sums.shape[1] < 2:
            raise DataError(f"{sums.shape[1]} trials: overfitting is a choice among at least 2")
        if counts.min() < 1:
            raise DataError(f"block counts: {counts.min()}: every block needs a return; use fewer blocks")
        for name, array in (("sums", sums), ("squares", squares), ("counts", counts)):
            object.__setattr__(self, name, array)

    @classmethod
    def of(cls, returns: Any, blocks: int = 16) -> Self:
        """Measure `returns`, float64 (T, n), in `blocks` parts whose lengths differ by one at most."""
        values = finite(returns, "returns", dimensions=2, least=max(blocks, 1))
        if blocks < 1:
            raise ConfigError(f"blocks {blocks}: must be positive; 16 is usual")
        parts = np.array_split(values, blocks)
        return cls(
            sums=np.array([part.sum(axis=0) for part in parts]),
            squares=np.array([(part**2).sum(axis=0) for part in parts]),
            counts=np.array([float(part.shape[0]) for part in parts]),
        )

    @property
    def blocks(self) -> int:
        """The number of blocks S."""
        return int(self.sums.shape[0])

    @property
    def trials(self) -> int:
        """The number of trials n."""
        return int(self.sums.shape[1])

    def sharpe(self, chosen: Floats) -> Floats:
        """Sharpe ratios per period of all trials over c sets of blocks, float64 (c, n).

        `chosen` is float64 (c, S) of 0 and 1: which blocks belong to each set.
        Standard deviation with ddof 1. A trial without variance, such as one that did not trade in those
        blocks, has the ratio 0: it must rank somewhere, and it gained nothing.
        """
        sums = chosen @ self.sums
        sums_to_ratios(sums, chosen @ self.squares, chosen @ self.counts)
        return sums
