"""`pipeline run|resume|status|history|show`: the night, from new bars to its page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.desk import desk_folder
from lockstep.errors import PipelineError
from lockstep.market.command_line import App, Cluster
from lockstep.market.config import shipped_config
from lockstep.tables import TextTable, prose
from operations.nightly.night import NightHistory, Nights
from research.pipeline.book import NightEvent
from research.pipeline.execution import StepOutcome

LOOK_AT_IT = 1

app = App(no_args_is_help=True)


def _file() -> Path:
    desk = desk_folder()
    return shipped_config("pipeline/nightly.yml") if desk is None else desk.live.with_name("nightly.yml")


Config = Annotated[
    Path,
    typer.Option(
        "--config", envvar="LOCKSTEP_NIGHTLY", help="The configuration of nights.",
        default_factory=_file,
        show_default="configs/pipeline/nightly.yml",
    ),
]  # fmt: skip
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
NightName = Annotated[str, typer.Argument(metavar="[NIGHT]", help="Date of the night; default: the newest.")]


@app.command()
def run(config: Config, dry_run: DryRun = False, cluster: Cluster = None) -> None:
    """Make the night of the newest session; where nothing is new, say so. The nightly timer does this.

    Exit code 1 where a symbol or a candidate was left out; 2 where a step failed.
    """
    make(Nights.of(config, reading=dry_run, cluster=cluster), dry_run=dry_run, only_unfinished=False)


@app.command()
def resume(config: Config, dry_run: DryRun = False, cluster: Cluster = None) -> None:
    """Complete a night that was interrupted, or of which a step failed."""
    make(Nights.of(config, reading=dry_run, cluster=cluster), dry_run=dry_run, only_unfinished=True)


def make(nights: Nights, *, dry_run: bool = False, only_unfinished: bool = False) -> None:
    """Make the night, or say that nothing is new; what `run` and `resume` do."""
    console = _console()
    nights.nights.require_clock()
    if only_unfinished and nights.is_complete:
        raise PipelineError("there is no night to be resumed: the newest one is complete")
    if nights.nothing_new:
        console.print(f"nothing new since {nights.nothing_new}")
        _troubles(nights.world.refusals, console)
        return
    if dry_run:
        for each in nights.rehearse():
            console.print(_line(each), markup=False)
        return
    made = nights.make(lambda outcome: console.print(_line(outcome), markup=False))
    console.print(f"report: {made.page}", markup=False)
    _troubles(made.troubles, console)


def _troubles(lines: tuple[str, ...], console: Console) -> None:
    for line in lines:
        console.print(line, markup=False)
    if lines:
        raise typer.Exit(LOOK_AT_IT)


def _line(outcome: StepOutcome) -> str:
    return f"{outcome.name}: {outcome.outcome}: {outcome.sentence.removeprefix(f'{outcome.name}: ')}"


@app.command()
def status(config: Config) -> None:
    """Say what the newest night came to, and who is at work."""
    history, console = NightHistory.of(config), _console()
    console.print(history.at_work or "no process is at work", markup=False)
    if not history.nights:
        console.print("no night was made yet")
        return
    newest = history.nights[-1]
    console.print(f"night {newest}: {history.state(newest)}", markup=False)
    for each in history.open:
        console.print(each, markup=False)


@app.command()
def history(config: Config) -> None:
    """List all nights, oldest first."""
    found, console = NightHistory.of(config), _console()
    if not found.nights:
        console.print("no night was made yet")
        return
    console.print(history_table(found))


@app.command()
def show(config: Config, night: NightName = "") -> None:
    """Show the steps of a night, and where its page is."""
    found, console = NightHistory.of(config), _console()
    chosen = found.night(night)
    console.print(steps_table(chosen, found.events(chosen)))
    if (page := found.page(chosen)) is not None:
        console.print(f"report: {page}", markup=False)


def history_table(found: NightHistory) -> TextTable:
    """Return one row per night."""
    table = TextTable("night", "begun", "is", prose("report"))
    for night in found.nights:
        begun = found.events(night)[0].recorded[:16].replace("T", " ")
        table.add_row(night, begun, found.state(night), found.sentence(night))
    return table


def steps_table(night: str, events: tuple[NightEvent, ...]) -> TextTable:
    """Return one row per thing that was recorded of a night."""
    table = TextTable("at", "what", "step", prose("what happened"), title=f"night {night}")
    for each in events:
        moment = each.recorded[:16].replace("T", " ")
        table.add_row(moment, each.kind, each.step, each.sentence)
    return table


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)
