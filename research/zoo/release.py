"""The release rule: a challenger has to win on a tail of the training bars that its loop never scores.

Both are fitted on the bars before the tail and judged on it. The paired differences of loss have a standard
error that allows for overlapping labels (HAC, Newey and West 1987, lag = horizon). The k-th attempt on a
family of instruments and a task needs a one-sided p of at most .05 x 6 / (pi^2 k^2), for ever: the levels of
all attempts sum to 5 %.

The challenger has to beat the champion and a constant, the mean label, each at that level. Where there is
nothing to be learned a smaller model beats a larger one, and truly so; none beats the constant. So on noise
nothing is released, whatever the champion is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import t as student

from lockstep.errors import TrainingError
from lockstep.market.bars import Bars, Floats
from research.splits.labels import Mask
from research.zoo.fitting import OutOfFold, fit, judged_on
from research.zoo.labels import average_true_range
from research.zoo.learning import LearningBars
from research.zoo.model_spec import ModelSpec

TAIL_SHARE = 0.2
LEVEL = 0.05
LEAST_TAIL = 100
_YEAR = 252


def level(attempt: int) -> float:
    """Return the level of the k-th attempt, from 1; all of them sum to 5 %.

    >>> round(level(1), 5), round(sum(level(each) for each in range(1, 100_000)), 4)
    (0.0304, 0.05)
    """
    return LEVEL * 6.0 / (math.pi**2 * attempt**2)


def tail_begin(bars: LearningBars, share: float = TAIL_SHARE) -> int:
    """Return the position of the first bar of the tail, the last `share` of the bars that are learned from.

    TrainingError where the tail would be shorter than 100 bars.
    """
    size = bars.size - bars.first
    tail = round(size * share)
    if tail < LEAST_TAIL:
        raise TrainingError(
            f"{bars.key}: {size} bars to learn from leave a tail of {tail}, at least {LEAST_TAIL} are needed "
            "to test a release on; give more bars"
        )
    return bars.size - tail


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Whether losses are smaller than others on the same n bars.

    difference   mean of the other losses less these: above 0 where these are smaller
    z            over its standard error; p_value: one-sided, NaN where it cannot be worked out
    """

    n: int
    difference: float
    z: float
    p_value: float

    @classmethod
    def of(cls, loss: Floats, other: Floats, lag: int) -> Self:
        """Test paired losses, float64 (n,) each, with a HAC error of `lag` bars, see `standard_error`.

        >>> noise = np.random.default_rng(1).normal(size=(2, 500))
        >>> PairedTest.of(noise[0] ** 2, noise[1] ** 2 + 1.0, lag=5).p_value < 1e-6
        True
        """
        found = other - loss
        n, mean = found.size, float(found.mean()) if found.size else math.nan
        error = standard_error(found, lag)
        if n < LEAST_TAIL or not error > 0.0:
            return cls(n=n, difference=mean, z=math.nan, p_value=math.nan)
        z = mean / error
        return cls(n=n, difference=mean, z=z, p_value=float(student.sf(z, n - 1)))


def standard_error(values: Floats, lag: int) -> float:
    """Return the error of the mean of values, float64 (n,), correlated over `lag` steps; NaN for none.

    The larger one of Newey and West's and of Hansen and Hodrick's (1980), whose weights are 1: with falling
    weights alone the error of labels that overlap by `lag` bars is 15 % too small.
    """
    n = values.size
    if n < 2:
        return math.nan
    centred = values - values.mean()
    falling = flat = float(centred @ centred)
    for step in range(1, min(lag, n - 1) + 1):
        covariance = 2.0 * float(centred[step:] @ centred[:-step])
        falling += (1.0 - step / (lag + 1.0)) * covariance
        flat += covariance
    # The correction for the mean, as in a variance of n - 1.
    return math.sqrt(max(falling, flat, 0.0) / n / (n - 1))


@dataclass(frozen=True, kw_only=True)
class TailTest:
    """A challenger on the tail, against the champion and against a constant.

    loss, champion_loss   their mean losses there; linear: that of a linear score of the challenger's features
    by_regime             how much smaller the challenger's mean loss is, on `calm` and `turbulent` bars
    """

    champion: PairedTest
    constant: PairedTest
    loss: float
    champion_loss: float
    linear: float
    by_regime: Mapping[str, float]

    @property
    def p_value(self) -> float:
        """The larger of both p-values: it has to win both; NaN where one is."""
        return max(self.champion.p_value, self.constant.p_value, key=lambda each: (math.isnan(each), each))

    def wins(self, alpha: float) -> bool:
        """Whether the challenger is released at a level."""
        return self.p_value <= alpha


def on_tail(
    bars: LearningBars, challenger: ModelSpec, champion: ModelSpec, share: float = TAIL_SHARE
) -> TailTest:
    """Fit both before the tail of these bars, and judge both on it, at the bars that both can answer."""
    begin = tail_begin(bars, share)
    one, other = _losses(bars, challenger, begin), _losses(bars, champion, begin)
    both = np.intersect1d(one.row, other.row)
    at, there = np.searchsorted(one.row, both), np.searchsorted(other.row, both)
    loss, against = one.loss[at], other.loss[there]
    rough = turbulent(bars.bars)[both]
    return TailTest(
        champion=PairedTest.of(loss, against, challenger.horizon),
        constant=PairedTest.of(loss, one.constant[at], challenger.horizon),
        loss=_mean(loss),
        champion_loss=_mean(against),
        linear=_mean(_losses(bars, linear_score(challenger), begin).loss),
        by_regime={
            "calm": _mean((against - loss)[~rough]),
            "turbulent": _mean((against - loss)[rough]),
        },
    )


def linear_score(spec: ModelSpec) -> ModelSpec:
    """Return a linear model of the same question and features: what a weighted sum of them is worth."""
    return ModelSpec(task=spec.task, horizon=spec.horizon, features=spec.features, estimator="logistic")


def turbulent(bars: Bars) -> Mask:
    """Return whether the ATR of each bar is above its median over the last 252 bars, bool (n,)."""
    true = average_true_range(bars)
    found = np.zeros(true.size, dtype=np.bool_)
    if true.size > _YEAR:
        middle = np.median(sliding_window_view(true, _YEAR), axis=1)
        found[_YEAR - 1 :] = true[_YEAR - 1 :] > middle
    return found


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else math.nan


def _losses(bars: LearningBars, spec: ModelSpec, begin: int) -> OutOfFold:
    before, whole = bars.until(begin).samples(spec), bars.samples(spec)
    asked = np.flatnonzero(whole.row >= begin)
    return judged_on(
        spec, fit(spec, before), before, np.arange(before.row.size), whole.row[asked], asked, whole
    )
