"""`Silence`: notices that scheduled bars do not come at all.

A set says what it lacks, and a bar says how many are missing before it. But a feed that is dead, or an
exchange that closed early without the calendar's knowledge, sends nothing that could say so.
"""

from __future__ import annotations

from collections.abc import Mapping

from lockstep.live.messages import Arrival, Irregularity, iso
from lockstep.market.history import SeriesKey
from lockstep.market.timetable import Timetable

_DAILY = 12 * 3_600_000_000_000
_NEVER = -(2**63)
_ASKED = (
    "is the feed down, or did the exchange close early? Nothing is decided meanwhile; stops that rest at the "
    "broker work, and HALT with flatten does not wait for a bar"
)


class Silence:
    """Keeps the newest bar of each series that came, whatever became of it.

    allowed_ns   how late a bar may be, nanoseconds; at least one bar length, and twelve hours for a daily
                 bar, which many vendors send in the evening
    """

    def __init__(self, timetable: Timetable, *, allowed_ns: int) -> None:
        self._timetable = timetable
        self._allowed = {
            key: max(allowed_ns, _DAILY if key.timeframe.is_session else key.timeframe.nanoseconds)
            for key in sorted(timetable.keys)
        }
        self._newest: dict[SeriesKey, int] = {}
        self._told: dict[SeriesKey, int] = {}
        self._since = _NEVER

    def resume(self, newest: Mapping[SeriesKey, int], now: int) -> None:
        """Begin with the newest bars that are known; what was due before `now` may still be read."""
        self._newest, self._since = dict(newest), now

    def heard(self, bar: Arrival) -> None:
        """Take note of a bar."""
        if bar.key in self._allowed and bar.end <= bar.received + self._allowed[bar.key]:
            self._newest[bar.key] = max(bar.end, self._newest.get(bar.key, _NEVER))

    def overdue(self, now: int) -> tuple[Irregularity, ...]:
        """Return one report per series that has fallen silent, once until it is heard again."""
        found = []
        for key, newest in self._newest.items():
            allowed = self._allowed.get(key)
            if allowed is None or self._told.get(key) == newest or now - self._since < allowed:
                continue
            due = self._timetable.latest(key, now - allowed)
            if due > newest:
                self._told[key] = newest
                since = f"no bar since {iso(newest)}, the calendar has one at {iso(due)}"
                found.append(Irregularity("silent", key, due, None, f"{since}: {_ASKED}"))
        return tuple(found)
