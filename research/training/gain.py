"""What a veto adds: the strategy with it, less the strategy without it, at the same exposure.

A veto that lets half of the trades of a good strategy through is left with half of a good strategy, whatever
it knows. So the filtered account is scaled to the mean absolute exposure of the unfiltered one over the same
sessions, and the difference of the two is what is judged: a veto that knows nothing has none to show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from scipy.stats import rankdata

from lockstep.errors import DataError
from lockstep.market.bars import Stamps
from lockstep.metrics import Floats, Integers, sharpe
from research.backtest.account import Account
from research.splits.labels import Mask
from research.statistics.bootstrap import block_length, resampled_means
from research.statistics.sharpe import SharpeSample, probabilistic_sharpe
from research.training.dataset import Dataset

LEVEL = 0.90
_RESAMPLES = 2_000
DRAWS = 999
_ROUNDING = 1e-9
_NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True, eq=False)
class Gain:
    """Filtered minus unfiltered, session by session.

    filtered, unfiltered   accounts over the same sessions, of the same capital
    """

    filtered: Account
    unfiltered: Account

    def __post_init__(self) -> None:
        if not np.array_equal(self.filtered.sessions, self.unfiltered.sessions):
            raise DataError(
                f"gain of a veto: {self.filtered.sessions.size} sessions with it, "
                f"{self.unfiltered.sessions.size} without; run both over the same dates"
            )

    @property
    def comparable(self) -> bool:
        """Whether the veto let a trade through: without one there is no exposure to scale."""
        return self.filtered.exposure > 0

    @property
    def scale(self) -> float:
        """Unfiltered over filtered mean exposure; 1 where the veto let nothing through."""
        return self.unfiltered.exposure / self.filtered.exposure if self.comparable else 1.0

    @cached_property
    def returns(self) -> Floats:
        """Each session's gain over the capital, float64 (s,).

        A veto that lets nothing through loses all that the strategy earns.
        """
        return self.scale * self.filtered.returns - self.unfiltered.returns

    @property
    def annual(self) -> float:
        """Mean gain of a year over the capital."""
        return float(self.returns.mean()) * self.filtered.sessions_per_year

    @property
    def sharpe(self) -> float:
        """Annual Sharpe ratio of the session gains; nan where the veto changed nothing."""
        return sharpe(self.returns, self.filtered.sessions_per_year)

    @cached_property
    def sample(self) -> SharpeSample:
        """The Sharpe ratio of the session gains, per session, with what its error depends on."""
        return SharpeSample.of(self.returns)

    @property
    def p_value(self) -> float:
        """Chance of so high a Sharpe ratio of the gain without any: 1 - PSR(0); nan as `sharpe`."""
        return 1.0 - probabilistic_sharpe(self.sample)

    def interval(self, *, seed: int) -> tuple[float, float]:
        """Return the 90 % interval of `annual`, by the stationary bootstrap of paired sessions.

        Filtered and unfiltered P&L of a session are drawn together, in blocks as long as the dependence of
        their difference asks for. Its lower end is a bound at 5 %, one-sided.
        """
        gains = self.returns.reshape(-1, 1)
        means = resampled_means(gains, block=block_length(gains), resamples=_RESAMPLES, seed=seed)
        low, high = np.quantile(means[:, 0], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low) * self.filtered.sessions_per_year, float(high) * self.filtered.sessions_per_year


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomVeto:
    """What vetoes that draw lots would have made of the same signals, as many of them let through.

    found   USD per bar in the market, net, of the trades that the answers led to; nan without a trade
    drawn   float64 (draws,): the same after the answers of each window changed places at random
    """

    found: float
    drawn: Floats

    @property
    def better(self) -> int:
        """How many of the drawn ones did at least as well; what only rounding tells apart is equal."""
        return int((self.drawn >= self.found - _ROUNDING * abs(self.found)).sum())

    @property
    def p_value(self) -> float:
        """(1 + `better`) / (1 + all), (0, 1]; nan where no trade was let through."""
        return math.nan if math.isnan(self.found) else (1.0 + self.better) / (1.0 + self.drawn.size)


def random_veto(
    data: Dataset, passed: Mask, window: Integers, ends: Stamps, *, seed: int, draws: int = DRAWS
) -> RandomVeto:
    """Let the out-of-sample answers of each outer window change places, and trade what then passes.

    data     the n samples that were answered, in order; passed bool (n,): which the veto let through
    window   int64 (n,): number of the window that answered; ends: of all bars of the traded series, UTC ns

    One position at a time, as the strategy trades: each permutation takes the trades that it would really
    have taken. Measured is P&L over bars in the market, so that a permutation whose signals overlap more and
    which trades less for it is not taken for a better one.
    """
    held = np.maximum(np.searchsorted(ends, data.exit) - np.searchsorted(ends, data.entry), 1)
    accepted = np.tile(passed, (draws + 1, 1))
    random = np.random.default_rng(seed)
    for number in np.unique(window):
        place = np.flatnonzero(window == number)
        accepted[1:, place] = random.permuted(accepted[1:, place], axis=1)
    taken = _taken(data, accepted).astype(np.float64)
    earned, bars = taken @ data.net_pnl, taken @ held.astype(np.float64)
    values = np.divide(earned, bars, out=np.zeros_like(earned), where=bars > 0)
    return RandomVeto(found=float(values[0]) if bars[0] else math.nan, drawn=values[1:])


def _taken(data: Dataset, accepted: Mask) -> Mask:
    """Return what each row of `accepted` (draws, n) would trade; `threshold.taken_trades`, many at once."""
    taken = np.zeros_like(accepted)
    free = np.full(len(accepted), -1, dtype=np.int64)
    for sample, (decision, until) in enumerate(zip(data.decision.tolist(), data.exit.tolist(), strict=True)):
        enters = accepted[:, sample] & (decision >= free)
        taken[:, sample] = enters
        free[enters] = until
    return taken


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Whether winners were given higher chances than losers.

    area     share of pairs of a winner and a loser in which the winner stands higher, ties by half; nan
             where no window has both
    p_value  chance of so high an area without skill: Mann-Whitney, normal approximation with ties
    """

    area: float
    p_value: float


def ranking(chance: Floats, target: Integers, stratum: Integers) -> Ranking:
    """Compare winners with losers within each stratum, the models of different windows not with each other.

    chance    float64 (m,); target int64 (m,) of 0 and 1; stratum int64 (m,): window that answered

    The Mann-Whitney statistics of the strata are added, and so are their variances (van Elteren 1960, with
    equal weights; ties: Lehmann 1975, Nonparametrics, section 1.4). The m trades must not overlap: outcomes
    that share bars are not independent, and the p-value would be too small.
    """
    won, pairs, variance = 0.0, 0.0, 0.0
    for number in np.unique(stratum):
        own = stratum == number
        winners = target[own] == 1
        n, first = int(own.sum()), int(winners.sum())
        second = n - first
        if not first or not second:
            continue
        ranks = rankdata(chance[own])
        _, ties = np.unique(ranks, return_counts=True)
        won += float(ranks[winners].sum()) - first * (first + 1) / 2
        pairs += first * second
        tied = float((ties**3 - ties).sum()) / (n * (n - 1))
        variance += first * second / 12.0 * (n + 1 - tied)
    if not pairs:
        return Ranking(area=math.nan, p_value=math.nan)
    # Equal chances for all: nothing is ranked.
    z = (won - pairs / 2) / math.sqrt(variance) if variance > 0 else 0.0
    return Ranking(area=won / pairs, p_value=1.0 - _NORMAL.cdf(z))
