"""Checks of what the filtered strategy earned out of sample, against its limits and against production.

Out of sample are the outer walk-forward windows, each answered by a model that had not seen them. The bundle
itself was fitted on those dates: what it earns there is in sample.
"""

from __future__ import annotations

import math

import numpy as np

from lockstep.metrics import Floats, sharpe
from research.backtest.account import Account
from research.model_validation.case import Case
from research.model_validation.check import Finding, at_least, at_most, model_check
from research.statistics.bootstrap import Interval, block_length, confidence_interval


def _seen(case: Case) -> str:
    """Say what the figures are of: one account over all outer windows in order, not a mean over them."""
    return f"over the outer walk-forward, {case.span.start} to {case.span.end}, in Backtrader"


@model_check("trades", asks="Were there enough trades out of sample to say anything?", limit="min_trades")
def enough_trades(case: Case) -> Finding:
    """Count closed trades."""
    limit, count = case.outcome.config.acceptance.min_trades, case.filtered.pnl.size
    return at_least(count, limit, f"{count} trades {_seen(case)}; at least {limit} are needed")


@model_check("Sharpe ratio", asks="Is the Sharpe ratio out of sample high enough?", limit="min_sharpe")
def sharpe_is_enough(case: Case) -> Finding:
    """Compare the annual Sharpe ratio of session returns."""
    limit, value = case.outcome.config.acceptance.min_sharpe, case.filtered.sharpe
    return at_least(value, limit, f"Sharpe ratio {value:.2f} {_seen(case)}; at least {limit:g} is needed")


@model_check(
    "profit factor", asks="Do the gains out of sample outweigh the losses?", limit="min_profit_factor"
)
def profit_factor_is_enough(case: Case) -> Finding:
    """Compare gains over losses of closed trades; gains without a loss count as infinite."""
    limit, pnl = case.outcome.config.acceptance.min_profit_factor, case.filtered.pnl
    measured = case.filtered.measures["profit_factor"]
    value = math.inf if math.isnan(measured) and pnl.sum() > 0 else measured
    return at_least(value, limit, f"profit factor {value:.2f} {_seen(case)}; at least {limit:g} is needed")


@model_check("drawdown", asks="Did the account stay near enough to its peak?", limit="max_drawdown")
def drawdown_is_bearable(case: Case) -> Finding:
    """Compare the deepest decline, seen at every bar, with the configured capital."""
    limit, value = case.outcome.config.acceptance.max_drawdown, case.filtered.measures["max_drawdown"]
    return at_most(
        value, limit, f"drawdown {value:.1%} of the capital {_seen(case)}; at most {limit:.1%} is admitted"
    )


@model_check(
    "Sharpe ratio kept",
    asks="Does the Sharpe ratio out of sample keep enough of the one in sample, on the same dates?",
    limit="min_sharpe_ratio",
)
def sharpe_is_kept(case: Case) -> Finding:
    """Compare models that had not seen the dates with the bundle, which was fitted on them."""
    limit = case.outcome.config.acceptance.min_sharpe_ratio
    inside, outside = case.in_sample.sharpe, case.filtered.sharpe
    dates = f"{case.span.start} to {case.span.end}"
    if inside <= 0:
        return at_least(
            outside - inside,
            0,
            f"in sample the Sharpe ratio is {inside:.2f}, out of sample {outside:.2f}, {dates}",
        )
    return at_least(
        outside / inside,
        limit,
        f"out of sample {outside:.2f}, in sample {inside:.2f}, both {dates}: {outside / inside:.0%} kept; "
        f"at least {limit:.0%} is needed",
    )


@model_check(
    "challenger",
    asks="Is it, on the same sessions, not worse than the version in production?",
    limit="min_challenger_edge",
)
def challenger_holds(case: Case) -> Finding:
    """Bootstrap the difference of annual Sharpe ratios on the sessions that both traded."""
    limit = case.outcome.config.acceptance.min_challenger_edge
    if case.champion is None:
        return at_least(
            0.0, limit if limit < 0 else 0.0, "nothing is in production: no champion to compare with"
        )
    edge = sharpe_edge(case.filtered, case.champion.account, seed=case.outcome.seed)
    return at_least(
        edge.low,
        limit,
        f"Sharpe ratio {edge.estimate:+.2f} against {case.champion.version} ({case.champion.how}), 95 % "
        f"interval {edge.low:+.2f} to {edge.high:+.2f}; its lower end must reach {limit:g}",
    )


def sharpe_edge(challenger: Account, champion: Account, *, seed: int) -> Interval:
    """Return the interval of the difference of annual Sharpe ratios, both resampled on the same sessions."""
    _, own, other = np.intersect1d(challenger.sessions, champion.sessions, return_indices=True)
    first, second = challenger.returns[own], champion.returns[other]
    scale = challenger.sessions_per_year

    def difference(rows: Floats) -> float:
        chosen = rows.astype(np.int64)
        return _sharpe(first[chosen], scale) - _sharpe(second[chosen], scale)

    block = block_length(np.column_stack((first, second)))
    return confidence_interval(np.arange(first.size), difference, block=block, seed=seed)


def _sharpe(returns: Floats, per_year: float) -> float:
    """Return the annual ratio; 0 where nothing was traded in a resample."""
    return float(np.nan_to_num(sharpe(returns, per_year)))
