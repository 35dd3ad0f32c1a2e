"""Commands on backup sets: `create`, `list`, `verify`, `restore`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lockstep.desk import desk_file
from lockstep.market.command_line import monitoring_file, renamed
from operations.backup import BackupSet, Places, create, prune, read, restore, sets, verify
from operations.book_backup import retrained_by
from operations.monitor_backup import watched_by

DAMAGED = 1

app = typer.Typer(add_completion=False, no_args_is_help=True)

Set = Annotated[Path, typer.Argument(help="Folder of one backup set.")]
Sets = Annotated[Path, typer.Option("--out", envvar="LOCKSTEP_BACKUPS", help="Folder of all backup sets.")]
AJournal = Annotated[Path | None, typer.Option("--journal", envvar="LOCKSTEP_JOURNAL", help="Journal file.")]
AStore = Annotated[Path | None, typer.Option("--store", envvar="LOCKSTEP_MODEL_STORE", help="Model store.")]
ALedger = Annotated[
    str | None, typer.Option("--ledger", envvar="LOCKSTEP_DB", help="URL of the trial ledger.")
]
AMonitoring = Annotated[
    Path | None,
    typer.Option(
        "--monitoring", envvar="LOCKSTEP_MONITORING",
        help="Configuration of the monitor, whose database is a part; default: that of the desk folder or "
        "configs/monitoring.yml, where it watches this journal.",
    ),
]  # fmt: skip
ARetraining = Annotated[
    Path | None,
    typer.Option(
        "--retraining", envvar="LOCKSTEP_RETRAINING",
        help="Configuration of the retrainings, whose book is a part; default: that of the desk folder or "
        "configs/retraining.yml, where its monitor watches this journal.",
    ),
]  # fmt: skip


@app.command("create", cls=renamed({"--to": "--out"}))
def make(
    to: Sets,
    journal: AJournal = None,
    store: AStore = None,
    ledger: ALedger = None,
    monitoring: AMonitoring = None,
    retraining: ARetraining = None,
    keep: Annotated[int, typer.Option(min=0, help="Number of sets to keep; 0: all.")] = 0,
) -> None:
    """Copy the named parts into one verified set; the engine may be running."""
    monitor, why = _monitor(monitoring, journal)
    if monitor is not None and not monitor.is_file():
        monitor, why = None, f"no monitor is part of it: {monitor} is not there yet; it has not run"
    book, why_no_book = _book(retraining, journal)
    if book is not None and not book.is_file():
        book, why_no_book = None, f"no book of retrainings is part of it: {book} is not there yet; none began"
    made = create(to, Places(journal, store, ledger, monitor, book), now=datetime.now(UTC))
    listed = read(made)
    typer.echo(f"backup: {made}: {_told(listed)}")
    _say(why, why_no_book)
    for name in listed.absent:
        typer.echo(f"not in the store, though its manifest names it: {name}")
    for gone in prune(to, keep=keep):
        typer.echo(f"removed: {gone.name}")


@app.command("list", cls=renamed({"--to": "--out"}))
def show(to: Sets) -> None:
    """List the sets, oldest first."""
    for each in sets(to):
        typer.echo(f"{each.name}: {_told(read(each))}")


@app.command("verify")
def check(folder: Set) -> None:
    """Verify files, journal, bundles, ledger, monitor and retrainings of a set; exit code 1 for findings."""
    faults = verify(folder)
    for fault in faults:
        typer.echo(f"{folder}: {fault}")
    if faults:
        raise typer.Exit(DAMAGED)
    typer.echo(f"{folder}: whole")


@app.command("restore")
def bring_back(
    folder: Set,
    journal: AJournal = None,
    store: AStore = None,
    ledger: ALedger = None,
    monitoring: AMonitoring = None,
    retraining: ARetraining = None,
) -> None:
    """Restore the parts of a set to the named places; existing files are never overwritten."""
    monitor, why = _monitor(monitoring, journal)
    book, why_no_book = _book(retraining, journal)
    for line in restore(folder, Places(journal, store, ledger, monitor, book)):
        typer.echo(line)
    _say(why, why_no_book)


def _monitor(monitoring: Path | None, journal: Path | None) -> tuple[Path | None, str]:
    """Return the monitor's database, and why it is no part; a default one goes with its journal alone."""
    if monitoring is None and journal is None:
        return None, ""
    return watched_by(monitoring or monitoring_file(), journal, named=monitoring is not None)


def _book(retraining: Path | None, journal: Path | None) -> tuple[Path | None, str]:
    """Return the book of retrainings, and why it is no part; a default one goes with its journal alone."""
    if retraining is None and journal is None:
        return None, ""
    usual = desk_file("retraining.yml", "configs/retraining.yml")
    return retrained_by(retraining or usual, journal, named=retraining is not None)


def _say(*reasons: str) -> None:
    for each in dict.fromkeys(filter(None, reasons)):
        typer.echo(each)


def _told(listed: BackupSet) -> str:
    store = any(name.startswith("store/") for name in listed.files)
    monitor = "no monitor"
    if listed.monitor is not None:
        noted, settled = (listed.monitor[name] for name in ("acknowledgements", "settled"))
        monitor = f"monitor with {noted} acknowledgements and {settled:,} settled signals"
    return ", ".join(
        [
            "no journal" if listed.epoch is None
            else f"journal to epoch {listed.epoch}, entry {listed.sequence}",
            "model store" if store else "no model store",
            f"ledger of {listed.rows['ledger']} trials" if listed.rows is not None else "no ledger",
            monitor,
            "no retrainings" if listed.retraining is None
            else f"{listed.retraining} steps of retrainings",
        ]
    )  # fmt: skip
