"""What `train_model.py` does once its options are read."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import typer
from rich.console import Console

from lockstep.models.store import ModelStore
from research.experiments.database import Database
from research.experiments.ledger import Ledger
from research.training.counting import dates_of
from research.training.report import write_training_report
from research.training.run import Task, Trained, run_training, user, utc_now
from research.training.screen import on_screen, window_table

_INTERRUPTED = 130


def train_and_register(task: Task, folder: Path | None, console: Console, *, by: str | None) -> str:
    """Train, write the report, register the bundle as a candidate; show it and return the version.

    folder   of the model store; None: the default one
    by       who; None: the user that runs this

    Interrupted, it exits with 130, and everything that was finished is kept.
    """
    store, ledger = ModelStore(folder), Ledger(Database.open())
    trained = _trained(task, ledger, console)
    page = write_training_report(
        trained.outcome, trained.history, trained.folder, trials=trials_so_far(trained, ledger)
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
        console.print("interrupted; finished steps are kept: the same command with --resume does the rest")
        raise typer.Exit(_INTERRUPTED) from None


def trials_so_far(trained: Trained, ledger: Ledger) -> int:
    """Return how many trials the ledger counts on the family over the days before the hold-out."""
    outcome = trained.outcome
    dates = dates_of(outcome.dataset, outcome.development)
    return ledger.count(trained.family, dates.start, dates.end)


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
    parts = [_interpreter(), "scripts/validate_model.py", trained.bundle.symbol, "--version", version]
    if folder is not None:
        parts += ["--store", str(folder)]
    if task.out != Task.out:
        parts += ["--run-dir", str(trained.folder)]
    return shlex.join(parts)


def _interpreter() -> str:
    """Return this interpreter as it is called from the working folder: `.venv/bin/python` in a checkout."""
    running, here = Path(sys.executable), Path.cwd()
    return str(running.relative_to(here) if running.is_relative_to(here) else running)
