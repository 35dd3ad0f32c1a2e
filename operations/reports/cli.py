"""The commands that report a month, and that look at every strategy once a week."""

from __future__ import annotations

import json as json_
import os
import re
import time
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from lockstep.desk import desk_file, results_folder
from lockstep.errors import ConfigError
from lockstep.market.command_line import App, live_file, monitoring_file
from operations.reports.blocks import ReportDocument
from operations.reports.content import report_document
from operations.reports.desk import journal_of
from operations.reports.health import health_of
from operations.reports.html import write_report_page
from operations.reports.numbers import ReportNumbers, month_of, numbers_of_desk, numbers_of_run
from operations.retraining.config import RetrainingConfig
from operations.watch.config import MonitoringConfig
from research.report.page import percent, usd

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
        numbers = numbers_of_run(run, chosen)
    else:
        live, settings = watched_files(desk, monitoring)
        database = None if settings is None else settings.database
        numbers = numbers_of_desk(
            journal_of(live), chosen, monitor=database, retrainings=book_of(settings), benchmark=benchmark
        )
    for line in written(numbers, out, pdf=pdf):
        typer.echo(line)


def written(numbers: ReportNumbers, folder: Path, *, pdf: bool) -> list[str]:
    """Write a report into a folder and return what to say of it; nothing is written where it is refused."""
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
    found = health_of(
        journal_of(live),
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


def book_of(watched: MonitoringConfig | None) -> Path | None:
    """Return the book of a desk's retrainings; None where no configuration watches this desk."""
    path = Path(
        os.environ.get("LOCKSTEP_RETRAINING") or desk_file("retraining.yml", "configs/retraining.yml")
    )
    if watched is None or not path.is_file():
        return None
    settings = RetrainingConfig.load(path)
    is_ours = settings.monitoring.is_file() and MonitoringConfig.load(settings.monitoring) == watched
    return settings.database if is_ours else None


def watched_files(desk: Path | None, monitoring: Path | None) -> tuple[Path, MonitoringConfig | None]:
    """Return the live.yml of a desk and the configuration of its monitor, None where nothing watches it.

    desk         None: the one that the monitor watches, else the usual one
    monitoring   the monitor's configuration, None: the usual one, where it exists and watches this desk

    ConfigError where a configuration that was named watches another desk.
    """
    path = monitoring or monitoring_file()
    if monitoring is None and not path.is_file():
        return desk or live_file(), None
    settings = MonitoringConfig.load(path)
    if desk is None:
        return settings.desk, settings
    if desk.resolve() == settings.desk.resolve():
        return desk, settings
    if monitoring is not None:
        raise ConfigError(f"{monitoring}: watches {settings.desk}, not {desk}; name the monitor of this desk")
    return desk, None
