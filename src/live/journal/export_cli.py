"""The command that exports what a journal or the backtests recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockstep.live.journal.export import Range, export, require_format, write
from lockstep.market.command_line import renamed

app = typer.Typer(add_completion=False)


@app.command(cls=renamed({"--from": "--start", "--to": "--end"}))
def main(
    kind: Annotated[str, typer.Argument(help="fills, orders, positions, decisions or backtests.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    journal: Annotated[Path | None, typer.Option(help="The journal file.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of run folders, for backtests.")] = Path("results"),
    table: Annotated[str, typer.Option(help="Table of a backtest: trades or equity.")] = "trades",
    first: Annotated[str | None, typer.Option("--start", help="First day (UTC), YYYY-MM-DD.")] = None,
    last: Annotated[str | None, typer.Option("--end", help="Last day (UTC), included, YYYY-MM-DD.")] = None,
    form: Annotated[str, typer.Option("--format", help="csv or parquet.")] = "csv",
    compressed: Annotated[bool, typer.Option("--gzip", help="Compress with gzip.")] = False,
) -> None:
    """Export what a journal or backtests recorded into one file."""
    require_format(form)
    rows = export(kind, Range.parse(first, last), journal=journal, runs=runs, table=table)
    write(rows, out, form, kind=kind, compressed=compressed)
    typer.echo(f"{rows.num_rows:,} rows of {kind}: {out}")
