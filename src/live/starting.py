"""The status of a process that does not trade yet: what it is doing, or why it ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from lockstep.errors import DataError, LockstepError
from lockstep.live.messages import Mode
from lockstep.live.status.status import State, Status, write_status

_LOGGER = logging.getLogger("lockstep.live")


class Interrupted(BaseException):
    """SIGTERM or SIGINT came before there was an engine that could stop in an orderly way."""


class Starting:
    """Writes the status file until the engine does. A file that cannot be written is logged, no more.

    path   of the file, None for none; scrub   takes secrets out of a text
    """

    def __init__(self, path: Path | None, mode: Mode, scrub: Callable[[str], str]) -> None:
        now = time.time_ns()
        self._path = path
        self._scrub = scrub
        self._status = Status(mode=mode, state="starting", epoch=0, started=now, heartbeat=now)

    def tell(self, doing: str) -> None:
        """Say what is being done."""
        self._write("starting", doing)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Write `stopped`, with the reason, where the block ends with an exception; it goes on."""
        try:
            yield
        except BaseException as error:
            self._write("stopped", reason_of(error))
            raise

    def _write(self, state: State, detail: str) -> None:
        if self._path is None:
            return
        self._status = replace(
            self._status, state=state, detail=self._scrub(detail), heartbeat=time.time_ns()
        )
        # Below the working folder it is a trial; an absolute folder that is absent may be a disk that is.
        if not self._path.is_absolute():
            with suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_status(self._path, self._status)
        except DataError as error:
            _LOGGER.error("status: %s", error)


def reason_of(error: BaseException) -> str:
    """Return an error in one line: a LockstepError as it is, any other one with its class."""
    text = " ".join(str(error).split())
    if isinstance(error, LockstepError | Interrupted):
        return text
    return f"{type(error).__name__}: {text}; see the log"
