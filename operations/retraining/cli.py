"""`retrain plan|run|status|approve|abort`: models that are trained again, from a trigger to a promotion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.desk import desk_file
from lockstep.market.command_line import App, Cluster
from lockstep.models.command_line import By, Reason, actor
from lockstep.tables import TextTable, prose
from operations.retraining.book import AUTO, ENDED_BADLY, RetrainingBook, RetrainingRun, only_retraining
from operations.retraining.challenger import Workshop
from operations.retraining.config import RetrainingConfig
from operations.retraining.machine import RetrainingMachine
from operations.retraining.plan import MonitoredDesk, SymbolPlan, day_of, plan_of, read_plan
from operations.retraining.telling import news_of
from operations.watch.config import MonitoringConfig
from operations.watch.database import MonitorDatabase
from operations.watch.telling import sinks_of, tell
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.sweep.cluster import require_workers

LOOK_AT_IT = 1

app = App(no_args_is_help=True)


def _file() -> Path:
    return desk_file("retraining.yml", "configs/retraining.yml")


Config = Annotated[
    Path,
    typer.Option(
        "--config", envvar="LOCKSTEP_RETRAINING", help="The configuration of retrainings.",
        default_factory=_file,
        show_default="configs/retraining.yml",
    ),
]  # fmt: skip
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Run = Annotated[str, typer.Argument(help="Id of the run, or its beginning.")]


@app.command()
def plan(config: Config) -> None:
    """Show what calls for a retraining, symbol by symbol; nothing is begun."""
    _show_plan(read_plan(RetrainingConfig.load(config)), _console())


@app.command()
def run(config: Config, dry_run: DryRun = False, cluster: Cluster = None) -> None:
    """Begin what is due and take every retraining as far as it goes now; the nightly timer does this.

    Exit code 1 where a retraining failed, or a promotion was taken back.
    """
    settings, console = RetrainingConfig.load(config).on(cluster), _console()
    if dry_run:
        _rehearse(settings, console)
        return
    require_workers(settings.cluster)
    with one_machine(settings, _say(console)) as machine:
        before = {each.id: each.now for each in machine.book.runs()}
        found = machine.run()
    if not found:
        console.print("no retraining is under way, and nothing calls for one")
    if any(each.now in ENDED_BADLY and before.get(each.id) is not each.now for each in found):
        raise typer.Exit(LOOK_AT_IT)


@app.command()
def status(
    config: Config, which: Annotated[str, typer.Argument(metavar="[RUN]", help="Show its steps.")] = ""
) -> None:
    """Show all retrainings, or every step of one."""
    settings, console = RetrainingConfig.load(config), _console()
    with RetrainingBook.open(settings.database, readonly=True) as book:
        if which:
            console.print(steps_table(book.run(which)))
        elif book.runs():
            console.print(runs_table(book.runs()))
        else:
            console.print("no retraining has begun")


@app.command()
def approve(which: Run, config: Config, by: By = "", dry_run: DryRun = False) -> None:
    """Approve a challenger that is better, or not worse, and promote it; production changes."""
    settings, console = RetrainingConfig.load(config), _console()
    with one_machine(settings, _say(console), dry_run=dry_run) as machine:
        wanted = machine.book.run(which)
        found = machine.approvable(wanted)
        if dry_run:
            console.print(f"{found.sentence}; would be approved by {actor(by)}, then promoted", markup=False)
            return
        machine.take_on(machine.approve(wanted, found, by=actor(by)))


@app.command()
def abort(which: Run, config: Config, reason: Reason = "", by: By = "", dry_run: DryRun = False) -> None:
    """End a retraining; versions that it registered stay, and production is what it is."""
    settings, console = RetrainingConfig.load(config), _console()
    with one_machine(settings, _say(console), dry_run=dry_run) as machine:
        wanted = machine.book.run(which)
        if dry_run:
            console.print(f"run {wanted.id} is {wanted.now} and would be ended", markup=False)
            return
        machine.abort(wanted, by=actor(by), reason=reason)


@contextmanager
def one_machine(
    settings: RetrainingConfig,
    say: Callable[[str], None],
    *,
    dry_run: bool = False,
    now: Callable[[], datetime] | None = None,
) -> Iterator[RetrainingMachine]:
    """Yield the machine of a desk, the only one that takes steps; with `dry_run` one that cannot write.

    Afterwards people are told, also where the steps of a symbol were refused. `say` hears each step; now: the
    clock, by default that of this machine.

    RetrainingAtWork where another process takes the steps.
    """
    clock = now or _now
    view = MonitoredDesk.read(settings)
    if dry_run:
        with RetrainingBook.open(settings.database, readonly=True) as book:
            yield _assembled(settings, view, book, say, clock)
        return
    with only_retraining(settings.database), RetrainingBook.open(settings.database) as book:
        try:
            yield _assembled(settings, view, book, say, clock)
        finally:
            for line in _told(settings, view, book, clock()):
                say(line)


def _told(settings: RetrainingConfig, view: MonitoredDesk, book: RetrainingBook, now: datetime) -> list[str]:
    """Send what was not delivered yet to the monitor's sinks; return what could not be, one line each."""
    monitoring = MonitoringConfig.load(settings.monitoring)
    news, sinks = list(news_of(book)), sinks_of(monitoring, view.live)
    with MonitorDatabase.open(monitoring.database) as database:
        stamp = int(now.timestamp() * 1_000_000_000)
        return tell(database, news, sinks, monitoring.alerts_of(view.live).rate, now=stamp)


