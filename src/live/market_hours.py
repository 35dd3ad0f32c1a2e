"""When a market is open: moments and spans of time in the schedule of a session, half-days included."""

from __future__ import annotations

from collections.abc import Iterator

from lockstep.errors import CalendarError
from lockstep.market.sessions import Session

_LONGEST_WALK = 366  # sessions


def is_open(session: Session, moment: int) -> bool:
    """Return whether the market trades at `moment` (UTC ns): scheduled open <= moment < close."""
    opens, closes, _ = _session_at(session, moment)
    return opens <= moment < closes


def next_open(session: Session, moment: int) -> int:
    """Return when an order of `moment` is due: at once in an open market, else at the next open (UTC ns)."""
    for opens, closes in _sessions_from(session, moment):
        if moment < closes:
            return max(moment, opens)
    raise CalendarError(f"session {session.template.name}: no open after stamp {moment}; check the clock")


def open_time(session: Session, start: int, stop: int) -> int:
    """Return for how many nanoseconds the market was open in [start, stop]; 0 where stop <= start.

    Counts up to a year: nobody asks by how much more something is too old.
    """
    total = 0
    for opens, closes in _sessions_from(session, start):
        if opens >= stop:
            break
        total += max(0, min(stop, closes) - max(start, opens))
    return total


def _sessions_from(session: Session, moment: int) -> Iterator[tuple[int, int]]:
    """Yield (open, close) of the session that has not ended nominally at `moment`, and of those after."""
    for _ in range(_LONGEST_WALK):
        opens, closes, nominal_close = _session_at(session, moment)
        yield opens, closes
        moment = nominal_close


def _session_at(session: Session, moment: int) -> tuple[int, int, int]:
    """Return (open, close, nominal close) of the first session whose nominal close is after `moment`."""
    # The session of a bar that ends one nanosecond later: bars on a boundary belong to what ends there.
    day = session.day(moment + 1)
    return day.open, day.close, day.nominal_close
