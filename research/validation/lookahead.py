"""The look-ahead check: change what follows a bar, and nothing at or before it may move."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from lockstep.errors import ConfigError
from lockstep.features.columns import source_keys
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.bars import Bars
from lockstep.market.history import History, SeriesKey
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.ibs_strategy import IbsStrategy
from lockstep.strategy.parity_strategy import ParityStrategy, vector_ids
from lockstep.strategy.records import MemoryRecorder, OrderRecord
from lockstep.strategy.veto import Veto
from research.backtest import Span, run_backtest
from research.validation.early_bars import early_bars
from research.validation.later_bars import dropped, perturbed
from research.validation.observations import Column, Compute, Observations, moves
from research.validation.verdicts import Finding, LookaheadReport

Tick = Callable[[], None]


def check_lookahead(
    config: StrategyConfig,
    history: History,
    symbol: str,
    *,
    cuts: int = 20,
    seed: int = 0,
    catalogue: bool = False,
    span: Span | None = None,
    veto: Veto | None = None,
    strategy: type[ParityStrategy] = IbsStrategy,
    registry: FeatureRegistry | None = None,
    on_cut: Tick | None = None,
) -> LookaheadReport:
    """Check series, features and whole backtests of `config` on `symbol`; see `lookahead_findings`.

    `catalogue` checks, besides the strategy's own ids, every example id of the registry that `history` can
    serve. `on_cut` is called after each cut, twice per cut in all. ConfigError where `cuts` < 1.
    """
    registry = registry or default_registry()
    traded = SeriesKey(symbol, config.bars)
    ids = vector_ids(config, veto)
    if catalogue:
        ids = tuple(dict.fromkeys((*ids, *servable_ids(registry, history, traded))))
    bars = history.series(traded)
    rows = (span or Span()).select(bars, history.markets[symbol])
    stamps = draw_cuts(bars.rows(rows.start, rows.stop), cuts, seed)
    features = features_of(config, registry, ids, traded)
    decisions = decisions_of(config, symbol, span=span, veto=veto, strategy=strategy, registry=registry)
    early = early_bars(history, traded)
    moved = lookahead_findings(features, history, stamps, seed=seed, on_cut=on_cut)
    acted = lookahead_findings(decisions, history, stamps, seed=seed, on_cut=on_cut)
    if not (early or moved):
        acted = tuple(replace(one, cause=f"{one.cause}, although no feature does") for one in acted)
    return LookaheadReport(
        traded=traded, bars=len(bars), seed=seed, ids=ids, cuts=stamps, findings=(*early, *moved, *acted)
    )


def lookahead_findings(
    compute: Compute, history: History, cuts: Iterable[int], *, seed: int = 0, on_cut: Tick | None = None
) -> tuple[Finding, ...]:
    """Return, per column of `compute`, the earliest bar at or before a cut that moves with later bars.

    Behind each cut (UTC nanoseconds) the bars of every series are dropped once and perturbed once, and
    `compute` runs again; all bits up to the cut must stay. Findings come in the order of their bars.
    """
    as_it_is = compute(history)
    first: dict[str, Finding] = {}
    for number, cut in enumerate(cuts):
        for change, other in _other_futures(history, cut, np.random.default_rng([seed, number])):
            for move in moves(as_it_is, compute(other), cut):
                cause = f"moves when later bars are {change}: {move.before} -> {move.after}"
                found = Finding(what=move.column, stamp=move.stamp, cut=cut, cause=cause)
                if move.column not in first or move.stamp < first[move.column].stamp:
                    first[move.column] = found
        if on_cut is not None:
            on_cut()
    return tuple(sorted(first.values(), key=lambda finding: finding.stamp))


def _other_futures(history: History, cut: int, draw: np.random.Generator) -> Iterator[tuple[str, History]]:
    yield "dropped", dropped(history, cut)
    yield "perturbed", perturbed(history, cut, draw)


def draw_cuts(bars: Bars, cuts: int, seed: int) -> tuple[int, ...]:
    """Return the ends of up to `cuts` different bars, none of them the last, rising.

    They come from the later three quarters, where most feature windows are full.
    """
    first, last = len(bars) // 4, len(bars) - 1
    if cuts < 1 or last <= first:
        raise ConfigError(f"{cuts} cuts in {len(bars)} bars: needs at least 1 cut and 2 bars; give more")
    rows = np.random.default_rng(seed).choice(last - first, size=min(cuts, last - first), replace=False)
    return tuple(int(bars.end[row]) for row in np.sort(rows + first))


def servable_ids(registry: FeatureRegistry, history: History, traded: SeriesKey) -> tuple[str, ...]:
    """Return the registry's example ids for which all bars are in `history`."""

    def is_served(feature_id: str) -> bool:
        parsed = registry.parse(feature_id)
        if any(term.feature.needs_pair for term in parsed.terms) and not has_pair(history, traded):
            return False
        keys = source_keys(registry.plan((feature_id,), traded), history.markets)
        return all(key in history.bars for key in keys)

    return tuple(feature_id for feature_id in registry.list() if is_served(feature_id))


