"""Test the best of all trials against the best of as many without skill that move together as they do.

A search keeps, of every trial, a sketch of its returns: 256 sums instead of one number per session, from
which every correlation can be told. They replace the question how many independent trials there were.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import ConfigError
from lockstep.metrics import Floats, Integers
from research.statistics.sharpe import finite

SKETCH = 256

_Words = NDArray[np.uint64]


def date_hash(days: Any, block: int = 1) -> tuple[Integers, Floats]:
    """Return the place in a sketch, int64 (S,), 0 ... 255, and the sign there, +-1, of each session.

    days    datetime64 (S,), dates of the sessions
    block   days that share place and sign: returns that depend on those of the days before are then added up
            before they are compared; 1 takes them as independent

    Both depend on the date alone, so that sketches of equal blocks can be added and compared, whatever range
    of dates each search saw. ConfigError for a block below 1.
    """
    if block < 1:
        raise ConfigError(f"block of {block} days: must be at least 1")
    number = np.asarray(days).astype("datetime64[D]").astype(np.int64) // block
    words = _mixed(_mixed(number.astype(np.uint64) + np.uint64(0x9E37_79B9_7F4A_7C15)))
    bucket = (words >> np.uint64(56)).astype(np.int64)
    sign = 1.0 - 2.0 * ((words >> np.uint64(55)) & np.uint64(1)).astype(np.float64)
    return bucket, sign


def _mixed(words: _Words) -> _Words:
    """One round of a mixer of 64 bits; Steele, Lea and Flood (2014), Fast Splittable PRNGs, OOPSLA."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    mixed: _Words = words ^ (words >> np.uint64(31))
    return mixed


def sketch_of(returns: Any, days: Any, block: int = 1) -> Floats:
    """Return the sketches, float64 (n, 256), of the returns of n trials, float64 (n, S), on S dates.

    Each return is added, with the sign of its date, to the sum of its date (`date_hash`). Charikar, Chen and
    Farach-Colton (2004), Finding frequent items in data streams, Theoretical Computer Science 312, 3-15.
    DataError for returns that are not finite.
    """
    values = finite(returns, "returns", dimensions=2)
    bucket, sign = date_hash(days, block)
    sketch = np.zeros((SKETCH, len(values)))
    np.add.at(sketch, bucket, values.T * sign[:, None])
    return np.ascontiguousarray(sketch.T)
