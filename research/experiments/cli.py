"""The command line of experiments: `lockstep experiments --help`.

Commands that change records: `promote`, `actual`, `rename`, `delete`.

Commands that look: `show`, `list`, `trials`, `compare`, `export`.

Commands that evaluate are in `search_cli.py`.
"""

from __future__ import annotations

from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.desk import desk_file
from lockstep.errors import ExperimentError, PromotionRefused
from lockstep.market.command_line import (
    App,
    DataDir,
    OneSymbol,
    Results,
    SourceName,
    Symbols,
    renamed,
)
from lockstep.market.dates import as_day
from research.experiments.comparison import compare
from research.experiments.declaration import searched_line
from research.experiments.execution import Lab
from research.experiments.planning import require_selectable
from research.experiments.promotion import PromotionRequest, promote
from research.experiments.realised import record_actual
from research.experiments.report import page_data, write_experiment
from research.experiments.search_cli import (
    declare_spaces,
    evolve,
    grid_search,
    replay_search,
    resume,
    sweep,
    symbols_of,
)
from research.experiments.service import finished, searched, verified_ranking
from research.experiments.tables import (
    export,
    ledger_lines,
    print_comparison,
    print_list,
    print_summary,
    print_top,
)
from research.experiments.why import Why, conclude, print_verdict
from research.ledger.database import Database
from research.ledger.versions import named_strategy

Number = Annotated[int, typer.Argument(metavar="ID", help="Number of the experiment.")]
Log = Annotated[
    Path,
    typer.Option(
        help="The strategy log.",
        default_factory=partial(desk_file, "STRATEGY_LOG.md"),
        show_default="STRATEGY_LOG.md",
    ),
]


def promote_winner(
    number: Number,
    output_name: Annotated[str, typer.Option(help="Name of the new strategy, such as baseline_v2.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of strategy files.",
            default_factory=partial(desk_file, "strategies", "configs/strategies"),
            show_default="configs/strategies",
        ),
    ],
    base_strategy: Annotated[
        Path | None, typer.Option("--strategy", help="Its parent; default: the strategy that was searched.")
    ] = None,
    select_by: Annotated[str | None, typer.Option(help="sharpe, cagr, sortino or calmar.")] = None,
    expected_impact: Annotated[str, typer.Option(help="Expected impact; recorded.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Promote despite refusals.")] = False,
    reason: Annotated[str, typer.Option(help="Reason for --force; recorded.")] = "",
    why: Annotated[bool, typer.Option("--why", help="Name every refusal, not the gravest alone.")] = False,
    *,
    log: Log,
) -> None:
    """Judge the winner, open the hold-out once, and write the strategy file and the log."""
    require_selectable(select_by)
    request = PromotionRequest(
        experiment=number,
        name=output_name,
        base_strategy=base_strategy,
        select_by=select_by,
        expected_impact=expected_impact,
        force=force,
        reason=reason,
        folder=out,
        log=log,
    )
    try:
        done = promote(Lab(database=Database.open()), request)
    except PromotionRefused as refused:
        if why:
            raise
        raise PromotionRefused(refused.short) from None
    console = Console()
    print_verdict(console, done.entry.verdict)
    for refusal in done.refusals:
        console.print(f"overruled: {refusal}", highlight=False, soft_wrap=True)
    console.print(f"strategy: {done.path}, logged in {log}", highlight=False, soft_wrap=True)


def actual(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A promoted strategy.")],
    journal: Annotated[Path, typer.Option(help="Journal of the live engine, or a run folder.")],
    log: Log,
) -> None:
    """Write what a promoted strategy really did into the log."""
    measured = record_actual(Lab(database=Database.open()), name, journal, log, read=context.obj)
    Console().print(f"{name}: {measured}", highlight=False, soft_wrap=True)


def rename(number: Number, name: Annotated[str, typer.Argument(help="The new name.")]) -> None:
    """Give an experiment another name; what it tried stays counted."""
    Lab(database=Database.open()).store.update(number, name=name)


def delete(
    number: Number,
    yes: Annotated[
        bool, typer.Option("--yes", help="Confirm the deletion.", prompt="Delete its runs?")
    ] = False,
) -> None:
    """Delete an experiment with its runs; what it tried stays counted."""
    if yes:
        Lab(database=Database.open()).store.delete(number)


