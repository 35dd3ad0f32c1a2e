"""The compiled sweep: bar-variants per second, how they grow, and other engines beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from benchmarks.measure import Measured, of_tests, once
from benchmarks.peers.compare import rates
from benchmarks.workload import BARS, HOURLY, history, hourly_bars
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.market.bars import Bars
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.tables import TextTable, number
from research.sweep.inputs import Inputs, Prepared
from research.sweep.loops import evaluate, pieces
from research.sweep.run import sweep
from research.sweep.specs import BATCH, SpecPiece
from research.sweep.variants import Variants
from research.sweep.work import evaluated, work_on

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


def rate(variants: Sequence[StrategyConfig], bars: Bars, runs: int = _RUNS) -> float:
    """Return the bar-variants per second of whole calls, features, packing and measures included, at best."""
    known = history(bars)
    least = min(once(lambda: sweep(variants, known, "ES")) for _ in range(runs))
    return len(variants) * len(bars) / least


def alone(variants: Sequence[IbsConfig], bars: Bars) -> float:
    """Return the bar-variants per second of the loop by itself on one core, likewise."""
    prepared = Prepared(history(bars), "ES", variants[0], DateRange(), default_registry())
    (group,) = prepared.groups(variants)
    inputs = prepared.inputs(group.config)
    (piece,) = pieces(group, len(variants), bars=len(bars), sessions=prepared.ground.days.size)
    return len(variants) * len(bars) / min(once(lambda: evaluate(piece, inputs)) for _ in range(_RUNS))


def throughput() -> Iterator[Measured]:
    """Measure 10 x 10 thresholds, with the general rules and by themselves; more is better."""
    bars = hourly_bars()
    for base, promise in ((GENERAL, 465.0), (THRESHOLDS, 865.0)):
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


# What specs are drawn from: prices, oscillators, volatility, and numbers of other sizes to compare them with.
_IDS = (
    "ibs", "ibs_prev", "rsi_2", "rsi_5", "rsi_14", "atr_14", "atr_20", "ret_1", "ret_5", "body_fraction",
    "upper_wick", "zscore_20", "realised_vol_20_252", "range_atr_14", "gap_atr_14", "drift_10",
)  # fmt: skip
_CONDITIONS = 12
_SPECS, _COLD_SPECS, _COLD_BARS = 256, 1_000, 5_000


def specs(bars: Bars, seed: int, count: int) -> list[StrategyConfig]:
    """Return specs of 12 conditions, with the stops, windows, sizes and filters that the tests draw."""
    support = of_tests("support.specs")
    known = history(bars)
    matrix = BatchFeatures(default_registry().plan(_IDS, SeriesKey("ES", HOURLY)), known).matrix
    world = support.World(
        history=known, symbol="ES", timeframe=HOURLY, span=DateRange(), ids=_IDS, columns=matrix
    )
    found: list[StrategyConfig] = support.specs(world, seed, count, conditions=_CONDITIONS)
    return found


def of_specs() -> Iterator[Measured]:
    """Measure specs of 12 conditions; more is better but of the time of those that nobody has seen before."""
    bars = hourly_bars()
    drawn = specs(bars, 1, _SPECS)
    work = _spec_work(drawn, bars)
    signals = min(once(lambda: [_signals(*each) for each in work]) for _ in range(3))
    cells, whole = len(drawn) * len(bars) / _MILLION, rate(drawn, bars, 3) / _MILLION
    yield Measured(
        what="sweep of specs, 12 conditions, one core",
        value=_on_one_core(work, cells),
        unit="M bar-variants/s",
        promise=60.0,
        note=f"signals alone {cells / signals:,.0f} M, whole calls on two cores {whole:,.0f} M",
        more_is_better=True,
    )
    few = hourly_bars(_COLD_BARS)
    sweep(specs(few, 2, _SPECS), history(few), "ES")
    begun: list[list[StrategyConfig]] = []
    drawing = once(lambda: begun.append(specs(few, 3, _COLD_SPECS)))
    yield Measured(
        what="sweep of 1,000 new specs, 5,000 bars",
        value=once(lambda: sweep(begun[0], history(few), "ES")),
        unit="s",
        promise=5.0,
        note=f"nothing is compiled for them; drawing and checking them took {drawing:.1f} s",
    )


def _spec_work(drawn: Sequence[StrategyConfig], bars: Bars) -> list[tuple[Any, Inputs]]:
    prepared = Prepared(history(bars), "ES", drawn[0], DateRange(), default_registry())
    found = work_on(Variants.of(drawn), prepared, chunk=len(drawn), workers=1, each=None)
    return [(piece, inputs) for inputs, some, _ in found for piece in some]


def _on_one_core(work: Sequence[tuple[Any, Inputs]], cells: float) -> float:
    """Return how many of these cells one core does in a second."""
    return cells / min(once(lambda: [evaluated(*each, None) for each in work]) for _ in range(3))


def _signals(piece: Any, inputs: Inputs) -> None:
    assert isinstance(piece, SpecPiece)
    for first in range(0, len(piece.specs), BATCH):
        piece.specs.part(first, first + BATCH).signals(inputs)


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
    drawn = specs(bars, 1, _SPECS)
    core = _on_one_core(_spec_work(drawn, bars), len(drawn) * len(bars))
    numbers = (
        "M bar-variants/s",
        "thresholds alone",
        "general rules",
        "specs, a core",
        "trades of the first",
    )
    title = "10 x 10 thresholds over the same 100,000 hourly bars; one core with specs of 12 conditions"
    table = TextTable("engine", *map(number, numbers), title=title)
    for name, cells in ours.items():
        table.add_row(f"Lockstep, {name}", f"{cells / _MILLION:,.0f}", "", "", "", f"{trades[0]:,.0f}")
    table.add_row("Lockstep, specs, one core", f"{core / _MILLION:,.0f}", "", "", "", "")
    for each in rates(bars, PAIRS):
        per_second = each.cells_per_second
        table.add_row(
            each.peer.name,
            f"{per_second / _MILLION:,.3g}",
            f"{ours['thresholds'] / per_second:,.0f} x",
            f"{ours['general'] / per_second:,.0f} x",
            f"{core / per_second:,.1f} x",
            f"{each.trades[0]:,}" + ("" if each.peer.bars == BARS else f" in {each.peer.bars:,} bars"),
        )
    return table
