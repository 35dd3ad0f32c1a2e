"""How far a result can be believed: its error, what is left beyond the exposure, other trade orders."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lockstep.metrics import market_returns, timing_returns
from research.report.data import BARS, Floats, ReportData, floats
from research.statistics.sharpe import (
    SharpeSample,
    block_of,
    deflated_sharpe,
    expected_maximum,
    minimum_backtest_length,
    minimum_track_record,
    probabilistic_sharpe,
)
from research.statistics.superior import superior_predictive_ability
from research.statistics.trade_order import TradeOrders, shuffled_trades

NORMAL_95 = 1.959963984540054
_LEAST = 8
# Cells of all orders together, so that a hundred thousand trades take no longer than a second.
_CELLS, _LEAST_RUNS, _RUNS = 3_000_000, 200, 5_000


@dataclass(frozen=True, kw_only=True)
class SharpeEvidence:
    """How far the Sharpe ratio can be trusted; ratios are annualised, probabilities are [0, 1].

    low, high          95 % interval: 1.96 standard errors with skew and kurtosis
    above_zero         probability that the true ratio is positive, for returns that are independent in time
    over_blocks        the same with the error over blocks, which autocorrelation enters; nan below 8 periods
    wider              that error over the plain one
    track_record       years after which this ratio would be above zero with 95 % confidence; inf: never
    trials, deflated   variants tried, and the probability of skill given them; None where not known
    chance             the ratio that the best of as many variants without skill would show
    backtest           years that it takes until the best of as many without skill is no longer expected to
                       show this ratio; None where trials are not known or the ratio is not positive
    """

    sharpe: float
    low: float
    high: float
    above_zero: float
    over_blocks: float
    wider: float
    track_record: float
    years: float
    trials: float | None
    deflated: float | None
    chance: float | None
    backtest: float | None


def evidence(report: ReportData) -> SharpeEvidence | None:
    """Return the evidence, or None where the Sharpe ratio is not defined.

    For `trials` the variance of their ratios is that of ratios without skill, 1 / (periods - 1), as only the
    chosen one is known.
    """
    returns = floats(report.sessions, "return")
    if returns.size < 3 or not np.isfinite(returns).all():
        return None
    sample = SharpeSample.of(returns)
    if np.isnan(sample.ratio):
        return None
    per_year = report.scale.periods_per_year
    scale, error = per_year**0.5, sample.standard_error
    variance = 1.0 / (returns.size - 1)
    blocks = SharpeSample.of_blocks(returns) if returns.size >= _LEAST else None
    trials, yearly = report.trials, sample.ratio * scale
    return SharpeEvidence(
        sharpe=yearly,
        low=(sample.ratio - NORMAL_95 * error) * scale,
        high=(sample.ratio + NORMAL_95 * error) * scale,
        above_zero=probabilistic_sharpe(sample),
        over_blocks=math.nan if blocks is None else probabilistic_sharpe(blocks),
        wider=math.nan if blocks is None else math.sqrt(blocks.dependence),
        track_record=minimum_track_record(sample) / per_year,
        years=report.scale.years,
        trials=trials,
        deflated=None if trials is None else deflated_sharpe(sample, trials=trials, variance=variance),
        chance=None if trials is None else expected_maximum(trials, variance) * scale,
        backtest=None if trials is None or yearly <= 0 else minimum_backtest_length(trials, yearly),
    )


@dataclass(frozen=True, kw_only=True)
class TimingEvidence:
    """What the returns have beyond as much of the instrument, held all the time.

    exposure     mean signed position at the bars' closes, in units of capital
    sharpe       annual ratio of the returns less `exposure` times the instrument's: the timing Sharpe ratio
    held         annual ratio of the instrument itself, held
    above_zero   probability that the true timing ratio is positive, with the error over blocks, [0, 1]
    p_value      Hansen's test of superior predictive ability against that benchmark, (0, 1]
    block        average block length of its bootstrap, periods
    """

    exposure: float
    sharpe: float
    held: float
    above_zero: float
    p_value: float
    block: int


def timing(report: ReportData) -> TimingEvidence | None:
    """Return the evidence, or None where positions are not known, or nothing varies.

    The instrument's return is the change of its last close in a session over the one before; in points, where
    prices were moved at rolls or one is not positive, with exposure in contracts. That of the first session
    is not known and counts as zero.
    """
    if BARS not in report.known or report.multiplier is None or len(report.sessions) < _LEAST:
        return None
    close, position = floats(report.equity, "close"), floats(report.equity, "position")
    returns = floats(report.sessions, "return")
    if not (np.isfinite(close).all() and np.isfinite(position).all() and np.isfinite(returns).all()):
        return None
    points = report.in_points or not bool((close > 0).all())
    market = _moves(close, report, points=points)
    worth = np.ones_like(close) if points else close
    exposure = float((position * worth).mean()) * report.multiplier / report.capital
    left = timing_returns(returns, market, exposure)
    sample = SharpeSample.of_blocks(left)
    if math.isnan(sample.ratio):
        return None
    block = block_of(left.size)
    found = superior_predictive_ability(left[:, None], block=block)
    scale = report.scale.periods_per_year**0.5
    return TimingEvidence(
        exposure=exposure,
        sharpe=sample.ratio * scale,
        held=SharpeSample.of(market).ratio * scale,
        above_zero=probabilistic_sharpe(sample),
        p_value=found.consistent,
        block=block,
    )


def _moves(close: Floats, report: ReportData, *, points: bool) -> Floats:
    last = close[report.session_ends]
    return market_returns(last, float(last[0]), points)


@dataclass(frozen=True, kw_only=True, eq=False)
class OtherOrders:
    """The closed trades in other orders: shuffled, and drawn with replacement; see `trade_order`."""

    shuffled: TradeOrders
    drawn: TradeOrders


def orders(report: ReportData) -> OtherOrders | None:
    """Return what other orders of the closed trades would have given; None for fewer than 3, or unknown."""
    pnl = floats(report.closed, "net_pnl")
    return other_orders(pnl) if pnl.size >= 3 and np.isfinite(pnl).all() else None


def other_orders(pnl: Floats) -> OtherOrders:
    """Return what other orders of trades give, float64 (k,), USD net; fewer orders of very many trades."""
    runs = int(np.clip(_CELLS // pnl.size, _LEAST_RUNS, _RUNS))
    with ThreadPoolExecutor(2) as pool:
        shuffled, drawn = pool.map(
            lambda replace: shuffled_trades(pnl, runs=runs, replace=replace), (False, True)
        )
    return OtherOrders(shuffled=shuffled, drawn=drawn)
