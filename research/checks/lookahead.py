"""The look-ahead check: change what follows a bar, and nothing at or before it may move.

The look-ahead check from a configuration file and a data folder, and its result as tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lockstep.errors import ConfigError
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.strategy.backtrader.strategy import ParityStrategy
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import load_strategy
from lockstep.strategy.step import vector_ids
from lockstep.strategy.veto import Veto
from lockstep.tables import TextTable, prose
from research.backtest.run import context_keys
from research.checks.changed_bars import dropped, early_bars, perturbed
from research.checks.computations import Compute, decisions_of, features_of, moves, servable_ids
from research.checks.verdicts import LookaheadFinding, LookaheadReport, clock
from research.ledger.versions import VersionName

OnCut = Callable[[], None]


def check_lookahead(
    config: StrategyConfig,
    history: History,
    symbol: str,
    *,
    cuts: int = 20,
    seed: int = 0,
    catalogue: bool = False,
    span: DateRange | None = None,
    veto: Veto | None = None,
    strategy: type[ParityStrategy] = ParityStrategy,
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
    rows = (span or DateRange()).select(bars, history.markets[symbol])
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
) -> tuple[LookaheadFinding, ...]:
    """Return, per column of `compute`, the earliest bar at or before a cut that moves with later bars.

    Behind each cut (UTC nanoseconds) the bars of every series are dropped once and perturbed once, and
    `compute` runs again; all bits up to the cut must stay. Findings come in the order of their bars.
    """
    as_it_is = compute(history)
    first: dict[str, LookaheadFinding] = {}
    for number, cut in enumerate(cuts):
        for change, other in _other_futures(history, cut, np.random.default_rng([seed, number])):
            for move in moves(as_it_is, compute(other), cut):
                cause = f"moves when later bars are {change}: {move.before} -> {move.after}"
                found = LookaheadFinding(what=move.column, stamp=move.stamp, cut=cut, cause=cause)
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


@dataclass(frozen=True, kw_only=True)
class Files:
    """Which bars to check on; see `load_history`. `start` and `end` are session dates, ISO spelled."""

    symbol: str
    data_dir: Path | None = None
    timeframe: str | None = None
    source: str | None = None
    start: str | None = None
    end: str | None = None


def check_files(
    config: Path | VersionName,
    files: Files,
    *,
    cuts: int = 20,
    seed: int = 0,
    catalogue: bool = False,
    with_veto: bool = True,
    console: Console | None = None,
) -> LookaheadReport:
    """Load what a backtest of `config` on `files` would load and check it; see `check_lookahead`.

    config    strategy YAML, or a version, on the bars of its training unless `files` names others
    with_veto whether a version's strategy is checked with its veto, or as it is without
    console   shows progress where it is a terminal

    ConfigError where a version is to be checked in another timeframe than its own.
    """
    settings, veto, folder, source = _strategy(config, files)
    veto = veto if with_veto else None
    book, symbol = load_instruments(), files.symbol
    history = load_history(
        symbol,
        folder,
        timeframe=settings.bars,
        context=context_keys(settings, book.markets, symbol, veto=veto),
        end=files.end,
        book=book,
        source=source,
    )
    span = DateRange.of(files.start, files.end)
    with _progress(console or Console(quiet=True), 2 * cuts) as on_cut:
        return check_lookahead(
            settings, history, symbol, cuts=cuts, seed=seed, catalogue=catalogue, span=span, veto=veto,
            on_cut=on_cut,
        )  # fmt: skip


def _strategy(
    config: Path | VersionName, files: Files
) -> tuple[StrategyConfig, Veto | None, Path | None, str | None]:
    """Return the strategy, its veto, and folder and source of the bars."""
    if isinstance(config, VersionName):
        if files.timeframe is not None:
            raise ConfigError(f"--timeframe {files.timeframe}: the version brings its own; drop it")
        traded = config.load(files.symbol)
        return traded.config, traded.veto, *traded.record.bars(files.data_dir, files.source)
    settings = load_strategy(config)
    if files.timeframe is not None:
        settings = settings.replaced(timeframe=files.timeframe)
    return settings, None, files.data_dir, files.source


@contextmanager
def _progress(console: Console, steps: int) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("cuts"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("cuts", total=steps)
        yield lambda: progress.advance(task)


def lookahead_table(report: LookaheadReport, strategy: str = "") -> TextTable:
    """Return what was checked and every finding, the first one on top; `strategy` is said in the title."""
    title = f"look-ahead check of {report.traded}{strategy and f', {strategy}'}"
    scope = f"{report.bars:,} bars, features: {len(report.ids)}, cuts: {len(report.cuts)}, seed {report.seed}"
    table = TextTable("what", "bar", prose("cause"), "cut at", title=title, caption=scope)
    for found in report.findings:
        table.add_row(
            found.what, clock(found.stamp), found.cause, "" if found.cut is None else clock(found.cut)
        )
    if report.passed:
        table.add_row("nothing", "", "no bit at or before a cut moves", "")
    return table
