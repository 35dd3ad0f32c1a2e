"""`lockstep data check`: a data file, its score, and everything suspicious in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.market.command_line import App, OneSymbol, SourceName, renamed
from lockstep.market.timeframe import Timeframe
from research.utils.data_report import check_file, quality_table, rows_table, warnings_of, write_report

app = App()
WARNED = 1

Least = Annotated[
    float | None,
    typer.Option("--min-quality", min=0, max=100, help="Exit code 1 where the score is below this."),
]


@app.command(cls=renamed({"--json": "--out"}))
def check(
    symbol: OneSymbol,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the data file; default: embedded data.")
    ] = None,
    timeframe: Annotated[str | None, typer.Option(help="1min, 1h, 1d …; default: the file's.")] = None,
    source: SourceName = None,
    quarantine: Annotated[bool, typer.Option(help="Reject bad rows to a file and keep the others.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if there is any warning.")] = False,
    min_quality: Least = None,
    json_file: Annotated[
        Path | None, typer.Option("--out", help="Write the report (JSON) here, too.")
    ] = None,
) -> None:
    """Print a data file's counts, its score and everything suspicious in it."""
    frame = None if timeframe is None else Timeframe.parse(timeframe)
    loaded, report = check_file(symbol, data_dir, timeframe=frame, source=source, quarantine=quarantine)
    console = Console()
    console.print(rows_table(loaded))
    console.print(quality_table(report))
    if json_file is not None:
        write_report(json_file, loaded, report)
    refusals = []
    if strict and (count := warnings_of(loaded, report)):
        refusals.append(f"--strict: {count} of these may make results wrong")
    if min_quality is not None and report.score < min_quality:
        refusals.append(f"--min-quality {min_quality:g}: the score is {report.shown_score}")
    for line in refusals:
        console.print(line, highlight=False)
    if refusals:
        raise typer.Exit(WARNED)
