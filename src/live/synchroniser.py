"""`Synchroniser`: single bars in, whole bar sets out, in the order of their stamps (PARITY 29)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from lockstep.errors import ConfigError
from lockstep.live.bar_rules import AHEAD_NS, broken_rule
from lockstep.live.messages import Arrival, Irregularity, Release, Values
from lockstep.live.timetable import Timetable
from lockstep.market.history import SeriesKey

SECOND = 1_000_000_000
REMEMBERED = 1_000
END_OF_TIME = 2**63 - 1

Known = Mapping[SeriesKey, Sequence[tuple[int, Values]]]


class Synchroniser:
    """Collects bars by the stamp at which they completed and releases each stamp once, rising.

    A set is released when all bars that the calendar schedules at its stamp are there and no earlier one is
    outstanding; else when `grace_ns` have run since the first bar of its stamp, or of a later one, came.
    Then the absent scheduled bars are `missing`. A bar outside the schedule holds nobody up; alone it waits
    for the grace.

    What is released depends on the arrivals and on `now` alone. All stamps come from one clock that does not
    go back; in a replay that clock is `Arrival.received` of the newest arrival, and bars received at one
    moment count as simultaneous, so that threads cannot change a release. `release(END_OF_TIME)` ends it.

    timetable   when bars are scheduled
    grace_ns    how long a set waits for its last bar, nanoseconds, >= 0
    traded      series whose late bars are never delivered; those of the others come with the next release
    known       bars that the windows hold already, by series, oldest first: nothing before the newest of
                all is released, and a repeated bar among them is told from a corrected one
    ahead_ns    how far a bar may end after it was received, nanoseconds, >= 0; see AHEAD_NS
    """

    def __init__(
        self,
        timetable: Timetable,
        *,
        grace_ns: int,
        traded: frozenset[SeriesKey],
        known: Known | None = None,
        ahead_ns: int = AHEAD_NS,
    ) -> None:
        if grace_ns < 0 or ahead_ns < 0:
            raise ConfigError(f"grace {grace_ns} ns, ahead {ahead_ns} ns: must not be negative")
        if strangers := traded - timetable.keys:
            names = ", ".join(sorted(map(str, strangers)))
            raise ConfigError(f"traded {names}: not among the expected series; add their feed")
        self.counts: Counter[str] = Counter()
        self._timetable = timetable
        self._grace = grace_ns
        self._traded = traded
        self._ahead = ahead_ns
        self._now = -END_OF_TIME
        self._waiting: dict[int, dict[SeriesKey, Values]] = {}
        self._first_seen: dict[int, int] = {}
        self._late: dict[tuple[SeriesKey, int], Arrival] = {}
        self._refused: dict[tuple[SeriesKey, int], None] = {}
        self._reports: list[Irregularity] = []
        self._ready: deque[Release] = deque()
        held = {key: dict(bars) for key, bars in (known or {}).items() if bars}
        self._memory: dict[SeriesKey, dict[int, Values]] = {key: {} for key in timetable.keys} | held
        # The newest stamp that was delivered, and that was delivered or reported missing.
        self._newest = {key: max(bars) for key, bars in held.items()}
        self._accounted = dict(self._newest)
        self._released: int | None = max(self._newest.values(), default=None)

    def offer(self, item: Arrival | Irregularity) -> None:
        """Take a bar, or what a feed has to report; every bar ends in one release or in one irregularity."""
        if isinstance(item, Irregularity):
            self._note(item)
            return
        if item.received > self._now:
            self._now = item.received
            self._close_sets()
        arrival = item._replace(values=tuple(value + 0.0 for value in item.values))
        kind, detail = self._refusal(arrival)
        if not kind:
            self._waiting.setdefault(arrival.end, {})[arrival.key] = arrival.values
            self._first_seen.setdefault(arrival.end, self._now)
            return
        self._note(Irregularity(kind, arrival.key, arrival.end, arrival.values, detail))
        if kind == "late":
            self._late[arrival.key, arrival.end] = arrival
        else:
            self._refused[arrival.key, arrival.end] = None
            _forget(self._refused)

    def due(self, now: int) -> int | None:
        """Return when `release` has to be called next, at the latest: `now` where a set is ready."""
        if self._ready or (self._waiting and self._is_complete(min(self._waiting))):
            return now
        return min(self._first_seen.values()) + self._grace if self._waiting else None

    def release(self, now: int) -> Release | None:
        """Return the next set that is to go at `now`, or None; call it until it returns None."""
        self._now = max(self._now, now)
        self._close_sets()
        return self._ready.popleft() if self._ready else None

    def take_reports(self) -> tuple[Irregularity, ...]:
        """Return what was reported since the last set was closed, which would go with the next release."""
        taken, self._reports = tuple(self._reports), []
        return taken

    def outcome(self, arrival: Arrival) -> str | None:
        """Return what became of a bar: `released`, `corrected`, `refused`; None while it waits.

        `released` means that a bar with these values went out, `corrected` that one with others did,
        `refused` that it was reported and will not go. None also for a bar that was not offered.
        """
        key, end = arrival.key, arrival.end
        if self._held(arrival) is not None or any(_carries(release, arrival) for release in self._ready):
            return None
        known = self._memory.get(key, {}).get(end)
        if known is None:
            return "refused" if (key, end) in self._refused else None
        return "released" if known == arrival.values else "corrected"

    def _held(self, arrival: Arrival) -> Values | None:
        """Return the values of the bar of this series and stamp that waits for a release, or None."""
        key, end = arrival.key, arrival.end
        late = self._late.get((key, end))
        return late.values if late is not None else self._waiting.get(end, {}).get(key)

    def _refusal(self, arrival: Arrival) -> tuple[str, str]:
        """Return (kind, detail) of what is irregular about a bar, or ("", "")."""
        key, end = arrival.key, arrival.end
        rule = self._rule_broken(arrival)
        if rule:
            return "bad", f"{arrival.origin}: {rule}"
        known = self._held(arrival) or self._memory[key].get(end)
        if known is not None:
            same = known == arrival.values
            return ("duplicate", "the same values again") if same else ("corrected", f"known are {known}")
        if self._released is None or end > self._released:
            return "", ""
        if key in self._traded or end <= self._newest.get(key, -END_OF_TIME):
            return "out_of_order", f"sets up to {self._released} were released; not delivered"
        return "late", f"sets up to {self._released} were released; comes with the next one"

    def _rule_broken(self, arrival: Arrival) -> str:
        if arrival.key not in self._timetable.keys:
            return f"series {arrival.key} is not expected"
        if arrival.end > self._now + self._ahead:
            return f"ends at {arrival.end}, after it was received: it was not complete"
        if not self._timetable.on_grid(arrival.key, arrival.end):
            return f"ends at {arrival.end}, off the grid of {arrival.key}"
        return broken_rule(arrival.values)

    def _close_sets(self) -> None:
        while self._waiting:
            stamp = min(self._waiting)
            over = min(self._first_seen.values()) + self._grace <= self._now
            if not over and not self._is_complete(stamp):
                return
            self._ready.append(self._close(stamp))

    def _is_complete(self, stamp: int) -> bool:
        """Return whether nothing is outstanding at or before `stamp`, as far as the calendar knows."""
        scheduled = self._timetable.scheduled(stamp)
        if self._released is None or not scheduled or not scheduled <= self._waiting[stamp].keys():
            return False
        return not self._timetable.any_between(self._released, stamp)

    def _close(self, stamp: int) -> Release:
        bars = dict(sorted(self._waiting.pop(stamp).items()))
        del self._first_seen[stamp]
        late = tuple(sorted(self._late.values(), key=lambda each: (each.end, each.key)))
        self._late.clear()
        for arrival in late:
            self._account(arrival.key, arrival.end)
            self._remember(arrival.key, arrival.end, arrival.values)
        missing = sorted(self._timetable.scheduled(stamp) - bars.keys())
        for key in sorted([*bars, *missing]):
            self._account(key, stamp)
        for key in missing:
            self._note(Irregularity("missing", key, stamp, None, "not there when the set was released"))
        for key, values in bars.items():
            self._remember(key, stamp, values)
        self._released = stamp
        return Release(stamp=stamp, bars=bars, late=late, irregularities=self.take_reports())

    def _account(self, key: SeriesKey, stamp: int) -> None:
        """Report scheduled bars of `key` before `stamp` that neither came nor were reported missing."""
        before = self._accounted.get(key, stamp)
        if count := self._timetable.between(key, before, stamp):
            detail = f"{count} scheduled bars are missing after {before}"
            self._note(Irregularity("gap", key, stamp, None, detail))
        self._accounted[key] = max(before, stamp)

    def _remember(self, key: SeriesKey, end: int, values: Values) -> None:
        self._memory[key][end] = values
        self._newest[key] = end
        _forget(self._memory[key])

    def _note(self, irregularity: Irregularity) -> None:
        self.counts[irregularity.kind] += 1
        self._reports.append(irregularity)


def _forget(memory: dict[Any, Any]) -> None:
    """Drop what was remembered first, beyond REMEMBERED."""
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]


def _carries(release: Release, arrival: Arrival) -> bool:
    """Return whether a release brings the bar of this series and stamp."""
    on_time = release.stamp == arrival.end and arrival.key in release.bars
    return on_time or any((late.key, late.end) == (arrival.key, arrival.end) for late in release.late)
