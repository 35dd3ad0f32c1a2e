"""The regime that a running desk is in: two states of volatility by a frozen filter, times the trend.

Parameters were fitted when the model was validated and do not change here, so that the probability after a
session depends on sessions up to it: a Hamilton filter, never its smoother. Both parts have hysteresis, which
keeps a desk from changing regimes every other day. What comes later changes no bit of what came before.

Research fits the parameters (`research.statistics.markov.fitted_filter`) and shows the same filter. The
feature `regime` is another thing: a pure function of a window, which strategies may read.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from lockstep.errors import DataError
from lockstep.identity import json_digest
from lockstep.metrics.arrays import Floats, Integers
from lockstep.settings import Settings

NAMES = ("calm, down", "calm, up", "turbulent, down", "turbulent, up")
"""Names of the codes 0 to 3; -1 is not known yet."""

UNKNOWN = -1
_LARGEST = 1e100


class VolatilityFilter(Settings):
    """Two states of returns, calm and turbulent, each normal; frozen.

    mean, deviation   of a session's return in each state, calm first; deviations > 0, rising
    stay              probability of staying in each state from one session to the next, (0, 1)

    Hamilton, A New Approach to the Economic Analysis of Nonstationary Time Series and the Business Cycle,
    Econometrica 57 (1989), pp. 357-384, equations 4.1 to 4.10: predict, then Bayes.

    >>> calm = VolatilityFilter(mean=(0.0, 0.0), deviation=(0.01, 0.03), stay=(0.98, 0.95))
    >>> round(calm.start, 3), round(calm.next(calm.start, 0.06), 3), round(calm.next(calm.start, 0.0), 3)
    (0.286, 1.0, 0.118)
    """

    mean: tuple[float, float]
    deviation: tuple[float, float]
    stay: tuple[float, float]

    @model_validator(mode="after")
    def _in_range(self) -> VolatilityFilter:
        if not all(math.isfinite(each) for each in (*self.mean, *self.deviation)):
            raise ValueError("mean and deviation must be finite; fit them again")
        if not 0.0 < self.deviation[0] < self.deviation[1]:
            raise ValueError(f"deviation {self.deviation}: needs 0 < calm < turbulent; fit them again")
        if not all(0.0 < each < 1.0 for each in self.stay):
            raise ValueError(f"stay {self.stay}: must lie inside (0, 1); fit it again")
        return self

    @property
    def start(self) -> float:
        """The probability of turbulence before any return: its share of all sessions in the long run."""
        leaves, enters = 1.0 - self.stay[1], 1.0 - self.stay[0]
        return enters / (enters + leaves)

    def next(self, turbulent: float, value: float) -> float:
        """Return the probability of turbulence after one more return; of NaN: before it came."""
        predicted = turbulent * self.stay[1] + (1.0 - turbulent) * (1.0 - self.stay[0])
        if math.isnan(value):
            return predicted
        # As logarithms, and with a bound: a return far out in both states has a density of 0 in each.
        value = max(-_LARGEST, min(value, _LARGEST))
        calm, wild = (
            -0.5 * ((value - mean) / deviation) ** 2 - math.log(deviation)
            for mean, deviation in zip(self.mean, self.deviation, strict=True)
        )
        highest = max(calm, wild)
        odds = predicted * math.exp(wild - highest)
        return odds / (odds + (1.0 - predicted) * math.exp(calm - highest))

    def probabilities(self, returns: Any) -> Floats:
        """Return the filtered probability of turbulence after each return, float64 (n,), [0, 1].

        returns   float64 (n,), NaN: none in that session. DataError where one is infinite.
        """
        found, turbulent = [], self.start
        for value in _finite(returns).tolist():
            # The first return is of the long run's state; there is nothing to predict it from.
            turbulent = self.next(turbulent, value)
            found.append(turbulent)
        return np.array(found, dtype=np.float64)


class RegimeSettings(Settings):
    """What counts as a change of regime, and when one is a trigger.

    enter, leave   probability of turbulence at which it begins and ends, leave <= enter
    bars           sessions of the trend; turn: its size in deviations at which it turns up, or down at -turn
    rare           share of the training sessions below which a regime is rare
    lasting        sessions running after which a rare regime is a trigger
    """

    enter: float = Field(default=0.8, gt=0, lt=1)
    leave: float = Field(default=0.2, gt=0, lt=1)
    bars: int = Field(default=200, ge=2)
    turn: float = Field(default=0.25, ge=0)
    rare: float = Field(default=0.05, ge=0, le=1)
    lasting: int = Field(default=20, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> RegimeSettings:
        if self.leave > self.enter:
            raise ValueError(f"leave {self.leave:g} is above enter {self.enter:g}; swap them")
        return self


class RegimeReference(Settings):
    """What was frozen when a model was validated: filter, settings, and how common each regime was.

    shares     of the training sessions with a known regime, one for each of `NAMES`; they sum to 1
    sessions   with a known regime
    """

    volatility: VolatilityFilter
    settings: RegimeSettings = RegimeSettings()
    shares: tuple[float, float, float, float]
    sessions: int = Field(ge=1)

    @classmethod
    def of(
        cls, returns: Any, volatility: VolatilityFilter, settings: RegimeSettings | None = None
    ) -> RegimeReference:
        """Count the regimes of the training sessions; DataError where they are too few for a trend."""
        chosen = settings or RegimeSettings()
        codes = regime_codes(returns, volatility, chosen)
        known = codes[codes != UNKNOWN]
        if not known.size:
            raise DataError(
                f"regimes: {codes.size} returns, a trend needs {chosen.bars}; give the whole training range"
            )
        low, fell, wild, soared = (float((known == code).mean()) for code in range(len(NAMES)))
        return cls(
            volatility=volatility, settings=chosen, shares=(low, fell, wild, soared), sessions=known.size
        )

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all of it."""
        return json_digest(self.model_dump(mode="json"))


