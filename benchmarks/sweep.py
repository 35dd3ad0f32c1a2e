"""The compiled sweep: bar-variants per second, metrics included."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from benchmarks.measure import Measured, seconds
from benchmarks.workload import history, hourly_bars
from lockstep.strategy.ibs_decision import IbsConfig
from research.sweep import sweep

_GRID = 10
_REPEATS = 4
_MILLION = 1e6

THRESHOLDS = IbsConfig(name="thresholds", timeframe="1h")
GENERAL = IbsConfig.model_validate(
    {
        "name": "general",
        "timeframe": "1h",
        "filters": [{"feature": "rsi_2", "max": 90.0}],
        "window": {"start": "19:00", "end": "16:00"},
        "stop": {"percent": 1.0},
        "target": {"percent": 2.0},
        "max_bars": 20,
    }
)


def grid(base: IbsConfig) -> list[IbsConfig]:
    """Return 10 x 10 entry and exit thresholds, several times over so that the loop dominates."""
    pairs = list(product(np.linspace(0.05, 0.3, _GRID), np.linspace(0.6, 0.95, _GRID)))
    return [base.replaced(entry=(0.0, low), exit=(high, 1.0)) for low, high in pairs] * _REPEATS


def throughput() -> Iterator[Measured]:
    """Measure both grids, features and packing of the variants included; more is better."""
    bars = hourly_bars()
    known = history(bars)
    for base, promise in ((GENERAL, 150.0), (THRESHOLDS, 500.0)):
        variants = grid(base)
        taken = seconds(lambda variants=variants: sweep(variants, known, "ES", chunk=50))
        rate = len(variants) * len(bars) / taken / _MILLION
        yield Measured(
            what=f"sweep, {base.name}",
            value=rate,
            unit="M bar-variants/s",
            promise=promise,
            more_is_better=True,
        )
