"""Writers that die: `python journal_faults.py KIND JOURNAL`, one line of JSON per death.

steps     killed at points spread over everything that SQLite does for a bar set
torn      the same with a writer that forgot its transaction: the negative control
log       killed by the kernel in the middle of writing the log, at a byte
moments   killed from outside after a random time
full      a disk on which no file may grow beyond some size, in one process that lives on
hold      holds the journal until it is killed; prints its pid
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import resource
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from lockstep.errors import JournalError
from lockstep.live.journal import Journal
from support import journals as make
from support.events import an_event

_POINTS = 24
_KIBIBYTE = 1024


def main(kind: str, path: Path) -> None:
    if not path.exists():
        with Journal.open(path) as journal:
            journal.begin_epoch(make.epoch())
    _KINDS[kind](path)


def _steps(path: Path) -> None:
    total = _steps_of_a_set(path.with_name("counted.db"))
    for point in range(1, 2 * total, 2 * total // _POINTS):
        _report(path, _child(path, _killing_at(point)))


def _torn(path: Path) -> None:
    @contextlib.contextmanager
    def no_transaction(self: Journal) -> Iterator[Any]:
        yield self._connection

    Journal._transaction = no_transaction  # type: ignore[method-assign]
    _steps(path)


def _log(path: Path) -> None:
    """The limit is above the file of shared memory (32 KiB), which belongs to the log."""

    def limited(limit: int) -> Callable[[Journal], None]:
        def limit_files(_: Journal) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return limit_files

    for limit in range(33 * _KIBIBYTE, 33 * _KIBIBYTE + _POINTS * 1999, 1999):
        _report(path, _child(path, limited(limit)))


def _moments(path: Path) -> None:
    moments = random.Random(7)
    for _ in range(_POINTS // 2):
        _report(path, _child(path, lambda journal: None, after=moments.uniform(0.0, 0.02)))


def _full(path: Path) -> None:
    """Fill the disk, write on in vain, make room, write on."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal.open(path) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (96 * _KIBIBYTE, most))
        written = next(number for number in itertools.count() if _refusal(_appending(journal, number)))
        actions = (
            _appending(journal, 99),
            lambda: journal.append(an_event("stop", content={"why": "x" * 100_000})),
            lambda: journal.begin_epoch(make.epoch(warm=999)),
            lambda: in_little_room(lambda: journal.backup(path.with_name("copy.db"))),
            lambda: in_little_room(lambda: Journal.open(path.with_name("other.db")).close()),
        )
        failures = [_refusal(action) for action in actions]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        found = len(list(journal.entries(1)))
        journal.append_set(make.bar_set(100))
        findings = journal.verify()
    with Journal.open(path.with_name("other.db")) as other:
        findings += other.verify()
    told = {"written": written, "found": found, "failures": failures, "findings": findings}
    print(json.dumps(told | {"left": [each.name for each in path.parent.glob("*copy*")]}), flush=True)


def _appending(journal: Journal, number: int) -> Callable[[], object]:
    return lambda: journal.append_set(make.bar_set(number))


def in_little_room(action: Callable[[], object]) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * _KIBIBYTE, before[1]))
    try:
        action()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _hold(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.append_set(make.bar_set(0))
        print(json.dumps({"pid": os.getpid()}), flush=True)
        sys.stdin.read()


_KINDS: dict[str, Callable[[Path], None]] = {
    "steps": _steps,
    "torn": _torn,
    "log": _log,
    "moments": _moments,
    "full": _full,
    "hold": _hold,
}


def _child(path: Path, prepare: Callable[[Journal], None], after: float | None = None) -> tuple[int, int]:
    """Let a process append sets until it dies; return how many it reported as written, and its signal."""
    first = _sets(path)
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        _append_for_ever(path, prepare, first, writing)
    os.close(writing)
    if after is not None:
        os.read(reading, 1)
        select.select([], [], [], after)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        reported = len(pipe.read())
    _, status = os.waitpid(pid, 0)
    return first + reported + (after is not None), os.waitstatus_to_exitcode(status)


def _append_for_ever(path: Path, prepare: Callable[[Journal], None], first: int, pipe: int) -> NoReturn:
    with Journal.open(path) as journal:
        prepare(journal)
        for number in itertools.count(first):
            journal.append_set(make.bar_set(number))
            os.write(pipe, b".")
    raise AssertionError


def _killing_at(point: int) -> Callable[[Journal], None]:
    steps = itertools.count(1)

    def step() -> int:
        if next(steps) == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    return lambda journal: journal._connection.set_progress_handler(step, 1)


def _steps_of_a_set(path: Path) -> int:
    steps = itertools.count()
    with Journal.open(path) as journal:
        journal.begin_epoch(make.epoch())
        journal._connection.set_progress_handler(lambda: next(steps) * 0, 1)
        journal.append_set(make.bar_set(0))
        journal._connection.set_progress_handler(None, 0)
    return next(steps)


def _sets(path: Path) -> int:
    with Journal.open(path, readonly=True) as journal:
        return int(journal.select("SELECT count(*) FROM sets")[0][0])


def _report(path: Path, died: tuple[int, int]) -> None:
    """Open what the dead one left and print what is there."""
    reported, code = died
    told: dict[str, Any] = {"reported": reported, "signal": -code}
    try:
        with Journal.open(path) as journal:
            found = list(journal.entries(1))
            whole = [
                make.exactly(each) == make.exactly(make.bar_set(number)) for number, each in enumerate(found)
            ]
            told |= {"found": len(found), "whole": all(whole), "findings": journal.verify()}
    except JournalError as error:
        told |= {"found": 0, "whole": False, "findings": [str(error)]}
    print(json.dumps(told), flush=True)
    if told["findings"]:
        for each in path.parent.glob(f"{path.name}*"):
            each.unlink()
        with Journal.open(path) as journal:
            journal.begin_epoch(make.epoch())


def _refusal(action: Callable[[], object]) -> str:
    try:
        action()
    except JournalError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
