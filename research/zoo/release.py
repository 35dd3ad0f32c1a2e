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
from scipy.stats import norm
from scipy.stats import t as student

from lockstep.errors import TrainingError
from lockstep.market.bars import Floats
from research.zoo.factor_score import factor_score, linear_score, mean, means_by_regime
from research.zoo.fitting import OutOfFold, ended_before, fit, judged_on
from research.zoo.learning import LabelledBars, LearningBars, Rows
from research.zoo.model_spec import ModelSpec

TAIL_SHARE = 0.2
LEVEL = 0.05
LEAST_TAIL = 100


def level(attempt: int) -> float:
    """Return the level of the k-th attempt, from 1; all of them sum to 5 %.

    >>> round(level(1), 5), round(sum(level(each) for each in range(1, 100_000)), 4)
    (0.0304, 0.05)
    """
    return LEVEL * 6.0 / (math.pi**2 * attempt**2)


def worth_an_attempt(promised: float, attempt: int, power: float, least: float = -math.inf) -> bool:
    """Return whether the tail should show a difference in a share `power` of the cases, 0: in whatever share.

    promised   z that the tail should show, by losses out of fold; NaN is none
    attempt    its number, which says what level it has to reach, see `level`
    least      to promise more than an attempt that failed; it counts where `power` is above 0

    >>> worth_an_attempt(2.8, 1, 0.8), worth_an_attempt(2.8, 2, 0.8), worth_an_attempt(0.1, 2, 0.0)
    (True, False, True)
    """
    if power == 0.0:
        return not math.isnan(promised)
    return promised >= least and float(norm.cdf(promised - norm.isf(level(attempt)))) >= power


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
    factor, factor_loss   the factor score of the task, in words, and its mean loss, see `factor_score.py`
    by_regime             by market regime, how much smaller the challenger's mean loss is; NaN: not one bar
    """

    champion: PairedTest
    constant: PairedTest
    loss: float
    champion_loss: float
    linear: float
    factor: str
    factor_loss: float
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
    both, at, there = np.intersect1d(one.row, other.row, return_indices=True)
    loss, against = one.loss[at], other.loss[there]
    samples = bars.samples(challenger)
    factor = factor_score(bars, challenger, samples, *_apart(samples, challenger.horizon, begin))
    return TailTest(
        champion=PairedTest.of(loss, against, challenger.horizon),
        constant=PairedTest.of(loss, one.constant[at], challenger.horizon),
        loss=mean(loss),
        champion_loss=mean(against),
        linear=mean(_losses(bars, linear_score(challenger), begin).loss),
        factor=factor.name,
        factor_loss=mean(factor.loss),
        by_regime=means_by_regime(bars, both, against - loss),
    )


def _losses(bars: LearningBars, spec: ModelSpec, begin: int) -> OutOfFold:
    samples = bars.samples(spec)
    learned, part = _apart(samples, spec.horizon, begin)
    return judged_on(spec, fit(spec, samples, learned), samples, learned, part)


def _apart(samples: LabelledBars, horizon: int, begin: int) -> tuple[Rows, Rows]:
    """Return the positions of the samples whose labels end before the tail, and of those in it."""
    return ended_before(samples, horizon, begin), np.flatnonzero(samples.row >= begin)
