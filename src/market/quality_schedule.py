"""Bars against the schedule of their session: missing and unknown sessions, odd hours, holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.market.bars import Bars, Flags, Stamps
from lockstep.market.finding import Finding, RowSpan, counted, listed, runs, stretches
from lockstep.market.schedule import MINUTE
from lockstep.market.session_kernels import HOUR
from lockstep.market.sessions import Dates, Session, SessionDay

# An open or close that is off by less says nothing: bars without trades are not recorded.
_TOLERANCE = 15 * MINUTE
# How many times later than most sessions' one must start or end to be named.
_UNUSUAL = 3
# What more than this share of the sessions does is a trait of the file.
_MOST = 0.5
# This much trading time without a bar is a hole, or one bar of a longer timeframe.
_HOLE = 30 * MINUTE
_VERBS = {"open": "begin", "close": "end"}
_PARTICIPLES = {"open": "beginning", "close": "ending"}
# Prints behind the close are usual in small numbers.
_FEW_OUTSIDE = 0.01


def schedule_findings(bars: Bars, dates: Dates, session: Session) -> list[Finding]:
    """Return where bars and the calendar disagree; `dates`: the session date of each bar."""
    if not dates.size:
        return []
    found = [*_missing(bars, dates, session), *_unknown(bars, dates, session)]
    if not bars.timeframe.is_session:
        days = _Days.of(bars, dates, session)
        found += [*_outside(bars, days, session), *_odd_hours(days, session), *_holes(bars, days, session)]
    return found


def clock(session: Session, stamp: int) -> str:
    """Return the wall clock of a moment in the session's time zone, HH:MM."""
    return session.wall_clock(np.array([stamp]))[0][-5:]


def _missing(bars: Bars, dates: Dates, session: Session) -> list[Finding]:
    scheduled, present = session.scheduled_dates(dates[0], dates[-1]), np.unique(dates)
    rows = np.flatnonzero(~np.isin(scheduled, present))
    if not rows.size:
        return []
    regular = session.nominal_close(scheduled[rows])
    holidays = _merged(bars, scheduled, rows, session)
    found, name = [], session.template.calendar
    if not holidays.all():
        gone = rows[~holidays]
        text = stretches(gone, lambda row: str(scheduled[row]))
        spans = [_around(bars, regular[np.searchsorted(rows, run)]) for run in runs(gone)]
        found.append(
            Finding(
                kind="missing_session",
                where=str(scheduled[gone[0]]),
                count=int(gone.size),
                sentence=f"{counted(gone.size, 'scheduled session')} of {name} without a bar: {text}",
                spans=tuple(spans),
            )
        )
    if holidays.any():
        gone = rows[holidays]
        text = listed([str(day) for day in scheduled[gone]])
        found.append(
            Finding(
                kind="missing_session",
                where=str(scheduled[gone[0]]),
                count=int(gone.size),
                sentence=f"{counted(gone.size, 'short holiday session')} without its own bar: {text}; "
                "the exchange counts them to the next trade date",
                severity="note",
            )
        )
    return found


def _merged(bars: Bars, scheduled: Dates, rows: Stamps, session: Session) -> Flags:
    """Return which missing sessions are short ones that daily bars of an exchange have within the next date.

    Only where sessions begin on the evening before, and not in the midst of other missing ones.
    """
    merged = np.zeros(rows.size, dtype=np.bool_)
    if not bars.timeframe.is_session or session.template.open_minute >= 0:
        return merged
    closes = np.array([day.close for day in session.days(scheduled[rows])])
    short = closes < session.regular_close(scheduled[rows])
    for first, last in runs(rows):
        run = slice(*np.searchsorted(rows, [first, last + 1]))
        merged[run] = short[run].all()
    return merged


def _around(bars: Bars, closes: Stamps) -> RowSpan:
    """Return the ends of the bars before and after missing sessions with these first and last closes."""
    before = max(int(np.searchsorted(bars.end, closes[0])) - 1, 0)
    after = min(int(np.searchsorted(bars.end, closes[-1], side="right")), len(bars) - 1)
    return int(bars.end[before]), int(bars.end[after])


