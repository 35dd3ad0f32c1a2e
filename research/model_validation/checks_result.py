"""Checks of what the strategy earned, against its limits and against production.

Of a model, that is the filtered strategy out of sample: the outer walk-forward windows, each answered by a
model that had not seen them. The bundle itself was fitted on those dates: what it earns there is in sample.
Of a strategy without a model, it is the strategy as it is on the dates before the hold-out.
"""

from __future__ import annotations

import math

import numpy as np

from lockstep.metrics import Floats, sharpe
from research.backtest.account import Account
from research.model_validation.case import StrategyCase, ValidationCase
from research.model_validation.check import CheckFinding, at_least, at_most, check_of, model_check
from research.statistics.bootstrap import Interval, block_length, confidence_interval

# The share of a normal law within one standard deviation.
_ONE_ERROR = math.erf(math.sqrt(0.5))


@model_check("trades", asks="Were there enough trades to say anything?", limit="min_trades")
def enough_trades(case: ValidationCase) -> CheckFinding:
    """Count closed trades."""
    limit, count = case.acceptance.min_trades, case.account.pnl.size
    return at_least(count, limit, f"{count} trades {case.seen}; at least {limit} are needed")


@model_check("Sharpe ratio", asks="Is the Sharpe ratio high enough?", limit="min_sharpe")
def sharpe_is_enough(case: ValidationCase) -> CheckFinding:
    """Compare the annual Sharpe ratio of session returns."""
    limit, value = case.acceptance.min_sharpe, case.account.sharpe
    return at_least(value, limit, f"Sharpe ratio {value:.2f} {case.seen}; at least {limit:g} is needed")


@model_check("profit factor", asks="Do the gains outweigh the losses?", limit="min_profit_factor")
def profit_factor_is_enough(case: ValidationCase) -> CheckFinding:
    """Compare gains over losses of closed trades; gains without a loss count as infinite."""
    limit, pnl = case.acceptance.min_profit_factor, case.account.pnl
    measured = case.account.measures["profit_factor"]
    value = math.inf if math.isnan(measured) and pnl.sum() > 0 else measured
    return at_least(value, limit, f"profit factor {value:.2f} {case.seen}; at least {limit:g} is needed")


@model_check("drawdown", asks="Did the account stay near enough to its peak?", limit="max_drawdown")
def drawdown_is_bearable(case: ValidationCase) -> CheckFinding:
    """Compare the deepest decline, seen at every bar, with the configured capital."""
    limit, value = case.acceptance.max_drawdown, case.account.measures["max_drawdown"]
    return at_most(
        value, limit, f"drawdown {value:.1%} of the capital {case.seen}; at most {limit:.1%} is admitted"
    )


@check_of(
    StrategyCase,
    "both halves",
    asks="Does it earn in the earlier and in the later half of its sessions?",
    limit="min_half_sharpe",
)
def both_halves_earn(case: StrategyCase) -> CheckFinding:
    """Compare the Sharpe ratio of the worse half: what worked only once is not repeated."""
    limit, (earlier, later) = case.acceptance.min_half_sharpe, (each.sharpe for each in case.halves)
    return at_least(
        min(earlier, later),
        limit,
        f"Sharpe ratio {earlier:.2f} in the earlier half, {later:.2f} in the later one; at least {limit:g} "
        "is needed in both",
    )


@check_of(
    StrategyCase,
    "twice the costs",
    asks="Does it still earn money if every fill costs twice as much?",
    limit="min_costly_sharpe",
)
def survives_twice_the_costs(case: StrategyCase) -> CheckFinding:
    """Compare the Sharpe ratio with twice the commission and slippage: costs are estimates."""
    limit, value = case.acceptance.min_costly_sharpe, case.costly.sharpe
    return at_least(
        value,
        limit,
        f"Sharpe ratio {value:.2f} with twice the commission and slippage, {case.account.sharpe:.2f} as "
        f"configured; at least {limit:g} is needed",
    )


@model_check(
    "challenger",
    asks="Is it no worse than the production version on the same sessions?",
    limit="max_challenger_deficit",
)
def challenger_holds(case: ValidationCase) -> CheckFinding:
    """Bootstrap the difference of annual Sharpe ratios on the sessions that both traded.

    Not worse means: by no more standard errors of the difference than the margin. A margin in Sharpe units
    would ask the same of five years as of fifteen, and refuse equals for having little history.
    """
    limit = case.acceptance.max_challenger_deficit
    if case.champion is None:
        return at_most(min(0.0, limit), limit, "nothing is in production: no champion to compare with")
    edge = sharpe_edge(case.account, case.champion.account, seed=case.seed)
    error = (edge.high - edge.low) / 2.0
    deficit = -edge.estimate / error if error > 0 else math.copysign(math.inf, -edge.estimate)
    if edge.estimate == 0:
        deficit = 0.0
    return at_most(
        deficit,
        limit,
        f"Sharpe ratio {edge.estimate:+.2f} against {case.champion.version} ({case.champion.how}), standard "
        f"error {error:.2f}; it may lie at most {limit:g} standard errors below",
    )


def sharpe_edge(challenger: Account, champion: Account, *, seed: int) -> Interval:
    """Return the difference of annual Sharpe ratios, both resampled on the same sessions.

    Its interval holds 68 %: one standard error to either side.
    """
    _, own, other = np.intersect1d(challenger.sessions, champion.sessions, return_indices=True)
    first, second = challenger.returns[own], champion.returns[other]
    scale = challenger.sessions_per_year

    def difference(rows: Floats) -> float:
        chosen = rows.astype(np.int64)
        return _sharpe(first[chosen], scale) - _sharpe(second[chosen], scale)

    block = block_length(np.column_stack((first, second)))
    return confidence_interval(np.arange(first.size), difference, level=_ONE_ERROR, block=block, seed=seed)


def _sharpe(returns: Floats, per_year: float) -> float:
    """Return the annual ratio; 0 where nothing was traded in a resample."""
    return float(np.nan_to_num(sharpe(returns, per_year)))
