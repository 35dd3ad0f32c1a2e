"""Broken units and vendors: values that no market makes, two sessions running. It is no drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from lockstep.metrics import Floats
from lockstep.monitoring.feature_history import FeatureHistory, day_of

SESSIONS_RUNNING = 2


@dataclass(frozen=True, kw_only=True)
class BrokenFeature:
    """A feature whose values left what is possible.

    feature    its id
    since      first of the sessions running outside; found: the session that made them two
    value      at `found`; low, high: what it may be
    declared   whether low and high are the declared range, else the reference's extremes and its whole range
    """

    feature: str
    since: date
    found: date
    value: float
    low: float
    high: float
    declared: bool

    @property
    def sentence(self) -> str:
        """What, since when, what to do."""
        bound = "the declared range" if self.declared else "the reference's extremes widened by its range"
        return (
            f"{self.feature} is {self.value:g}, outside {self.low:g} to {self.high:g} ({bound}), since "
            f"{self.since}: units, vendor or symbol changed; compare its bars with a second source, and "
            "stop the desk until they agree"
        )


class RangeCheck:
    """Looks at one session after the other; `observe` returns what broke in it.

    A feature is broken when it is outside in two sessions running: outside the range that the registry
    declares, or beyond the extremes of the frozen history by more than the distance between them. A session
    without a value neither confirms nor clears. Where the history is constant or empty, the declared range
    alone counts. Each stretch is reported once.

    >>> days = np.arange("2020-01-01", "2020-01-04", dtype="datetime64[D]")
    >>> check = RangeCheck(FeatureHistory(ids=("roc_5",), sessions=days, values=[[-0.02], [0.01], [0.03]],
    ...                                   low=[-np.inf], high=[np.inf]))
    >>> check.observe("2020-01-04", [1.1]), check.observe("2020-01-05", [-2.0])[0].sentence[:45]
    ((), 'roc_5 is -2, outside -0.07 to 0.08 (the refer')
    """

    def __init__(self, history: FeatureHistory) -> None:
        self._history = history
        self._after: date = history.sessions[-1].item() if len(history) else date.min
        low, high = widened(history)
        self.low, self.high = np.maximum(low, history.low), np.minimum(high, history.high)
        self._running = np.zeros(len(history.ids), dtype=np.int64)
        self._since = [date.min] * len(history.ids)

    def observe(self, session: Any, values: Any) -> tuple[BrokenFeature, ...]:
        """Return the features that were outside for the second session running; DataError as `row`."""
        row = self._history.row(session, values, self._after)
        self._after = day_of(session)
        missing = np.isnan(row)
        with np.errstate(invalid="ignore"):
            outside = (row < self.low) | (row > self.high)
        for each in np.flatnonzero(outside & (self._running == 0)):
            self._since[each] = self._after
        self._running = np.where(missing, self._running, np.where(outside, self._running + 1, 0))
        found = np.flatnonzero(outside & (self._running == SESSIONS_RUNNING))
        return tuple(self._broken(int(each), float(row[each])) for each in found)

    @property
    def broken(self) -> tuple[str, ...]:
        """Ids of the features that are broken now, in the order of the history."""
        there = np.flatnonzero(self._running >= SESSIONS_RUNNING)
        return tuple(self._history.ids[each] for each in there)

    @property
    def state(self) -> dict[str, Any]:
        """What a check on the same history needs to go on from here, as plain JSON; see `resume`."""
        return {
            "running": self._running.tolist(),
            "since": [each.isoformat() for each in self._since],
            "after": self._after.isoformat(),
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from the `state` of another check on the same history."""
        self._running = np.array(state["running"], dtype=np.int64)
        self._since = [date.fromisoformat(each) for each in state["since"]]
        self._after = date.fromisoformat(state["after"])

    def _broken(self, place: int, value: float) -> BrokenFeature:
        declared = bool(value < self._history.low[place] or value > self._history.high[place])
        low, high = (self._history.low, self._history.high) if declared else (self.low, self.high)
        return BrokenFeature(
            feature=self._history.ids[place],
            since=self._since[place],
            found=self._after,
            value=value,
            low=float(low[place]),
            high=float(high[place]),
            declared=declared,
        )


def widened(history: FeatureHistory) -> tuple[Floats, Floats]:
    """Return the extremes of each feature, widened by their distance; infinite where there is none."""
    seen = ~np.isnan(history.values)
    least = np.where(seen, history.values, np.inf).min(axis=0, initial=np.inf)
    most = np.where(seen, history.values, -np.inf).max(axis=0, initial=-np.inf)
    varies = most > least
    width = np.where(varies, most - least, 0.0)
    return np.where(varies, least - width, -np.inf), np.where(varies, most + width, np.inf)
