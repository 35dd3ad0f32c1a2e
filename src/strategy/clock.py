"""What a decision may know of time: in session, minute of the session, past the auto-close, a roll ahead."""

from __future__ import annotations

from typing import Self

import numpy as np

from lockstep.market.bars import Floats, Stamps
from lockstep.market.history import Market
from lockstep.market.rolls import Rolls
from lockstep.market.sessions import Session
from lockstep.market.timeframe import Timeframe
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.decision import IN_SESSION, MINUTE, PAST_AUTO_CLOSE, Clock


class SessionClock:
    """Clock readings by bar end; those of a known history are prepared at once.

    rolls      of the traded contracts: positions are left before each, whatever the auto-close is
    at_close   orders fill at the close of the bar that decided them, see `StrategyConfig.execution`
    """

    def __init__(
        self,
        session: Session,
        timeframe: Timeframe,
        auto_close: str | None = None,
        rolls: Rolls | None = None,
        *,
        at_close: bool = False,
    ) -> None:
        self._session = session
        self._timeframe = timeframe
        self._auto_close = auto_close
        self._rolls = rolls
        self._at_close = at_close
        self._readings: dict[int, Clock] = {}
        self._latest: tuple[int, Clock] = (-1, (0.0, 0.0, 0.0))

    @classmethod
    def of(cls, market: Market, config: StrategyConfig) -> Self:
        """Return the clock by which a strategy trades a market."""
        return cls(
            market.session,
            config.bars,
            config.auto_close,
            market.rolls,
            at_close=config.execution == "close",
        )

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
            if self._rolls is not None:
                near = self._rolls.nearness(ends, self._timeframe, self._session, at_close=self._at_close)
                table[:, PAST_AUTO_CLOSE] = np.where(near != 0.0, near, table[:, PAST_AUTO_CLOSE])
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
