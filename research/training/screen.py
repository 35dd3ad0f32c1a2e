"""A training run on the screen: step, best score and time left; then what each outer window found."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lockstep.market.history import History
from lockstep.tables import TextTable, number
from research.training.outcome import TrainingOutcome
from research.training.search import Attempt, Listener
from research.validation.model.out_of_sample import traced_runs, window_dates


class ScreenListener(Listener):
    """Moves a progress bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def begin(self, steps: int) -> None:
        """Set the length of the bar."""
        self._progress.reset(self._task, total=steps, best="")

    def stepped(self, search: str, attempt: Attempt, best: float) -> None:
        """Move the bar and show the best score of the search."""
        shown = f"{search}, best {best:.4f}" if math.isfinite(best) else search
        self._progress.update(self._task, advance=1, best=shown)


@contextmanager
def on_screen(console: Console, symbol: str) -> Iterator[Listener]:
    """Yield a listener that shows a training run while the block runs; silent where nobody looks."""
    columns = (
        TextColumn(f"training {symbol}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TextColumn("{task.fields[best]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield ScreenListener(progress, progress.add_task(symbol, total=None, best=""))


def window_table(outcome: TrainingOutcome, history: History) -> TextTable:
    """Return what the veto did in each outer window, out of sample."""
    numbers = ("samples", "trades", "kept", "Sharpe", "filtered Sharpe", "net P&L", "filtered P&L", "at")
    title = f"{outcome.dataset.symbol}: outer windows, out of sample"
    table = TextTable("window", *map(number, numbers), title=title)
    runs = traced_runs(outcome, history)
    for window, (first, last) in zip(outcome.windows, window_dates(outcome, history), strict=True):
        before, after = (run.between(first, last) for run in (runs.unfiltered, runs.filtered))
        table.add_row(
            f"{str(first)[:7]} to {str(last)[:7]}",
            f"{window.test.size}",
            f"{before.pnl.size}",
            f"{after.pnl.size}",
            f"{before.sharpe:.2f}",
            f"{after.sharpe:.2f}",
            f"{before.pnl.sum():,.0f}",
            f"{after.pnl.sum():,.0f}",
            f"{window.threshold:.2f}",
        )
    return table
