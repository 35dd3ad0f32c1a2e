"""The outer walk-forward as one answer per sample, and the runs that follow from it.

The model of each window answers for the samples that it did not see. One continuous run takes the answers of
all windows, each with its window's own threshold, so that no trade is cut at a window's edge: it is the desk
that would have retrained at the start of each window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from lockstep.features.feature_registry import FeatureRegistry
from lockstep.market.bars import Bars
from lockstep.market.history import History, SeriesKey
from lockstep.market.sessions import Dates
from lockstep.metrics import Floats, Integers
from lockstep.strategy.veto import Veto
from research.backtest import Span, run_backtest
from research.backtest_result import BacktestResult
from research.sweep import trace
from research.sweep_veto import Chances
from research.training.outcome import TrainingOutcome
from research.validation.labels import Mask
from research.validation.model.account import Account

# The answers replayed are 1 for "at or above its window's threshold" and 0 for "below".
_BETWEEN = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class OutOfSample:
    """Answers to m samples, in order, each by the earliest window that tested it.

    sample                 int64 (m,): rows of the dataset, rising
    window                 int64 (m,): number of the window that answered
    probability            float64 (m,); threshold float64 (m,): that window's
    target, net_pnl        int64 (m,) and float64 (m,), USD, of the dataset
    """

    sample: Integers
    window: Integers
    probability: Floats
    threshold: Floats
    target: Integers
    net_pnl: Floats

    @classmethod
    def of(cls, outcome: TrainingOutcome) -> Self:
        """Collect the answers of all windows."""
        sample = np.concatenate([each.test for each in outcome.windows])
        number = np.concatenate([np.full(each.test.size, each.number) for each in outcome.windows])
        answer = np.concatenate([each.probabilities for each in outcome.windows])
        limit = np.concatenate([np.full(each.test.size, each.threshold) for each in outcome.windows])
        kept, first = np.unique(sample, return_index=True)
        return cls(
            sample=kept,
            window=number[first].astype(np.int64),
            probability=answer[first],
            threshold=limit[first],
            target=outcome.dataset.target[kept],
            net_pnl=outcome.dataset.net_pnl[kept],
        )

    @property
    def passed(self) -> Mask:
        """Which samples the veto lets through, bool (m,)."""
        return self.probability >= self.threshold


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """The strategy with and without the veto over one span."""

    filtered: Account
    unfiltered: Account


class Replay:
    """A model that repeats answers given before: row i of the history gets `answers[i]`.

    Backtrader asks for one bar after the other; `seen` must be told how many of them are over.
    """

    def __init__(self, answers: Floats, first: int) -> None:
        self._answers = answers
        self._first = first
        self._row = first

    def seen(self, bars: int) -> None:
        """Move on to the bar after the first `bars` of the run."""
        self._row = self._first + bars

    def predict_proba(self, features: Any, /) -> Any:
        """Return the answer of the present bar, float64 (1, 2); `features` are not read."""
        chance = float(self._answers[self._row])
        return np.array([[1.0 - chance, chance]])


def traded_bars(outcome: TrainingOutcome, history: History) -> Bars:
    """Return all bars of the traded series."""
    return history.series(SeriesKey(outcome.dataset.symbol, outcome.config.strategy.bars))


def session_dates(outcome: TrainingOutcome, history: History, stamps: Any) -> Dates:
    """Return the session dates of bars of the traded series that end at `stamps` (m,), UTC nanoseconds."""
    bars = traded_bars(outcome, history)
    ends = np.asarray(stamps, dtype=np.int64)
    return history.markets[outcome.dataset.symbol].session.dates(ends, bars.timeframe)


def window_dates(outcome: TrainingOutcome, history: History) -> list[tuple[np.datetime64, np.datetime64]]:
    """Return the first and last session date of each window, inclusive; together they leave out no session.

    A window begins with the decision of its first test sample and ends before the next one, the last with the
    exit of its last trade.
    """
    found = OutOfSample.of(outcome)
    _, first = np.unique(found.window, return_index=True)
    data = outcome.dataset
    starts = session_dates(outcome, history, data.decision[found.sample[first]])
    last = session_dates(outcome, history, data.exit[found.sample].max(keepdims=True))[0]
    ends = [*(starts[1:] - np.timedelta64(1, "D")), last]
    return list(zip(starts, ends, strict=True))


def trading_span(outcome: TrainingOutcome, history: History) -> Span:
    """Return the session dates of the outer walk-forward, from its first decision to its last exit."""
    dates = window_dates(outcome, history)
    return Span(start=str(dates[0][0]), end=str(dates[-1][1]))


def traced_runs(outcome: TrainingOutcome, history: History) -> Runs:
    """Run the strategy with and without the veto over the outer walk-forward, in the sweep."""
    span, config, symbol = trading_span(outcome, history), outcome.config.strategy, outcome.dataset.symbol
    answers = _answers(outcome, history)
    chances = Chances(probability=answers, threshold=_BETWEEN, feature_ids=outcome.dataset.feature_ids)
    market, bars = history.markets[symbol], traded_bars(outcome, history)
    rows = span.select(bars, market)
    traded = bars.rows(rows.start, rows.stop)
    filtered, unfiltered = (
        Account.of_trace(
            trace(config, history, symbol, span=span, chances=each), traded, market, config.capital
        )
        for each in (chances, None)
    )
    return Runs(filtered=filtered, unfiltered=unfiltered)


def backtest(
    outcome: TrainingOutcome, history: History, registry: FeatureRegistry | None = None
) -> BacktestResult:
    """Run the strategy with the windows' answers over the outer walk-forward, in Backtrader."""
    span, config, symbol = trading_span(outcome, history), outcome.config.strategy, outcome.dataset.symbol
    rows = span.select(traded_bars(outcome, history), history.markets[symbol])
    answers = np.nan_to_num(_answers(outcome, history), nan=0.0)
    model = Replay(answers, rows.start)
    veto = Veto(model=model, feature_ids=outcome.dataset.feature_ids, threshold=_BETWEEN)
    return run_backtest(
        config,
        history,
        symbol,
        span=span,
        veto=veto,
        registry=registry,
        seed=outcome.seed,
        on_bar=model.seen,
    )


def _answers(outcome: TrainingOutcome, history: History) -> Floats:
    """Return 1, 0 or NaN (nobody was asked) for every bar of the traded series, float64 (n,)."""
    found = OutOfSample.of(outcome)
    answers = np.full(len(traded_bars(outcome, history)), np.nan)
    answers[outcome.dataset.row[found.sample]] = found.passed.astype(np.float64)
    return answers
