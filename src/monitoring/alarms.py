"""ALARM and WATCH: what a desk remembers of its streams, and nothing else.

A state is a frozen value: after the same outcomes and acknowledgements it is equal, however they were
grouped and however often somebody looked. **ALARM** bets against the reference's floor and is raised at
1 / alpha (`wealth.py` has the guarantee). **WATCH** bets against the reference's estimate, loses its wealth
each January, and is raised at the yearly peak that one reference year in twenty exceeds. Both stay raised
until they are acknowledged; wealth then starts again from zero. A new bundle starts a new stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.monitoring.reference import StreamReference
from lockstep.monitoring.wealth import ALPHA, MONTHS, gains, grown, total

# The bet whose rise dates a change: the middle one of five.
_MIDDLE = 2


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """What became known at one moment of one stream.

    time     UTC ns
    values   x of each instrument that has one, in [0, 1]; one bet is made on their mean, since the mean of
             e-values is one whatever they depend on, and their product is not
    """

    time: int
    values: tuple[float, ...]

    @property
    def value(self) -> float:
        """Return the mean; DataError where there is none, or one outside [0, 1]."""
        if not self.values or not all(0.0 <= each <= 1.0 for each in self.values):
            raise DataError(
                f"outcomes at {moment(self.time)}: {list(self.values)}: each must lie in [0, 1], and there "
                "must be one; leave out what is not settled"
            )
        return math.fsum(self.values) / len(self.values)


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """One of a stream's two detectors.

    wealth      of each bet; held, count   sum and number of the gains that wait for a whole block
    month       of the last bet, counted from January 1970; -1 before the first
    rise        Page's statistic, the sum of the middle bet's log factors since it was last at or below 0
    since       UTC ns of the first outcome of that rise: the estimate of when the change came; 0 for none
    outcomes, sum   number and sum of x since then
    raised      UTC ns at which it was raised; 0 while it is not

    The moment of change: Page (1954), Continuous inspection schemes, Biometrika 41, 100-115.
    """

    wealth: tuple[float, ...]
    held: float = 0.0
    count: int = 0
    month: int = -1
    rise: float = 0.0
    since: int = 0
    outcomes: int = 0
    sum: float = 0.0
    raised: int = 0

    @property
    def total(self) -> float:
        """Return the summed wealth."""
        return float(total(self.wealth))

    def after(
        self, time: int, x: float, *, floor: float, bets: Sequence[float], every: int, yearly: bool, at: float
    ) -> Gauge:
        """Return the gauge after an outcome; `at` is the wealth at which it is raised."""
        month = month_of(time)
        if yearly and self.month >= 0 and month // MONTHS != self.month // MONTHS:
            january = replace(self, wealth=(0.0,) * len(self.wealth), held=0.0, count=0, month=-1)
            return january.after(time, x, floor=floor, bets=bets, every=every, yearly=False, at=at)
        gain = float(gains(x, floor))
        following = self._rising(time, x, math.log(1.0 - bets[_MIDDLE] / every * gain))
        held, count = self.held + gain, self.count + 1
        if count < every:
            return replace(following, held=held, count=count)
        wealth = tuple(grown(self.wealth, bets, held / every, starts=month != self.month))
        reached = not self.raised and total(wealth) >= at
        return replace(
            following, wealth=wealth, held=0.0, count=0, month=month, raised=time if reached else self.raised
        )

    def acknowledged(self) -> Gauge:
        """Return the gauge after somebody took note: it starts again, if it was raised."""
        return self.restarted() if self.raised else self

    def restarted(self) -> Gauge:
        """Return the gauge without wealth. The month stays: what it adds was added."""
        return Gauge(wealth=(0.0,) * len(self.wealth), month=self.month)

    def _rising(self, time: int, x: float, growth: float) -> Gauge:
        # While it is raised, what is said of it stays what it was raised for.
        if self.raised:
            return self
        rise = self.rise + growth
        if rise <= 0.0:
            return replace(self, rise=0.0, since=0, outcomes=0, sum=0.0)
        return replace(
            self, rise=rise, since=self.since or time, outcomes=self.outcomes + 1, sum=self.sum + x
        )


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """ALARM and WATCH of one stream of one bundle.

    bundle   hash of the bundle; stream   kind of the stream, as "win_rate"
    time     UTC ns of the last stamp or acknowledgement; 0 before the first
    outcomes stamps so far
    """

    bundle: str
    stream: str
    alarm: Gauge
    watch: Gauge
    time: int = 0
    outcomes: int = 0

    @classmethod
    def new(cls, bundle: str, reference: StreamReference) -> StreamState:
        """Return the state before the first outcome."""
        return cls(
            bundle=bundle,
            stream=reference.stream,
            alarm=Gauge(wealth=(0.0,) * len(reference.alarm_bets)),
            watch=Gauge(wealth=(0.0,) * len(reference.watch_bets)),
        )

    def after(self, stamp: Stamp, reference: StreamReference) -> StreamState:
        """Return the state after one more stamp.

        DataError where it is not later than what was seen, since a state that took it would differ from one
        that is rebuilt; ConfigError where the reference is that of another stream.
        """
        if reference.stream != self.stream:
            raise ConfigError(
                f"stream {self.stream}: the reference is that of {reference.stream}; pass its own"
            )
        if stamp.time <= self.time:
            raise DataError(
                f"stream {self.stream}: outcomes at {moment(stamp.time)} after what was seen at "
                f"{moment(self.time)}; pass all of one moment together, and rebuild where one came late"
            )
        x = stamp.value
        alarm = self.alarm.after(
            stamp.time, x, floor=reference.floor, bets=reference.alarm_bets, every=reference.every,
            yearly=False, at=1.0 / ALPHA,
        )  # fmt: skip
        watch = self.watch.after(
            stamp.time, x, floor=reference.estimate, bets=reference.watch_bets, every=reference.every,
            yearly=True, at=reference.watch_threshold,
        )  # fmt: skip
        return replace(self, alarm=alarm, watch=watch, time=stamp.time, outcomes=self.outcomes + 1)

    def acknowledged(self, time: int) -> StreamState:
        """Return the state after somebody took note at `time` (UTC ns) of what was raised; else the same.

        DataError where outcomes after `time` were seen already.
        """
        if time < self.time:
            raise DataError(
                f"stream {self.stream}: acknowledged at {moment(time)}, before the last outcome at "
                f"{moment(self.time)}; acknowledge now"
            )
        return replace(self, alarm=self.alarm.acknowledged(), watch=self.watch.acknowledged(), time=time)

    def restarted(self, time: int) -> StreamState:
        """Return the state without wealth, raised or not, from `time` (UTC ns) on."""
        return replace(self, alarm=self.alarm.restarted(), watch=self.watch.acknowledged(), time=time)


def rebuilt(
    bundle: str, reference: StreamReference, stamps: Iterable[Stamp], acknowledged: Iterable[int] = ()
) -> StreamState:
    """Return the state after all stamps, in any order, and acknowledgements (UTC ns): equal to one kept.

    An acknowledgement comes after the outcomes of its own moment.
    """
    events: list[tuple[int, int, Stamp | None]] = [(each.time, 0, each) for each in stamps]
    events += [(time, 1, None) for time in acknowledged]
    state = StreamState.new(bundle, reference)
    for time, _, stamp in sorted(events, key=lambda each: each[:2]):
        state = state.acknowledged(time) if stamp is None else state.after(stamp, reference)
    return state


def month_of(time: int) -> int:
    """Return the calendar month (UTC) of a stamp in ns, counted from January 1970.

    >>> month_of(1_709_931_600_000_000_000)
    650
    """
    return int(np.datetime64(time, "ns").astype("datetime64[M]").astype(np.int64))


def moment(time: int) -> str:
    """Return a stamp in UTC ns as text, to the second.

    >>> moment(1_709_931_600_000_000_000)
    '2024-03-08 21:00:00 UTC'
    """
    return f"{np.datetime_as_string(np.datetime64(time, 'ns'), unit='s').replace('T', ' ')} UTC"
