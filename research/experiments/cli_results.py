"""Commands that look: `show`, `list`, `trials`, `compare`, `export`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.market.command_line import ALL, OneSymbol, Symbols, chosen_symbols
from lockstep.market.config import load_instruments
from lockstep.models.store import ModelStore
from lockstep.strategy.ibs_decision import IbsConfig
from research.experiments.comparison import compare
from research.experiments.database import Database
from research.experiments.errors import ExperimentError
from research.experiments.execution import Lab
from research.experiments.export import export
from research.experiments.page import page_data, write_experiment
from research.experiments.planning import require_selectable
from research.experiments.service import finished, judged, verified_ranking
from research.experiments.tables import (
    print_comparison,
    print_judgement,
    print_list,
    print_summary,
    print_top,
)
from research.utils.data_loader import as_day
from research.versions import VersionName, named_strategy, symbols_with

Number = Annotated[int, typer.Argument(metavar="ID", help="Number of the experiment.")]
By = Annotated[str | None, typer.Option(help="sharpe, cagr, sortino or calmar; none: the experiment's.")]
SharedJs = Annotated[
    Path | None, typer.Option(help="Folder that holds the plotting library once, for many pages.")
]
Out = Annotated[Path, typer.Option(help="Folder for the file.")]


def show(
    number: Number,
    export: Annotated[str | None, typer.Option(help="`html`: write a page instead of printing.")] = None,
    select_by: By = None,
    top: Annotated[int | None, typer.Option(help="How many of the best; none: the experiment's.")] = None,
    out: Out = Path("results"),
    shared_js: SharedJs = None,
) -> None:
    """Show a finished experiment: the best, how far they can be believed, and what the gate says."""
    require_selectable(select_by)
    if export not in (None, "html"):
        raise ExperimentError(f"--export {export}: only html; `export {number} --format csv` writes the runs")
    console, lab = Console(), Lab(database=Database.open())
    record = finished(lab, number)
    if export:
        path = write_experiment(page_data(lab, record, select_by), out, shared_js=shared_js)
        console.print(f"page: {path}", soft_wrap=True, highlight=False)
        return
    print_summary(console, lab.store, record)
    ranked = verified_ranking(lab, record, by=select_by, top=top)
    print_top(console, record, ranked, select_by or record.plan.select_by)
    print_judgement(console, judged(lab, record, ranked[0], select_by))


def list_all() -> None:
    """List all experiments, oldest first."""
    print_list(Console(), Lab(database=Database.open()).store.records())


def trials(
    symbol: OneSymbol,
    start: Annotated[str, typer.Option(help="First date.")] = "1900-01-01",
    end: Annotated[str, typer.Option(help="Last date.")] = "2999-12-31",
) -> None:
    """Say how many trials the ledger counts on a symbol's family over overlapping dates."""
    lab = Lab(database=Database.open())
    first, last = as_day("--start", start), as_day("--end", end)
    assert isinstance(first, date)
    assert isinstance(last, date)
    family = lab.family(symbol)
    typer.echo(f"{family}: {lab.ledger.count(family, first, last):,} trials")


def compare_two(
    first: Annotated[str, typer.Argument(metavar="A", help="Strategy YAML, or a version: v3, production.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The other.")],
    symbol: Symbols = "COMP",
    store: Annotated[Path | None, typer.Option(help="Store of versions; none: the default one.")] = None,
    start: Annotated[str | None, typer.Option(help="First session date.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session date.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the files; none: embedded data.")] = None,
    source: Annotated[str | None, typer.Option(help="Name of a source; none: by folder name.")] = None,
) -> None:
    """Run two strategies over the same bars in Backtrader and compare them.

    A version is its strategy with its veto; its bars are those of its training unless others are named.
    """
    console, lab = Console(), Lab(database=Database.open())
    strategies = (named_strategy(first, store), named_strategy(second, store))
    for each in symbols_of(symbol, strategies, data_dir, source):
        found = compare(lab, strategies, each, start=start, end=end, data_dir=data_dir, source=source)
        print_comparison(console, found)


def symbols_of(
    text: str,
    strategies: Sequence[Path | VersionName],
    data_dir: Path | None,
    source: str | None,
) -> tuple[str, ...]:
    """Return the symbols of `ES`, `ES,NQ` or `all`; prints what `all` leaves out.

    `all` are those with bars for the first strategy, or with the version.
    """
    first = next((each for each in strategies if isinstance(each, VersionName)), strategies[0])
    if isinstance(first, VersionName):
        chosen = symbols_with(text, first.version, ModelStore(first.store))
    else:
        bars = IbsConfig.load(first).bars if text == ALL else None
        chosen = chosen_symbols(text, load_instruments(), data_dir, timeframe=bars, source=source)
    for line in chosen.skipped:
        Console().print(line, soft_wrap=True, highlight=False, markup=False)
    return chosen.symbols


def export_runs(
    number: Number,
    format: Annotated[str, typer.Option(help="csv, parquet or json.")] = "csv",
    out: Out = Path("results"),
) -> None:
    """Write all runs of an experiment, failed ones included, and its accounts."""
    store = Lab(database=Database.open()).store
    for path in export(store, store.record(number), format, out):
        what = "accounts" if path.stem.endswith("-accounts") else "runs"
        Console().print(f"{what}: {path}", soft_wrap=True, highlight=False)
