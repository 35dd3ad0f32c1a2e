"""Death by SIGKILL at a write: before it, after it, or in the middle of a transaction. For forks."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from research.ledger.database import Database

NEVER = 10**9


def counting(at: int) -> Callable[[], int]:
    """Let this process die at the write of number `at`; returns how many there were."""
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    replace, write = os.replace, Database.write

    def replaced(*arguments: Any, **named: Any) -> None:
        tick()
        replace(*arguments, **named)
        tick()

    @contextmanager
    def written(self: Database) -> Iterator[Any]:
        tick()
        with write(self) as connection:
            yield connection
            tick()
        tick()

    os.replace, Database.write = replaced, written  # type: ignore[assignment, method-assign]
    return lambda: count


def lived(child: int) -> bool:
    """Whether a fork ended by itself, and well; False where it was killed."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return False
    assert os.WEXITSTATUS(status) == 0, status
    return True
