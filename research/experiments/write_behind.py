"""Writing beside computing: what one batch gave goes to the database while the next one is worked out.

SQLite works outside of Python's lock, and so do the compiled loops: on two cores, one writes while the other
computes. What is written, and in which order, is the same as without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Self

from research.ledger.shares import spent_on


class _Pending(NamedTuple):
    about: str
    written: Future[None]
    told: Callable[[], None]


class WriteBehind:
    """Carries out writes in a thread of its own, in the order in which they come, one at a time.

    There is never more than one under way: the next waits for it, and is not begun where it failed. Used as a
    context: left normally, all is written; left by an exception, a write that was begun is ended first.

    finished   when the last write ended, by `time.perf_counter`

    >>> rows, told = [], []
    >>> with WriteBehind() as behind:
    ...     for row in range(3):
    ...         behind.put(lambda row=row: rows.append(row), lambda row=row: told.append(row), about="ES")
    >>> rows, told
    ([0, 1, 2], [0, 1, 2])
    """

    def __init__(self) -> None:
        self.finished = 0.0
        self._pool = ThreadPoolExecutor(1)
        self._pending: _Pending | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.settle()
        finally:
            self._pool.shutdown()

    def put(self, write: Callable[[], None], told: Callable[[], None], *, about: str) -> None:
        """Wait for the write before this one, and begin this one.

        told    is called in the caller's thread when it was written, before anything else is
        about   the symbol whose rows it writes

        Raises what the write before raised: then this one is not begun.
        """
        self.settle()
        self._pending = _Pending(about, self._pool.submit(self._timed, write), told)

    def settle(self, about: str | None = None) -> None:
        """Wait until all is written, or all about one symbol; raises what a write raised."""
        pending = self._pending
        if pending is None or about not in (None, pending.about):
            return
        self._pending = None
        with spent_on("database"):
            pending.written.result()
        pending.told()

    def _timed(self, write: Callable[[], None]) -> None:
        write()
        self.finished = time.perf_counter()
