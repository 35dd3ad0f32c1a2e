"""The compiled sweep: bar-variants per second, how they grow, and other engines beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from benchmarks.measure import Measured, once
from benchmarks.peers.compare import rates
from benchmarks.workload import BARS, history, hourly_bars
from lockstep.features.feature_registry import default_registry
from lockstep.market.bars import Bars
from lockstep.market.dates import DateRange
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.tables import TextTable, number
from research.sweep.inputs import Prepared
from research.sweep.loops import evaluate, pieces
from research.sweep.run import sweep

_RUNS = 15
_MILLION = 1e6
_BILLION = 1e9

PAIRS = tuple(product(np.linspace(0.05, 0.3, 10).tolist(), np.linspace(0.6, 0.95, 10).tolist()))
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


def grid(base: IbsConfig, pairs: Sequence[tuple[float, float]] = PAIRS) -> list[IbsConfig]:
    """Return `base` with each pair of entry and exit thresholds."""
    return [base.replaced(entry=(0.0, low), exit=(high, 1.0)) for low, high in pairs]


def rate(variants: Sequence[IbsConfig], bars: Bars, runs: int = _RUNS) -> float:
    """Return the bar-variants per second of whole calls, features, packing and measures included, at best."""
    known = history(bars)
    least = min(once(lambda: sweep(variants, known, "ES")) for _ in range(runs))
    return len(variants) * len(bars) / least


def alone(variants: Sequence[IbsConfig], bars: Bars) -> float:
    """Return the bar-variants per second of the loop by itself on one core, likewise."""
    prepared = Prepared(history(bars), "ES", variants[0], DateRange(), default_registry())
    (group,) = prepared.groups(variants)
    inputs = prepared.inputs(group.config)
    (piece,) = pieces(group, len(variants), bars=len(bars), sessions=prepared.days.size)
    return len(variants) * len(bars) / min(once(lambda: evaluate(piece, inputs)) for _ in range(_RUNS))


def throughput() -> Iterator[Measured]:
    """Measure 10 x 10 thresholds, with the general rules and by themselves; more is better."""
    bars = hourly_bars()
    for base, promise in ((GENERAL, 150.0), (THRESHOLDS, 500.0)):
        variants = grid(base)
        whole, core = rate(variants, bars) / _MILLION, alone(variants, bars) / _MILLION
        yield Measured(
            what=f"sweep, {base.name}, 10 x 10, two cores",
            value=whole,
            unit="M bar-variants/s",
            promise=promise,
            note=f"loop alone {core:,.0f} M per core",
            more_is_better=True,
        )


def growth() -> Measured:
    """Measure what a bar-variant costs when there are four times as many bars and as many variants."""
    finer = tuple(product(np.linspace(0.05, 0.3, 20).tolist(), np.linspace(0.6, 0.95, 20).tolist()))
    small = rate(grid(GENERAL), hourly_bars(BARS // 4))
    large = rate(grid(GENERAL, finer), hourly_bars(), runs=5)
    return Measured(
        what="sweep, cost of a bar-variant, 16 x as many / few",
        value=small / large,
        unit="x",
        promise=1.2,
        note=f"{_BILLION / small:.2f} and {_BILLION / large:.2f} ns",
    )


def peers() -> TextTable:
    """Run other engines over the same bars and thresholds, and return how many times faster the sweep is."""
    bars = hourly_bars()
    variants = grid(THRESHOLDS)
    trades = sweep(variants, history(bars), "ES").metrics["trades"]
    ours = {base.name: rate(grid(base), bars) for base in (GENERAL, THRESHOLDS)}
    numbers = ("M bar-variants/s", "thresholds alone", "general rules", "trades of the first")
    title = "10 x 10 thresholds over the same 100,000 hourly bars"
    table = TextTable("engine", *map(number, numbers), title=title)
    for name, cells in ours.items():
        table.add_row(f"Lockstep, {name}", f"{cells / _MILLION:,.0f}", "", "", f"{trades[0]:,.0f}")
    for each in rates(bars, PAIRS):
        per_second = each.cells_per_second
        table.add_row(
            each.peer.name,
            f"{per_second / _MILLION:,.3g}",
            f"{ours['thresholds'] / per_second:,.0f} x",
            f"{ours['general'] / per_second:,.0f} x",
            f"{each.trades[0]:,}" + ("" if each.peer.bars == BARS else f" in {each.peer.bars:,} bars"),
        )
    return table
