"""The sealed hold-out: opened once per version, and every look is written down before it is taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from lockstep.errors import TrainingError
from lockstep.market.bars import Bars
from lockstep.market.history import History, Market, SeriesKey
from lockstep.metrics import Floats, Integers
from research.backtest import Span
from research.experiments.ledger import Ledger
from research.experiments.split import DateRange
from research.sweep import trace
from research.sweep_veto import Chances
from research.training.counting import dates_of
from research.training.outcome import TrainingOutcome
from research.training.pipeline import probabilities
from research.validation.model.account import Account


@dataclass(frozen=True, kw_only=True, eq=False)
class HoldOutResult:
    """What the final model answers on h samples that nobody had looked at.

    looks           how often hold-outs of the family over these days were opened by now, this time included
    dates           first decision to last exit
    rows            int64 (h,), rows of the dataset
    probabilities   float64 (h,)
    metrics         of the strategy with the veto over these days, by the names of `lockstep.metrics`
    unfiltered      the same without the veto
    """

    looks: int
    dates: DateRange
    rows: Integers
    probabilities: Floats
    metrics: dict[str, float]
    unfiltered: dict[str, float]


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
    purpose = purpose_of(version)
    if any(look.purpose == purpose for look in ledger.looks(family, dates)):
        raise TrainingError(
            f"{dataset.symbol}: {purpose} was opened before; report what was found then, or train again"
        )
    number = ledger.look(family, dataset.symbol, dates, purpose=purpose, now=now)
    chance = probabilities(outcome.pipeline, dataset.features[rows])
    return HoldOutResult(
        looks=number,
        dates=dates,
        rows=rows,
        probabilities=chance,
        metrics=_measures(outcome, history, chance, outcome.threshold),
        unfiltered=_measures(outcome, history, chance, 0.0),
    )


def _measures(
    outcome: TrainingOutcome, history: History, chance: Floats, threshold: float
) -> dict[str, float]:
    """Return what the strategy does on the hold-out, flat at its beginning, with this threshold."""
    dataset, config = outcome.dataset, outcome.config.strategy
    market, bars = history.markets[dataset.symbol], history.series(SeriesKey(dataset.symbol, config.bars))
    rows = outcome.hold_out
    span = Span(
        start=_session(market, bars, dataset.decision[rows[0]]),
        end=_session(market, bars, dataset.exit[rows].max()),
    )
    chances = Chances.at(
        dataset.row[rows], chance, bars=len(bars), threshold=threshold, feature_ids=dataset.feature_ids
    )
    traded = span.select(bars, market)
    traced = trace(config, history, dataset.symbol, span=span, chances=chances)
    account = Account.of_trace(traced, bars.rows(traded.start, traded.stop), market, config.capital)
    return account.measures


def _session(market: Market, bars: Bars, stamp: int) -> date:
    dates = market.session.dates(np.array([stamp], dtype=np.int64), bars.timeframe)
    day: date = dates[0].item()
    return day


def purpose_of(version: str) -> str:
    """Return what the ledger says about a look of this version."""
    return f"hold-out of {version}"
