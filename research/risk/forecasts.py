"""Forecasts of every past session as they would have been made the evening before, and how they did."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import DataError
from lockstep.metrics.arrays import Dates, Floats
from lockstep.portfolio.session_changes import window_for
from lockstep.portfolio.var import DECAY, WARM_UP, ewma_deviations
from research.risk.subject import OwnResults, RiskSubject
from research.statistics.var_backtests import TailForecasts, VarBacktest, backtest_forecasts

LEAST_JUDGED = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedForecasts:
    """Forecasts of one tail with what was earned, and what the tests say.

    dates   (S,) of the sessions that were judged; pnl, var, es float64 (S,), USD
    """

    dates: Dates
    pnl: Floats
    var: Floats
    es: Floats
    backtest: VarBacktest

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Sessions whose loss exceeded the value at risk."""
        return np.asarray(-self.pnl > self.var)


def rolling_forecasts(
    changes: Floats, held: Floats, tail: float, *, window: int, decay: float = DECAY
) -> tuple[NDArray[np.intp], TailForecasts]:
    """Return the sessions that have a forecast, (S,), and the filtered historical forecasts of them.

    changes   float64 (T, n), USD per contract; held: contracts before each session, (T, n)
    window    sessions that each forecast looks back on, all before its own

    Left out are sessions before the first whole window, and those before which nothing was held: there is no
    loss to forecast.
    """
    deviations = ewma_deviations(changes, decay)
    rescaled = np.divide(changes, deviations[:-1], out=np.zeros(changes.shape), where=deviations[:-1] > 0.0)
    first = WARM_UP + window
    sessions = np.flatnonzero((held != 0.0).any(axis=1))
    sessions = sessions[sessions >= first]
    count = math.ceil(tail * window - 1e-9)
    worst = np.empty((sessions.size, count))
    for place, session in enumerate(sessions):
        exposed = deviations[session] * held[session]
        total = rescaled[session - window : session] @ exposed
        worst[place] = np.sort(np.partition(total, count - 1)[:count])
    losses = 0.0 - worst
    es = losses.mean(axis=1)
    severity = np.divide(losses, es[:, None], out=np.ones(losses.shape), where=es[:, None] > 0.0)
    # The mean of equal losses may fall below them by rounding.
    return sessions, TailForecasts(var=losses[:, -1], es=np.maximum(es, losses[:, -1]), severity=severity)


def judged_forecasts(
    subject: RiskSubject, held: Floats, pnl: Floats, tail: float, *, seed: int = 0
) -> JudgedForecasts:
    """Return forecasts of the sessions of a subject, judged by what was earned in them, (T,).

    held   contracts before each session, (T, n). DataError, saying how many there are, for fewer than 100
    """
    window = window_for(tail)
    sessions, forecasts = rolling_forecasts(subject.changes, held, tail, window=window)
    if sessions.size < LEAST_JUDGED:
        raise DataError(
            f"{sessions.size} sessions with a position and {window + WARM_UP} sessions of history before "
            f"them, needs {LEAST_JUDGED} to judge forecasts at {1 - tail:.4g}; take a longer history"
        )
    found = backtest_forecasts(pnl[sessions], forecasts, tail, seed=seed)
    return JudgedForecasts(
        dates=subject.dates[sessions], pnl=pnl[sessions], var=forecasts.var, es=forecasts.es, backtest=found
    )


def judged_today(subject: RiskSubject, tail: float, *, seed: int = 0) -> JudgedForecasts:
    """Return how forecasts for today's positions would have done, had they always been held."""
    if not subject.exposed.any():
        raise DataError(f"{subject.name}: no position is open and no entry waits")
    held = np.broadcast_to(subject.exposed, subject.changes.shape)
    return judged_forecasts(subject, held, subject.pnl.sum(axis=1), tail, seed=seed)


def judged_own(subject: RiskSubject, tail: float, *, seed: int = 0) -> JudgedForecasts:
    """Return how forecasts for the positions of each evening did against the account's own P&L."""
    own = subject.own
    if own is None or own.positions is None:
        raise DataError(f"{subject.name}: what it held in past sessions is not known")
    held, pnl = own_before(own, own.positions, subject.dates)
    return judged_forecasts(subject, held, pnl, tail, seed=seed)


def own_before(own: OwnResults, positions: Floats, dates: Dates) -> tuple[Floats, Floats]:
    """Return contracts before each of `dates`, (T, n), and what the account made since the date before, (T,).

    Sessions of the account that are none of `dates` go into the next one.
    """
    # Row i: how many sessions of the account are over before dates[i] begins, and when it has ended.
    before = np.searchsorted(own.dates, dates, side="left")
    ended = np.searchsorted(own.dates, dates, side="right")
    total = np.concatenate(([0.0], np.cumsum(own.pnl)))
    pnl = total[ended] - total[np.concatenate(([before[0]], ended[:-1]))]
    flat = np.zeros((1, positions.shape[1]))
    return np.concatenate((flat, positions))[before], pnl
