"""When a market is open: moments and spans of time in the schedule of a session, half-days included."""

from __future__ import annotations

from collections.abc import Iterator

from lockstep.errors import CalendarError
from lockstep.market.sessions import Session, SessionDay

_LONGEST_WALK = 366  # sessions


def is_open(session: Session, moment: int) -> bool:
    """Return whether the market trades at `moment` (UTC ns): inside the scheduled hours, not in a pause."""
    return any(opens <= moment < closes for opens, closes in _session_at(session, moment).spans)


def next_open(session: Session, moment: int) -> int:
    """Return when an order of `moment` is due: at once in an open market, else at the next open (UTC ns)."""
    for opens, closes in _spans_from(session, moment):
        if moment < closes:
            return max(moment, opens)
    raise CalendarError(f"session {session.template.name}: no open after stamp {moment}; check the clock")


def open_time(session: Session, start: int, stop: int) -> int:
    """Return for how many nanoseconds the market was open in [start, stop]; 0 where stop <= start.

    Counts up to a year: nobody asks by how much more something is too old.
    """
    total = 0
    for opens, closes in _spans_from(session, start):
        if opens >= stop:
            break
        total += max(0, min(stop, closes) - max(start, opens))
    return total


def _spans_from(session: Session, moment: int) -> Iterator[tuple[int, int]]:
    """Yield when the market trades, (from, to), from the session on that has not ended at `moment`."""
    for _ in range(_LONGEST_WALK):
        day = _session_at(session, moment)
        yield from day.spans
        moment = day.nominal_close


def _session_at(session: Session, moment: int) -> SessionDay:
    """Return the first session whose nominal close is after `moment`."""
    # The session of a bar that ends one nanosecond later: bars on a boundary belong to what ends there.
    return session.day(moment + 1)
