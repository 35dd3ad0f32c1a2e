"""Session dates and clock readings of a history, worked out once however often it is swept."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field

from lockstep.market.bars import Bars, Floats, Stamps
from lockstep.market.sessions import Dates, Session
from lockstep.market.timeframe import Timeframe
from lockstep.strategy.clock import SessionClock


@dataclass(frozen=True, kw_only=True, eq=False)
class Calendar:
    """Bars of one series on a session: `dates`, datetime64[D] (n,), are their session dates."""

    ends: Stamps
    timeframe: Timeframe
    session: Session
    dates: Dates
    _known: dict[str | None, Floats] = field(default_factory=dict)

    def readings(self, auto_close: str | None) -> Floats:
        """Return the clock readings at every bar, float64 (n, 3), see `SessionClock`."""
        if auto_close not in self._known:
            clock = SessionClock(self.session, self.timeframe, auto_close)
            self._known[auto_close] = clock.readings(self.ends)
        return self._known[auto_close]


# Gone with the bars: nothing here keeps them.
_calendars: weakref.WeakKeyDictionary[Bars, Calendar] = weakref.WeakKeyDictionary()


def calendar_of(bars: Bars, session: Session) -> Calendar:
    """Return the calendar of `bars` on `session`."""
    known = _calendars.get(bars)
    if known is None or known.session is not session:
        dates = session.dates(bars.end, bars.timeframe)
        known = Calendar(ends=bars.end, timeframe=bars.timeframe, session=session, dates=dates)
        _calendars[bars] = known
    return known
