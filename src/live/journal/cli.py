"""Commands on a journal: `show`, `verify`, `backup`, `salvage`, `new-epoch`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.live.hashes import live_hashes
from lockstep.live.journal.journal import Journal
from lockstep.live.journal.report import print_summary, summary
from lockstep.live.journal.salvage import salvage
from lockstep.live.messages import Mode
from lockstep.market.command_line import App

DAMAGED = 1

app = App(no_args_is_help=True)

Copy = Annotated[Path, typer.Option("--to", help="The file to write; it must not exist yet.")]
At = Annotated[Path, typer.Option("--journal", help="The journal file.")]


@app.command()
def show(
    journal: At,
    last: Annotated[int, typer.Option(min=0, help="How many of the newest decisions, orders, events.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the newest epoch, how much there is, and what came last; also while the engine runs."""
    with Journal.open(journal, readonly=True) as opened:
        told = summary(opened, last=last)
    if as_json:
        typer.echo(json.dumps(told, indent=2))
    else:
        print_summary(Console(), told)


@app.command()
def verify(journal: At) -> None:
    """Check pages, references, sequence, decisions and the chain of hashes; exit code 1 for findings."""
    with Journal.open(journal, readonly=True) as opened:
        findings = opened.verify()
    for finding in findings:
        typer.echo(f"{journal}: {finding}")
    if findings:
        raise typer.Exit(DAMAGED)
    typer.echo(f"{journal}: whole")


@app.command()
def backup(journal: At, to: Copy) -> None:
    """Copy the journal into one verified file, also while the engine writes."""
    with Journal.open(journal, readonly=True) as opened:
        opened.backup(to)
    typer.echo(f"backup: {to}")


@app.command("salvage")
def save_what_can_be_read(journal: At, to: Copy) -> None:
    """Save what a damaged journal holds before its first fault; exit code 1 where something is lost."""
    found = salvage(journal, to)
    typer.echo(f"saved: epochs 1-{found.epoch}, entries 1-{found.sequence}, verified: {to}")
    if found.fault:
        typer.echo(f"lost, from there on: {found.fault}")
        raise typer.Exit(DAMAGED)


@app.command()
def new_epoch(
    journal: At,
    reason: Annotated[str, typer.Option(help="What was changed, and why.")],
    config: Annotated[Path, typer.Option(help="The engine's configuration.")] = Path("configs/live.yml"),
    mode: Annotated[Mode | None, typer.Option(help="Another mode, from flat; none: the same.")] = None,
) -> None:
    """Go on with changed code, configuration or models from the recorded accounts, orders and windows."""
    # The other commands look at a file; they need not load models and engines.
    from lockstep.live.config import LiveConfig
    from lockstep.live.epochs import successor

    with Journal.open(journal) as opened:
        epoch, short = successor(
            opened, LiveConfig.load(config), reason=reason, now=time.time_ns(), hashes=live_hashes(config),
            mode=mode,
        )  # fmt: skip
        number = opened.begin_epoch(epoch)
    typer.echo(f"epoch {number}: {reason}")
    if short:
        typer.echo(f"windows are not full: {short}; no trade until they are")
