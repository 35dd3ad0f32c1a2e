"""Run a strategy over history and leave a run folder: `python -m research.backtest_runner --help`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lockstep.console import run
from lockstep.errors import ConfigError
from lockstep.features.feature_registry import default_registry
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.history import History
from lockstep.strategy.ibs_decision import IbsConfig
from research.backtest import Span, context_keys, run_backtest
from research.backtest_result import BacktestResult
from research.utils.data_loader import available_symbols, load_history

BASELINE = Path("configs/strategies/ibs_baseline.yaml")
_EVERY = 500

app = typer.Typer(add_completion=False)


@app.command()
def main(
    symbol: Annotated[str, typer.Option(help="symbol to trade, or several: ES,NQ")] = "",
    symbols: Annotated[str, typer.Option(help="`all`: every symbol that the data folder holds")] = "",
    data_dir: Annotated[Path | None, typer.Option(help="folder of <SYMBOL>_bt.csv files")] = None,
    start: Annotated[str | None, typer.Option(help="first session date to trade, YYYY-MM-DD")] = None,
    end: Annotated[str | None, typer.Option(help="last session date to trade, YYYY-MM-DD")] = None,
    config: Annotated[Path, typer.Option(help="strategy YAML")] = BASELINE,
    timeframe: Annotated[str | None, typer.Option(help="overrides the config's: 15min, 1h, 1d")] = None,
    out: Annotated[Path, typer.Option(help="where run folders go")] = Path("results"),
    quarantine: Annotated[bool, typer.Option(help="set bad rows aside instead of refusing the file")] = False,
    seed: Annotated[int, typer.Option(help="recorded in the provenance")] = 0,
) -> None:
    """Backtest a strategy on one or more instruments, one account each."""
    settings = IbsConfig.load(config)
    if timeframe is not None:
        settings = IbsConfig.model_validate({**settings.model_dump(), "timeframe": timeframe})
    book = load_instruments()
    console = Console()
    results = []
    for each in chosen_symbols(symbol, symbols, data_dir, book):
        keys = context_keys(settings, book.markets(), each)
        history = load_history(each, data_dir, timeframe=settings.bars, context=keys, end=end, quarantine=quarantine)
        with _progress(console, each) as on_bar:
            span = Span(start=start, end=end)
            results.append(run_backtest(settings, history, each, span=span, seed=seed, on_bar=on_bar))
    folders = [result.save(out) for result in results]
    console.print(result_table(results))
    for folder in folders:
        console.print(f"tear sheet: {folder / 'tearsheet.html'}", soft_wrap=True)