By = Annotated[str | None, typer.Option(help="sharpe, cagr, sortino or calmar; default: the experiment's.")]
SharedJs = Annotated[
    Path | None, typer.Option(help="Folder that holds the plotting library once, for many pages.")
]


def show(
    number: Number,
    out: Results,
    export: Annotated[str | None, typer.Option(help="`html`: write a page instead of printing.")] = None,
    select_by: By = None,
    top: Annotated[int | None, typer.Option(help="How many of the best; default: the experiment's.")] = None,
    shared_js: SharedJs = None,
    why: Why = False,
) -> None:
    """Show a finished experiment: the best, and the verdict in a word and a reason."""
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
    console.print(searched_line(searched(lab, record)), highlight=False, soft_wrap=True)
    ranked = verified_ranking(lab, record, by=select_by, top=top)
    print_top(console, record, ranked, select_by or record.plan.select_by)
    conclude(console, lab, record, ranked, select_by, why=why)


def list_all() -> None:
    """List all experiments, oldest first."""
    print_list(Console(), Lab(database=Database.open()).store.records())


def trials(
    symbol: OneSymbol,
    start: Annotated[str, typer.Option(help="First date.")] = "1900-01-01",
    end: Annotated[str, typer.Option(help="Last date.")] = "2999-12-31",
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every row and link of the ledger's hash chain.")
    ] = False,
) -> None:
    """Say how many trials the ledger counts on a symbol's family over overlapping dates, and which ledger."""
    lab = Lab(database=Database.open())
    first, last = as_day("--start", start), as_day("--end", end)
    assert isinstance(first, date)
    assert isinstance(last, date)
    family = lab.family(symbol)
    typer.echo(f"{family}: {lab.ledger.count(family, first, last):,} trials")
    for line in ledger_lines(lab.ledger, family):
        typer.echo(line)
    if verify:
        found = lab.ledger.faults()
        typer.echo("\n".join(found) or "verified: every link and every row is as it was written")
        raise typer.Exit(int(bool(found)))


def compare_two(
    first: Annotated[str, typer.Argument(metavar="A", help="Strategy YAML, or a version: v3, production.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The second strategy or version.")],
    symbol: Symbols = "COMP",
    store: Annotated[Path | None, typer.Option(help="Store of versions; default: the usual one.")] = None,
    start: Annotated[str | None, typer.Option(help="First session date.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session date.")] = None,
    data_dir: DataDir = None,
    source: SourceName = None,
) -> None:
    """Run two strategies over the same bars in Backtrader and compare them.

    A version is its strategy with its veto; its bars are those of its training unless others are named.
    """
    console, lab = Console(), Lab(database=Database.open())
    strategies = (named_strategy(first, store), named_strategy(second, store))
    for each in symbols_of(symbol, strategies, data_dir, source):
        found = compare(lab, strategies, each, start=start, end=end, data_dir=data_dir, source=source)
        print_comparison(console, found)


def export_runs(
    number: Number,
    out: Results,
    format: Annotated[str, typer.Option(help="csv, parquet or json.")] = "csv",
) -> None:
    """Write all runs of an experiment, failed ones included, and its accounts."""
    store = Lab(database=Database.open()).store
    for path in export(store, store.record(number), format, out):
        what = "accounts" if path.stem.endswith("-accounts") else "runs"
        Console().print(f"{what}: {path}", soft_wrap=True, highlight=False)


sweep_app = App()
sweep_app.command()(sweep)

app = App(no_args_is_help=True, help="Search parameters; every trial is counted.")

app.command("grid-search", cls=renamed({"--strategy-path": "--strategy", "--grid-path": "--grid"}))(
    grid_search
)
app.command("evolve", cls=renamed({"--strategy-path": "--strategy", "--grid-path": "--grid"}))(evolve)
app.command("declare", cls=renamed({"--strategy-path": "--strategy", "--grid-paths": "--grid"}))(
    declare_spaces
)
app.command("resume")(resume)
app.command("replay")(replay_search)
app.command("show")(show)
app.command("list")(list_all)
app.command("trials")(trials)
app.command("compare")(compare_two)
app.command("export")(export_runs)
app.command("promote", cls=renamed({"--base-strategy": "--strategy"}))(promote_winner)
app.command("actual")(actual)
app.command("rename")(rename)
app.command("delete")(delete)
