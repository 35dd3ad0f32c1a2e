"""The test of the maximum: 160,000 variants, one core."""

from __future__ import annotations

import time

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.measure import Measured
from research.statistics.maximum import DRAWS, SKETCH, RunningMaximum

_VARIANTS = 160_000
# What a worker hands in at a time.
_CHUNK = 1_000


def running_maximum() -> Measured:
    """Measure the processor's seconds for all sketches of a wide grid, as they come from its sweep."""
    random = np.random.default_rng(1)
    chunks = [random.standard_normal((_CHUNK, SKETCH)) for _ in range(10)]
    running = RunningMaximum()
    with threadpool_limits(1):
        start = time.process_time()
        for number in range(_VARIANTS // _CHUNK):
            running.add(chunks[number % len(chunks)])
        taken = time.process_time() - start
    return Measured(
        what="maximum of 160,000 trials, one core",
        value=taken,
        unit="s",
        promise=12.0,
        note=f"sketches of {SKETCH} numbers, {DRAWS:,} draws",
    )
