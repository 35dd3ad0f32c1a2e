"""Commands that change records: `promote`, `actual`, `rename`, `delete`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from research.experiments.actual import record_actual
from research.experiments.database import Database
from research.experiments.execution import Lab
from research.experiments.planning import require_selectable
from research.experiments.promotion import Request, promote

Number = Annotated[int, typer.Argument(metavar="ID", help="Number of the experiment.")]
Log = Annotated[Path, typer.Option(help="The strategy log.")]


def promote_winner(
    number: Number,
    output_name: Annotated[str, typer.Option(help="Name of the new strategy, such as baseline_v2.")],
    base_strategy: Annotated[
        Path | None, typer.Option(help="Parent; none: the strategy that was searched.")
    ] = None,
    select_by: Annotated[str | None, typer.Option(help="sharpe, cagr, sortino or calmar.")] = None,
    expected_impact: Annotated[str, typer.Option(help="What it should bring; recorded.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Promote in spite of refusals.")] = False,
    reason: Annotated[str, typer.Option(help="Why it is forced; recorded.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of strategy files.")] = Path("configs/strategies"),
    log: Log = Path("STRATEGY_LOG.md"),
) -> None:
    """Judge the winner, open the hold-out once, and write the strategy file and the log."""
    require_selectable(select_by)
    request = Request(
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
    done = promote(Lab(database=Database.open()), request)
    console = Console()
    for refusal in done.refusals:
        console.print(f"overruled: {refusal}", highlight=False, soft_wrap=True)
    console.print(f"strategy: {done.path}, logged in {log}", highlight=False, soft_wrap=True)


def actual(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A promoted strategy.")],
    journal: Annotated[Path, typer.Option(help="Journal of the live engine, or a run folder.")],
    log: Log = Path("STRATEGY_LOG.md"),
) -> None:
    """Write what a promoted strategy really did into the log."""
    measured = record_actual(Lab(database=Database.open()), name, journal, log, read=context.obj)
    Console().print(f"{name}: {measured}", highlight=False, soft_wrap=True)


def rename(number: Number, name: Annotated[str, typer.Argument(help="The new name.")]) -> None:
    """Give an experiment another name; what it tried stays counted."""
    Lab(database=Database.open()).store.update(number, name=name)


def delete(
    number: Number,
    yes: Annotated[bool, typer.Option("--yes", help="Really.", prompt="Delete its runs?")] = False,
) -> None:
    """Delete an experiment with its runs; what it tried stays counted."""
    if yes:
        Lab(database=Database.open()).store.delete(number)
