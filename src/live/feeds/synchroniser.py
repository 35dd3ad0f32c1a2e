"""`Synchroniser`: single bars in, whole bar sets out, in the order of their stamps (PARITY 29)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from lockstep.errors import ConfigError
from lockstep.live.messages import Arrival, Irregularity, Release, Values
from lockstep.live.plausible import AGREE, Bands, Reference
from lockstep.live.quarantine import ACCEPT, REJECT, Quarantine, QuarantinedBar
from lockstep.market.bar_rules import AHEAD_NS, broken_rule
from lockstep.market.history import SeriesKey
from lockstep.market.timetable import Timetable

SECOND = 1_000_000_000
REMEMBERED = 1_000
END_OF_TIME = 2**63 - 1
OUTSIDE = "no session of the calendar has it"
_CLOSE = 3

Known = Mapping[SeriesKey, Sequence[tuple[int, Values]]]


class Synchroniser:
    """Collects bars by the stamp at which they completed and releases each stamp once, rising.

    A set is released when all bars that the calendar schedules at its stamp are there and no earlier one is
    outstanding; else when `grace_ns` have run since the first bar of its stamp, or of a later one, came.
    Then the absent scheduled bars are `missing`. A bar outside the schedule holds nobody up; alone it waits
    for the grace. A bar outside of the band is quarantined: the set goes as if it had not come, unless a
    plausible one of its stamp comes in time, or the operator accepts it.

    What is released depends on the arrivals and on `now` alone. All stamps come from one clock that does not
    go back; in a replay that clock is `Arrival.received` of the newest arrival, and bars received at one
    moment count as simultaneous, so that threads cannot change a release. `release(END_OF_TIME)` ends it.

    timetable   when bars are scheduled
    grace_ns    how long a set waits for its last bar, nanoseconds, >= 0
    traded      series whose late bars are never delivered; those of the others come with the next release
    known       bars that the windows hold already, by series, oldest first: nothing before the newest of
                all is released, and a repeated bar among them is told from a corrected one
    ahead_ns    how far a bar may end after it was received, nanoseconds, >= 0; see AHEAD_NS
    bands       what is plausible; None accepts everything
    calendar    whether a session bar of a traded series is quarantined on a day without a session. Settled
                bars are taken as they are: there the data decide which sessions took place
    """

    def __init__(
        self,
        timetable: Timetable,
        *,
        grace_ns: int,
        traded: frozenset[SeriesKey],
        known: Known | None = None,
        ahead_ns: int = AHEAD_NS,
        bands: Bands | None = None,
        calendar: bool = False,
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
        self._carried: list[Arrival] = []
        self._refused: dict[tuple[SeriesKey, int], None] = {}
        self._reports: list[Irregularity] = []
        self._ready: deque[Release] = deque()
        held = {key: dict(bars) for key, bars in (known or {}).items() if bars}
        self._memory: dict[SeriesKey, dict[int, Values]] = {key: {} for key in timetable.keys} | held
        # The newest stamp that was delivered, and that was delivered or reported missing.
        self._newest = {key: max(bars) for key, bars in held.items()}
        self._accounted = dict(self._newest)
        self._released: int | None = max(self._newest.values(), default=None)
        self._calendar = calendar
        self._bands = bands or Bands()
        for key, bars in held.items():
            for end, values in bars.items():
                self._bands.take(key, end, values)
        self._quarantine = Quarantine()
        self._accepted: set[tuple[SeriesKey, int]] = set()

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
        if kind in ("", "late"):
            self._quarantine.settle(arrival.key, arrival.end)
        if not kind:
            self._wait(arrival)
            return
        self._note(Irregularity(kind, arrival.key, arrival.end, arrival.values, detail))
        if kind == "late":
            self._late[arrival.key, arrival.end] = arrival
        else:
            self._refuse(arrival.key, arrival.end)

    def restore(self, quarantine: Quarantine, now: int) -> None:
        """Take over what was quarantined before a restart, and deliver what the operator had accepted."""
        self._now = max(self._now, now)
        for bar in quarantine:
            self._quarantine.add(bar)
        for bar in quarantine:
            if bar.state == ACCEPT:
                self._deliver(bar)

    def decide(self, key: SeriesKey, end: int, decision: str) -> None:
        """Take the operator's decision about a bar that waits in the quarantine.

        An accepted one, and those after it that follow from it, join their set, or, where that is gone, the
        windows with the next release: traded series too.
        """
        bar = self._quarantine.get(key, end)
        if bar is None:
            return  # a plausible one has taken its place
        self._quarantine.decide(key, end, decision)
        if decision == ACCEPT:
            self._deliver(bar)

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
        carried = any((each.key, each.end) == (key, end) for each in self._carried)
        if carried or self._held(key, end) or any(_carries(release, arrival) for release in self._ready):
            return None
        known = self._memory.get(key, {}).get(end)
        if known is None:
            return "refused" if (key, end) in self._refused else None
        return "released" if known == arrival.values else "corrected"

    def _held(self, key: SeriesKey, end: int) -> Values | None:
        """Return the values of the bar of this series and stamp that waits for a release, or None."""
        late = self._late.get((key, end))
        return late.values if late is not None else self._waiting.get(end, {}).get(key)

    def _wait(self, arrival: Arrival) -> None:
        self._waiting.setdefault(arrival.end, {})[arrival.key] = arrival.values
        self._first_seen.setdefault(arrival.end, self._now)

    def _refuse(self, key: SeriesKey, end: int) -> None:
        self._refused[key, end] = None
        _forget(self._refused)

    def _deliver(self, bar: QuarantinedBar) -> None:
        """Let an accepted bar go, and those after it, as long as each is plausible after the one before."""
        since: Reference | None = None
        for each in self._quarantine.of(bar.key):
            follows = since and not self._bands.fault(each.key, each.end, each.values, after=since)
            if each.state == REJECT or (each.end != bar.end and not (each.end > bar.end and follows)):
                continue
            since = (each.end, each.values[_CLOSE])
            self._accepted.add((each.key, each.end))
            arrival = Arrival(each.key, each.end, each.values, self._now, "operator")
            if self._released is None or each.end > self._released:
                self._wait(arrival)
            else:
                self._late[each.key, each.end] = arrival

    def _refusal(self, arrival: Arrival) -> tuple[str, str]:
        """Return (kind, detail) of what is irregular about a bar, or ("", "")."""
        key, end = arrival.key, arrival.end
        rule = self._rule_broken(arrival)
        if rule:
            return "bad", f"{arrival.origin}: {rule}"
        known = self._held(key, end) or self._memory[key].get(end)
        if known is not None:
            if known == arrival.values:
                return "duplicate", "the same values again"
            return "corrected", f"was {known}, now {arrival.values}; the first values stand"
        quarantined = self._quarantine.get(key, end)
        if quarantined is not None and quarantined.values == arrival.values:
            return "duplicate", "the same values again, which are quarantined"
        too_late = self._lateness(key, end)
        # Another version of a quarantined bar stays there if it is no better: the operator may accept it.
        judged = too_late != "out_of_order" or quarantined is not None
        if judged and (fault := self._fault(key, end, arrival.values, self._reference(key, end))):
            return "implausible", f"{fault}{self._agreement(key, end, arrival.values)}"
        if judged and not self._has_session(key, end):
            return "implausible", f"{OUTSIDE}: accept it if the market did open"
        comes = {"late": "comes with the next one", "out_of_order": "not delivered"}
        return too_late, f"sets up to {self._released} were released; {comes[too_late]}" if too_late else ""

    def _lateness(self, key: SeriesKey, end: int) -> str:
        """Return `late` or `out_of_order` where the set of a bar is gone, else ""."""
        if self._released is None or end > self._released:
            return ""
        never = key in self._traded or end <= self._newest.get(key, -END_OF_TIME)
        return "out_of_order" if never else "late"

    def _fault(self, key: SeriesKey, end: int, values: Values, after: Reference | None) -> str:
        """Return why a bar is outside of the band around `after`, or "".

        While bars come and are quarantined there is no gap in which the market could have moved unseen: the
        band is that of the first of them.
        """
        first = self._quarantine.first(key)
        return self._bands.fault(key, end if first is None else min(first, end), values, after=after)

    def _has_session(self, key: SeriesKey, end: int) -> bool:
        """Whether a bar may trigger a decision as far as the calendar goes; intraday bars are the clock's."""
        watched = self._calendar and key in self._traded and key.timeframe.is_session
        return not watched or key in self._timetable.scheduled(end)

    def _reference(self, key: SeriesKey, end: int) -> Reference | None:
        """Return (end, close) of the newest bar before `end` that was released or waits for it."""
        if self._bands.settings is None:
            return None
        there = [(stamp, bars[key]) for stamp, bars in self._waiting.items() if key in bars and stamp < end]
        there += [
            (late.end, late.values) for late in self._late.values() if late.key == key and late.end < end
        ]
        if not there:
            return self._bands.reference(key)
        stamp, values = max(there)
        return stamp, values[_CLOSE]

    def _agreement(self, key: SeriesKey, end: int, values: Values) -> str:
        """Return a clause for the operator where quarantined bars in a row agree with each other."""
        run, agree = 1, self._bands.agree
        others = [each for each in self._quarantine.of(key) if each.end < end and each.state != REJECT]
        for before in reversed(others):
            if run == agree or self._bands.fault(key, end, values, after=(before.end, before.values[_CLOSE])):
                break
            run, end, values = run + 1, before.end, before.values
        return f"; {run} bars in a row {AGREE}" if run >= agree else ""

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
            if (release := self._close(stamp)) is not None:
                self._ready.append(release)

    def _is_complete(self, stamp: int) -> bool:
        """Return whether nothing is outstanding at or before `stamp`, as far as the calendar knows."""
        scheduled = self._timetable.scheduled(stamp)
        if self._released is None or not scheduled or not scheduled <= self._waiting[stamp].keys():
            return False
        return not self._timetable.any_between(self._released, stamp)

    def _close(self, stamp: int) -> Release | None:
        """Return the set of a stamp; None where all of it went into the quarantine, as if it had not come."""
        waiting = sorted(self._waiting.pop(stamp).items())
        del self._first_seen[stamp]
        candidates = sorted(self._late.values(), key=_by_end)
        self._late.clear()
        self._carried += [each for each in candidates if self._passes(each.key, each.end, each.values)]
        bars = {key: values for key, values in waiting if self._passes(key, stamp, values)}
        if not bars:
            return None
        late, self._carried = tuple(sorted(self._carried, key=_by_end)), []
        scheduled = self._timetable.scheduled(stamp)
        missing = sorted(scheduled - bars.keys())
        for arrival in late:
            self._account(arrival.key, arrival.end)
        for key in sorted([*bars, *missing]):
            self._account(key, stamp)
        for key in missing:
            self._note(Irregularity("missing", key, stamp, None, "not there when the set was released"))
        for key in sorted(bars.keys() - scheduled):
            self._note(Irregularity("outside", key, stamp, bars[key], OUTSIDE))
        self._released = stamp
        return Release(stamp=stamp, bars=bars, late=late, irregularities=self.take_reports())

    def _passes(self, key: SeriesKey, end: int, values: Values) -> bool:
        """Return whether a bar may be released, and remember it.

        It was judged when it came; a bar before it that came later may have changed what it follows.
        """
        accepted = (key, end) in self._accepted
        self._accepted.discard((key, end))
        if not accepted and (fault := self._fault(key, end, values, None)):
            self._note(Irregularity("implausible", key, end, values, fault))
            self._refuse(key, end)
            return False
        self._bands.take(key, end, values)
        self._quarantine.delivered(key, end)
        self._remember(key, end, values)
        return True

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
        self._quarantine.note(irregularity)
        self._reports.append(irregularity)


def _forget(memory: dict[Any, Any]) -> None:
    """Drop what was remembered first, beyond REMEMBERED."""
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]


def _by_end(arrival: Arrival) -> tuple[int, SeriesKey]:
    return arrival.end, arrival.key


def _carries(release: Release, arrival: Arrival) -> bool:
    """Return whether a release brings the bar of this series and stamp."""
    on_time = release.stamp == arrival.end and arrival.key in release.bars
    return on_time or any((late.key, late.end) == (arrival.key, arrival.end) for late in release.late)
