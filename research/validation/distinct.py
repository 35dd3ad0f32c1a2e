"""Equal rows of large tables, found by a digest of each instead of by sorting whole rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.metrics import Integers

_ROWS = 4_096
_SORTED = 4


def _as_it_is(table: NDArray[Any]) -> Integers:
    return table


def distinct_rows(
    table: NDArray[Any], whole: Callable[[NDArray[Any]], Integers] = _as_it_is
) -> tuple[Integers, Integers]:
    """Return a row of each kind, int64 (k,), and the kind of every row, int64 (n,), of a table (n, d).

    whole   makes int64 (m, d) of some rows: rows are equal where these numbers are; asked for parts of the
            table, so that a copy of all of it is never needed

    Kinds are in the order of their first columns, whatever the order of the rows.
    """
    parts = [slice(first, first + _ROWS) for first in range(0, len(table), _ROWS)]
    digests = np.concatenate([_digests(whole(table[part])) for part in parts])
    _, rows, kinds = np.unique(digests, return_index=True, return_inverse=True)
    like = rows[kinds]
    if not all(np.array_equal(whole(table[part]), whole(table[like[part]])) for part in parts):
        # One pair of different rows in some 10^19 shares a digest.
        _, rows, kinds = np.unique(whole(table), axis=0, return_index=True, return_inverse=True)
    few = whole(table[rows, :_SORTED])
    order = np.lexsort(few.T[::-1])
    return rows[order], np.argsort(order)[kinds.ravel()]


def _digests(numbers: Integers) -> NDArray[np.uint64]:
    words = np.ascontiguousarray(numbers).view(np.uint64) * _factors(numbers.shape[1])
    digests: NDArray[np.uint64] = _mixed(words).sum(axis=1, dtype=np.uint64)
    return digests


def _factors(count: int) -> NDArray[np.uint64]:
    drawn = np.random.default_rng(0).integers(0, 2**63, count, dtype=np.uint64)
    return drawn * np.uint64(2) + np.uint64(1)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(29))
    return mixed * np.uint64(0x9E37_79B9_7F4A_7C15)
