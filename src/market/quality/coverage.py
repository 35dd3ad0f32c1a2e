"""Coverage: which bars sessions have, of those that they should have, by session and by minute of the day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import Flags, Floats, Stamps
from lockstep.market.quality.case import QualityCase
from lockstep.market.quality.finding import Finding, counted, listed, runs
from lockstep.market.schedule import MINUTE
from lockstep.market.sessions import Dates, SessionDay

# At these times of day most sessions that trade then have a bar; there, one that is missing is missed.
_MOST = 0.5
# This much trading time without a bar is a hole, or one bar of a longer timeframe.
_HOLE = 30 * MINUTE
# What a session lacks beside holes, as a share of what sessions have, and in robust deviations of the others.
_THIN, _DEVIATIONS = 0.10, 6.0
_LEAST_DEVIATION = 0.01
_TO_SIGMA = 1.4826  # from the median absolute deviation to the standard deviation of a normal distribution
# A minute that most sessions lack, among neighbours on each side that nearly all have.
_NEIGHBOURS, _NEARLY_ALL = 10, 0.9
_ENOUGH = 20  # sessions, to judge a minute of the day or a session among others


@dataclass(frozen=True)
class Coverage:
    """Bars that are there and bars that should be, for S sessions of at most M bar lengths.

    trading     bool (S, M) by `shape`: whether sessions of these hours trade at a slot
    usual       the same: and most sessions that trade then have a bar
    shape       int64 (S,): which row of `trading` and `usual` belongs to a session
    present     int64 (M,): sessions with a bar at a slot; scheduled   int64 (M,): sessions that trade then
    expected    int64 (S,): usual bars of a session; there   int64 (S,): those of them that it has
    """

    trading: NDArray[np.bool_]
    usual: NDArray[np.bool_]
    shape: Stamps
    present: Stamps
    scheduled: Stamps
    expected: Stamps
    there: Stamps

    @classmethod
    def of(cls, case: QualityCase) -> Self:
        """Count the bars of an intraday series."""
        bars, days, step = case.bars, case.rows, case.bars.timeframe.nanoseconds
        size = -(-int((days.closes - days.opens).max()) // step)
        ends = (np.arange(size) + 1) * step
        inside = (case.slots >= 0) & (case.slots < size) & (bars.end <= days.closes[case.index])
        slots, index = case.slots[inside], case.index[inside]
        present = np.bincount(slots, minlength=size)
        numbers: dict[tuple[int, ...], int] = {}
        shape = np.array([numbers.setdefault(_shape(day), len(numbers)) for day in days.found])
        trading = np.array([_trades(each, ends, step) for each in numbers])
        scheduled = np.bincount(shape, minlength=len(numbers)) @ trading.astype(np.int64)
        usual = trading & (present > _MOST * np.maximum(scheduled, 1))
        seen = usual[shape[index], slots]
        return cls(
            trading=trading,
            usual=usual,
            shape=shape,
            present=present,
            scheduled=scheduled,
            expected=usual.sum(axis=1)[shape],
            there=np.bincount(index[seen], minlength=shape.size),
        )

    @property
    def share(self) -> Floats:
        """The share of its usual bars that each session has (S,); NaN where none is usual."""
        return np.where(self.expected > 0, self.there / np.maximum(self.expected, 1), np.nan)

    def between(self, session: Stamps, first: Stamps, last: Stamps) -> Stamps:
        """Return how many usual bars of sessions lie at the slots first <= slot < last."""
        so_far = np.pad(np.cumsum(self.usual, axis=1), ((0, 0), (1, 0)))
        most = so_far.shape[1] - 1
        low, high = (np.clip(each, 0, most) for each in (first, last))
        shape = self.shape[session]
        return np.asarray(so_far[shape, high] - so_far[shape, low])


def _shape(day: SessionDay) -> tuple[int, ...]:
    """Return what sessions of equal hours have in common: offsets from the open."""
    return day.close - day.open, *(each - day.open if each > 0 else 0 for each in day.pause)


def _trades(shape: tuple[int, ...], ends: Stamps, step: int) -> Flags:
    close, pause, resumed = shape
    paused = (ends - step >= pause) & (ends <= resumed) & (resumed > 0)
    return np.asarray((ends - step < close) & ~paused)


def thin_coverage(case: QualityCase) -> list[Finding]:
    """Return holes, sessions with fewer bars than the others, and minutes of the day that most lack."""
    coverage = Coverage.of(case)
    in_holes = np.zeros(coverage.shape.size, dtype=np.int64)
    return [*_holes(case, coverage, in_holes), *_thin_sessions(case, coverage, in_holes),
            *_thin_minutes(case, coverage)]  # fmt: skip


def _holes(case: QualityCase, coverage: Coverage, in_holes: Stamps) -> list[Finding]:
    """Return stretches without a bar within sessions, at times of day at which most sessions have one.

    What they lack is added to `in_holes`, by session.
    """
    bars, slots, index = case.bars, case.slots, case.index
    gaps = np.flatnonzero((np.diff(slots) > 1) & (np.diff(index) == 0) & (slots[:-1] >= 0))
    missing = coverage.between(index[gaps], slots[gaps] + 1, slots[gaps + 1])
    large = missing >= max(_HOLE // bars.timeframe.nanoseconds, 1)
    holes, gone = gaps[large], missing[large]
    if not holes.size:
        return []
    np.add.at(in_holes, index[holes], gone)
    order = np.argsort(-gone, kind="stable")
    named = listed([_hole(case, int(holes[each]), int(gone[each])) for each in order[:6]], holes.size)
    counts = f"{counted(holes.size, 'hole')} within sessions, {counted(int(gone.sum()), 'bar')} in all"
    return [
        Finding(
            kind="hole",
            where=str(case.dates[holes[0]]),
            count=int(holes.size),
            sentence=f"{counts}: {named}",
            spans=tuple((int(bars.end[row]), int(bars.end[row + 1])) for row in holes),
        )
    ]


def _hole(case: QualityCase, row: int, count: int) -> str:
    start, end = case.session.wall_clock(case.bars.end[row : row + 2])
    return f"{start} to {end if end[:10] != start[:10] else end[11:]} ({counted(count, 'bar')})"


def _thin_sessions(case: QualityCase, coverage: Coverage, in_holes: Stamps) -> list[Finding]:
    """Return sessions that lack many bars here and there, compared with the others of the file."""
    days, count = case.rows, coverage.shape.size
    if count < _ENOUGH:
        return []
    every = np.arange(count)
    edges = coverage.between(every, np.zeros_like(every), case.slots[days.first])
    edges += coverage.between(every, case.slots[days.last] + 1, np.full_like(every, coverage.present.size))
    scattered = coverage.expected - coverage.there - in_holes - edges
    share = scattered / np.maximum(coverage.expected, 1)
    usual = float(np.median(share))
    deviation = max(_TO_SIGMA * float(np.median(np.abs(share - usual))), _LEAST_DEVIATION)
    rows = np.flatnonzero(share > max(_THIN, usual + _DEVIATIONS * deviation))
    if not rows.size:
        return []
    order = rows[np.argsort(-share[rows], kind="stable")]
    named = listed([f"{days.days[row]} ({share[row]:.0%})" for row in order])
    sentence = (
        f"{counted(rows.size, 'session')} with many bars missing here and there, of those that most sessions "
        f"have ({usual:.0%} are usual): {named}"
    )
    return [
        Finding(
            kind="thin_session",
            where=str(days.days[rows[0]]),
            count=int(rows.size),
            sentence=sentence,
            spans=tuple((int(days.opens[row]), int(days.ends[row])) for row in rows),
        )
    ]


def _thin_minutes(case: QualityCase, coverage: Coverage) -> list[Finding]:
    """Return minutes of the day that most sessions lack, where nearly all have the minutes around them.

    The first and last ones of a session, of a pause and of the day are left alone: they have no neighbours
    on one side, and often no trade.
    """
    size, window = coverage.present.size, 2 * _NEIGHBOURS + 1
    if size < window or coverage.shape.size < _ENOUGH:
        return []
    share = np.where(coverage.scheduled >= _ENOUGH, coverage.present / np.maximum(coverage.scheduled, 1), 0.0)
    around = np.lib.stride_tricks.sliding_window_view(share, window)
    left, right = around[:, :_NEIGHBOURS], around[:, _NEIGHBOURS + 1 :]
    nearly_all = np.minimum(np.median(left, axis=1), np.median(right, axis=1)) > _NEARLY_ALL
    inner = slice(_NEIGHBOURS, size - _NEIGHBOURS)
    lacking = (share[inner] < _MOST) & (coverage.scheduled[inner] >= _ENOUGH)
    slots = np.flatnonzero(nearly_all & lacking) + _NEIGHBOURS
    if not slots.size:
        return []
    longest = int(np.argmax(case.rows.closes - case.rows.opens))
    step, opened = case.bars.timeframe.nanoseconds, int(case.rows.opens[longest])
    stretches = [
        [each[11:] for each in case.session.wall_clock(opened + step * np.array([run[0], run[1] + 1]))]
        for run in runs(slots)
    ]
    named = listed([f"{first} to {last}" for first, last in stretches])
    sentence = (
        f"{counted(slots.size, 'bar')} of the day that most sessions lack, and nearly all have those around "
        f"them: {named}"
    )
    return [Finding(kind="thin_minute", where="all", count=int(slots.size), sentence=sentence)]


def calendar_coverage(case: QualityCase) -> tuple[Dates, Floats]:
    """Return the sessions from the first to the last of a series, and the share of its bars that each has.

    0 for a session of the calendar without a bar; of session bars, 1 for every other one. Dates with bars and
    without a session are among them.
    """
    days = case.dates[case.starts]
    scheduled = case.session.scheduled_dates(days[0], days[-1])
    every = np.union1d(scheduled, days)
    share = np.zeros(every.size)
    there = np.ones(days.size) if case.bars.timeframe.is_session else Coverage.of(case).share
    share[np.searchsorted(every, days)] = there
    return every, share
