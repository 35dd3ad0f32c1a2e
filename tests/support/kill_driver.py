"""Run a desk again and again in forked children that die by SIGKILL; a program of its own, without threads.

    kill_driver.py DESK JOURNAL FOLDER BARS after-each-set | between-writes | between-phases | never SEED

DESK is `two`, with an account each, or `portfolio`, in which a coordinator admits all entries.

`after-each-set` dies when one more bar set is committed; `between-writes` dies at random writes, half of the
time before and half of the time after the transaction; `between-phases` dies at every set for which there is
no mark in FOLDER, when all lanes have decided and before their entries are answered, or right after it. The
children's journal is the real one.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockstep.live.events import Event
from lockstep.live.journal import Journal
from lockstep.live.journal.rows import StoredSet
from lockstep.live.messages import SetRecord
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.coordinator import Coordinator
from lockstep.strategy.admission import LaneNews, LaneStanding, Settled
from support import desks, portfolio_live, portfolios

WARM = 400
_WINDOW = 34


class Dying:
    """A journal whose process dies at the write that `when` chooses."""

    def __init__(self, journal: Journal, when: Callable[[str], str]) -> None:
        self._journal = journal
        self._when = when

    def append_set(self, record: SetRecord) -> int:
        return int(self._around("set", lambda: self._journal.append_set(record)))

    def append(self, *events: Event) -> tuple[int, ...]:
        return tuple(self._around("event", lambda: self._journal.append(*events)))

    def recorded(self, epoch: int) -> Iterator[StoredSet | Event]:
        return self._journal.recorded(epoch)

    def _around(self, kind: str, write: Callable[[], Any]) -> Any:
        fate = self._when(kind)
        if fate == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = write()
        if fate == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def run(path: Path, folder: Path, bars: int, when: Callable[[str], str]) -> None:
    """Run a desk over the real journal until it dies or the history ends; one model vetoes, SPX has none."""
    models = {"COMP": desks.model(), "SPX": desks.bare("SPX")}
    history = desks.history(WARM + bars)
    with Journal.open(path) as journal:
        epoch = journal.newest_epoch()
        if epoch is None:
            first = desks.first_epoch(models, history, WARM)
            epoch = replace(first, number=journal.begin_epoch(first))
        desks.engine(folder, models, Dying(journal, when), history, warm=WARM, epoch=epoch).run()


def run_portfolio(path: Path, folder: Path, bars: int, when: Callable[[str], str]) -> None:
    """Run a drawn portfolio over the real journal until it dies or its bars end."""
    given, config = portfolio_of(bars)

    class Mortal(Coordinator):
        def settle(
            self, stamp: int, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]
        ) -> Settled:
            fate = when(f"phases-{stamp}")
            if fate == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = super().settle(stamp, news, standing)
            if fate == "after":
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

    with Journal.open(path) as journal:
        epoch = journal.newest_epoch()
        if epoch is None:
            first = portfolio_live.epoch_of(given, config, warm=_WINDOW)
            epoch = replace(first, number=journal.begin_epoch(first))
        mortal = Dying(journal, when)
        portfolio_live.engine_of(given, config, mortal, folder, epoch=epoch, coordinator=Mortal).run()


@functools.cache
def portfolio_of(bars: int) -> tuple[portfolios.World, PortfolioConfig]:
    """Return a world of so many days, and a portfolio in which rules refuse and everything leaves."""
    given = portfolios.world(
        15,
        dict.fromkeys(("BTC-USD", "ES", "SPY"), ("1d", _WINDOW + bars)),
        size={"kind": "fixed", "contracts": 1},
    )
    limits = {"max_positions": 2, "daily_loss": {"fraction": 0.001, "flatten": True}}
    return given, portfolios.portfolio_of(given, limits=limits)


_RUNS = {"two": run, "portfolio": run_portfolio}


def main(desk: str, path: Path, folder: Path, bars: int, how: str, seed: int) -> int:
    """Run children until one reaches the end; print how many died."""
    if desk == "two":
        desks.history(WARM + bars)
        desks.model()
        desks.bare("SPX")
    else:
        # What is loaded and compiled here, every child has.
        given, config = portfolio_of(bars)
        epoch = portfolio_live.epoch_of(given, config, warm=_WINDOW)
        portfolio_live.engine_of(given, config, desks.MemoryJournal(), folder, epoch=epoch).run()
    died = 0
    while True:
        child = os.fork()
        if child == 0:
            _RUNS[desk](path, folder, bars, _fate(how, folder, random.Random(seed + died)))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            print(died)
            return os.waitstatus_to_exitcode(status)
        died += 1


def _fate(how: str, folder: Path, draw: random.Random) -> Callable[[str], str]:
    if how == "between-phases":
        return lambda kind: _once(folder / kind, draw) if kind.startswith("phases") else ""
    if how == "after-each-set":
        return lambda kind: "after" if kind == "set" else ""
    if how == "never":
        return lambda kind: ""
    return lambda kind: draw.choice(["before", "after"]) if draw.random() < 0.03 else ""


def _once(mark: Path, draw: random.Random) -> str:
    if mark.exists():
        return ""
    mark.touch()
    return draw.choice(["before", "after"])


if __name__ == "__main__":
    DESK, PATH, FOLDER, BARS, HOW, SEED = sys.argv[1:]
    sys.exit(main(DESK, Path(PATH), Path(FOLDER), int(BARS), HOW, int(SEED)))
