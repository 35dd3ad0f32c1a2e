"""`monitor run|show|ack|rebuild|explain`: watching a desk from its journal."""

from __future__ import annotations

import json as json_
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.errors import LockstepError, MonitorError
from lockstep.market.command_line import App, monitoring_file
from lockstep.models.command_line import By, actor
from lockstep.monitoring.alarms import moment
from operations.watch import rows
from operations.watch.config import MonitoringConfig
from operations.watch.database import MonitorDatabase, only_monitor
from operations.watch.monitor import FRONTIER, Monitor, MonitorPass
from operations.watch.report import MonitorReport, explanation, read_report
from operations.watch.streams import DESK
from operations.watch.telling import news_of, sinks_of, tell, write_summary

LOOK_AT_IT = 1

app = App(no_args_is_help=True)

Config = Annotated[
    Path,
    typer.Option(
        "--config", envvar="LOCKSTEP_MONITORING", help="The monitor's configuration.",
        default_factory=monitoring_file,
        show_default="configs/monitoring.yml",
    ),
]  # fmt: skip
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def run(
    config: Config,
    forever: Annotated[bool, typer.Option("--forever", help="Go on, with the pause `every`.")] = False,
    every: Annotated[float, typer.Option(help="Go on, with a pause of so many seconds.")] = 0.0,
    passes: Annotated[int, typer.Option(help="Stop after so many passes; 0: never.")] = 0,
) -> None:
    """Bring monitor.db up to date with the journal, send new alerts, and write the summary of the status."""
    settings = MonitoringConfig.load(config)
    monitor = Monitor(settings)
    with only_monitor(settings.database):
        if every or forever:
            _watching(monitor, settings, every or settings.every, passes)
        else:
            pass_once(monitor, settings)


def _watching(monitor: Monitor, settings: MonitoringConfig, every: float, passes: int) -> None:
    """Pass again and again; what a pass is refused for is printed once, and the next one tries again."""
    done, said = 0, ""
    while True:
        try:
            pass_once(monitor, settings)
            said = ""
        except LockstepError as refusal:
            if str(refusal) != said:
                typer.echo(str(refusal), err=True)
            said = str(refusal)
        done += 1
        if done == passes:
            return
        time.sleep(every)


def pass_once(
    monitor: Monitor, settings: MonitoringConfig, act: Callable[..., MonitorPass] | None = None
) -> None:
    """Make one pass of a monitor, and print what it found."""
    console = Console(soft_wrap=True, highlight=False)
    found, report, failed = passed(monitor, settings, act, now=time.time_ns())
    known = (
        f"outcomes are known up to {moment(found.frontier)}" if found.frontier else "no outcome is known yet"
    )
    console.print(f"{found.sets:,} new bar sets; {known}", markup=False)
    for path in found.written:
        console.print(f"recommended, nothing was changed: {path}", markup=False)
    for line in (*report.lines(), *failed):
        console.print(line, markup=False)


def passed(
    monitor: Monitor, settings: MonitoringConfig, act: Callable[..., MonitorPass] | None = None, *, now: int
) -> tuple[MonitorPass, MonitorReport, list[str]]:
    """Make one pass of a monitor at a moment, UTC ns: summary and alerts are part of it.

    Returns what it found, what is known now, and the alerts that no sink took, a line each.
    """
    with MonitorDatabase.open(settings.database) as database:
        found = (act or monitor.run)(database, now=now)
    report = read_report(settings.database)
    write_summary(report, settings, monitor.desk)
    with MonitorDatabase.open(settings.database) as database:
        sinks, rate = sinks_of(settings, monitor.desk), settings.alerts_of(monitor.desk).rate
        return found, report, tell(database, list(news_of(report)), sinks, rate, now=now)


@app.command()
def show(config: Config, json: JsonOption = False) -> None:
    """Show outcomes, streams, alarms, drift and regimes; exit code 1 while an ALARM is not acknowledged."""
    report = read_report(MonitoringConfig.load(config).database)
    if json:
        typer.echo(json_.dumps(_plain(report), indent=2))
    else:
        console = Console(soft_wrap=True, highlight=False)
        console.print(f"outcomes are known up to {moment(report.frontier)}", markup=False)
        for table in report.tables():
            console.print(table)
        for line in report.lines():
            console.print(line, markup=False)
    if report.is_alarmed:
        raise typer.Exit(LOOK_AT_IT)


def _plain(report: MonitorReport) -> dict[str, object]:
    return {
        "frontier": report.frontier,
        "written": report.written,
        "references": report.references,
        "outcomes": report.counts(),
        "standings": list(report.standings),
        "alarms": [asdict(each) for each in report.alarms],
        "drift": list(report.drift),
        "notes": list(report.notes),
        "against": list(report.against),
    }


@app.command()
def ack(
    place: Annotated[str, typer.Argument(help='What raised it: a stream such as "ES win_rate", or desk.')],
    config: Config,
    reason: Annotated[str, typer.Option(help="What was found, and what is done about it.")],
    by: By = "",
) -> None:
    """Take note of what a place has raised: it starts again from zero."""
    settings = MonitoringConfig.load(config)
    who, now = actor(by), time.time_ns()
    with MonitorDatabase.open(settings.database) as database:
        acknowledge(database, place, by=who, reason=reason, now=now)
    report = read_report(settings.database)
    write_summary(report, settings, Monitor(settings).desk)
    typer.echo(f"{place}: acknowledged by {who}; it starts again from zero with the next run")


def acknowledge(database: MonitorDatabase, place: str, *, by: str, reason: str, now: int) -> None:
    """Record that somebody took note; MonitorError where nothing is raised there, or no reason is given."""
    if not reason.strip():
        raise MonitorError(f"{place}: an acknowledgement needs a reason; say what was found with --reason")
    with database.step():
        raised = [each for each in rows.alarms(database) if not each.acknowledged]
        mine = [each for each in raised if each.place == place]
        if not mine:
            others = ", ".join(sorted({each.place for each in raised})) or "nothing"
            raise MonitorError(f"{place}: has raised nothing that is not acknowledged; raised: {others}")
        frontier = int(rows.state(database, FRONTIER) or 0)
        note = {"place": place, "time": frontier, "by": by, "reason": reason.strip(), "given": now}
        database.put("acknowledgements", [note])
        ended = raised if place == DESK else mine
        database.put("alarms", ({**vars(each), "acknowledged": frontier} for each in ended))


@app.command()
def rebuild(config: Config) -> None:
    """Make every derived row again from journal, bars and acknowledgements: the result is the same."""
    settings = MonitoringConfig.load(config)
    monitor = Monitor(settings)
    with only_monitor(settings.database):
        pass_once(monitor, settings, monitor.rebuild)


@app.command()
def explain(
    place: Annotated[str, typer.Argument(help='A stream such as "ES win_rate", or desk.')], config: Config
) -> None:
    """Say how a stream came to where it is: alarms, floors, thresholds and its last outcomes."""
    with MonitorDatabase.open(MonitoringConfig.load(config).database, readonly=True) as database:
        for line in explanation(database, place):
            typer.echo(line)
