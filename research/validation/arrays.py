"""What the statistics ask of an array before they believe it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lockstep.errors import DataError
from lockstep.metrics import Floats, Integers


def finite(values: Any, name: str, *, dimensions: int = 1, least: int = 1) -> Floats:
    """Return `values` as contiguous float64; DataError unless it has the shape and every value is finite.

    `least` is the smallest admitted length of the first axis. Statistics of a series with holes would
    silently be those of another series, so missing values are refused, never dropped.
    """
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.ndim != dimensions:
        raise DataError(f"{name}: {array.ndim} dimensions: need {dimensions}; reshape the array")
    if array.shape[0] < least:
        raise DataError(f"{name}: {array.shape[0]} rows: need at least {least}; use a longer sample")
    if not np.isfinite(array).all():
        where = tuple(int(axis[0]) for axis in np.nonzero(~np.isfinite(array)))
        raise DataError(f"{name}{list(where)}: {array[where]}: must be finite; drop or mend the row")
    return array


def stamps(values: Any, name: str) -> Integers:
    """Return `values` as int64 (n,); DataError unless they are integers (or datetime64) of one dimension."""
    array = np.asarray(values)
    if array.dtype.kind == "M":
        array = array.astype("datetime64[ns]").astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"{name}: {array.dtype} with {array.ndim} dimensions: need int64 stamps (n,); "
            "pass UTC nanoseconds or bar numbers"
        )
    return array.astype(np.int64)
