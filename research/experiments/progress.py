"""A search on the screen: rate, time left, and the five best runs so far.

`ExperimentListener`: who wants to know how a search goes on.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lockstep.tables import TextTable, number, prose
from research.experiments.plan import Plan
from research.experiments.store import Batch


class ExperimentListener:
    """No-op progress listener."""

    def note(self, text: str) -> None:
        """Hear what whoever began the search has to know, in one line."""

    def begin(self, total: int, done: int) -> None:
        """Hear how many runs there are, and how many of them were there before."""

    def advance(self, runs: float) -> None:
        """Hear that (parts of) runs were evaluated."""

    def stored(self, batch: Batch) -> None:
        """Hear that a batch is counted and stored."""

    def checking(self, runs: int) -> None:
        """Hear that all runs are there, and how many winners Backtrader is going to run again."""

    def checked(self) -> None:
        """Hear that one winner is the same in Backtrader."""


_SHOWN = 5


class ExperimentScreen(ExperimentListener):
    """Shows a search in a terminal; elsewhere it only keeps count."""

    def __init__(self, plan: Plan, console: Console | None = None) -> None:
        self.evaluated = 0.0
        self.seconds = 0.0
        self._console = console or Console()
        self._by = plan.select_by
        self._windows = plan.windows
        self._best: list[tuple[float, int, str, int, str]] = []
        self._begun = time.perf_counter()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self._task = self._bar.add_task("runs", total=None, rate="")

    def note(self, text: str) -> None:
        """Print it."""
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def begin(self, total: int, done: int) -> None:
        """Start the bar where an earlier process left it."""
        self._begun = time.perf_counter()
        self._bar.reset(self._task, total=total, completed=done, rate="")

    def advance(self, runs: float) -> None:
        """Move the bar."""
        self.evaluated += runs
        passed = time.perf_counter() - self._begun
        rate = f"{self.evaluated / passed:,.0f} runs/s" if passed > 0 else ""
        self._bar.update(self._task, advance=runs, rate=rate)

    def stored(self, batch: Batch) -> None:
        """Keep the best runs."""
        scores = batch.metrics.get(f"test_{self._by}")
        if scores is None:
            return
        known = np.flatnonzero(np.isfinite(scores))
        rows = known[np.argsort(-scores[known], kind="stable")[:_SHOWN]]
        heads = [batch.heads[row] for row in rows]
        new = [
            (float(scores[row]), -head.variant, batch.symbol, batch.window, head.parameters)
            for row, head in zip(rows, heads, strict=True)
        ]
        self._best = heapq.nlargest(_SHOWN, self._best + new)

    def checking(self, runs: int) -> None:
        """Start a bar for the winners."""
        self.seconds = time.perf_counter() - self._begun
        self._task = self._bar.add_task("winners in Backtrader", total=runs, rate="")

    def checked(self) -> None:
        """Move the bar of the winners."""
        self._bar.advance(self._task)

    def __rich__(self) -> Group:
        return Group(self._bar, *([self._table()] if self._best else []))

    def _table(self) -> TextTable:
        title = "best so far, not yet checked in Backtrader"
        table = TextTable(number(self._by), "symbol", "test", prose("parameters"), title=title)
        for score, _, symbol, window, parameters in self._best:
            dates = str(self._windows[window].test)
            table.add_row(f"{score:.3f}", symbol, dates, parameters.strip("{}"))
        return table


@contextmanager
def on_screen(console: Console, plan: Plan) -> Iterator[ExperimentScreen]:
    """Yield a listener that shows a search while the block runs."""
    listener = ExperimentScreen(plan, console)
    if not console.is_terminal:
        yield listener
        return
    with Live(listener, console=console, transient=True, refresh_per_second=4):
        yield listener
