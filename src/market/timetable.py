"""`Timetable`: when the calendar says that a bar of each series is complete."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lockstep.market.bars import Stamps
from lockstep.market.history import SeriesKey
from lockstep.market.schedule import DAY
from lockstep.market.sessions import Dates, Session
from lockstep.market.timeframe import Timeframe

_YEAR = 366 * DAY
_NONE = np.empty(0, dtype=np.int64)


def on_grid(session: Session, timeframe: Timeframe, end: int) -> bool:
    """Return whether a bar can end at `end`, scheduled or not: at a close on any day, if it is a `1d` bar."""
    stamp = np.array([end], dtype=np.int64)
    if timeframe.is_session:
        return int(session.nominal_close(session.dates(stamp, timeframe))[0]) == end
    return int(session.bucket_end(stamp, timeframe, closed="right")[0]) == end


class Timetable:
    """The scheduled ends of bars of `sessions`, by series; stamps are UTC nanoseconds.

    An intraday bar is scheduled when it ends inside the session, early closes respected; a `1d` bar at the
    nominal close of every session, half-days included. Other bars of the grid may come and are not expected.
    """

    def __init__(self, sessions: Mapping[SeriesKey, Session]) -> None:
        self.keys = frozenset(sessions)
        self._sessions = dict(sessions)
        self._newest: tuple[int | None, frozenset[SeriesKey]] = (None, frozenset())
        self._grids: dict[tuple[Session, Timeframe], _Grid] = {}
        self._members: dict[tuple[Session, Timeframe], frozenset[SeriesKey]] = {}
        self._grid_of: dict[SeriesKey, _Grid] = {}
        for key, session in sorted(sessions.items()):
            group = (session, key.timeframe)
            self._grid_of[key] = self._grids.setdefault(group, _Grid(*group))
            self._members[group] = self._members.get(group, frozenset()) | {key}

    def scheduled(self, stamp: int) -> frozenset[SeriesKey]:
        """Return every series of which a bar is scheduled to be complete at `stamp`."""
        # Asked several times in a row for each stamp.
        if stamp != self._newest[0]:
            found = (self._members[group] for group, grid in self._grids.items() if grid.holds(stamp))
            self._newest = (stamp, frozenset().union(*found))
        return self._newest[1]

    def between(self, key: SeriesKey, after: int, before: int) -> int:
        """Return how many bars of `key` are scheduled to end in the open interval (after, before)."""
        return self._grid_of[key].between(after, before)

    def latest(self, key: SeriesKey, moment: int) -> int:
        """Return the end of the newest bar of `key` that is scheduled to be complete at `moment`."""
        return self._grid_of[key].latest(moment)

    def any_between(self, after: int, before: int) -> bool:
        """Return whether a bar of any series is scheduled to end in the open interval (after, before)."""
        return any(grid.between(after, before) for grid in self._grids.values())

    def on_grid(self, key: SeriesKey, end: int) -> bool:
        """Return whether a bar of `key` can end at `end`; see `on_grid`."""
        return key in self.scheduled(end) or on_grid(self._sessions[key], key.timeframe, end)


class _Grid:
    """Scheduled ends of one session and timeframe, in an array that grows by years."""

    def __init__(self, session: Session, timeframe: Timeframe) -> None:
        self._session = session
        self._timeframe = timeframe
        self._ends = _NONE
        self._first = self._last = 0

    def holds(self, stamp: int) -> bool:
        ends = self._covering(stamp, stamp)
        index = int(ends.searchsorted(stamp))
        return index < ends.size and int(ends[index]) == stamp

    def between(self, after: int, before: int) -> int:
        if before <= after:
            return 0
        ends = self._covering(after, before)
        return int(ends.searchsorted(before)) - int(ends.searchsorted(after, side="right"))

    def latest(self, moment: int) -> int:
        # No market is closed for a month.
        ends = self._covering(moment - 31 * DAY, moment)
        return int(ends[int(ends.searchsorted(moment, side="right")) - 1])

    def _covering(self, first: int, last: int) -> Stamps:
        """Return the ends, having added what is missing of [first, last] and a year around it."""
        if not self._first < first <= last < self._last:
            if self._last == 0:
                self._first = self._last = first
            start, stop = min(self._first, first - _YEAR), max(self._last, last + _YEAR)
            before, after = self._scheduled(start, self._first), self._scheduled(self._last, stop)
            self._ends = np.concatenate([before, self._ends, after])
            self._first, self._last = start, stop
        return self._ends

    def _scheduled(self, after: int, until: int) -> Stamps:
        """Return the scheduled ends in (after, until], int64 (n,), rising."""
        if until <= after:
            return _NONE
        margin = np.timedelta64(2, "D")
        first = np.datetime64(after, "ns").astype("M8[D]") - margin
        last = np.datetime64(until, "ns").astype("M8[D]") + margin
        dates = self._session.scheduled_dates(first, last)
        ends = self._session.nominal_close(dates) if self._timeframe.is_session else self._intraday(dates)
        return np.asarray(ends[(ends > after) & (ends <= until)])

    def _intraday(self, dates: Dates) -> Stamps:
        """Return the ends of all buckets that overlap the trading hours of these dates."""
        step = self._timeframe.nanoseconds
        inside = [
            np.append(np.arange(first, last, step, dtype=np.int64), last - 1)
            for day in self._session.days(dates)
            for first, last in day.spans
        ]
        moments = np.concatenate([_NONE, *inside])
        return np.unique(self._session.bucket_end(moments, self._timeframe, closed="left"))
