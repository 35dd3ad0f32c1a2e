"""What the time of a search goes into: loops, names, statistics, verification, database, and the rest.

Whoever wants to know measures a block; what happens in it says to which part it belongs. Parts may lie in
each other: time belongs to the innermost, so that they and the rest add up to the whole. Where nobody
measures, a part costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

Part = Literal["loops", "names", "statistics", "verification", "database", "rest"]

PARTS_OF_TIME: dict[Part, str] = {
    "loops": "features, packing, loops and measures of all variants",
    "names": "parameters, hashes and ids of all variants",
    "statistics": "maximum test, overfitting, verdict",
    "verification": "winners and accounts in Backtrader",
    "database": "runs, sketches, ledger with its chain, reading",
    "rest": "bars, plans, tables",
}
"""The parts, in the order in which they are shown, and what is in them."""


@dataclass(kw_only=True)
class TimeShares:
    """Seconds of a block by part, those that passed and those of the processor, all its threads together."""

    clock: Callable[[], float] = time.perf_counter
    processor: Callable[[], float] = time.process_time
    passed: dict[Part, float] = field(default_factory=lambda: dict.fromkeys(PARTS_OF_TIME, 0.0))
    worked: dict[Part, float] = field(default_factory=lambda: dict.fromkeys(PARTS_OF_TIME, 0.0))
    _open: list[Part] = field(default_factory=list)
    _since: tuple[float, float] = (0.0, 0.0)

    @contextmanager
    def on(self, part: Part) -> Iterator[None]:
        """Count the block towards a part, but for parts within it."""
        self._turn()
        self._open.append(part)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def _turn(self) -> None:
        """Count what passed since the last turn towards the part that is open."""
        now = (self.clock(), self.processor())
        if self._open:
            self.passed[self._open[-1]] += now[0] - self._since[0]
            self.worked[self._open[-1]] += now[1] - self._since[1]
        self._since = now

    @property
    def lines(self) -> list[str]:
        """A line for each part: its name, seconds, share of them, seconds of the processor, what is in it."""
        whole = sum(self.passed.values()) or 1.0
        return [
            f"{part:12} {self.passed[part]:7.2f} s {self.passed[part] / whole:5.0%}, "
            f"{self.worked[part]:.2f} s of the processor: {what}"
            for part, what in PARTS_OF_TIME.items()
        ]


_measured: ContextVar[TimeShares | None] = ContextVar("time_shares", default=None)


@contextmanager
def measured(shares: TimeShares | None = None) -> Iterator[TimeShares]:
    """Measure a block; what belongs to no part of it is its rest.

    >>> from itertools import count
    >>> ticks = count()
    >>> with measured(TimeShares(clock=lambda: float(next(ticks)), processor=lambda: 0.0)) as shares:
    ...     with spent_on("loops"), spent_on("database"):
    ...         pass
    >>> shares.passed["rest"], shares.passed["loops"], shares.passed["database"]
    (2.0, 2.0, 1.0)
    """
    found = shares or TimeShares()
    token = _measured.set(found)
    try:
        with found.on("rest"):
            yield found
    finally:
        _measured.reset(token)


@contextmanager
def spent_on(part: Part) -> Iterator[None]:
    """Count the block, or the calls of a function that this decorates, towards a part of what is measured.

    Of the thread that measures alone: others work for one of its parts.
    """
    shares = _measured.get()
    if shares is None:
        yield
        return
    with shares.on(part):
        yield
