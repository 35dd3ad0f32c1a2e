"""Commands on backup sets: `create`, `list`, `verify`, `restore`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lockstep.market.command_line import renamed
from operations.backup import Places, create, prune, read, restore, sets, verify

DAMAGED = 1

app = typer.Typer(add_completion=False, no_args_is_help=True)

Set = Annotated[Path, typer.Argument(help="Folder of one backup set.")]
Sets = Annotated[Path, typer.Option("--out", envvar="LOCKSTEP_BACKUPS", help="Folder of all backup sets.")]
AJournal = Annotated[Path | None, typer.Option("--journal", envvar="LOCKSTEP_JOURNAL", help="Journal file.")]
AStore = Annotated[Path | None, typer.Option("--store", envvar="LOCKSTEP_MODEL_STORE", help="Model store.")]
ALedger = Annotated[
    str | None, typer.Option("--ledger", envvar="LOCKSTEP_DB", help="URL of the trial ledger.")
]


@app.command("create", cls=renamed({"--to": "--out"}))
def make(
    to: Sets,
    journal: AJournal = None,
    store: AStore = None,
    ledger: ALedger = None,
    keep: Annotated[int, typer.Option(min=0, help="Number of sets to keep; 0: all.")] = 0,
) -> None:
    """Copy the named parts into one verified set; the engine may be running."""
    made = create(to, Places(journal, store, ledger), now=datetime.now(UTC))
    listed = read(made)
    typer.echo(f"backup: {made}: {_told(listed.epoch, listed.sequence, listed.rows, store)}")
    for name in listed.absent:
        typer.echo(f"not in the store, though its manifest names it: {name}")
    for gone in prune(to, keep=keep):
        typer.echo(f"removed: {gone.name}")


@app.command("list", cls=renamed({"--to": "--out"}))
def show(to: Sets) -> None:
    """List the sets, oldest first."""
    for each in sets(to):
        listed = read(each)
        store = next((name for name in listed.files if name.startswith("store/")), None)
        typer.echo(f"{each.name}: {_told(listed.epoch, listed.sequence, listed.rows, store)}")


@app.command("verify")
def check(folder: Set) -> None:
    """Verify files, journal, manifest, bundles and ledger of a set; exit code 1 if there are findings."""
    faults = verify(folder)
    for fault in faults:
        typer.echo(f"{folder}: {fault}")
    if faults:
        raise typer.Exit(DAMAGED)
    typer.echo(f"{folder}: whole")


@app.command("restore")
def bring_back(folder: Set, journal: AJournal = None, store: AStore = None, ledger: ALedger = None) -> None:
    """Restore the parts of a set to the named places; existing files are never overwritten."""
    for line in restore(folder, Places(journal, store, ledger)):
        typer.echo(line)


def _told(epoch: int | None, sequence: int | None, rows: dict[str, int] | None, store: object) -> str:
    parts = [
        f"journal to epoch {epoch}, entry {sequence}" if epoch is not None else "no journal",
        "model store" if store else "no model store",
        f"ledger of {rows['ledger']} trials" if rows is not None else "no ledger",
    ]
    return ", ".join(parts)
