"""What the command shows, and what it leaves behind when it is interrupted or refused."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from rich.console import Console
from rich.progress import Progress

from lockstep.errors import LockstepError, TrainingError
from lockstep.models.store import ModelStore
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.report.page import usd
from research.training import screen as command
from research.training.out_of_sample import traced_runs
from research.training.report import write_training_report
from research.training.run import DATASET, Task, load_outcome, run_training, user, utc_now
from research.training.screen import SearchScreen, on_screen, window_table
from research.training.search import SearchAttempt
from research.training.stopping import Stopped
from support.training import NOON, config, noon, small_outcome


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


@pytest.mark.no_cover
def test_it_trains_reports_and_registers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def report(outcome: Any, history: Any, folder: Path, *, trainings: int) -> Path:
        asked.update(folder=folder, trainings=trainings)
        return folder / "report.html"

    monkeypatch.setattr(command, "write_training_report", report)
    console = silent()
    version = command.train_and_register(task(tmp_path), tmp_path / "store", console, by="me")
    assert version == "v1"
    assert asked["trainings"] == 1
    history = ModelStore(tmp_path / "store").manifest().history
    assert [each.by for each in history] == ["me"]
    text = shown(console)
    for expected in ("out of sample", "candidate", "SPX_v1.joblib", str(asked["folder"])):
        assert expected in text
    outcome = load_outcome(asked["folder"])
    assert pq.read_metadata(asked["folder"] / DATASET).num_rows == len(outcome.dataset)


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
    # The same training is one, however often it is run.
    assert command.trainings_so_far(again, ledger) == 1
    assert ledger.count(again.family, date(2008, 1, 1), date(2018, 12, 31)) == 9


FORMS = {"net_profit": ",.0f", "sharpe": ".2f", "profit_factor": ".2f", "max_drawdown": ".1%"}


def written(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "–"


def test_the_console_shows_the_figures_of_the_report(tmp_path: Path) -> None:
    trained = run_training(task(tmp_path), Ledger(Database.open()), now=noon)
    write_training_report(trained.outcome, trained.history, trained.folder, trainings=9)
    found = json.loads((trained.folder / "report.json").read_text())["out_of_sample"]
    table = window_table(trained.outcome, trained.history)
    whole = {"first": found["first"], "last": found["last"], **found}
    expected = [
        (
            f"{part['first']} to {part['last']}", veto, f"{measures['trades']:,.0f}",
            *(
                written(math.nan if measures[name] is None else measures[name], form)
                for name, form in FORMS.items()
            ),
        )
        for part in (*found["windows"], whole)
        for veto, measures in (("no", part["without_veto"]), ("yes", part["with_veto"]))
    ]  # fmt: skip
    assert [tuple(cell.plain for cell in row[1:-1]) for row in table.rows] == expected
    page = (trained.folder / "report.html").read_text()
    for part in (*found["windows"], whole):
        one, other = (part[name]["net_profit"] for name in ("without_veto", "with_veto"))
        assert f"<td>{usd(one)} → <b>{usd(other)}</b></td>" in page
    # Not the sum of closed trades: what is open at a window's end is marked.
    runs = traced_runs(trained.outcome, trained.history)
    assert found["with_veto"]["net_profit"] == pytest.approx(runs.filtered.equity[-1] - 100_000.0)


def test_the_table_fits_eighty_columns(tmp_path: Path) -> None:
    trained = run_training(task(tmp_path), Ledger(Database.open()), now=noon)
    console = Console(file=io.StringIO(), width=80)
    console.print(window_table(trained.outcome, trained.history))
    lines = shown(console).splitlines()
    assert sum(line.startswith(("1 ", "2 ", "all ")) for line in lines) == 2 * 3
    assert max(map(len, lines)) <= 80


def test_what_was_left_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = run_training(task(tmp_path), Ledger(Database.open()), now=noon)
    store = ModelStore(tmp_path / "store")
    version = store.register(trained.bundle, record=trained.record, by="me", now=NOON)
    outcome = trained.outcome
    idle = tuple(replace(each, threshold=0.0) for each in outcome.windows)
    troubled = replace(
        outcome, failed=2, stopped=5, threshold=0.0, windows=idle,
        dataset=replace(outcome.dataset, unfinished=3),
    )  # fmt: skip
    console = silent()
    own = task(tmp_path)
    command._say(console, own, replace(trained, outcome=troubled), tmp_path / "store", version, tmp_path)
    text = " ".join(shown(console).split())
    assert "2 search steps failed" in text
    assert "5 hopeless search steps were stopped early" in text
    assert "3 signals left out" in text
    assert "The final threshold, 0.00, vetoes nothing: all" in text
    assert "In 2 of 2 outer windows the veto let every signal through: number 1, 2." in text


def test_a_veto_that_acts_is_not_called_idle() -> None:
    outcome = small_outcome()
    assert outcome.idle == ()
    (window,) = outcome.windows
    lenient = replace(outcome, threshold=0.2, windows=(replace(window, threshold=0.31),))
    assert len(lenient.idle) == 1
    assert "vetoes nothing: all 150 out-of-fold probabilities" in lenient.idle[0]


def test_off_a_terminal_a_run_prints_lines(tmp_path: Path) -> None:
    console = silent()
    with on_screen(console, "SPX") as listener:
        listener.begin(60)
        for number in range(60):
            stopped = Stopped(scores=np.zeros(5)) if number >= 50 else None
            attempt = SearchAttempt(parameters={}, step=None, stopped=stopped)
            listener.stepped("window-0", attempt, -0.6931)
    lines = shown(console).splitlines()
    assert lines[:2] == [
        "training SPX: 60 search steps", "training SPX: 3 of 60 steps; window-0, best -0.6931",
    ]  # fmt: skip
    assert lines[-1] == "training SPX: 60 of 60 steps, 10 of them stopped early; window-0, best -0.6931"
    assert len(lines) == 21


def test_the_bar_moves_and_tells_the_best_score() -> None:
    progress = Progress(console=silent())
    listener = SearchScreen(progress, progress.add_task("SPX", total=None, best=""))
    listener.begin(3)
    listener.stepped("final", SearchAttempt(parameters={}, step=None), float("-inf"))
    listener.stepped("final", SearchAttempt(parameters={}, step=None), -0.6931)
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
