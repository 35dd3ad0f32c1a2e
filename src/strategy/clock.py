"""What a decision may know of time: in session, minute of the session, past the auto-close."""

from __future__ import annotations

import numpy as np

from lockstep.market.bars import Floats, Stamps
from lockstep.market.sessions import Session
from lockstep.market.timeframe import Timeframe
from lockstep.strategy.decision import IN_SESSION, MINUTE, PAST_AUTO_CLOSE, Clock


class SessionClock:
    """Clock readings by bar end; those of a known history are prepared at once."""

    def __init__(self, session: Session, timeframe: Timeframe, auto_close: str | None = None) -> None:
        self._session = session
        self._timeframe = timeframe
        self._auto_close = auto_close
        self._readings: dict[int, Clock] = {}
        self._latest: tuple[int, Clock] = (-1, (0.0, 0.0, 0.0))

    def readings(self, ends: Stamps) -> Floats:
        """Return the readings at `ends` (int64, n): float64 (n, 3), the columns of `Clock`."""
        table = np.zeros((ends.size, 3))
        if ends.size:
            table[:, IN_SESSION] = self._session.in_session(ends, self._timeframe)
            # Windows are wall-clock times: they do not move on a day that opens late.
            table[:, MINUTE] = (
                self._session.columns(ends, self._timeframe)["minute_of_session"]
                if self._timeframe.is_session
                else self._session.clock_minutes(ends)
            )
            if self._auto_close:
                table[:, PAST_AUTO_CLOSE] = self._session.auto_close(ends, self._timeframe, self._auto_close)
        return table

    def prepare(self, ends: Stamps) -> None:
        """Compute the readings at `ends`, which will be asked for one by one, and drop earlier ones."""
        self._readings = dict(zip(ends.tolist(), map(tuple, self.readings(ends).tolist()), strict=True))

    def at(self, stamp: int) -> Clock:
        """Return (in session, minute of the session, past the auto-close) at the bar ending at `stamp`."""
        known = self._readings.get(stamp)
        if known is not None:
            return known
        if self._latest[0] != stamp:
            row = self.readings(np.array([stamp], dtype=np.int64))[0].tolist()
            self._latest = (stamp, (row[0], row[1], row[2]))
        return self._latest[1]
