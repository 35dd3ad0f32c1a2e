"""`Listener`: who wants to know how a search goes on."""

from __future__ import annotations

from research.experiments.store import Batch


class Listener:
    """Hears how a search goes on; this one does not care."""

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
