"""What a computation says per bar, and where two of them differ up to a cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import Flags, Stamps
from lockstep.market.history import History

Column = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Named columns of float64 (n,) or objects (n,), one row per bar; `end` int64 (n,), UTC nanoseconds."""

    end: Stamps
    columns: Mapping[str, Column]


Compute = Callable[[History], Observations]


@dataclass(frozen=True, kw_only=True)
class Move:
    """A value that differs: its column, the bar's end, and both values in words."""

    column: str
    stamp: int
    before: str
    after: str


def moves(before: Observations, after: Observations, cut: int) -> Iterator[Move]:
    """Yield, for every column, the earliest bar up to `cut` at which two observations differ, bit for bit.

    NaN equals NaN. Where the bars themselves differ, that alone is told, under the name `bars`.
    """
    rows, others = _known(before, cut), _known(after, cut)
    if not np.array_equal(before.end[:rows], after.end[:others]):
        yield _other_bars(before.end[:rows], after.end[:others])
        return
    for name, values in before.columns.items():
        found = np.flatnonzero(_differ(values[:rows], after.columns[name][:rows]))
        if found.size:
            row = int(found[0])
            told = _told(values[row], after.columns[name][row])
            yield Move(column=name, stamp=int(before.end[row]), before=told[0], after=told[1])


def _known(observed: Observations, cut: int) -> int:
    return int(np.searchsorted(observed.end, cut, side="right"))


def _other_bars(before: Stamps, after: Stamps) -> Move:
    stamp = int(np.setxor1d(before, after)[0])
    there, gone = "a bar", "no bar"
    words = (there, gone) if stamp in before else (gone, there)
    return Move(column="bars", stamp=stamp, before=words[0], after=words[1])


def _differ(before: Column, after: Column) -> Flags:
    if before.dtype.kind != "f":
        return np.asarray(before != after, dtype=np.bool_)
    bits = [np.ascontiguousarray(values, dtype=np.float64).view(np.int64) for values in (before, after)]
    return np.asarray((bits[0] != bits[1]) & ~(np.isnan(before) & np.isnan(after)))


def _told(before: object, after: object) -> tuple[str, str]:
    """Return both values in words, with as few digits as tell them apart."""
    if not (isinstance(before, float) and isinstance(after, float)):
        return str(before) or "none", str(after) or "none"
    short = f"{before:.6g}", f"{after:.6g}"
    return short if short[0] != short[1] else (repr(float(before)), repr(float(after)))
