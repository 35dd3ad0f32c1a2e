"""From a validated version to its frozen reference: what a desk that trades it will be held to.

Streams come of the out-of-sample account and, with a model, of the walk-forward's answers to separate trades:
the same outcomes that a running desk makes (`lockstep.monitoring.outcomes`). Features, and the filter of
regimes, come of all bars that were known, the hold-out's among them: they say how the market was, not what
was earned there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd

from lockstep import metrics
from lockstep.errors import DataError, LockstepError
from lockstep.features.batch import BatchFeatures
from lockstep.market.bars import Bars
from lockstep.market.continuous import following_closes, levels
from lockstep.metrics import Dates, Integers
from lockstep.monitoring.calibration import probability_scores
from lockstep.monitoring.feature_history import FeatureHistory
from lockstep.monitoring.frozen import ExpectedMeasures, FrozenReference
from lockstep.monitoring.outcomes import following
from lockstep.monitoring.reference_outcomes import ReferenceOutcomes, monitoring_reference
from lockstep.monitoring.regimes import RegimeReference
from research.backtest.account import Account
from research.model_validation.case import ModelCase, ValidationCase
from research.statistics.markov import fitted_filter

PROBABILITY = "probability"

Part = TypeVar("Part")


def frozen_reference(case: ValidationCase) -> FrozenReference:
    """Return the reference of a version; equal cases give equal bytes.

    A part that the bars or outcomes do not support is absent, or its stream is off, with the reason. Raises
    what the account of the case raises.
    """
    absent: list[str] = []
    bundle, sessions = case.bundle.sha256, _sessions(case)[0]
    return FrozenReference(
        bundle=bundle,
        outcomes=monitoring_reference(reference_outcomes(case), bundle=bundle, seed=case.seed),
        features=_or_absent("features", absent, lambda: feature_history(case)),
        probabilities=_or_absent("probabilities", absent, lambda: probability_history(case)),
        regime=_or_absent("regime", absent, lambda: regime_reference(case)),
        expected=expected_measures(case.account, brier=brier_score(case)),
        history_end=str(sessions[-1]),
        absent=tuple(absent),
    )


def _or_absent(name: str, absent: list[str], make: Callable[[], Part]) -> Part | None:
    try:
        return make()
    except LockstepError as reason:
        absent.append(f"{name}: {reason}")
        return None


def reference_outcomes(case: ValidationCase) -> ReferenceOutcomes:
    """Return trades of the account that is judged and, with a model, signals no two of which overlap."""
    closed = case.result.trades[case.result.trades["status"] == "closed"]
    trades = {
        "trade_times": pd.DatetimeIndex(closed["decision_end"]).as_unit("ns").asi8,
        "profits": closed["net_pnl"].to_numpy(dtype=np.float64),
    }
    if not isinstance(case, ModelCase):
        return ReferenceOutcomes(**trades)
    found, data = case.separate, case.outcome.dataset
    close, row = _bars(case).close, data.row[found.sample]
    followed = following(close[row], following_closes(_bars(case))[row], data.side[found.sample])
    # What followed a close of 0 is no number, and a desk makes no bet on it either.
    known = np.isfinite(followed)
    return ReferenceOutcomes(
        **trades,
        signal_times=data.decision[found.sample][known],
        probabilities=found.probability[known],
        won=found.target[known],
        forecasts=found.probability[known],
        followings=followed[known],
    )


def feature_history(case: ValidationCase) -> FeatureHistory:
    """Return the decision vector at the last bar of each session, over all bars.

    DataError where the version reads no feature, or a value is out of its declared range.
    """
    if not case.plan.ids:
        raise DataError("the version reads none, so that there is no drift to be watched")
    sessions, last = _sessions(case)
    matrix = BatchFeatures(case.plan, case.history, max_age=case.strategy.max_age.limits).matrix
    parsed = [case.features.parse(each) for each in case.plan.ids]
    return FeatureHistory(
        ids=case.plan.ids,
        sessions=sessions,
        values=matrix[last],
        low=np.array([each.low for each in parsed], dtype=np.float64),
        high=np.array([each.high for each in parsed], dtype=np.float64),
    )


def probability_history(case: ValidationCase) -> FeatureHistory | None:
    """Return the out-of-sample probability of each session's last signal, NaN without one; None: no model."""
    if not isinstance(case, ModelCase):
        return None
    sessions, dates = _sessions(case)[0], _dates(case)
    within = (sessions >= np.datetime64(case.span.start)) & (sessions <= np.datetime64(case.span.end))
    sessions, found = sessions[within], case.out_of_sample
    asked = dates[case.outcome.dataset.row[found.sample]]
    values = np.full(sessions.size, math.nan)
    # Signals are in order: of two in one session the later one is written last.
    values[np.searchsorted(sessions, asked)] = found.probability
    return FeatureHistory(
        ids=(PROBABILITY,),
        sessions=sessions,
        values=values[:, None],
        low=np.zeros(1),
        high=np.ones(1),
        gaps=True,
    )


def regime_reference(case: ValidationCase) -> RegimeReference:
    """Return the filter of the traded series' session returns; DataError where they are too few for it."""
    lasts = _sessions(case)[1]
    close = _bars(case).close[lasts]
    after = close[1:] if _bars(case).rolls is None else close[:-1] + np.diff(levels(_bars(case)).close[lasts])
    returns = following(close[:-1], after, 1.0)
    return RegimeReference.of(returns, fitted_filter(returns[np.isfinite(returns)]))


def brier_score(case: ValidationCase) -> float | None:
    """Return the Brier score of the walk-forward's answers to all signals, as a desk's are scored."""
    if not isinstance(case, ModelCase):
        return None
    found = case.out_of_sample
    return probability_scores(found.probability, found.target).brier


def expected_measures(account: Account, *, brier: float | None = None) -> ExpectedMeasures:
    """Return what the account did, by the names of `lockstep.metrics`, beside a Brier score."""
    returns, sessions, pnl = account.returns, account.sessions, account.pnl
    scale = metrics.time_scale(account.date, sessions.size, account.sessions_per_year)
    by_session, by_bar = (
        metrics.curve_from(account.capital, each) for each in (account.session_equity, account.equity)
    )
    worst = float(returns.min())
    return ExpectedMeasures(
        first=sessions[0].item(),
        last=sessions[-1].item(),
        sessions=sessions.size,
        trades=pnl.size,
        capital=account.capital,
        cagr=metrics.cagr(by_session, account.sessions_per_year, years=scale.years),
        sharpe=account.measures["sharpe"],
        max_drawdown_fraction=float(metrics.drawdown_fractions(by_bar).max()),
        win_rate=account.measures["win_rate"],
        trades_per_year=pnl.size / scale.years if scale.years else math.nan,
        worst_session=worst,
        worst_session_pnl=worst * account.capital,
        worst_trade_pnl=float(pnl.min()) if pnl.size else math.nan,
        brier=brier,
    )


def _bars(case: ValidationCase) -> Bars:
    return case.history.series(case.plan.base)


def _dates(case: ValidationCase) -> Dates:
    session = case.history.markets[case.plan.base.symbol].session
    return session.dates(_bars(case).end, case.plan.base.timeframe)


def _sessions(case: ValidationCase) -> tuple[Dates, Integers]:
    """Return the sessions of the traded series, rising, and the last bar of each."""
    dates = _dates(case)
    last = np.flatnonzero(np.append(dates[1:] != dates[:-1], True))
    return dates[last], last
