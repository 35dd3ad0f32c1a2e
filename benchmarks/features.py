"""Features: batch, streaming and the first use of a feature on a fresh machine."""

from __future__ import annotations

import os
import tempfile
from itertools import islice

from benchmarks.measure import Measured, process, seconds
from benchmarks.workload import feature_ids, history, hourly_bars
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.features.streaming import WindowFeatures
from lockstep.market.history import SeriesKey

_WARM_UP = 3_000
_STREAMED = 2_000

_COLD = """
import time
import numpy as np
from lockstep.features.feature_registry import default_registry
from lockstep.market.bars import Bars
from lockstep.market.timeframe import DAILY
registry = default_registry()
first = "inside_bar"
columns = dict.fromkeys(("open", "high", "low", "close", "volume"), np.ones(600))
bars = Bars(symbol="ES", timeframe=DAILY, end=np.arange(600), **columns)
start = time.perf_counter()
registry.calculate(first, bars)
started = time.perf_counter()
registry.calculate("{feature}", bars)
print(started - start, time.perf_counter() - started)
"""


def batch() -> Measured:
    """Measure 40 features over 100,000 bars, compiled code on disk and loaded."""
    bars = hourly_bars()
    known = history(bars)
    plan = default_registry().plan(feature_ids(), SeriesKey("ES", bars.timeframe))
    value = seconds(lambda: BatchFeatures(plan, known))
    return Measured(what="40 features x 100,000 bars, batch, warm", value=value, unit="s", promise=2.0)


def streaming() -> Measured:
    """Measure one bar set in, one vector of 40 features out."""
    known = history(hourly_bars(_WARM_UP + _STREAMED))
    plan = default_registry().plan(feature_ids(), SeriesKey("ES", hourly_bars(10).timeframe))
    windows = WindowFeatures(plan, known.markets)
    sets = list(known.bar_sets())
    for bar_set in islice(sets, _WARM_UP):
        windows.push(bar_set)

    rest = iter(sets[_WARM_UP:])

    def some() -> None:
        for bar_set in islice(rest, _STREAMED // 10):
            windows.push(bar_set)
            windows.vector(bar_set.stamp)

    value = seconds(some) / (_STREAMED // 10) * 1e6
    return Measured(what="one streaming vector of 40 features", value=value, unit="µs", promise=100.0)


def cold() -> Measured:
    """Measure the first use of a feature with an empty compile cache, the compiler itself being loaded."""
    slowest, note = 0.0, ""
    for feature in ("ibs", "rsi_14", "adx_14", "atr_pctile_14_252"):
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "LOCKSTEP_CACHE_DIR": cache}
            answer = process(_COLD.format(feature=feature), environment)
        first, taken = map(float, answer.split())
        if taken > slowest:
            slowest = taken
            note = f"{feature}; the very first kernel of a process, a small one, takes {first:.2g} s"
    return Measured(
        what="first use of a feature, empty cache", value=slowest, unit="s", promise=1.0, note=note
    )
