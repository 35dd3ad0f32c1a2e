"""The commands that report a month, and that look at every strategy once a week."""

from __future__ import annotations

import json as json_
import re
import time
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console

from lockstep.desk import results_folder
from lockstep.errors import ConfigError
from lockstep.market.command_line import App
from operations.reports.asked import book_of, journal_of, month_of, watched_files

if TYPE_CHECKING:
    from operations.reports.blocks import ReportDocument
    from operations.reports.numbers import ReportNumbers

PREVIOUS = "previous"

LOOK_AT_IT = 1

report_app = App()
health_app = App()


@report_app.command()
def report(
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the report.",
            default_factory=partial(results_folder, "reports"),
            show_default="results/reports",
        ),
    ],
    month: Annotated[
        str, typer.Option(help="Such as 2026-03, or previous; default: the newest with a session.")
    ] = "",
    pdf: Annotated[bool, typer.Option("--pdf", help="Write a PDF beside the page.")] = False,
    desk: Annotated[Path | None, typer.Option(help="live.yml of the desk; default: the watched one.")] = None,
    monitoring: Annotated[
        Path | None, typer.Option(envvar="LOCKSTEP_MONITORING", help="The monitor's configuration.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Report a run folder and not a desk.")] = None,
    benchmark: Annotated[str, typer.Option(help="Lane whose instrument is shown beside the desk.")] = "",
) -> None:
    """Report a month of a desk, or of a backtest's run folder: everything up to the month's end."""
    chosen = _month(month, datetime.now(UTC).date())
    if run is not None:
        if desk is not None or benchmark:
            raise ConfigError("--run: reports a run folder; leave out --desk and --benchmark")
        from operations.reports.numbers import numbers_of_run

        numbers = numbers_of_run(run, chosen)
    else:
        live, settings = watched_files(desk, monitoring)
        asked = journal_of(live)
        database = None if settings is None else settings.database
        # It takes longer to load than a refusal should.
        from operations.reports.numbers import numbers_of_desk

        numbers = numbers_of_desk(
            asked, chosen, monitor=database, retrainings=book_of(settings), benchmark=benchmark
        )
    for line in written(numbers, out, pdf=pdf):
        typer.echo(line)


def written(numbers: ReportNumbers, folder: Path, *, pdf: bool) -> list[str]:
    """Write a report into a folder and return what to say of it; nothing is written where it is refused."""
    from operations.reports.content import report_document
    from operations.reports.html import write_report_page
    from research.report.page import percent, usd

    document = report_document(numbers)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{numbers.title}-{numbers.month}").strip("-.")
    files = [_pdf(document, folder / f"{stem}.pdf")] if pdf else []
    files.insert(0, write_report_page(document, folder / f"{stem}.html"))
    month, whole = numbers.account.month, numbers.account.whole
    return [
        f"{numbers.title}, {numbers.month}: {usd(month['net_profit'])} in the month "
        f"({percent(month['total_return'], 2)}), {usd(whole['net_profit'])} so far",
        *(f"report: {path}" for path in files),
    ]


def _pdf(document: ReportDocument, path: Path) -> Path:
    try:
        from operations.reports.pdf import write_pdf
    except ModuleNotFoundError as error:
        raise ConfigError(f"--pdf: {error.name} is not installed; install it, or leave out --pdf") from error
    return write_pdf(document, path)


def _month(text: str, today: date) -> np.datetime64 | None:
    if not text:
        return None
    if text == PREVIOUS:
        return np.datetime64(today, "M") - 1
    return month_of(text, today)


@health_app.command()
def health(
    all: Annotated[
        bool, typer.Option("--all", help="Show every lane, and not only those to be looked at.")
    ] = False,
    desk: Annotated[Path | None, typer.Option(help="live.yml of the desk; default: the watched one.")] = None,
    monitoring: Annotated[
        Path | None, typer.Option(envvar="LOCKSTEP_MONITORING", help="The monitor's configuration.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how every strategy of a desk is, one line each; exit code 1 where somebody should look."""
    live, settings = watched_files(desk, monitoring)
    asked = journal_of(live)
    from operations.reports.health import health_of

    found = health_of(
        asked,
        None if settings is None else settings.database,
        stale_after=0.0 if settings is None else settings.stale_after,
        now=time.time_ns(),
    )
    if json:
        typer.echo(json_.dumps(found.plain(), indent=2, allow_nan=False))
    else:
        console = Console(soft_wrap=True, highlight=False)
        table = found.table(everything=all)
        if table.rows:
            console.print(table)
        for line in found.lines():
            console.print(line, markup=False)
        if not found.needs_a_look:
            console.print(f"{len(found.lanes)} lanes, and nothing to look at")
    if found.needs_a_look:
        raise typer.Exit(LOOK_AT_IT)
