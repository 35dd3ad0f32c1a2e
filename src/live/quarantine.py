"""`Quarantine`: implausible bars that wait for the operator, as the journal tells it.

Its state follows from what is journaled: irregularities, the operator's decisions and released sets. So the
engine, the synchroniser and the operator's commands each have one, and after a restart it is the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

from lockstep.errors import LiveError
from lockstep.live.events import BarIrregular, BarJudged, Event
from lockstep.live.messages import Irregularity, Release, Values, iso
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import Timeframe

REMEMBERED = 1_000
ACCEPT, REJECT = "accept", "reject"


class QuarantinedBar(NamedTuple):
    """A bar outside of the band; state   `waits`, or what the operator said: `accept`, `reject`."""

    key: SeriesKey
    end: int
    values: Values
    state: str = "waits"

    def __str__(self) -> str:
        return f"{self.key} {iso(self.end)}"


class Quarantine:
    """The bars of each series that were quarantined after the newest one that was delivered.

    A delivered bar settles those of its series before it: they stay recorded and are decided no more.
    """

    def __init__(self) -> None:
        self._bars: dict[SeriesKey, dict[int, QuarantinedBar]] = {}
        self._silent: dict[SeriesKey, int] = {}

    def add(self, bar: QuarantinedBar) -> None:
        """Take a bar as another quarantine had it."""
        self._bars.setdefault(bar.key, {})[bar.end] = bar

    def note(self, found: Irregularity) -> None:
        """Take an irregularity: an implausible bar waits, one that was corrected too late does no more.

        A series that fell silent counts as one whose newest bar was not delivered.
        """
        if found.kind == "implausible" and found.values is not None:
            bars = self._bars.setdefault(found.key, {})
            bars.pop(found.end, None)
            bars[found.end] = QuarantinedBar(found.key, found.end, found.values)
            if len(bars) > REMEMBERED:
                del bars[min(bars)]
        elif found.kind == "out_of_order":
            self.settle(found.key, found.end)
        elif found.kind == "silent":
            self._silent[found.key] = found.end

    def decide(self, key: SeriesKey, end: int, decision: str) -> None:
        """Take what the operator decided about a bar that waits."""
        self._bars[key][end] = self._bars[key][end]._replace(state=decision)

    def happened(self, event: Event) -> None:
        """Take an event of the journal."""
        if isinstance(event, BarIrregular):
            self.note(irregularity_of(event))
        elif isinstance(event, BarJudged):
            self.decide(series_key(event.key), event.end, event.decision)

    def released(self, release: Release) -> None:
        """Take a released set."""
        for found in release.irregularities:
            self.note(found)
        for late in release.late:
            self.delivered(late.key, late.end)
        for key in release.bars:
            self.delivered(key, release.stamp)

    def delivered(self, key: SeriesKey, end: int) -> None:
        """Settle the bars of a series up to one that was delivered."""
        self._silent.pop(key, None)
        for each in [each for each in self._bars.get(key, ()) if each <= end]:
            self.settle(key, each)

    def settle(self, key: SeriesKey, end: int) -> None:
        """Forget one bar, if it is there: another one took its place."""
        bars = self._bars.get(key, {})
        bars.pop(end, None)
        if not bars:
            self._bars.pop(key, None)

    def __iter__(self) -> Iterator[QuarantinedBar]:
        """Yield all bars, by series and end."""
        for key in sorted(self._bars):
            yield from self.of(key)

    def of(self, key: SeriesKey) -> list[QuarantinedBar]:
        """Return the bars of a series, oldest first."""
        return [bar for _, bar in sorted(self._bars.get(key, {}).items())]

    def get(self, key: SeriesKey, end: int) -> QuarantinedBar | None:
        """Return the bar of a series and stamp, or None."""
        return self._bars.get(key, {}).get(end)

    def first(self, key: SeriesKey) -> int | None:
        """Return the end of the oldest bar of a series, None where there is none."""
        return min(self._bars[key]) if key in self._bars else None

    def undelivered(self, key: SeriesKey) -> int | None:
        """Return the end of the newest bar of a series that is quarantined or overdue, None for neither."""
        ends = [*self._bars.get(key, ()), *([self._silent[key]] if key in self._silent else [])]
        return max(ends, default=None)

    @property
    def waiting(self) -> tuple[QuarantinedBar, ...]:
        """The bars about which nothing is decided."""
        return tuple(bar for bar in self if bar.state == "waits")

    def require_waiting(self, key: SeriesKey, end: int, values: Values | None = None) -> QuarantinedBar:
        """Return the bar that waits for a decision; LiveError where there is none, or it has other values."""
        bar = self.get(key, end)
        if bar is None or bar.state != "waits":
            there = ", ".join(map(str, self.waiting)) or "none"
            why = f"was decided: {bar.state}" if bar else "none is quarantined, or a later one was delivered"
            raise LiveError(f"bar {key} {iso(end)}: {why}; waiting are: {there}")
        if values is not None and bar.values != tuple(values):
            raise LiveError(f"bar {bar}: it was replaced by {bar.values} meanwhile; look at it again")
        return bar


def irregular(found: Irregularity) -> BarIrregular:
    """Return an irregularity as the journal keeps it."""
    return BarIrregular(
        symbol=found.key.symbol,
        problem=found.kind,
        key=str(found.key),
        end=found.end,
        values=found.values,
        detail=found.detail,
    )


def irregularity_of(event: BarIrregular) -> Irregularity:
    """Return the irregularity that an event tells of."""
    return Irregularity(event.problem, series_key(event.key), event.end, event.values, event.detail)


@functools.cache
def series_key(text: str) -> SeriesKey:
    """Return the series that `str(key)` names."""
    symbol, _, timeframe = text.rpartition(":")
    return SeriesKey(symbol, Timeframe.parse(timeframe))
