"""The monitoring reference: what a model is held to, frozen when it is validated.

Floors, estimates, bets, clip points and thresholds come of out-of-sample outcomes by one function,
`reference_outcomes.monitoring_reference`. It is a part of the bundle's frozen reference (`frozen.py`): a desk
does not choose its floor after seeing the game. A stream that the outcomes cannot support is named in `off`,
with the reason.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lockstep.identity import json_digest
from lockstep.monitoring.readings import StreamKind
from lockstep.settings import Settings

LEAST_OUTCOMES = 50

Unit = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class StreamReference(Settings):
    """What one stream is held to; x is in [0, 1], see `readings.py`.

    estimate, floor     mean of x out of sample, and its lower 80 % bound: floors of WATCH and ALARM
    outcomes, per_year  of the reference, and how many came a year
    lag_1, lag_1_bound  autocorrelation of neighbours and its upper 80 % bound; every  outcomes of a bet
    alarm_bets, watch_bets, watch_threshold    see `wealth.py` and `thresholds.py`
    visible_fall        smallest fall of the mean of the mean that a year shows, see `thresholds.visible_fall`
    scale               what one unit of x is in the stream's own unit; zero  its x at which that unit is 0
    forecasts, followings   distributions in the reference, for `ic` only
    """

    stream: StreamKind
    estimate: Unit
    floor: Annotated[float, Field(gt=0, lt=1)]
    outcomes: Annotated[int, Field(ge=LEAST_OUTCOMES)]
    per_year: Annotated[int, Field(ge=1)]
    lag_1: Annotated[float, Field(ge=-1, le=1)]
    lag_1_bound: Finite
    every: Annotated[int, Field(ge=1)]
    alarm_bets: Annotated[tuple[Share, ...], Field(min_length=5, max_length=5)]
    watch_bets: Annotated[tuple[Share, ...], Field(min_length=5, max_length=5)]
    watch_threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    visible_fall: Unit | None
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    zero: Finite = 0.0
    forecasts: tuple[Finite, ...] = ()
    followings: tuple[Finite, ...] = ()

    def natural(self, x: float) -> float:
        """Return x in the stream's own unit: a share, money, probability, or correlation."""
        return (x - self.zero) * self.scale


class MonitoringReference(Settings):
    """What a bundle promised out of sample.

    bundle   hash of the bundle; trades   profits of its out-of-sample trades by time, in the account's money
    streams  at most one of a kind; off   one sentence for each stream without a reference
    seed     of the resampling
    """

    bundle: Annotated[str, Field(min_length=1)]
    streams: tuple[StreamReference, ...]
    trades: tuple[Finite, ...]
    off: tuple[str, ...] = ()
    seed: int = 0

    @property
    def digest(self) -> str:
        """Return the SHA-256 (hex) of the content."""
        return json_digest(self.model_dump(mode="json"), allow_nan=False)

    def of(self, stream: StreamKind) -> StreamReference | None:
        """Return what a stream is held to; None where it is off."""
        return next((each for each in self.streams if each.stream == stream), None)
