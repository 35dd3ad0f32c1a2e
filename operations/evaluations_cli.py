"""`lockstep evaluate`: run one variant or one candidate by hand, and write the page of what was run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.market.command_line import App, DataDir, OneSymbol, Results, SourceName, strategy_file
from lockstep.market.dates import DateRange, as_day
from operations.evaluations import backtest_candidate, changes_of, evaluate_variant
from research.backtest.result_table import result_table
from research.experiments.execution import Lab
from research.experiments.report import page_data, write_experiment
from research.experiments.service import finished
from research.experiments.tables import print_comparison
from research.ledger.database import Database

CandidateNamed = Annotated[str, typer.Argument(metavar="NAME", help="Name of the candidate.")]

variant_app, candidate_app, report_app = App(), App(), App()


@variant_app.command()
def variant(
    strategy: Annotated[
        Path,
        typer.Option(
            help="The strategy that it is a variant of.",
            default_factory=strategy_file,
            show_default="the desk's, or ibs_baseline",
        ),
    ],
    values: Annotated[
        list[str], typer.Option("--set", help="path=value, such as entry.high=0.25; once for each.")
    ],
    symbol: OneSymbol = "COMP",
    start: Annotated[str | None, typer.Option(help="First session date.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session date.")] = None,
    data_dir: DataDir = None,
    source: SourceName = None,
) -> None:
    """Run a strategy and a variant of it over the same bars in Backtrader; both count as trials."""
    lab = Lab(database=Database.open())
    found = evaluate_variant(
        lab, strategy, changes_of(values), symbol, start=as_day("--start", start), end=as_day("--end", end),
        data_dir=data_dir, source=source,
    )  # fmt: skip
    console = Console()
    print_comparison(console, found)
    family = lab.family(symbol)
    trials = lab.ledger.counted(family, DateRange.of(start, end)).trials
    _say(console, [f"{family}: {trials:,} trials over these dates so far; a search is judged by all of them"])


@candidate_app.command()
def candidate(name: CandidateNamed, data_dir: DataDir = None, source: SourceName = None) -> None:
    """Run a candidate over its history and over the sessions since its registration, in both engines."""
    found = backtest_candidate(Lab(database=Database.open()), name, data_dir=data_dir, source=source)
    console = Console()
    console.print(result_table([each for each in (found.past, found.since) if each is not None]))
    since = "no complete session since its registration"
    if found.since is not None:
        days = found.since.equity["session_date"]
        since = f"the last row is since its registration, {days.iloc[0]:%Y-%m-%d} to {days.iloc[-1]:%Y-%m-%d}"
    _say(console, [
        *found.lines,
        f"{name}: {found.candidate.status}; {since}, on the bars of today's files",
        "Both engines agree on every record. Its evidence is that of `lockstep candidates list`.",
    ])  # fmt: skip


@report_app.command()
def report(
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="Number of an experiment, or a candidate.")
    ],
    out: Results,
    data_dir: DataDir = None,
    source: SourceName = None,
) -> None:
    """Write the page of an experiment, or the tear sheets of a candidate's history and of what came after."""
    console, lab = Console(), Lab(database=Database.open())
    if subject.isdecimal():
        record = finished(lab, int(subject))
        _say(console, [f"page: {write_experiment(page_data(lab, record), out)}"])
        return
    found = backtest_candidate(lab, subject, data_dir=data_dir, source=source)
    pages = [each.save(out) for each in (found.past, found.since) if each is not None]
    _say(console, [*found.lines, *(f"page: {each / 'tearsheet.html'}" for each in pages)])


def _say(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
