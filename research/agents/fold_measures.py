"""What a spec did, fold by fold and regime by regime, from its fills and its equity.

A spec is traced once; its sessions and trades are shared out. A session belongs to the fold that it lies in,
a trade to the fold in which it ended, and to the regime that was known when it was decided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from lockstep.compiled import kernel
from lockstep.errors import ConfigError
from lockstep.market.bars import Floats, Stamps
from lockstep.market.dates import DateRange
from lockstep.market.sessions import Dates
from lockstep.strategy.matching import MULTIPLIER, SLIPPAGE, TARGET_FILL, Costs, fee
from research.agents.proposal import FoldMeasures
from research.statistics.regimes import REGIMES
from research.sweep.kernels import FILL_BAR, FILL_DECISION, FILL_KIND, FILL_PRICE, FILL_QUANTITY

FOLDS = 6
LEAST_FOLDS = 4
"""Folds that must have enough trades, of six; of another number as large a share, rounded up."""

LEAST_TRADES = 30
UNJUDGED = 0.4
"""Share of the sessions, the oldest, on which models are trained and nothing is judged."""

(TRADES, COSTS, GAINS, HELD, EXPOSED) = range(5)
_SUMS = 5
_CODES = tuple(REGIMES)
# Returns that vary by less than this part of their size vary by rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionFolds:
    """How the sessions of a training range are cut: a first part that nothing is judged on, then equal folds.

    days    datetime64[D] (S,): the sessions, rising
    edges   int64 (folds + 1,): the first session of each fold, and S

    >>> folds = SessionFolds.of(np.arange("2020-01-01", "2020-01-21", dtype="M8[D]"))
    >>> folds.edges.tolist(), str(folds.dates(0)), str(folds.before(0))
    ([8, 10, 12, 14, 16, 18, 20], '2020-01-09 to 2020-01-10', 'the start to 2020-01-08')
    """

    days: Dates
    edges: Stamps

    @classmethod
    def of(cls, days: Dates, *, folds: int = FOLDS, unjudged: float = UNJUDGED) -> Self:
        """Cut these sessions; ConfigError where a fold would have fewer than two."""
        each = int(days.size * (1.0 - unjudged) + 1e-9) // folds
        if each < 2:
            raise ConfigError(
                f"{days.size:,} sessions of training: too few for {folds} walk-forward folds; give more bars"
            )
        return cls(days=days, edges=days.size - each * np.arange(folds, -1, -1, dtype=np.int64))

    def __len__(self) -> int:
        return self.edges.size - 1

    def dates(self, number: int) -> DateRange:
        """Return the first and the last session of a fold."""
        first, last = self.days[self.edges[number]], self.days[self.edges[number + 1] - 1]
        return DateRange.of(str(first), str(last))

    def before(self, number: int) -> DateRange:
        """Return what a model that is judged in a fold may be trained on, but for its embargo."""
        return DateRange.of(end=str(self.days[self.edges[number] - 1]))


@kernel
def share_out(
    fills: Floats,
    session: Stamps,
    edges: Stamps,
    codes: Floats,
    costs: Costs,
    inside: Stamps,
    sums: Floats,
    regimes: Floats,
    whole: Floats,
) -> None:
    """Share out the trades of a run over n bars in S sessions; all but the inputs is zeroed by the caller.

    fills     float64 (k, 6), see `research/sweep/kernels.py`: entries and exits in turn
    session   int64 (n,): ordinal of each bar's session
    edges     int64 (folds + 1,), see `SessionFolds`
    codes     float64 (n,): the regime that is known at each bar, NaN for none
    inside    int64 (S + 1,): room
    sums      float64 (folds, 5): trades, costs (USD), what those earned before costs that gained (USD), bars
              held, sessions with a position
    regimes   float64 (4, 3): trades, their results (USD) and the squares of these, by place in `REGIMES`
    whole     float64 (2,): result of all trades and of the best one (USD)
    """
    folds, n = edges.size - 1, session.size
    for first in range(0, fills.shape[0], 2):
        entered, closed = int(fills[first, FILL_BAR]), first + 1 < fills.shape[0]
        left = int(fills[first + 1, FILL_BAR]) if closed else n - 1
        inside[session[entered]] += 1
        inside[session[left] + 1] -= 1
        last = session[left]
        if not closed or last < edges[0]:
            continue
        fold = 0
        while last >= edges[fold + 1]:
            fold += 1
        quantity, bought, sold = (
            fills[first, FILL_QUANTITY], fills[first, FILL_PRICE], fills[first + 1, FILL_PRICE],
        )  # fmt: skip
        slipped = 1.0 if fills[first + 1, FILL_KIND] == TARGET_FILL else 2.0
        paid = fee(quantity, bought, costs) + fee(quantity, sold, costs)
        result = (sold - bought) * quantity * costs[MULTIPLIER] - paid
        paid += slipped * costs[SLIPPAGE] * abs(quantity) * costs[MULTIPLIER]
        before = result + paid
        sums[fold, TRADES] += 1.0
        sums[fold, COSTS] += paid
        sums[fold, GAINS] += before if before > 0.0 else 0.0
        sums[fold, HELD] += max(left - entered, 1)
        whole[0] += result
        whole[1] = max(whole[1], result)
        code = codes[int(fills[first, FILL_DECISION])]
        for place in range(4):
            if code == _CODES[place]:
                regimes[place, 0] += 1.0
                regimes[place, 1] += result
                regimes[place, 2] += result * result
    held, fold = 0, 0
    for number in range(edges[folds]):
        held += inside[number]
        while fold < folds and number >= edges[fold + 1]:
            fold += 1
        if held > 0 and number >= edges[0]:
            sums[fold, EXPOSED] += 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedOut:
    """The sums of a run; see `share_out`. changes: float64 (folds, sessions), results over the capital."""

    sums: Floats
    changes: Floats
    regimes: Floats
    whole: Floats

    @classmethod
    def of(
        cls, fills: Floats, equity: Floats, *, session: Stamps, edges: Stamps, codes: Floats,
        costs: Costs, capital: float,
    ) -> Self:  # fmt: skip
        """Share out a run over bars, of equal folds; `equity` is that at each bar, USD."""
        folds, sessions = edges.size - 1, int(session[-1]) + 1
        sums, regimes, whole = np.zeros((folds, _SUMS)), np.zeros((4, 3)), np.zeros(2)
        inside = np.zeros(sessions + 1, dtype=np.int64)
        share_out(fills, session, edges, codes, costs, inside, sums, regimes, whole)
        marks = equity[np.searchsorted(session, np.arange(edges[0] - 1, sessions), side="right") - 1]
        if edges[0] == 0:
            marks[0] = capital
        return cls(
            sums=sums, changes=(np.diff(marks) / capital).reshape(folds, -1), regimes=regimes, whole=whole
        )

    @classmethod
    def together(cls, parts: Sequence[SharedOut]) -> SharedOut:
        """Put folds that were run one by one behind each other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            sums=np.concatenate([each.sums for each in parts]),
            changes=np.concatenate([each.changes for each in parts]),
            regimes=np.sum([each.regimes for each in parts], axis=0),
            whole=np.array([sum(each.whole[0] for each in parts), max(each.whole[1] for each in parts)]),
        )

    def folds(self, per_year: float) -> tuple[FoldMeasures, ...]:
        """Return the measures of each fold; `per_year` sessions are a year."""
        means, ratios = self.changes.mean(axis=1), sharpe_ratios(self.changes, per_year)
        sessions = self.changes.shape[1]
        return tuple(
            FoldMeasures(
                number=number,
                trades=int(sums[TRADES]),
                sharpe=ratio,
                result=mean,
                cost_share=sums[COSTS] / sums[GAINS] if sums[GAINS] > 0.0 else math.nan,
                exposure=sums[EXPOSED] / sessions,
                holding=sums[HELD] / sums[TRADES] if sums[TRADES] else math.nan,
            )
            for number, (sums, mean, ratio) in enumerate(
                zip(self.sums.tolist(), means.tolist(), ratios.tolist(), strict=True)
            )
        )

    def by_regime(self, years: Mapping[str, float]) -> dict[str, float]:
        """Return the Sharpe ratio of the trades decided in each regime, scaled to a year spent in it.

        years   that each regime lasted. NaN for fewer than two trades, or results that are all the same
        """
        found = {}
        for name, (trades, total, squares) in zip(REGIMES.values(), self.regimes.tolist(), strict=True):
            spread = squares - total * total / trades if trades > 1 else 0.0
            if not spread > _ROUNDING * squares or not years[name] > 0.0:
                found[name] = math.nan
                continue
            deviation = math.sqrt(spread / (trades - 1))
            found[name] = total / trades / deviation * math.sqrt(trades / years[name])
        return found

    @property
    def largest(self) -> float:
        """Share of the best trade in the whole result, NaN where that is no gain."""
        total, best = self.whole.tolist()
        return best / total if total > 0.0 else math.nan


