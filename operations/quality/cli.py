"""`lockstep data check`: a data file, its score, and everything suspicious in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.market.command_line import App, OneSymbol, SourceName, renamed
from lockstep.market.quality.finding import Finding
from lockstep.market.timeframe import Timeframe
from operations.quality.page import QualityPage
from operations.quality.voided import voided
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.ledger.quality import checked as checks_of
from research.ledger.quality import record_check
from research.utils.data_report import (
    CheckedFile,
    agreement_lines,
    quality_table,
    rows_table,
    warnings_of,
    write_report,
)

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
    html: Annotated[Path | None, typer.Option("--html", help="Write the page of the check here.")] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="SOURCE", help="Compare with this source's bars, too.")
    ] = None,
    against_dir: Annotated[
        Path | None, typer.Option(help="Folder of --against; default: --data-dir.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the check; say whether bars were revised since the last.")
    ] = False,
) -> None:
    """Print a data file's counts, its score and everything suspicious in it."""
    frame = None if timeframe is None else Timeframe.parse(timeframe)
    checked = CheckedFile.of(symbol, data_dir, timeframe=frame, source=source, quarantine=quarantine)
    loaded, report = checked.loaded, checked.report
    console = Console()
    console.print(rows_table(loaded))
    console.print(quality_table(report))
    compared = None if against is None else checked.against(against, against_dir or data_dir)
    if compared is not None:
        console.print(agreement_lines(compared), highlight=False, soft_wrap=True)
    ledger = Ledger(Database.open()) if record else None
    history = [] if ledger is None else checks_of(ledger, report.series)
    revised = None
    if ledger is not None and report.bars:
        revised = record_check(ledger, report, checked.bars, checked.session, now=datetime.now(UTC))
    for line in _revised_lines(report.series, revised):
        console.print(line, highlight=False)
    if json_file is not None:
        write_report(json_file, loaded, report, revised, compared)
    if html is not None:
        QualityPage(
            report=report, bars=checked.bars, session=checked.session, file=checked.said,
            troubles=checked.troubles, history=history, revised=revised,
            compared=compared,
        ).write(html)  # fmt: skip
        console.print(f"page: {html}", highlight=False)
    refusals = []
    beside = [*([] if revised is None else [revised]), *(() if compared is None else compared.findings)]
    grave = sum(each.severity == "warning" for each in beside)
    if strict and (count := warnings_of(loaded, report) + grave):
        refusals.append(f"--strict: {count} of these may make results wrong")
    if min_quality is not None and report.score < min_quality:
        refusals.append(f"--min-quality {min_quality:g}: the score is {report.shown_score}")
    for line in refusals:
        console.print(line, highlight=False)
    if refusals:
        raise typer.Exit(WARNED)


def _revised_lines(series: str, revised: Finding | None) -> Iterator[str]:
    if revised is not None:
        yield f"{series}: revised: {revised.sentence}"
        yield from voided(series)