def _unknown(bars: Bars, dates: Dates, session: Session) -> list[Finding]:
    days, firsts = np.unique(dates, return_index=True)
    rows = np.flatnonzero(~np.isin(days, session.scheduled_dates(dates[0], dates[-1])))
    if not rows.size:
        return []
    unknown = days[rows]
    weekend = bool(((unknown.astype(np.int64) + 3) % 7 >= 5).any())
    text = stretches(rows, lambda row: str(days[row]))
    name = session.template.calendar
    advice = "are they real?" if weekend else "if the market did open, the calendar is wrong"
    return [
        Finding(
            kind="unknown_session",
            where=str(unknown[0]),
            count=int(unknown.size),
            sentence=f"{counted(unknown.size, 'day')} with bars and no session in {name}: {text}; {advice}",
            severity="warning" if weekend else "note",
            spans=tuple((int(bars.end[max(row - 1, 0)]), int(bars.end[row])) for row in firsts[rows]),
        )
    ]


@dataclass(frozen=True)
class _Days:
    """Sessions that have bars, in order; every array has one element per session.

    first, last   rows of the first and last bar; opens, closes   as scheduled; the rest as in SessionDay
    """

    days: Dates
    found: Sequence[SessionDay]
    first: Stamps
    last: Stamps
    opens: Stamps
    closes: Stamps
    begins: Stamps
    ends: Stamps

    @classmethod
    def of(cls, bars: Bars, dates: Dates, session: Session) -> _Days:
        days, first = np.unique(dates, return_index=True)
        last = np.append(first[1:], len(bars)) - 1
        found = session.days(days)
        opens, closes = (np.array([getattr(day, name) for day in found]) for name in ("open", "close"))
        return cls(
            days, found, first, last, opens, closes,
            begins=bars.end[first] - bars.timeframe.nanoseconds, ends=bars.end[last],
        )  # fmt: skip


def _outside(bars: Bars, days: _Days, session: Session) -> list[Finding]:
    outside = ~session.in_session(bars.end, bars.timeframe)
    count = int(outside.sum())
    if not count:
        return []
    rows = np.flatnonzero(np.add.reduceat(outside, days.first) > 0)
    late = [row for row in rows if days.ends[row] > days.closes[row]]
    named = [_disagreement(days, session, int(row), "close") for row in late]
    where = f"; bars after the close on {listed(named)}" if named else ""
    few = count <= _FEW_OUTSIDE * len(bars)
    return [
        Finding(
            kind="outside",
            where=str(days.days[rows[0]]),
            count=count,
            sentence=f"{counted(count, 'bar')} outside the session, which never trigger a decision{where}",
            severity="note" if few and len(late) < _MOST * len(days.days) else "warning",
        )
    ]


def _disagreement(days: _Days, session: Session, row: int, what: str) -> str:
    if what == "close":
        return (
            f"{days.days[row]} (scheduled {clock(session, int(days.closes[row]))}, "
            f"last bar {clock(session, int(days.ends[row]))})"
        )
    return (
        f"{days.days[row]} (scheduled {clock(session, int(days.opens[row]))}, "
        f"first bar from {clock(session, int(days.begins[row]))})"
    )


