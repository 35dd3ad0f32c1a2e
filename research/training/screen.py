"""A training run on the screen: step, best score and time left; then what each outer window found."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lockstep.market.history import History
from lockstep.tables import TextTable, number
from research.report.numbers import UNDEFINED
from research.training.outcome import TrainingOutcome
from research.training.report_data import window_results
from research.training.search import Attempt, Listener
from research.validation.model.account import Account
from research.validation.model.out_of_sample import traced_runs

# How many lines a run prints off a terminal, about.
_LINES = 20


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
        self._progress.update(self._task, advance=1, best=_so_far(search, best))


class LineListener(Listener):
    """Prints a line now and then, for logs and pipes: after each twentieth of the steps."""

    def __init__(self, console: Console, symbol: str) -> None:
        self._console = console
        self._symbol = symbol
        self._steps = self._done = self._stopped = 0

    def begin(self, steps: int) -> None:
        """Say how many steps there will be."""
        self._steps = steps
        self._say(f"{steps} search steps")

    def stepped(self, search: str, attempt: Attempt, best: float) -> None:
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
def on_screen(console: Console, symbol: str) -> Iterator[Listener]:
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
        yield ScreenListener(progress, progress.add_task(symbol, total=None, best=""))


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
