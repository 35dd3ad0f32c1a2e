"""What the command shows, and what it leaves behind when it is interrupted or refused."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from rich.progress import Progress

from lockstep.errors import LockstepError, TrainingError
from lockstep.models.store import ModelStore
from research.experiments.database import Database
from research.experiments.ledger import Ledger
from research.training import command
from research.training.dataset_file import load_dataset
from research.training.run import DATASET, Task, load_outcome, run_training, user, utc_now
from research.training.screen import ScreenListener, on_screen, window_table
from research.training.search import Attempt
from research.validation.model.out_of_sample import traced_runs
from support.training import NOON, config, noon


@pytest.fixture(autouse=True)
def _own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'ledger.db'}")


def task(folder: Path, **changes: Any) -> Task:
    return Task(config=config(), seed=4, jobs=1, out=folder / "runs", **changes)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def silent() -> Console:
    return Console(file=io.StringIO(), width=140)


def test_it_trains_reports_and_registers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def report(outcome: Any, history: Any, folder: Path, *, trials: int) -> Path:
        asked.update(folder=folder, trials=trials)
        return folder / "report.html"

    monkeypatch.setattr(command, "write_training_report", report)
    console = silent()
    version = command.train_and_register(task(tmp_path), tmp_path / "store", console, by="me")
    assert version == "v1"
    assert asked["trials"] == 9
    history = ModelStore(tmp_path / "store").manifest().history
    assert [each.by for each in history] == ["me"]
    text = shown(console)
    for expected in ("out of sample", "candidate", "SPX_v1.joblib", str(asked["folder"])):
        assert expected in text
    outcome = load_outcome(asked["folder"])
    assert load_dataset(asked["folder"] / DATASET).hashes == outcome.dataset.hashes


def test_an_interruption_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_training", interrupted)
    console = silent()
    with pytest.raises(typer.Exit) as left:
        command.train_and_register(task(tmp_path), tmp_path / "store", console, by=None)
    assert left.value.exit_code == 130
    assert "--resume" in shown(console)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    ledger = Ledger(Database.open())
    with pytest.raises(TrainingError, match=r"cannot be made: .*choose another --out"):
        run_training(task(tmp_path), ledger, now=noon)


def test_a_full_disk_registers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(LockstepError, match="No space left on device"):
        command.train_and_register(task(tmp_path), tmp_path / "store", silent(), by="me")
    assert not list((tmp_path / "store").glob("*"))
    assert not list((tmp_path / "runs").rglob("*.joblib"))


def test_without_resume_a_run_begins_anew(tmp_path: Path) -> None:
    ledger, folder = Ledger(Database.open()), tmp_path
    trained = run_training(task(folder), ledger, now=noon)
    steps = trained.folder / "steps"
    damaged = next(iter(sorted(steps.iterdir())))
    damaged.write_bytes(b"")
    with pytest.raises(TrainingError, match="damaged"):
        run_training(task(folder, resume=True), ledger, now=noon)
    again = run_training(task(folder), ledger, now=noon)
    assert again.folder == trained.folder
    assert command.trials_so_far(again, ledger) == 9


def test_the_table_adds_up(tmp_path: Path) -> None:
    trained = run_training(task(tmp_path), Ledger(Database.open()), now=noon)
    table = window_table(trained.outcome, trained.history)
    trades = [int(cell) for cell in table.cells("trades")]
    kept = [int(cell) for cell in table.cells("kept")]
    runs = traced_runs(trained.outcome, trained.history)
    assert sum(trades) == runs.unfiltered.pnl.size
    assert sum(kept) == runs.filtered.pnl.size
    assert len(table.rows) == len(trained.outcome.windows)


def test_what_was_left_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = run_training(task(tmp_path), Ledger(Database.open()), now=noon)
    store = ModelStore(tmp_path / "store")
    version = store.register(trained.bundle, record=trained.record, by="me", now=NOON)
    outcome = trained.outcome
    troubled = replace(outcome, failed=2, dataset=replace(outcome.dataset, unfinished=3))
    console = silent()
    command._say(console, replace(trained, outcome=troubled), store, version, tmp_path)
    assert "2 search steps failed" in shown(console)
    assert "3 signals left out" in shown(console)


def test_the_bar_moves_and_tells_the_best_score() -> None:
    progress = Progress(console=silent())
    listener = ScreenListener(progress, progress.add_task("SPX", total=None, best=""))
    listener.begin(3)
    listener.stepped("final", Attempt(parameters={}, step=None), float("-inf"))
    listener.stepped("final", Attempt(parameters={}, step=None), -0.6931)
    (bar,) = progress.tasks
    assert (bar.completed, bar.total, bar.fields["best"]) == (2, 3, "final, best -0.6931")
    with on_screen(silent(), "SPX") as shown_listener:
        shown_listener.begin(1)


def test_who_and_when(monkeypatch: pytest.MonkeyPatch) -> None:
    assert user()
    assert utc_now().tzinfo is not None

    def nobody() -> str:
        raise KeyError("uid")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert user() == "unknown"
