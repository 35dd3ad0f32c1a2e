"""Many lives, one after the other or on several processors, and what came of them."""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from simulation import models
from simulation.draw import draw
from simulation.plants import PLANTS
from simulation.simulate import Outcome, settle, simulate
from simulation.venues import LEVELS, venue

_PIECE = 25


@dataclass
class Tally:
    """What a block of seeds came to; `hash` is over traces and journals, in the order of the seeds."""

    lives: int = 0
    days: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[Outcome] = field(default_factory=list)
    _hash: Any = field(default_factory=hashlib.sha256)

    def add(self, outcome: Outcome) -> None:
        """Take one life."""
        self.lives += 1
        self.days += outcome.days
        self.seconds += outcome.seconds
        self.counts.update(outcome.counts)
        self._hash.update(f"{outcome.seed} {outcome.trace} {outcome.journal}\n".encode())
        if not outcome.holds:
            self.broken.append(outcome)

    @property
    def hash(self) -> str:
        """SHA-256 over everything that happened."""
        return str(self._hash.hexdigest())


def prepare() -> None:
    """Load calendars and models once in a process."""
    for symbol in LEVELS:
        venue(symbol)
        models.model(symbol, "1d", "both")
    settle()


def outcomes(seeds: Iterable[int], *, plant: str = "") -> Iterator[Outcome]:
    """Yield what each seed comes to, with a fault planted where one is named."""
    for seed in seeds:
        life = draw(seed)
        if plant:
            with PLANTS[plant].install():
                yield simulate(life)
        else:
            yield simulate(life)


def block(first: int, count: int, *, workers: int = 1, plant: str = "") -> Iterator[Outcome]:
    """Yield what `count` seeds from `first` on come to, in their order."""
    seeds = range(first, first + count)
    if workers == 1:
        prepare()
        yield from outcomes(seeds, plant=plant)
        return
    pieces = [seeds[start : start + _PIECE] for start in range(0, count, _PIECE)]
    context = multiprocessing.get_context("fork")
    prepare()
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for piece in pool.map(functools.partial(_piece, plant), pieces):
            yield from piece


def _piece(plant: str, seeds: range) -> list[Outcome]:
    return list(outcomes(seeds, plant=plant))
