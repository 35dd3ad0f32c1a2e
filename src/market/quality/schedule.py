"""Bars against the schedule of their session: missing and unknown sessions, odd hours."""

from __future__ import annotations

import numpy as np

from lockstep.market.bars import Bars, Flags, Stamps
from lockstep.market.quality.case import QualityCase, SessionRows
from lockstep.market.quality.finding import Finding, RowSpan, counted, listed, runs, stretches
from lockstep.market.schedule import MINUTE
from lockstep.market.session_kernels import HOUR
from lockstep.market.sessions import Dates, Session

# An open or close that is off by less says nothing: bars without trades are not recorded.
_TOLERANCE = 15 * MINUTE
# How many times later than most sessions' one must start or end to be named.
_UNUSUAL = 3
# What more than this share of the sessions does is a trait of the file.
_MOST = 0.5
_VERBS = {"open": "begin", "close": "end"}
_PARTICIPLES = {"open": "beginning", "close": "ending"}
# Prints behind the close are usual in small numbers.
_FEW_OUTSIDE = 0.01


def missing_sessions(case: QualityCase) -> list[Finding]:
    """Return scheduled sessions without a bar."""
    return _missing(case.bars, case.dates, case.session)


def unknown_sessions(case: QualityCase) -> list[Finding]:
    """Return days with bars that the calendar does not have."""
    return _unknown(case.bars, case.dates, case.session)


def odd_hours(case: QualityCase) -> list[Finding]:
    """Return bars outside their session, and sessions that end before or begin after the schedule says."""
    return [*_outside(case.bars, case.rows, case.session), *_odd_hours(case.rows, case.session)]


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


def _outside(bars: Bars, days: SessionRows, session: Session) -> list[Finding]:
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


def _disagreement(days: SessionRows, session: Session, row: int, what: str) -> str:
    if what == "close":
        return (
            f"{days.days[row]} (scheduled {clock(session, int(days.closes[row]))}, "
            f"last bar {clock(session, int(days.ends[row]))})"
        )
    return (
        f"{days.days[row]} (scheduled {clock(session, int(days.opens[row]))}, "
        f"first bar from {clock(session, int(days.begins[row]))})"
    )


def _odd_hours(days: SessionRows, session: Session) -> list[Finding]:
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


def _edge(days: SessionRows, row: int, what: str) -> RowSpan:
    """Return the ends of the bars around what is missing at an open or close."""
    if what == "close":
        return int(days.ends[row]), int(days.closes[row])
    return int(days.opens[row]), int(days.begins[row])
