"""Champion and challenger on the same signals: better, not worse, worse, or undecided, looked at any day.

Both score every signal of a shadow period, whoever would have traded it. What is tested is the difference of
their scores, challenger minus champion. Bets on it are an e-process: P(it ever reaches 20) <= 1 / 20 where
the challenger is no better, whenever and however often somebody looks (Waudby-Smith and Ramdas (2024),
Estimating means of bounded random variables by betting, JRSS B 86, 1-27).

The size that a difference can have is known before the outcome: it is small where both say nearly the same.
Bets are shares of the largest such size so far, which makes them as large as they may be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.metrics.arrays import Floats

# Shares of the largest size of a difference; below 1, so that no outcome loses everything.
BETS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
# Evidence at which the challenger is better.
BETTER_AT = 20.0
_HALVINGS = 40


class ChallengerVerdict(StrEnum):
    """What a shadow period says of a challenger."""

    BETTER = "better"
    NOT_WORSE = "not worse"
    WORSE = "worse"
    UNDECIDED = "undecided"

    @property
    def is_promotable(self) -> bool:
        """Whether a challenger of which this is known may take the champion's place."""
        return self in (ChallengerVerdict.BETTER, ChallengerVerdict.NOT_WORSE)


@dataclass(frozen=True, kw_only=True)
class PairedScore:
    """What both said of one signal, scored by its outcome; higher is better.

    time    of the outcome, UTC ns
    champion, challenger   scores, [0, 1]
    bound   the largest size that their difference could have had, known before the outcome, (0, 1]; 0 where
            both said the same
    """

    time: int
    champion: float
    challenger: float
    bound: float = 1.0

    @property
    def difference(self) -> float:
        """Return challenger minus champion."""
        return self.challenger - self.champion


@dataclass(frozen=True, kw_only=True)
class ChampionComparison:
    """What a shadow period says.

    verdict   `better`: the e-value reached 20; `not worse`: with `level` the mean difference is above
              -margin; `worse`: below it; `undecided`, which is no evidence that it is not worse
    e_value   the largest that was reached, for a better challenger; mean, low, high: of the difference, with
              bounds that hold at all moments at once; NaN without a signal
    """

    verdict: ChallengerVerdict
    e_value: float
    mean: float
    low: float
    high: float
    signals: int
    margin: float
    level: float

    @property
    def sentence(self) -> str:
        """What was found, in one line."""
        if not self.signals:
            return "challenger: no signal has an outcome in the shadow period yet; wait"
        return (
            f"challenger, {self.verdict}: score {self.mean:+.4f} a signal against the champion over "
            f"{self.signals} signals, {self.level:.0%} bounds {self.low:+.4f} to {self.high:+.4f}, margin "
            f"{self.margin:g}; evidence that it is better {self.e_value:.2f} of {BETTER_AT:g}"
        )


def score(probability: float, won: bool) -> float:
    """Return 1 - (probability - won)^2, [0, 1]: the Brier score, turned round; DataError outside [0, 1].

    >>> score(0.75, True)
    0.9375
    """
    if not 0.0 <= probability <= 1.0:
        raise DataError(f"probability {probability}: must lie in [0, 1]; mend the model's output")
    return 1.0 - (probability - float(won)) ** 2


def paired(time: int, champion: float, challenger: float, *, won: bool) -> PairedScore:
    """Return the scores of two probabilities of one signal, with the largest difference that was possible.

    >>> found = paired(1, 0.5, 0.75, won=True)
    >>> found.difference, found.bound
    (0.1875, 0.3125)
    """
    total = champion + challenger
    return PairedScore(
        time=time,
        champion=score(champion, won),
        challenger=score(challenger, won),
        bound=abs(champion - challenger) * max(total, 2.0 - total),
    )


def compare(scores: Sequence[PairedScore], *, margin: float, level: float = 0.95) -> ChampionComparison:
    """Return what paired scores say of a challenger, by time; order of `scores` changes nothing.

    margin   how much worse a mean score counts as not worse, > 0; declared before the shadow period
    level    of the bounds, (0, 1)

    ConfigError for a margin or level outside its range, DataError for a score outside [0, 1] or a difference
    beyond its bound.
    """
    if not margin > 0.0 or not 0.0 < level < 1.0:
        raise ConfigError(
            f"margin {margin} must be positive, level {level} must lie in (0, 1); 0.95 is usual"
        )
    ordered = sorted(scores, key=lambda each: (each.time, each.challenger, each.champion, each.bound))
    difference = np.array([each.difference for each in ordered], dtype=np.float64)
    bound = np.array([each.bound for each in ordered], dtype=np.float64)
    _require_possible(ordered, difference, bound)
    if not difference.size:
        return ChampionComparison(
            verdict=ChallengerVerdict.UNDECIDED, e_value=1.0, mean=math.nan, low=math.nan, high=math.nan,
            signals=0, margin=margin, level=level,
        )  # fmt: skip
    largest = np.maximum.accumulate(bound)
    e_value = evidence(difference, largest, 0.0)
    low = _lowest(difference, largest, level)
    high = -_lowest(-difference, largest, level)
    return ChampionComparison(
        verdict=_verdict(e_value, low, high, margin),
        e_value=e_value,
        mean=float(difference.mean()),
        low=low,
        high=high,
        signals=difference.size,
        margin=margin,
        level=level,
    )


def _verdict(e_value: float, low: float, high: float, margin: float) -> ChallengerVerdict:
    if e_value >= BETTER_AT:
        return ChallengerVerdict.BETTER
    if low > -margin:
        return ChallengerVerdict.NOT_WORSE
    return ChallengerVerdict.WORSE if high < -margin else ChallengerVerdict.UNDECIDED


def evidence(difference: Floats, largest: Floats, mean: float) -> float:
    """Return the largest evidence ever reached that the mean of the difference is above `mean`, >= 1.

    difference   float64 (n,), by time; largest: float64 (n,), the largest size possible so far, rising

    mean over the bets b of prod (1 + b (d - mean) / (largest + |mean|)); a signal of size 0 at mean 0 says
    nothing.
    """
    size = largest + abs(mean)
    share = np.divide(difference - mean, size, out=np.zeros(difference.size), where=size > 0.0)
    paths = np.cumsum(np.log1p(np.outer(BETS, share)), axis=1)
    return max(1.0, float(np.exp(np.minimum(paths, 700.0)).mean(axis=0).max()))


def _lowest(difference: Floats, largest: Floats, level: float) -> float:
    """Return the largest mean that is rejected as too low: the lower bound, in [-1, 1]."""
    needed = 2.0 / (1.0 - level)
    low, high = -1.0, 1.0
    if evidence(difference, largest, low) < needed:
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if evidence(difference, largest, middle) >= needed else (low, middle)
    return low


def _require_possible(ordered: Sequence[PairedScore], difference: Floats, bound: Floats) -> None:
    for each in ordered:
        if not (0.0 <= each.champion <= 1.0 and 0.0 <= each.challenger <= 1.0 and 0.0 <= each.bound <= 1.0):
            raise DataError(
                f"scores {each.champion} and {each.challenger}, bound {each.bound}: must lie in [0, 1]"
            )
    if (np.abs(difference) > bound + 1e-12).any():
        place = int(np.argmax(np.abs(difference) - bound))
        raise DataError(
            f"scores differ by {difference[place]:.4g}, and could differ by {bound[place]:.4g} at most; give "
            "the bound that was known before the outcome"
        )
