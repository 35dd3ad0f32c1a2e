"""Commands on a journal: `show`, `verify`, `backup`, `salvage`, `new-epoch`.

What is in a journal, as plain JSON for machines and as tables for people.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lockstep.desk import desk_folder
from lockstep.errors import ConfigError
from lockstep.identity import only_proves
from lockstep.live.epochs import live_hashes
from lockstep.live.journal.journal import Journal
from lockstep.live.journal.reader import JournalReader
from lockstep.live.journal.rows import value_of
from lockstep.live.journal.salvage import salvage
from lockstep.live.messages import Epoch, Mode
from lockstep.live.messages import iso as iso
from lockstep.market.command_line import App, LiveFile, renamed
from lockstep.tables import Column, TextTable, number, prose

SCHEMA = 1

_COUNTED = ("epochs", "sets", "bars", "irregularities", "decisions", "orders", "events")
_NEWEST = {
    "decisions": """
        SELECT sequence, stamp, symbol, reason, probability, mark_price AS close,
               mark_position AS position, mark_equity AS equity
        FROM decisions JOIN sets USING (sequence) ORDER BY sequence DESC, place LIMIT ?""",
    "orders": """
        SELECT sequence, stamp, symbol, intent, status, quantity, price, reason
        FROM orders ORDER BY sequence DESC, lane, place DESC LIMIT ?""",
    "events": "SELECT sequence, time, kind, symbol, content FROM events ORDER BY sequence DESC LIMIT ?",
}
_TIMES = ("stamp", "time")
_PROSE = ("content", "reason")


def summary(journal: JournalReader, *, last: int) -> dict[str, Any]:
    """Return the newest epoch, counts, and the `last` decisions, order states and events, newest first."""
    newest = journal.newest_epoch()
    return {
        "schema": SCHEMA,
        "journal": str(journal.path),
        "bytes": journal.size(),
        "epoch": None if newest is None else _epoch(newest),
        "counts": {table: journal.select(f"SELECT count(*) FROM {table}")[0][0] for table in _COUNTED},
        "events": dict(journal.select("SELECT kind, count(*) FROM events GROUP BY kind ORDER BY kind")),
        "last_bars": {str(key): iso(end) for key, end in sorted(journal.last_stamps().items())},
        "newest": {table: _newest(journal, query, last) for table, query in _NEWEST.items()},
    }


def print_summary(console: Console, told: dict[str, Any]) -> None:
    """Print a summary as tables."""
    console.print(f"{told['journal']}  {told['bytes'] / 1e6:,.1f} MB", soft_wrap=True, highlight=False)
    if told["epoch"] is None:
        console.print("no epoch yet")
        return
    epoch = told["epoch"]
    begun = f"epoch {epoch['number']} ({epoch['mode']}) since {epoch['started']}: {epoch['reason']}"
    console.print(begun, soft_wrap=True, highlight=False)
    if word := only_proves(epoch["hashes"].get("code", "")):
        console.print(f"code: {word}", soft_wrap=True, highlight=False)
    for name in ("counts", "events", "last_bars"):
        pairs = ", ".join(f"{key} {value}" for key, value in told[name].items())
        console.print(f"{name.replace('_', ' ')}: {pairs or 'none'}", soft_wrap=True, highlight=False)
    for name, rows in told["newest"].items():
        if rows:
            console.print(_table(name, rows))


def _epoch(epoch: Epoch) -> dict[str, Any]:
    return {
        "number": epoch.number,
        "mode": epoch.mode,
        "reason": epoch.reason,
        "started": iso(epoch.started),
        "hashes": dict(epoch.hashes),
        "bundles": dict(epoch.bundles),
        "warmup": {str(key): len(bars) for key, bars in epoch.warmup.items()},
    }


def _newest(journal: JournalReader, query: str, last: int) -> list[dict[str, Any]]:
    rows = journal.records(query, last)
    for row in rows:
        row |= {name: iso(row[name]) for name in _TIMES if name in row}
        if "content" in row:
            row["content"] = value_of(row["content"])
    return rows


def _table(title: str, rows: list[dict[str, Any]]) -> TextTable:
    columns = [_column(name, [row[name] for row in rows]) for name in rows[0]]
    table = TextTable(*columns, title=f"newest {title}")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _column(name: str, values: list[Any]) -> Column:
    if name in _PROSE:
        return prose(name)
    return number(name) if any(isinstance(value, float) for value in values) else Column(name)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


DAMAGED = 1

app = App(no_args_is_help=True)

Copy = Annotated[Path, typer.Option("--out", help="The file to write; it must not exist yet.")]


def _journal_file() -> Path:
    desk = desk_folder()
    if desk is None:
        raise ConfigError("no journal: name its file with --journal, or run in a desk folder")
    return desk.live_path("journal")


At = Annotated[
    Path,
    typer.Option(
        "--journal",
        envvar="LOCKSTEP_JOURNAL",
        help="The journal file; default: the desk folder's.",
        default_factory=_journal_file,
        show_default=False,
    ),
]


@app.command()
def show(
    journal: At,
    last: Annotated[int, typer.Option(min=0, help="How many of the newest decisions, orders, events.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the newest epoch, its size and its last entries; the engine may be running."""
    with Journal.open(journal, readonly=True) as opened:
        told = summary(opened, last=last)
    if as_json:
        typer.echo(json.dumps(told, indent=2))
    else:
        print_summary(Console(), told)


@app.command()
def verify(journal: At) -> None:
    """Verify pages, references, sequence, decisions and the hash chain; exit code 1 if there are findings."""
    with Journal.open(journal, readonly=True) as opened:
        findings = opened.verify()
    for finding in findings:
        typer.echo(f"{journal}: {finding}")
    if findings:
        raise typer.Exit(DAMAGED)
    typer.echo(f"{journal}: whole")


@app.command(cls=renamed({"--to": "--out"}))
def backup(journal: At, to: Copy) -> None:
    """Copy the journal into one verified file; the engine may be running."""
    with Journal.open(journal, readonly=True) as opened:
        opened.backup(to)
    typer.echo(f"backup: {to}")


@app.command("salvage", cls=renamed({"--to": "--out"}))
def save_what_can_be_read(journal: At, to: Copy) -> None:
    """Salvage a damaged journal up to its first fault; exit code 1 if anything is lost."""
    found = salvage(journal, to)
    typer.echo(f"saved: epochs 1-{found.epoch}, entries 1-{found.sequence}, verified: {to}")
    if found.fault:
        typer.echo(f"lost, from there on: {found.fault}")
        raise typer.Exit(DAMAGED)


@app.command()
def new_epoch(
    journal: At,
    reason: Annotated[str, typer.Option(help="What was changed, and why.")],
    config: LiveFile,
    mode: Annotated[Mode | None, typer.Option(help="Another mode, from flat; default: the same.")] = None,
) -> None:
    """Continue with changed code, configuration or models from the recorded accounts, orders and windows."""
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
