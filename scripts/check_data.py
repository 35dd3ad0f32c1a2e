"""Check a data file: its rows, and what in them is suspicious."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.console import run
from lockstep.market.command_line import App, OneSymbol
from lockstep.market.timeframe import Timeframe
from research.utils.data_report import check_file, quality_table, rows_table, warnings_of, write_report

app = App()
WARNED = 1


@app.command()
def check(
    symbol: OneSymbol,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the file; none: embedded data.")] = None,
    timeframe: Annotated[str | None, typer.Option(help="1min, 1h, 1d …; none: that of the file.")] = None,
    source: Annotated[str | None, typer.Option(help="Name of a source; none: by folder name.")] = None,
    quarantine: Annotated[bool, typer.Option(help="Reject bad rows to a file and keep the others.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if there is any warning.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report here, too.")] = None,
) -> None:
    """Print the counts of a data file and what is suspicious in it, against the schedule of its market."""
    frame = None if timeframe is None else Timeframe.parse(timeframe)
    loaded, report = check_file(symbol, data_dir, timeframe=frame, source=source, quarantine=quarantine)
    console = Console()
    console.print(rows_table(loaded))
    console.print(quality_table(report))
    if json_file is not None:
        write_report(json_file, loaded, report)
    if strict and (count := warnings_of(loaded, report)):
        console.print(f"--strict: {count} of these may make results wrong")
        raise typer.Exit(WARNED)


if __name__ == "__main__":
    run(app)
