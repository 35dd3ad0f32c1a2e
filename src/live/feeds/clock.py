"""`SteadyClock`: wall time that never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]


class SteadyClock:
    """UTC nanoseconds of now, carried on by the monotonic clock where the wall clock is set back.

    A wall clock that is set forward, at boot or after a suspension, is followed. One clock is shared by all
    feeds and the engine, so that no grace period is stretched.
    """

    def __init__(self, wall: Clock = time.time_ns, monotonic: Clock = time.monotonic_ns) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def __call__(self) -> int:
        """Return now."""
        elapsed = self._monotonic()
        self._offset = max(self._offset, self._wall() - elapsed)
        return self._offset + elapsed
