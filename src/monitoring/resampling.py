"""Blocks of neighbouring outcomes, drawn again: what a reference could as well have been.

Circular blocks: Politis and Romano (1992), A circular block-resampling procedure for stationary data, in
Exploring the Limits of Bootstrap, 263-270. Their length grows as the cube root of the sample: Künsch (1989),
The jackknife and the bootstrap for general stationary observations, Annals of Statistics 17, 1217-1241.
"""

from __future__ import annotations

import math

import numpy as np

from lockstep.errors import ConfigError
from lockstep.metrics.arrays import Integers


def block_length(count: int) -> int:
    """Return the length of a block for `count` >= 1 outcomes: the cube root, rounded up.

    >>> block_length(400)
    8
    """
    length: int = max(1, round(math.cbrt(count)))
    return length if length**3 >= count else length + 1


def block_rows(random: np.random.Generator, count: int, *, draws: int, size: int, block: int) -> Integers:
    """Return rows of `draws` samples, int64 (draws, size): whole blocks from anywhere, round the end.

    count   outcomes there are, >= 1; size    outcomes of a sample; block   length of a block, >= 1

    ConfigError where one of them is below 1.
    """
    if min(count, draws, size, block) < 1:
        raise ConfigError(
            f"resampling of {count} outcomes: {draws} draws of {size} in blocks of {block}; each must be >= 1"
        )
    starts = random.integers(count, size=(draws, math.ceil(size / block)))
    rows = (starts[:, :, None] + np.arange(block)).reshape(draws, -1)[:, :size]
    return rows % count
