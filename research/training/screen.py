"""A training run on the screen: step, best score and time left; then what each outer window found.

What `lockstep train` does once its options are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lockstep.console import own_command
from lockstep.desk import results_folder
from lockstep.market.history import History
from lockstep.models.store import ModelStore
from lockstep.tables import TextTable, number
from research.backtest.account import Account
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.report.page import UNDEFINED
from research.sweep.cluster import require_workers
from research.training.counting import trainings
from research.training.dataset import dates_of
from research.training.out_of_sample import traced_runs
from research.training.outcome import TrainingOutcome
from research.training.report import write_training_report
from research.training.report_data import window_results
from research.training.run import Task, Trained, run_training, user, utc_now
from research.training.search import SearchAttempt, SearchListener

# How many lines a run prints off a terminal, about.
_LINES = 20


class SearchScreen(SearchListener):
    """Moves a progress bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def note(self, text: str) -> None:
        """Print it above the bar."""
        self._progress.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def begin(self, steps: int) -> None:
        """Set the length of the bar."""
        self._progress.reset(self._task, total=steps, best="")

    def stepped(self, search: str, attempt: SearchAttempt, best: float) -> None:
        """Move the bar and show the best score of the search."""
        self._progress.update(self._task, advance=1, best=_so_far(search, best))


class LineListener(SearchListener):
    """Prints a line now and then, for logs and pipes: after each twentieth of the steps."""

    def __init__(self, console: Console, symbol: str) -> None:
        self._console = console
        self._symbol = symbol
        self._steps = self._done = self._stopped = 0

    def note(self, text: str) -> None:
        """Print it."""
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def begin(self, steps: int) -> None:
        """Say how many steps there will be."""
        self._steps = steps
        self._say(f"{steps} search steps")

    def stepped(self, search: str, attempt: SearchAttempt, best: float) -> None:
        """Count a step, and say so where it is time."""
        self._done += 1
        self._stopped += attempt.stopped is not None
        if self._done % max(1, math.ceil(self._steps / _LINES)) == 0 or self._done == self._steps:
            stopped = f", {self._stopped} of them stopped early" if self._stopped else ""
            self._say(f"{self._done} of {self._steps} steps{stopped}; {_so_far(search, best)}")

    def _say(self, text: str) -> None:
        self._console.print(f"training {self._symbol}: {text}", soft_wrap=True, highlight=False)


def _so_far(search: str, best: float) -> str:
    return f"{search}, best {best:.4f}" if math.isfinite(best) else search


@contextmanager
def on_screen(console: Console, symbol: str) -> Iterator[SearchListener]:
    """Yield a listener that shows a training run while the block runs: a bar, or lines off a terminal."""
    if not console.is_terminal:
        yield LineListener(console, symbol)
        return
    columns = (
        TextColumn(f"training {symbol}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TextColumn("{task.fields[best]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield SearchScreen(progress, progress.add_task(symbol, total=None, best=""))


def window_table(outcome: TrainingOutcome, history: History) -> TextTable:
    """Return what the veto did in each outer window, and the account over all of them, out of sample.

    The figures are those of the report.
    """
    runs = traced_runs(outcome, history)
    found = window_results(outcome, history, runs)
    table = TextTable(
        "#", "window", "veto", *map(number, ("trades", "net P&L", "Sharpe", "PF", "DD", "at")),
        title=f"{outcome.dataset.symbol}: outer windows, out of sample",
        caption="all: one account over all windows in order. DD: drawdown, of the capital. at: threshold.",
    )  # fmt: skip
    for each in found:
        name, dates = str(each.window.number + 1), f"{each.first} to {each.last}"
        table.add_row(name, dates, "no", *_measures(each.unfiltered), "")
        table.add_row(name, dates, "yes", *_measures(each.filtered), f"{each.window.threshold:.2f}")
    dates = f"{found[0].first} to {found[-1].last}"
    table.add_row("all", dates, "no", *_measures(runs.unfiltered), "")
    table.add_row("all", dates, "yes", *_measures(runs.filtered), "")
    return table


def _measures(account: Account) -> tuple[str, ...]:
    found = account.measures
    return (
        f"{found['trades']:,.0f}",
        _written(found["net_profit"], ",.0f"),
        _written(found["sharpe"], ".2f"),
        _written(found["profit_factor"], ".2f"),
        _written(found["max_drawdown"], ".1%"),
    )


def _written(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else UNDEFINED


_INTERRUPTED = 130


def train_and_register(task: Task, folder: Path | None, console: Console, *, by: str | None) -> str:
    """Train, write the report, register the bundle as a candidate; show it and return the version.

    folder   of the model store; None: the default one
    by       who; None: the user that runs this

    Interrupted, it exits with 130, and everything that was finished is kept.
    """
    require_workers(task.cluster)
    store, ledger = ModelStore(folder), Ledger(Database.open())
    trained = _trained(task, ledger, console)
    page = write_training_report(
        trained.outcome, trained.history, trained.folder, trainings=trainings_so_far(trained, ledger)
    )
    version = store.register(trained.bundle, record=trained.record, by=by or user(), now=utc_now())
    console.print(window_table(trained.outcome, trained.history))
    _say(console, task, trained, folder, version, page)
    return version


def _trained(task: Task, ledger: Ledger, console: Console) -> Trained:
    try:
        with on_screen(console, task.config.symbol) as listener:
            return run_training(task, ledger, now=utc_now, listener=listener)
    except KeyboardInterrupt:
        console.print(
            "interrupted; finished steps are kept: the same command with --resume completes the run"
        )
        raise typer.Exit(_INTERRUPTED) from None


def trainings_so_far(trained: Trained, ledger: Ledger) -> int:
    """Return how many trainings the ledger counts on the family over the days before the hold-out."""
    outcome = trained.outcome
    dates = dates_of(outcome.dataset, outcome.development)
    return max(1, trainings(ledger, trained.family, dates))


def _say(
    console: Console, task: Task, trained: Trained, folder: Path | None, version: str, page: Path
) -> None:
    outcome, symbol = trained.outcome, trained.bundle.symbol
    if outcome.failed:
        console.print(f"{outcome.failed} search steps failed for numerical reasons; they are counted")
    if outcome.stopped:
        console.print(f"{outcome.stopped} hopeless search steps were stopped early; they are counted")
    if outcome.dataset.unfinished:
        console.print(f"{outcome.dataset.unfinished} signals left out: open at the last bar")
    for sentence in outcome.idle:
        console.print(sentence, highlight=False)
    for what, where in (
        ("run folder", trained.folder),
        ("report", page),
        ("bundle", ModelStore(folder).path(symbol, version)),
    ):
        console.print(f"{what}: {where}", soft_wrap=True, highlight=False)
    console.print(f"{symbol} {version} is a candidate; this judges it:", highlight=False)
    console.print(f"  {judging(task, trained, folder, version)}", soft_wrap=True, highlight=False)


def judging(task: Task, trained: Trained, folder: Path | None, version: str) -> str:
    """Return the command that validates a version, with the folders in which its parts are."""
    parts = ["validate", trained.bundle.symbol, "--version", version]
    if folder is not None:
        parts += ["--store", str(folder)]
    if task.out != results_folder("training"):
        parts += ["--run-dir", str(trained.folder)]
    return own_command(*parts)
