"""The sealed hold-out: opened once per version, and every look is written down before it is taken.

The outer walk-forward as one answer per sample, and the runs that follow from it.

The model of each window answers for the samples that it did not see. One continuous run takes the answers of
all windows, each with its window's own threshold, so that no trade is cut at a window's edge: it is the desk
that would have retrained at the start of each window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from typing import Any, Self

import numpy as np

from lockstep.errors import TrainingError
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.market.bars import Bars
from lockstep.market.dates import DateRange
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.sessions import Dates
from lockstep.metrics import Floats, Integers
from lockstep.strategy.veto import Veto
from research.backtest.account import Account
from research.backtest.result import BacktestResult
from research.backtest.run import run_backtest
from research.ledger.ledger import Ledger
from research.splits.labels import Mask
from research.statistics.sharpe import SharpeSample, probabilistic_sharpe
from research.sweep.inputs import Chances
from research.sweep.run import trace
from research.training.dataset import dates_of
from research.training.gain import Gain
from research.training.outcome import TrainingOutcome
from research.training.pipeline import probabilities
from research.training.release import ReleasedStrategy


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedHoldOut:
    """What a version did on days that nobody had looked at.

    looks        how often hold-outs of the family over these days were opened by now, this time included
    dates        first decision to last exit, or without a model first to last session
    metrics      of the strategy, with its veto if it has one, by the names of `lockstep.metrics`
    unfiltered   the same without the veto; empty without a model
    judged       annual `sharpe` of what is judged and its `p_value` against zero: of the veto's gain, or
                 without a model of the strategy; nan where it did not vary
    """

    looks: int
    dates: DateRange
    metrics: dict[str, float]
    unfiltered: dict[str, float]
    judged: dict[str, float]

    @property
    def sharpe(self) -> float:
        """Annual Sharpe ratio of what is judged, nan where it did not vary."""
        return self.judged["sharpe"]

    @property
    def p_value(self) -> float:
        """Chance of so high a ratio by luck alone; nan as `sharpe`."""
        return self.judged["p_value"]


@dataclass(frozen=True, kw_only=True, eq=False)
class HoldOutResult(OpenedHoldOut):
    """What the final model answers on h samples that nobody had looked at.

    rows            int64 (h,), rows of the dataset
    probabilities   float64 (h,)
    """

    rows: Integers
    probabilities: Floats


def open_hold_out(
    outcome: TrainingOutcome, history: History, ledger: Ledger, *, family: str, version: str, now: datetime
) -> HoldOutResult:
    """Evaluate the model on its hold-out.

    version   names the bundle: its SHA-256, or `ES v3`; a version opens its hold-out once

    TrainingError where this version has looked before: report the stored result instead. The look is in the
    ledger before a sample is read, so that one that was interrupted was a look too.
    """
    dataset, rows = outcome.dataset, outcome.hold_out
    dates = dates_of(dataset, rows)
    number = look_once(ledger, family, dataset.symbol, dates, version=version, now=now)
    chance = probabilities(outcome.pipeline, dataset.features[rows])
    filtered, unfiltered = (
        _account(outcome, history, chance, threshold) for threshold in (outcome.threshold, 0.0)
    )
    return HoldOutResult(
        looks=number,
        dates=dates,
        rows=rows,
        probabilities=chance,
        metrics=filtered.measures,
        unfiltered=unfiltered.measures,
        judged=_judged_gain(Gain(filtered=filtered, unfiltered=unfiltered)),
    )


def _judged_gain(gain: Gain) -> dict[str, float]:
    if not gain.comparable:
        return {"sharpe": math.nan, "p_value": math.nan}
    return {"sharpe": gain.sharpe, "p_value": gain.p_value}


def open_release(
    released: ReleasedStrategy, ledger: Ledger, *, family: str, version: str, now: datetime
) -> OpenedHoldOut:
    """Evaluate a strategy without a model on its hold-out; arguments and errors as of `open_hold_out`."""
    dates, symbol = released.dates.hold_out, released.release.symbol
    number = look_once(ledger, family, symbol, dates, version=version, now=now)
    found = released.account(dates)
    p_value = 1.0 - probabilistic_sharpe(SharpeSample.of(found.returns))
    judged = {"sharpe": found.measures["sharpe"], "p_value": p_value}
    return OpenedHoldOut(looks=number, dates=dates, metrics=found.measures, unfiltered={}, judged=judged)


def look_once(
    ledger: Ledger, family: str, symbol: str, dates: DateRange, *, version: str, now: datetime
) -> int:
    """Count a look of a version and return its number; TrainingError where it has looked before."""
    purpose = purpose_of(version)
    if any(look.purpose == purpose for look in ledger.looks(family, dates)):
        raise TrainingError(
            f"{symbol}: {purpose} was opened before; report what was found then, or make another version"
        )
    return ledger.look(family, symbol, dates, purpose=purpose, now=now)


def _account(outcome: TrainingOutcome, history: History, chance: Floats, threshold: float) -> Account:
    """Return what the strategy does on the hold-out, flat at its beginning, with this threshold."""
    dataset, config = outcome.dataset, outcome.config.strategy
    market, bars = history.markets[dataset.symbol], history.series(SeriesKey(dataset.symbol, config.bars))
    rows = outcome.hold_out
    span = DateRange(
        start=_session(market, bars, dataset.decision[rows[0]]),
        end=_session(market, bars, dataset.exit[rows].max()),
    )
    chances = Chances.at(
        dataset.row[rows], chance, bars=len(bars), threshold=threshold, feature_ids=dataset.feature_ids
    )
    traded = span.select(bars, market)
    traced = trace(config, history, dataset.symbol, span=span, chances=chances)
    return Account.of_trace(traced, bars.rows(traded.start, traded.stop), market, config.capital)


def _session(market: Market, bars: Bars, stamp: int) -> date:
    dates = market.session.dates(np.array([stamp], dtype=np.int64), bars.timeframe)
    day: date = dates[0].item()
    return day


def purpose_of(version: str) -> str:
    """Return what the ledger says about a look of this version."""
    return f"hold-out of {version}"


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

    def where(self, chosen: Mask) -> Self:
        """Return some of the answers, bool (m,)."""
        return replace(self, **{each.name: getattr(self, each.name)[chosen] for each in fields(self)})

    @property
    def passed(self) -> Mask:
        """Which samples the veto lets through, bool (m,)."""
        return self.probability >= self.threshold


@dataclass(frozen=True, kw_only=True, eq=False)
class VetoRuns:
    """The strategy with and without the veto over one span."""

    filtered: Account
    unfiltered: Account

    @property
    def gain(self) -> Gain:
        """What the veto adds at the same exposure."""
        return Gain(filtered=self.filtered, unfiltered=self.unfiltered)


class RepeatedAnswers:
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


def trading_span(outcome: TrainingOutcome, history: History) -> DateRange:
    """Return the session dates of the outer walk-forward, from its first decision to its last exit."""
    dates = window_dates(outcome, history)
    return DateRange.of(str(dates[0][0]), str(dates[-1][1]))


def traced_runs(outcome: TrainingOutcome, history: History) -> VetoRuns:
    """Run the strategy with and without the veto over the outer walk-forward, in the sweep."""
    answers = _answers(outcome, history)
    chances = Chances(probability=answers, threshold=_BETWEEN, feature_ids=outcome.dataset.feature_ids)
    return VetoRuns(
        filtered=_traced(outcome, history, chances), unfiltered=unfiltered_account(outcome, history)
    )


def unfiltered_account(
    outcome: TrainingOutcome, history: History, registry: FeatureRegistry | None = None
) -> Account:
    """Run the strategy as it would trade without a model over the outer walk-forward, in the sweep."""
    return _traced(outcome, history, None, registry)


def _traced(
    outcome: TrainingOutcome,
    history: History,
    chances: Chances | None,
    registry: FeatureRegistry | None = None,
) -> Account:
    span, config, symbol = trading_span(outcome, history), outcome.config.strategy, outcome.dataset.symbol
    market, bars = history.markets[symbol], traded_bars(outcome, history)
    rows = span.select(bars, market)
    traced = trace(config, history, symbol, span=span, chances=chances, registry=registry)
    return Account.of_trace(traced, bars.rows(rows.start, rows.stop), market, config.capital)


def backtest(
    outcome: TrainingOutcome, history: History, registry: FeatureRegistry | None = None
) -> BacktestResult:
    """Run the strategy with the windows' answers over the outer walk-forward, in Backtrader."""
    span, config, symbol = trading_span(outcome, history), outcome.config.strategy, outcome.dataset.symbol
    rows = span.select(traded_bars(outcome, history), history.markets[symbol])
    answers = np.nan_to_num(_answers(outcome, history), nan=0.0)
    model = RepeatedAnswers(answers, rows.start)
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
