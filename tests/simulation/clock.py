"""Simulated time: one true time, a wall clock that may be wrong, and an agenda of what is to happen."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

Action = Callable[[], object]
QUIET = object()
"""What an action returns that an engine could not see: nobody has to look."""


class SimClock:
    """True time in UTC ns, which only `advance` moves; the machine's wall clock is off by `offset` ns."""

    def __init__(self, begins: int) -> None:
        self.true = begins
        self.offset = 0

    def wall(self) -> int:
        """Return what the machine believes."""
        return self.true + self.offset

    def monotonic(self) -> int:
        """Return the clock that nobody can set."""
        return self.true

    def advance(self, moment: int) -> None:
        """Go on to a moment; time that has passed stays passed."""
        self.true = max(self.true, moment)


class Agenda:
    """Actions by the true time at which they happen; those of one moment in the order of their entry."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._waiting: list[tuple[int, int, Action]] = []
        self._number = itertools.count()

    def at(self, moment: int, action: Action) -> None:
        """Let something happen at a moment, or at once where that has passed."""
        heapq.heappush(self._waiting, (moment, next(self._number), action))

    def after(self, seconds: float, action: Action) -> None:
        """Let something happen some seconds from now."""
        self.at(self._clock.true + int(seconds * 1e9), action)

    @property
    def next(self) -> int | None:
        """When the next action is due, or None."""
        return self._waiting[0][0] if self._waiting else None

    def step(self, limit: int) -> bool:
        """Act until something can be seen; False where nothing is by `limit`, and it is `limit` then."""
        while self._waiting and self._waiting[0][0] <= limit:
            moment, _, action = heapq.heappop(self._waiting)
            self._clock.advance(moment)
            if action() is not QUIET:
                return True
        self._clock.advance(limit)
        return False
