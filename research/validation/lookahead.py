"""The look-ahead check: change what follows a bar, and nothing at or before it may move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from lockstep.errors import ConfigError
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.bars import Bars
from lockstep.market.history import History, SeriesKey
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.ibs_strategy import IbsStrategy
from lockstep.strategy.lane import vector_ids
from lockstep.strategy.parity_strategy import ParityStrategy
from lockstep.strategy.veto import Veto
from research.backtest import Span
from research.validation.computations import decisions_of, features_of, servable_ids
from research.validation.early_bars import early_bars
from research.validation.later_bars import dropped, perturbed
from research.validation.observations import Compute, moves
from research.validation.verdicts import Finding, LookaheadReport

OnCut = Callable[[], None]


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
    on_cut: OnCut | None = None,
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
    compute: Compute, history: History, cuts: Iterable[int], *, seed: int = 0, on_cut: OnCut | None = None
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