def has_pair(history: History, traded: SeriesKey) -> bool:
    """Whether the traded instrument declares a pair and `history` has its bars."""
    pair = history.markets[traded.symbol].instrument.pair
    return pair is not None and SeriesKey(pair, traded.timeframe) in history.bars


def features_of(
    config: StrategyConfig, registry: FeatureRegistry, ids: tuple[str, ...], traded: SeriesKey
) -> Compute:
    """Return the computation of all features, one column per id."""
    from lockstep.features.batch import BatchFeatures

    plan = registry.plan(ids, traded)

    def compute(history: History) -> Observations:
        batch = BatchFeatures(plan, history, max_age=config.max_age.limits)
        return Observations(end=batch.end, columns=dict(zip(ids, batch.matrix.T, strict=True)))

    return compute


def decisions_of(
    config: StrategyConfig,
    symbol: str,
    *,
    span: Span | None = None,
    veto: Veto | None = None,
    strategy: type[ParityStrategy] = IbsStrategy,
    registry: FeatureRegistry | None = None,
) -> Compute:
    """Return the computation of a whole backtest: vectors, decisions, fills and account, bar by bar."""

    def compute(history: History) -> Observations:
        result = run_backtest(
            config, history, symbol, span=span, veto=veto, strategy=strategy, registry=registry
        )
        return _observed(result.records, result.vector_ids)

    return compute


def _observed(records: MemoryRecorder, ids: tuple[str, ...]) -> Observations:
    vectors = np.array(records.vectors, dtype=np.float64).reshape(len(records.stamps), len(ids))
    marks = np.array([mark[2:] for mark in records.marks], dtype=np.float64).reshape(-1, 3)
    columns: dict[str, Column] = {f"decision vector {name}": vectors[:, i] for i, name in enumerate(ids)}
    columns["decision"] = np.array(records.reasons, dtype=object)
    columns["probability"] = np.array(records.probabilities, dtype=np.float64)
    columns["fills"] = np.array(_fills(records), dtype=object)
    columns |= {name: marks[:, i] for i, name in enumerate(("position", "cash", "equity"))}
    return Observations(end=np.array(records.stamps, dtype=np.int64), columns=columns)


def _fills(records: MemoryRecorder) -> list[str]:
    """Return, per bar, the orders filled in it, spelled so that every bit shows."""
    by_stamp: dict[int, list[str]] = defaultdict(list)
    for order in records.orders:
        if order.status == "completed":
            by_stamp[order.stamp].append(_fill(order))
    return ["; ".join(by_stamp[stamp]) for stamp in records.stamps]


def _fill(order: OrderRecord) -> str:
    costs = order.commission + order.slippage
    return f"{order.intent} {float(order.quantity)!r} at {float(order.price)!r}, costs {float(costs)!r}"
