"""What keeps entries out, beside limits and switches: doubt about orders, models, positions and the clock.

Exits never meet any of it. See `docs/adr/0016-who-may-open-risk.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from typing import TypedDict

from lockstep.live.brokers.protocol import Holding
from lockstep.live.clock_check import ClockVerdict
from lockstep.live.events import ClockJudged, Event, PositionSeen
from lockstep.live.reconciliation import EngineAccount, Reconciliation


class Doubts(TypedDict):
    """Fields of `Context`: symbols with an UNKNOWN order; symbols, or the clock, with what is known."""

    unknown: Set[str]
    superseded: Mapping[str, str]
    unreconciled: Mapping[str, str]
    clock: str


class Conditions:
    """Knows what stands against opening risk at a moment, and what of it is news.

    unknown, superseded   asked each time
    reconciliation, clock   None where positions are simulated; `clock` returns the verdict at a moment
    """

    def __init__(
        self,
        *,
        unknown: Callable[[], Set[str]],
        superseded: Callable[[], Mapping[str, str]],
        reconciliation: Reconciliation | None,
        clock: Callable[[int], ClockVerdict] | None,
    ) -> None:
        self._unknown = unknown
        self._superseded = superseded
        self._reconciliation = reconciliation
        self._clock = clock
        self._clock_was: bool | None = None

    def at(self, now: int) -> Doubts:
        """Return what stands against opening at `now` (UTC ns)."""
        verdict = self._clock(now) if self._clock else None
        return Doubts(
            unknown=self._unknown(),
            superseded=self._superseded(),
            unreconciled=self._reconciliation.unreconciled if self._reconciliation else {},
            clock="" if verdict is None or verdict.good else verdict.detail,
        )

    def hear(self, seen: PositionSeen) -> None:
        """Take what the operator saw at the broker."""
        if self._reconciliation is not None:
            self._reconciliation.hear(seen.symbol, Holding(seen.position, seen.stamp, "the operator"))

    def news(self, now: int, account: Callable[[str, int], EngineAccount]) -> Iterator[Event]:
        """Yield events to be journaled: positions that agree or do not, a clock that became good or bad."""
        if self._reconciliation is not None:
            yield from self._reconciliation.look(now, account)
        verdict = self._clock(now) if self._clock else None
        if verdict is not None and verdict.good is not None and verdict.good != self._clock_was:
            self._clock_was = verdict.good
            yield ClockJudged(good=verdict.good, detail=verdict.detail)
