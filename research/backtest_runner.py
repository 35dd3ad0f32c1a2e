"""Run a strategy over history and leave a run folder: `python -m research.backtest_runner --help`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lockstep.console import run
from lockstep.errors import DataError, FeatureError
from lockstep.market.bars import Bars
from lockstep.market.command_line import ALL, App, Symbols, chosen_symbols
from lockstep.market.config import load_instruments, shipped_config
from lockstep.market.files import Loaded
from lockstep.market.history import SeriesKey
from lockstep.market.ticks import Ticks
from lockstep.strategy.ibs_decision import IbsConfig
from research.backtest import Span, context_keys, run_backtest
from research.backtest_result import BacktestResult
from research.result_table import result_table
from research.utils.data_loader import load_history

_BARS_PER_UPDATE = 1000

app = App()


@app.command()
def main(
    symbol: Symbols = "",
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the files; none: embedded data.")] = None,
    source: Annotated[str | None, typer.Option(help="Name of a source; none: by folder name.")] = None,
    start: Annotated[str | None, typer.Option(help="First session date to trade, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session date to trade, YYYY-MM-DD.")] = None,
    config: Annotated[Path | None, typer.Option(help="Strategy YAML; none: ibs_baseline.")] = None,
    timeframe: Annotated[str | None, typer.Option(help="15min, 1h, 1d …; none: the config's.")] = None,
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("results"),
    quarantine: Annotated[bool, typer.Option(help="Reject bad rows to a file and keep the others.")] = False,
    seed: Annotated[int, typer.Option(help="Recorded in the provenance.")] = 0,
) -> None:
    """Backtest a strategy on one or more instruments, one account each."""
    settings = IbsConfig.load(config or shipped_config("strategies/ibs_baseline.yaml"))
    if timeframe is not None:
        settings = settings.replaced(timeframe=timeframe)
    book = load_instruments()
    console = Console()
    chosen = chosen_symbols(symbol, book, data_dir, timeframe=settings.bars, source=source)
    results, skipped = [], list(chosen.skipped)
    for each in chosen.symbols:
        try:
            history = load_history(
                each,
                data_dir,
                timeframe=settings.bars,
                context=context_keys(settings, book.markets, each),
                end=end,
                quarantine=quarantine,
                book=book,
                source=source,
                on_loaded=lambda loaded: say_rejected(console, loaded),
            )
            with _progress(console, each, len(history.series(SeriesKey(each, settings.bars)))) as on_bar:
                span = Span(start=start, end=end)
                results.append(run_backtest(settings, history, each, span=span, seed=seed, on_bar=on_bar))
        except (DataError, FeatureError) as error:
            if symbol != ALL or len(chosen.symbols) == 1:
                raise
            skipped.append(f"{each} is skipped: {error}")
    for line in skipped:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if not results:
        raise DataError(f"--symbol all: every symbol is skipped; first {skipped[0]}")
    report(console, results, [result.save(out) for result in results])


def say_rejected(console: Console, loaded: Loaded[Bars] | Loaded[Ticks]) -> None:
    """Print how many rows of a file were set aside, and where they are."""
    if loaded.rejected:
        counts = f"{len(loaded.rejected):,} of {loaded.rows:,} rows rejected"
        console.print(f"{loaded.data.source}: {counts}, see {loaded.rejected_path}", soft_wrap=True)


@contextmanager
def _progress(console: Console, symbol: str, bars: int) -> Iterator[Callable[[int], None]]:
    columns = (
        TextColumn(symbol),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("bars"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(symbol, total=bars)

        def on_bar(seen: int) -> None:
            if seen % _BARS_PER_UPDATE == 0:
                progress.update(task, completed=seen)

        yield on_bar


def report(console: Console, results: Sequence[BacktestResult], folders: Sequence[Path]) -> None:
    """Print the result table and where the tear sheets are."""
    console.print(result_table(results))
    for note in dict.fromkeys(note for result in results for note in result.notes):
        console.print(note, style="dim")
    for folder in folders:
        console.print(f"tear sheet: {folder / 'tearsheet.html'}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    run(app)