def _assembled(
    settings: RetrainingConfig,
    view: MonitoredDesk,
    book: RetrainingBook,
    say: Callable[[str], None],
    now: Callable[[], datetime],
) -> RetrainingMachine:
    maker = Workshop(
        config=settings, store=view.store, history=view.live.history,
        ledger=lambda: Ledger(Database.open()), now=now, by=AUTO,
    )  # fmt: skip
    return RetrainingMachine(
        config=settings, view=view, book=book, maker=maker, now=now,
        tell=say,
    )  # fmt: skip


def _say(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(text, markup=False)


def _now() -> datetime:
    return datetime.now(UTC)


def _rehearse(settings: RetrainingConfig, console: Console) -> None:
    with one_machine(settings, _say(console), dry_run=True) as machine:
        runs = machine.book.runs()
        plans = [plan_of(machine.view, each, runs, settings) for each in machine.view.symbols]
        _show_plan(plans, console)
        for each in plans:
            if each.due is not None:
                console.print(f"{each.symbol}: a retraining of {each.version} would begin", markup=False)
        for known in runs:
            for line in machine.next_of(known):
                console.print(line, markup=False)


def _show_plan(plans: Sequence[SymbolPlan], console: Console) -> None:
    if any(each.triggers for each in plans):
        console.print(triggers_table(plans))
    for each in plans:
        if each.accuracy is not None:
            console.print(f"{each.symbol}: {each.accuracy.sentence}", markup=False)
        if each.run is not None:
            console.print(f"{each.symbol}: run {each.run.id} is {each.run.now}", markup=False)
        if each.refusal:
            console.print(each.refusal, markup=False)
        elif not each.triggers:
            console.print(f"{each.symbol} {each.version}: nothing calls for a retraining", markup=False)


def triggers_table(plans: Sequence[SymbolPlan]) -> TextTable:
    """Return one row per trigger."""
    table = TextTable("symbol", "version", "trigger", "since", prose("what was found"))
    for plan in plans:
        for each in plan.triggers:
            table.add_row(plan.symbol, plan.version, each.kind, str(day_of(each.since)), each.sentence)
    return table


def runs_table(runs: Sequence[RetrainingRun]) -> TextTable:
    """Return one row per run."""
    table = TextTable("run", "symbol", "began", "is", "from", "to", prose("last"))
    for each in runs:
        table.add_row(
            each.id, each.symbol, str(day_of(each.steps[0].time)), str(each.now),
            str(each.output("champion") or ""), str(each.output("version") or ""), each.steps[-1].sentence,
        )  # fmt: skip
    return table


def steps_table(run: RetrainingRun) -> TextTable:
    """Return one row per step of a run."""
    table = TextTable("step", "on", "desk at", "by", prose("what happened"), title=f"{run.symbol}: {run.id}")
    for each in run.steps:
        table.add_row(str(each.step), str(day_of(each.time)), str(day_of(each.desk)), each.by, each.sentence)
    return table


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)