def _odd_hours(days: _Days, session: Session) -> list[Finding]:
    """Return the sessions that end before or begin after the schedule says."""
    # The file may begin and end within a session.
    early, late = days.closes - days.ends, days.begins - days.opens
    early[-1] = late[0] = 0
    found = []
    for kind, what, said, missing in (
        ("early_end", "close", "before the scheduled close", early),
        ("late_start", "open", "after the scheduled open", late),
    ):
        usual = float(np.median(missing))
        limit = max(_TOLERANCE, _UNUSUAL * float(np.quantile(missing, 0.75)))
        if usual >= HOUR:
            row = int(np.argsort(missing, kind="stable")[missing.size // 2])
            sentence = (
                f"most sessions {_VERBS[what]} an hour or more {said}, as "
                f"{_disagreement(days, session, row, what)}: the file has other hours than its session "
                f"{session.template.name}; declare one of its own"
            )
            found.append(Finding(kind=kind, where="all", count=missing.size, sentence=sentence))
            continue
        rows = np.flatnonzero(missing > limit)
        if rows.size:
            named = listed([_disagreement(days, session, int(row), what) for row in rows])
            sentence = f"{counted(rows.size, 'session')} {_PARTICIPLES[what]} {said}: {named}"
            spans = [_edge(days, int(row), what) for row in rows]
            where = str(days.days[rows[0]])
            found.append(
                Finding(kind=kind, where=where, count=int(rows.size), sentence=sentence, spans=tuple(spans))
            )
    return found


def _edge(days: _Days, row: int, what: str) -> RowSpan:
    """Return the ends of the bars around what is missing at an open or close."""
    if what == "close":
        return int(days.ends[row]), int(days.closes[row])
    return int(days.opens[row]), int(days.begins[row])


def _holes(bars: Bars, days: _Days, session: Session) -> list[Finding]:
    """Return stretches without a bar within sessions, at times of day at which most sessions have one."""
    step = bars.timeframe.nanoseconds
    index = np.repeat(np.arange(days.first.size), days.last - days.first + 1)
    slots = (bars.end - days.opens[index] - 1) // step
    gaps = np.flatnonzero((np.diff(slots) > 1) & (np.diff(index) == 0) & (slots[:-1] >= 0))
    if not gaps.size:
        return []
    missing = np.zeros(gaps.size, dtype=np.int64)
    usual = _usual(bars, days, slots, index, session)
    so_far = {shape: np.concatenate([[0], np.cumsum(flags)]) for shape, flags in usual.items()}
    rows, firsts = np.unique(index[gaps], return_index=True)
    for row, first, stop in zip(rows, firsts, np.append(firsts[1:], gaps.size), strict=True):
        count = so_far[_shape(days.found[row])]
        here = gaps[first:stop]
        before, after = (np.minimum(each, count.size - 1) for each in (slots[here] + 1, slots[here + 1]))
        missing[first:stop] = count[after] - count[before]
    large = missing >= max(_HOLE // step, 1)
    holes, gone = gaps[large], missing[large]
    if not holes.size:
        return []
    order = np.argsort(-gone, kind="stable")
    named = listed([_hole(bars, session, int(holes[each]), int(gone[each])) for each in order])
    counts = f"{counted(holes.size, 'hole')} within sessions, {counted(int(gone.sum()), 'bar')} in all"
    return [
        Finding(
            kind="hole",
            where=str(days.days[index[holes[0]]]),
            count=int(holes.size),
            sentence=f"{counts}: {named}",
            spans=tuple((int(bars.end[row]), int(bars.end[row + 1])) for row in holes),
        )
    ]


def _hole(bars: Bars, session: Session, row: int, count: int) -> str:
    start, end = session.wall_clock(bars.end[row : row + 2])
    return f"{start} to {end if end[:10] != start[:10] else end[11:]} ({counted(count, 'bar')})"


def _shape(day: SessionDay) -> tuple[int, ...]:
    """Return what sessions of equal hours have in common: offsets from the open."""
    return day.close - day.open, *(each - day.open if each > 0 else 0 for each in day.pause)


def _usual(
    bars: Bars, days: _Days, slots: Stamps, index: Stamps, session: Session
) -> dict[tuple[int, ...], Flags]:
    """Return, by shape of session, at which bars of it most sessions that trade then have one."""
    step = bars.timeframe.nanoseconds
    longest = int((days.closes - days.opens).max())
    size = -(-longest // step)
    ends = (np.arange(size) + 1) * step
    inside = (slots >= 0) & (slots < size) & (bars.end <= days.closes[index])
    present = np.bincount(slots[inside], minlength=size)
    shapes = [_shape(day) for day in days.found]
    trading = {
        shape: (ends - step < shape[0]) & ~((ends - step >= shape[1]) & (ends <= shape[2]) & (shape[2] > 0))
        for shape in set(shapes)
    }
    scheduled = sum(
        (shapes.count(shape) * flags.astype(np.int64) for shape, flags in trading.items()), start=0
    )
    often = present > _MOST * np.maximum(scheduled, 1)
    return {shape: flags & often for shape, flags in trading.items()}
