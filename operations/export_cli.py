"""The command that exports what a journal, the backtests or a monitor recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer

from lockstep.errors import JournalError, MonitorError
from lockstep.live.journal.export import KINDS, Range, export, require_format, write
from lockstep.market.command_line import renamed
from lockstep.settings import suggestion
from operations.watch.export import WATCHED, watched

app = typer.Typer(add_completion=False)


@app.command(cls=renamed({"--from": "--start", "--to": "--end"}))
def main(
    kind: Annotated[
        str,
        typer.Argument(
            help="fills, orders, positions, decisions, proposals, portfolio (of a journal), "
            "outcomes, drift, alarms (of a monitor) or backtests."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    journal: Annotated[Path | None, typer.Option(help="The journal file.")] = None,
    monitor: Annotated[Path | None, typer.Option(help="The monitor's database, monitor.db.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of run folders, for backtests.")] = Path("results"),
    table: Annotated[str, typer.Option(help="Table of a backtest: trades or equity.")] = "trades",
    first: Annotated[str | None, typer.Option("--start", help="First day (UTC), YYYY-MM-DD.")] = None,
    last: Annotated[str | None, typer.Option("--end", help="Last day (UTC), included, YYYY-MM-DD.")] = None,
    form: Annotated[str, typer.Option("--format", help="csv or parquet.")] = "csv",
    compressed: Annotated[bool, typer.Option("--gzip", help="Compress with gzip.")] = False,
) -> None:
    """Export what a journal, backtests or a monitor recorded into one file."""
    require_format(form)
    days = Range.parse(first, last)
    if kind not in (*KINDS, *WATCHED):
        raise JournalError(f"{kind!r} is not recorded{suggestion(kind, (*KINDS, *WATCHED))}")
    if kind in WATCHED:
        rows = _watched(kind, days, monitor)
    else:
        rows = export(kind, days, journal=journal, runs=runs, table=table)
    write(rows, out, form, kind=kind, compressed=compressed)
    typer.echo(f"{rows.num_rows:,} rows of {kind}: {out}")


def _watched(kind: str, days: Range, monitor: Path | None) -> pa.Table:
    if monitor is None:
        raise MonitorError(f"{kind}: which monitor? Name its file with --monitor")
    return watched(monitor, kind, days)
