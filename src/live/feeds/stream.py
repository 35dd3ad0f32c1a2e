"""`Stream`: what a feed receives of one instrument, and the series that are to come of it."""

from __future__ import annotations

from dataclasses import dataclass

from lockstep.errors import ConfigError
from lockstep.market.aggregator import require_multiple
from lockstep.market.history import SeriesKey
from lockstep.market.sessions import Session
from lockstep.market.timeframe import Timeframe


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Ticks or bars of one instrument, and the timeframes to deliver.

    base         timeframe of the bars that come in; None for ticks
    timeframes   what goes out: `base` as it is, longer ones through the one aggregator
    settle_ns    how long after its end a longer bar waits for its last rows before the clock completes it;
                 None: only a later row completes it
    """

    symbol: str
    base: Timeframe | None
    timeframes: tuple[Timeframe, ...]
    session: Session
    settle_ns: int | None = None

    def __post_init__(self) -> None:
        if not self.timeframes or (self.settle_ns is not None and self.settle_ns < 0):
            rule = "deliver at least one timeframe, settle in 0 ns or more"
            raise ConfigError(f"stream {self}: {rule}")
        for timeframe in self.longer:
            if self.base is not None:
                require_multiple(self.base, timeframe)

    def __str__(self) -> str:
        return f"{self.symbol}:{self.base or 'tick'}"

    @property
    def longer(self) -> tuple[Timeframe, ...]:
        """The timeframes that are made, shortest first."""
        made = {each for each in self.timeframes if each != self.base}
        return tuple(sorted(made, key=lambda each: (each.is_session, each.minutes)))

    @property
    def keys(self) -> frozenset[SeriesKey]:
        """The series that it delivers."""
        return frozenset(SeriesKey(self.symbol, each) for each in self.timeframes)
