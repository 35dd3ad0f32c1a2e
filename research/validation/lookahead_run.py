"""The look-ahead check from a configuration file and a data folder, and its result as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lockstep.errors import ConfigError
from lockstep.market.config import load_instruments
from lockstep.strategy.ibs_decision import IbsConfig
from lockstep.strategy.veto import Veto
from lockstep.tables import TextTable, prose
from research.backtest import Span, context_keys
from research.utils.data_loader import load_history
from research.validation.lookahead import check_lookahead
from research.validation.verdicts import LookaheadReport, clock
from research.versions import VersionName


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
    span = Span(start=files.start, end=files.end)
    with _progress(console or Console(quiet=True), 2 * cuts) as on_cut:
        return check_lookahead(
            settings, history, symbol, cuts=cuts, seed=seed, catalogue=catalogue, span=span, veto=veto,
            on_cut=on_cut,
        )  # fmt: skip


def _strategy(
    config: Path | VersionName, files: Files
) -> tuple[IbsConfig, Veto | None, Path | None, str | None]:
    """Return the strategy, its veto, and folder and source of the bars."""
    if isinstance(config, VersionName):
        if files.timeframe is not None:
            raise ConfigError(f"--timeframe {files.timeframe}: the version brings its own; drop it")
        traded = config.load(files.symbol)
        return traded.config, traded.veto, *traded.record.bars(files.data_dir, files.source)
    settings = IbsConfig.load(config)
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
