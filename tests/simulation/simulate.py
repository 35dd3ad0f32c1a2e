"""One life from its beginning to its end: what a seed is asked for."""

from __future__ import annotations

import gc
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lockstep.live.journal import Journal
from simulation import rules_limits, rules_orders, rules_state
from simulation.clock import SimClock
from simulation.invariants import Audit, Broken, Invariant
from simulation.life import Life
from simulation.world import World

RULES: Mapping[str, type[Invariant]] = {**rules_orders.RULES, **rules_limits.RULES, **rules_state.RULES}
"""Every invariant by its name."""

_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a life came to.

    invariant, text   the first invariant that did not hold, and how; empty where all did
    trace, journal    SHA-256 of everything that happened, and of the journal's chain
    seconds           of processor time
    """

    seed: int
    days: int
    invariant: str = ""
    text: str = ""
    trace: str = ""
    journal: str = ""
    lines: tuple[str, ...] = ()
    counts: Mapping[str, int]
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every invariant held to the end."""
        return not self.invariant

    @property
    def signature(self) -> str:
        """What tells one fault from another: the invariant, and where an engine that stopped was."""
        return (
            f"{self.invariant}: {self.text.split(':')[0]}" if self.invariant == "goes on" else self.invariant
        )


def simulate(life: Life, *, keep: bool = False, rules: Mapping[str, type[Invariant]] = RULES) -> Outcome:
    """Let a life happen under the eyes of every invariant; `keep` keeps the story in words."""
    clock = SimClock(life.begins)
    audit = Audit(life, tuple(rules.values()), keep=keep, now=lambda: clock.true)
    began = time.process_time()
    with _silence(), _folder() as folder:
        world = World(life, folder, audit, clock)
        broken: Broken | None = None
        try:
            world.pass_by()
        except Broken as found:
            broken = found
        finally:
            if world.run is not None:
                world.run.line.alive = False
                world.run.close()
        hashed = "" if broken else _chain(world)
    return Outcome(
        seed=life.seed,
        days=life.days,
        invariant=broken.invariant if broken else "",
        text=broken.text if broken else "",
        trace=audit.trace,
        journal=hashed,
        lines=tuple(audit.lines),
        counts=world.counts(),
        seconds=time.process_time() - began,
    )


@contextmanager
def _silence() -> Iterator[None]:
    """Let the engine log nothing: lives are full of warnings."""
    logger = logging.getLogger("lockstep")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _folder() -> Iterator[Path]:
    """Yield the working folder, a new one in memory where that is possible: no path is in what is journaled.

    A kill is that of a process, not of the machine.
    """
    where = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="lockstep-", dir=where) as folder, chdir(folder):
        yield Path()


def _chain(world: World) -> str:
    with Journal.open(world.journal_path, readonly=True) as journal:
        rows = journal.select("SELECT hex(hash) FROM entries ORDER BY sequence DESC LIMIT 1")
    return str(rows[0][0]) if rows else ""


def settle() -> None:
    """Keep the collector away from what stays for ever: models, calendars, compiled code."""
    gc.collect()
    gc.freeze()