def sharpe_ratios(changes: Floats, per_year: float) -> Floats:
    """Return the annual Sharpe ratio of each row of session results, float64 (folds, sessions).

    NaN where they do not vary; as `lockstep.metrics.sharpe` for each row.

    >>> sharpe_ratios(np.array([[0.01, -0.01, 0.03], [0.0, 0.0, 0.0]]), 252.0).round(2)
    array([7.94,  nan])
    """
    deviations = changes.std(axis=1, ddof=1)
    varies = deviations > _ROUNDING * (1.0 + np.abs(changes).max(axis=1))
    scaled = changes.mean(axis=1) * math.sqrt(per_year)
    found: Floats = np.divide(scaled, deviations, out=np.full(len(changes), math.nan), where=varies)
    return found


def fitness_of(folds: Sequence[FoldMeasures], *, least_trades: int = LEAST_TRADES) -> tuple[float, float]:
    """Return fitness and mean of the folds' Sharpe ratios; one without a result counts as 0.

    Fitness is the mean less one standard error, NaN where fewer than 4 of 6 folds have enough trades.
    """
    ratios = np.array([0.0 if math.isnan(each.sharpe) else each.sharpe for each in folds])
    mean = float(ratios.mean())
    enough = sum(each.trades >= least_trades for each in folds)
    if enough * FOLDS < LEAST_FOLDS * len(folds):
        return math.nan, mean
    return mean - float(ratios.std(ddof=1)) / math.sqrt(len(folds)), mean
