"""Run a desk again and again in forked children that die by SIGKILL; a program of its own, without threads.

    kill_driver.py JOURNAL FOLDER after-each-set | between-writes SEED

`after-each-set` dies when one more bar set is committed; `between-writes` dies at random writes, half of the
time before and half of the time after the transaction. The children's journal is the real one.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockstep.live.events import Event
from lockstep.live.journal import Journal
from lockstep.live.journal.rows import StoredSet
from lockstep.live.messages import SetRecord
from support import desks

WARM = 400


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


def main(path: Path, folder: Path, bars: int, how: str, seed: int) -> int:
    """Run children until one reaches the end; print how many died."""
    desks.history(WARM + bars)
    desks.model()
    desks.bare("SPX")
    died = 0
    while True:
        child = os.fork()
        if child == 0:
            run(path, folder, bars, _fate(how, random.Random(seed + died)))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            print(died)
            return os.waitstatus_to_exitcode(status)
        died += 1


def _fate(how: str, draw: random.Random) -> Callable[[str], str]:
    if how == "after-each-set":
        return lambda kind: "after" if kind == "set" else ""
    if how == "never":
        return lambda kind: ""
    return lambda kind: draw.choice(["before", "after"]) if draw.random() < 0.03 else ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])))
