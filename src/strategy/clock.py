"""What a decision may know of time: in session, minute of the session, past the auto-close."""

from __future__ import annotations

import numpy as np

from lockstep.market.bars import Stamps
from lockstep.market.sessions import Session
from lockstep.market.timeframe import Timeframe
from lockstep.strategy.decision import Clock


class SessionClock:
    """Clock readings by bar end; those of a known history are prepared at once."""

    def __init__(self, session: Session, timeframe: Timeframe, auto_close: str | None = None) -> None:
        self._session = session
        self._timeframe = timeframe
        self._auto_close = auto_close
        self._readings: dict[int, Clock] = {}

    def prepare(self, ends: Stamps) -> None:
        """Compute the readings at `ends`, int64 (n,)."""
        if ends.size == 0:
            return
        columns = self._session.columns(ends, self._timeframe)
        past = (
            self._session.auto_close(ends, self._timeframe, self._auto_close).astype(np.float64)
            if self._auto_close
            else np.zeros(ends.size)
        )
        readings = zip(
            columns["in_session"].tolist(), columns["minute_of_session"].tolist(), past.tolist(), strict=True
        )
        self._readings.update(zip(ends.tolist(), readings, strict=True))

    def at(self, stamp: int) -> Clock:
        """Return (in session, minute of the session, past the auto-close) at the bar ending at `stamp`."""
        if stamp not in self._readings:
            self.prepare(np.array([stamp], dtype=np.int64))
        return self._readings[stamp]
