"""How often the backtests of value at risk reject forecasts that are right, and forecasts that are too low.

The truth is known: profits are normal, or Student t with 5 degrees of freedom, and forecasts are those of the
law, or 0.7 of them. Correct forecasts should be rejected in 5 % of cases, judged against a binomial bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from lockstep.metrics import Floats
from research.statistics.var_backtests import (
    NAMES,
    REJECTED,
    TailForecasts,
    backtest_forecasts,
    coverage_statistic,
    independence_statistic,
)

TAILS = (0.05, 0.01)
SESSIONS = (250, 500, 1000)
TOO_LOW = 0.7
E_PROCESS = "e_process"
# The bound that a right test breaks in one of 1,000 cases.
_LEVEL = 0.001
_STRATA = 2_000


def tail_of(law: Any, tail: float) -> tuple[float, float, Floats]:
    """Return VaR, ES and the severity of a law's tail, (k,): its quantiles in equal steps of probability."""
    losses = -law.ppf((np.arange(_STRATA) + 0.5) / _STRATA * tail)
    shortfall = float(losses.mean())
    return float(-law.ppf(tail)), shortfall, losses / shortfall


def rejections(
    law: Any, sessions: int, tail: float, scale: float, runs: int, seed: int, *, draws: int = 999
) -> Counter[str]:
    """Return how many of so many runs each test rejects; forecasts are those of the law times `scale`."""
    rng = np.random.default_rng(seed)
    var, shortfall, severity = tail_of(law, tail)
    forecasts = TailForecasts(
        var=np.full(sessions, var * scale),
        es=np.full(sessions, shortfall * scale),
        severity=np.broadcast_to(severity, (sessions, _STRATA)),
    )
    found: Counter[str] = Counter({name: 0 for name in (*NAMES, E_PROCESS)})
    for run in range(runs):
        pnl = law.rvs(size=sessions, random_state=rng)
        judged = backtest_forecasts(pnl, forecasts, tail, seed=seed * 1_000_003 + run, draws=draws)
        found.update(judged.rejected)
        found.update([E_PROCESS] if judged.alarm is not None else [])
    return found


def asymptotic_rejections(sessions: int, tail: float, runs: int, seed: int) -> dict[str, float]:
    """Return the shares of correct forecasts that the asymptotic laws reject: why they are not used."""
    hits = np.random.default_rng(seed).random((runs, sessions)) < tail
    covered, chained = coverage_statistic(hits.sum(axis=1), sessions, tail), independence_statistic(hits)
    return {
        "kupiec": float((covered > stats.chi2.ppf(0.95, 1)).mean()),
        "independence": float((chained > stats.chi2.ppf(0.95, 1)).mean()),
        "conditional_coverage": float((covered + chained > stats.chi2.ppf(0.95, 2)).mean()),
    }


def within(count: int, runs: int, name: str) -> bool:
    """Return whether a size is that of a right test: two-sided, and one-sided for the e-process."""
    high = float(stats.binom.sf(count - 1, runs, REJECTED))
    low = float(stats.binom.cdf(count, runs, REJECTED))
    return high > _LEVEL if name == E_PROCESS else min(high, low) > _LEVEL / 2


def var_backtests(
    runs: int, seed: int, *, sessions: Sequence[int] = SESSIONS, tails: Sequence[float] = TAILS
) -> tuple[dict[str, Any], bool]:
    """Return sizes and power of every test, and whether all sizes are within the bound."""
    laws = {"normal": stats.norm(), "t5": stats.t(5)}
    sizes: dict[str, Any] = {}
    power: dict[str, Any] = {}
    fits = True
    place, fewer = 0, max(200, runs // 4)
    for tail in tails:
        for length in sessions:
            name = f"{1 - tail:.0%}, {length} sessions"
            place += 1
            right = rejections(laws["t5"], length, tail, 1.0, runs, seed + 10 * place)
            low = rejections(laws["normal"], length, tail, TOO_LOW, fewer, seed + 10 * place + 1)
            fits &= all(within(count, runs, each) for each, count in right.items())
            sizes[name] = {each: round(count / runs, 4) for each, count in right.items()}
            power[name] = {each: round(count / fewer, 3) for each, count in low.items()}
    asymptotic = {
        f"{1 - tail:.0%}, {length} sessions": {
            name: round(share, 4)
            for name, share in asymptotic_rejections(length, tail, 20_000, seed + 7).items()
        }
        for tail in tails
        for length in sessions
    }
    return {
        "runs": runs,
        "size on correct forecasts": sizes,
        "power against value at risk x 0.7": power,
        "size of the asymptotic tests, for comparison": asymptotic,
    }, fits