class RegimeWatch:
    """Follows the regime from session to session.

    It starts with the sessions before the desk's, so that the trend is known at once, and then takes one
    return after the other. The regime is unknown until there are `bars` returns.
    """

    def __init__(self, volatility: VolatilityFilter, settings: RegimeSettings) -> None:
        self._volatility, self._settings = volatility, settings
        self._returns: deque[float] = deque(maxlen=settings.bars)
        self.turbulence = volatility.start
        self._turbulent = False
        self._up: bool | None = None
        self.code = UNKNOWN
        self.lasted = 0

    def observe(self, value: float) -> int:
        """Take a session's return, NaN where there is none, and return the code of the regime after it.

        DataError for an infinite return. `turbulence` is the filtered probability, `lasted` for how many
        sessions the regime has been the same.
        """
        if math.isinf(value):
            raise DataError(f"regimes: return {value}; give a finite number, or NaN for none")
        self.turbulence = self._volatility.next(self.turbulence, value)
        if self.turbulence >= self._settings.enter:
            self._turbulent = True
        elif self.turbulence <= self._settings.leave:
            self._turbulent = False
        if not math.isnan(value):
            self._returns.append(value)
        self._turn()
        before = self.code
        if self._up is not None:
            self.code = 2 * self._turbulent + self._up
        self.lasted = self.lasted + 1 if self.code == before else 1
        return self.code

    def _turn(self) -> None:
        """The trend is the change over its deviation, as in the feature `regime`; in between it stays."""
        count = self._settings.bars
        if len(self._returns) < count:
            return
        # Exact sums do not depend on where the window began.
        change = math.fsum(self._returns)
        centre = change / count
        deviation = math.sqrt(math.fsum((each - centre) ** 2 for each in self._returns) / (count - 1))
        limit = self._settings.turn * deviation * math.sqrt(count)
        if self._up is None or abs(change) >= limit:
            self._up = change > 0.0 if change else bool(self._up)


def regime_codes(returns: Any, volatility: VolatilityFilter, settings: RegimeSettings) -> Integers:
    """Return the code of the regime after each return, int64 (n,), -1 while the trend is not known.

    returns   float64 (n,), of sessions, NaN: none. DataError where one is infinite.

    >>> calm = VolatilityFilter(mean=(0.0, 0.0), deviation=(0.01, 0.03), stay=(0.98, 0.95))
    >>> steps = [0.005, -0.004, 0.006, -0.09, -0.1, 0.08]
    >>> [NAMES[code] for code in regime_codes(steps, calm, RegimeSettings(bars=3))[2:]]
    ['calm, up', 'turbulent, down', 'turbulent, down', 'turbulent, down']
    """
    watch = RegimeWatch(volatility, settings)
    return np.array([watch.observe(value) for value in _finite(returns).tolist()], dtype=np.int64)


def regime_trigger(watch: RegimeWatch, reference: RegimeReference) -> str:
    """Return why the regime calls for a retraining, in one sentence; empty where it does not.

    It does where a regime of less than `rare` of the training sessions has lasted for `lasting` sessions.
    """
    settings = reference.settings
    if watch.code == UNKNOWN or watch.lasted < settings.lasting:
        return ""
    share = reference.shares[watch.code]
    if share >= settings.rare:
        return ""
    return (
        f"regime: {NAMES[watch.code]} for {watch.lasted} sessions; it was {share:.1%} of the "
        f"{reference.sessions:,} training sessions, below {settings.rare:.0%}; train a challenger that "
        "knows it"
    )


def _finite(returns: Any) -> Floats:
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1:
        raise DataError(f"regimes: returns of shape {values.shape}; give one for each session")
    if np.isinf(values).any():
        place = int(np.flatnonzero(np.isinf(values))[0])
        raise DataError(f"regimes: return {values[place]} at {place}; give finite numbers, or NaN for none")
    return values
