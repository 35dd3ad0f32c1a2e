"""Label intervals: the time span in which the outcome of a sample is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import DataError
from lockstep.metrics import Integers
from research.statistics.sharpe import stamps

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Labels:
    """The closed interval [start, end] of each of n samples, ordered by start.

    start   int64 (n,): when the features of the sample are known, never falling
    end     int64 (n,): when its label is known, >= start; in any order

    Both in one unit: UTC nanoseconds, or bar numbers. Two intervals overlap where they share a moment,
    their ends included.
    """

    start: Integers
    end: Integers

    @classmethod
    def of(cls, start: Any, end: Any = None) -> Self:
        """Return checked labels; without `end` each label is known at once. DataError, see the class."""
        first = stamps(start, "label start")
        last = first if end is None else stamps(end, "label end")
        if first.size != last.size:
            raise DataError(f"labels: {first.size} starts, {last.size} ends: need one interval per sample")
        _refuse(np.diff(first, prepend=first[:1]) < 0, first, "start falls: sort the samples by time")
        _refuse(last < first, last, "ends before it starts: swap its ends")
        return cls(first, last)

    @property
    def size(self) -> int:
        """The number of samples."""
        return int(self.start.size)

    def overlap(self, low: int, high: int) -> Mask:
        """Return which intervals share a moment with the closed interval [low, high], bool (n,)."""
        return (self.start <= high) & (self.end >= low)

    def require_length(self, samples: Any) -> None:
        """Raise DataError unless `samples` (anything with a length, or None) has one row per label."""
        if samples is not None and len(samples) != self.size:
            raise DataError(f"{len(samples)} samples, {self.size} label intervals: need one interval each")


def _refuse(wrong: Mask, values: Integers, rule: str) -> None:
    if wrong.any():
        sample = int(wrong.argmax())
        raise DataError(f"label of sample {sample}: {values[sample]}: {rule}")
