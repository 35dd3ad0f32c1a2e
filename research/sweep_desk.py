"""Working memory of the sweep, kept from one piece of work to the next.

The system hands out large arrays page by page, which takes longer than the work that is done in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import Floats
from research.sweep_kernels import OUTCOME

_CACHE_LINE = 64

Numbers = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Arrays of one worker, whose contents are left from before; see `sweep_account.settle`.

    entries   int32 (rules, n + 1), following int32 (2 n,), outcomes float64 (2 n, 8), changes float64 (S,)
    """

    entries: Numbers
    following: Numbers
    outcomes: Floats
    changes: Floats


# Those that no worker is using; taking and giving back are atomic.
_free: list[NDArray[np.uint8]] = []


@contextmanager
def desk(*, bars: int, sessions: int, rules: int) -> Iterator[Desk]:
    """Yield a desk for n = `bars` bars in S = `sessions` sessions and so many different entry rules."""
    shapes = {
        "outcomes": ((2 * bars, OUTCOME), np.float64),
        "following": ((2 * bars,), np.int32),
        "entries": ((rules, bars + 1), np.int32),
        "changes": ((sessions,), np.float64),
    }
    sizes = [int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in shapes.values()]
    starts = np.cumsum([0, *(size + -size % _CACHE_LINE for size in sizes)])
    room = _room(int(starts[-1]))
    cut = zip(shapes.items(), starts.tolist(), sizes, strict=False)
    try:
        yield Desk(
            **{
                name: room[start : start + size].view(kind).reshape(shape)
                for (name, (shape, kind)), start, size in cut
            }
        )
    finally:
        _free.append(room)


def _room(size: int) -> NDArray[np.uint8]:
    """Return so many bytes, beginning with a line of the cache: a row of outcomes is one line."""
    room = _free.pop() if _free else np.empty(0, dtype=np.uint8)
    if room.size >= size:
        return room
    raw = np.empty(size + _CACHE_LINE, dtype=np.uint8)
    first = -raw.ctypes.data % _CACHE_LINE
    return raw[first : first + size]
