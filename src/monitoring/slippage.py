"""Slippage beyond the cost model as a stream of its own: what fills cost more than a backtest assumes.

One number per fill, in ticks, positive against us (`research.paper.residuals`). It becomes

    x = 1/2 - clip(ticks - tolerance, -cap, cap) / (2 cap)  in  [0, 1]

so that E[x] >= 1/2 exactly while the mean of the clipped residual is at most the tolerance: that is the floor
of the bets of `wealth.py`, and their guarantee is the same, P(ALARM within Y years) <= Y / 20. Nothing is
estimated, so there is no WATCH: the cost model is the promise, and the tolerance is declared.

**Which fills are one stream.** Those of one lane and one kind of order. Market orders miss the open by the
time that they need; stops miss their level by what the market jumps; each has its own cause and its own
remedy, and together the many would hide the few. Fills at a target do not bet: a limit order is filled at its
price or better, so that they would only dilute. Slippage is the broker's and not a model's, so that a new
bundle goes on with the same stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lockstep.errors import DataError
from lockstep.metrics.arrays import Floats
from lockstep.monitoring.alarms import Gauge, moment
from lockstep.monitoring.eprocess import confidence_sequence
from lockstep.monitoring.wealth import ALPHA, bets

# Ticks. A quarter is what the model's own slippage of one tick can be wrong by before a desk would change it.
TOLERANCE, CAP = 0.25, 4.0
# Of one clipped residual, in ticks: what the bets are sized for. The guarantee holds whatever it is; a desk
# whose fills scatter more is seen later than stated, one whose fills scatter less sooner.
DEVIATION = 1.5
FLOOR = 0.5
BETS = bets(DEVIATION / CAP)
STREAMS = ("market", "stop")

_STEP = (
    "Compare the broker's times of fills with the times of sending, trade smaller or not at all until it is "
    "explained, then acknowledge: deploy/runbooks/alarm-slippage.md."
)


def of_ticks(ticks: Any) -> Floats:
    """Return x in [0, 1], float64 (n,): 1/2 for a fill that costs the tolerance, less for a worse one.

    ticks   (n,), realised minus modelled, positive against us. DataError where one is not finite

    >>> of_ticks([0.25, 4.25, -9.0])
    array([0.5, 0. , 1. ])
    """
    beyond = np.clip(_known(ticks) - TOLERANCE, -CAP, CAP)
    out: Floats = FLOOR - beyond / (2.0 * CAP)
    return out


@dataclass(frozen=True, kw_only=True)
class RunningSlippage:
    """Mean of the clipped residuals after each of n fills, ticks, float64 (n,) each.

    low, high   bounds that hold at all moments at once with 95 %, -inf and inf while nothing can be said, at
                most `DEVIATION` from zero; they ask for nothing but a mean that stays
    """

    mean: Floats
    low: Floats
    high: Floats


def running(ticks: Any) -> RunningSlippage:
    """Return the running mean of residuals by time, (n,), clipped as the stream clips them, with its bounds.

    DataError where one is not finite.

    >>> running([1.0, 2.0]).mean
    array([1. , 1.5])
    """
    clipped = np.clip(_known(ticks), TOLERANCE - CAP, TOLERANCE + CAP)
    low, high = confidence_sequence(clipped / DEVIATION)
    mean = np.cumsum(clipped) / np.arange(1, clipped.size + 1)
    return RunningSlippage(mean=mean, low=low * DEVIATION, high=high * DEVIATION)


@dataclass(frozen=True, kw_only=True)
class SlippageState:
    """ALARM on the slippage of one lane and kind of order.

    gauge   see `alarms.Gauge`; time   UTC ns of the last fill or acknowledgement, 0 before the first
    fills   so far; moments   stamps so far, each of which was one bet

    Equal fills and acknowledgements give an equal state, however they were grouped.

    >>> state = SlippageState.new()
    >>> for day in range(1, 41):
    ...     state = state.after(day * 86_400_000_000_000, [3.0])
    >>> state.is_raised, state.acknowledged(state.time).is_raised
    (True, False)
    """

    gauge: Gauge
    time: int = 0
    fills: int = 0
    moments: int = 0

    @classmethod
    def new(cls) -> SlippageState:
        """Return the state before the first fill."""
        return cls(gauge=Gauge(wealth=(0.0,) * len(BETS)))

    @property
    def raised(self) -> int:
        """UTC ns at which ALARM was raised, 0 while it is not."""
        return self.gauge.raised

    @property
    def is_raised(self) -> bool:
        """Whether ALARM is raised and nobody has acknowledged it."""
        return bool(self.gauge.raised)

    @property
    def since(self) -> int:
        """UTC ns of the estimated change, Page's; 0 where there is none."""
        return self.gauge.since

    @property
    def wealth(self) -> float:
        """What the bets have won, to be compared with 20."""
        return self.gauge.total

    @property
    def mean_ticks(self) -> float:
        """Mean clipped residual since the estimated change, ticks; NaN where there is none."""
        if not self.gauge.outcomes:
            return float("nan")
        return TOLERANCE + (FLOOR - self.gauge.sum / self.gauge.outcomes) * 2.0 * CAP

    def after(self, time: int, ticks: Sequence[float]) -> SlippageState:
        """Return the state after the fills of one stamp, UTC ns: one bet, on their mean.

        DataError where there is none, one is not finite, or the stamp is not later than what was seen.
        """
        if not len(ticks):
            raise DataError(f"slippage at {moment(time)}: no fill; pass those of one stamp together")
        if time <= self.time:
            raise DataError(
                f"slippage: fills at {moment(time)} after what was seen at {moment(self.time)}; pass "
                "those of one stamp together, and rebuild where one came late"
            )
        # Sorted, so that the last bit does not depend on the order in which fills of a stamp were reported.
        x = float(np.sort(of_ticks(ticks)).mean())
        gauge = self.gauge.after(time, x, floor=FLOOR, bets=BETS, every=1, yearly=False, at=1.0 / ALPHA)
        return replace(self, gauge=gauge, time=time, fills=self.fills + len(ticks), moments=self.moments + 1)

    def acknowledged(self, time: int) -> SlippageState:
        """Return the state after somebody took note at `time` (UTC ns): it starts again, if it was raised.

        DataError where fills after `time` were seen already.
        """
        if time < self.time:
            raise DataError(
                f"slippage: acknowledged at {moment(time)}, before the last fill at {moment(self.time)}; "
                "acknowledge now"
            )
        return replace(self, gauge=self.gauge.acknowledged(), time=time)

    def sentence(self, name: str) -> str:
        """Return what is raised and what to do, empty where nothing is; `name` as "COMP market orders"."""
        if not self.is_raised:
            return ""
        found, when = "more than", f"since {moment(self.raised)[:10]}"
        if self.gauge.outcomes:
            found = f"{self.mean_ticks:.2f} ticks beyond the cost model"
            bets_made = self.gauge.outcomes
            when = f"over {bets_made} fill{'s' * (bets_made != 1)} since about {moment(self.since)[:10]}"
        return (
            f"ALARM {name}: slippage is {found} {when}, against the tolerance of {TOLERANCE:g} ticks. Fills "
            f"within the tolerance do this in at most one year of {round(1 / ALPHA)}, however often it is "
            f"looked at. {_STEP}"
        )


def _known(ticks: Any) -> Floats:
    found = np.asarray(ticks, dtype=np.float64)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise DataError(f"slippage {found.tolist()}: give a finite number of ticks for each fill")
    return found
