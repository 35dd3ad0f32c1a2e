"""`Worker`: the thread of a feed, and how it ended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from lockstep.errors import LockstepError
from lockstep.live.feeds.errors import FeedError, InboxClosed

_PATIENCE = 10.0
_LOG = logging.getLogger(__name__)


class Worker:
    """Runs `loop` in a thread until it returns, is stopped or fails. `loop` looks at `stopping`."""

    def __init__(self, name: str, loop: Callable[[], None]) -> None:
        self.stopping = threading.Event()
        self._name = name
        self._loop = loop
        self._refusal: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"feed {name}", daemon=True)

    def start(self) -> None:
        """Start the thread; FeedError where it was started before."""
        if self._thread.ident is not None:
            raise FeedError(f"feed {self._name}: was started before; make a new one")
        self._thread.start()

    def stop(self) -> None:
        """Ask the loop to end and wait for it; FeedError where it does not."""
        self.stopping.set()
        if self._thread.ident is None:
            return
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            raise FeedError(f"feed {self._name}: did not stop within {_PATIENCE:g} s; close the inbox first")

    @property
    def failure(self) -> str | None:
        """Why the thread ended unasked, or None."""
        return self._refusal

    def _run(self) -> None:
        try:
            self._loop()
        except InboxClosed:
            pass
        except LockstepError as error:
            self._refusal = str(error)
        except Exception as error:
            _LOG.exception("feed %s: an unexpected error", self._name)
            self._refusal = f"an unexpected {type(error).__name__} ended its thread; see the log"
