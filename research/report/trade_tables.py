"""What the trades of a report say: long beside short, dearer costs, exposure over time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lockstep import metrics
from lockstep.metrics import Dates
from research.report.data import Floats, ReportData, floats

COST_FACTORS: Sequence[float] = (0.0, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True, kw_only=True)
class Side:
    """Closed trades of one direction; exposure is the share of bars with such a position, NaN if unknown."""

    name: str
    trades: int
    net_profit: float
    win_rate: float
    profit_factor: float
    expectancy: float
    average_bars: float
    exposure: float


def sides(report: ReportData) -> list[Side]:
    """Return long, short and both; a direction without a trade is left out."""
    side = floats(report.closed, "side")
    position = floats(report.equity, "position") if "position" in report.equity else np.full(1, np.nan)
    groups = (("Long", side > 0, position > 0), ("Short", side < 0, position < 0))
    rows = [_side(report, name, mine, held) for name, mine, held in groups if mine.any()]
    every = _side(report, "Both", np.full(side.size, True), position != 0)
    return [*rows, every] if len(rows) > 1 else rows


def _side(report: ReportData, name: str, mine: np.ndarray, held: np.ndarray) -> Side:
    pnl, bars = floats(report.closed, "net_pnl")[mine], floats(report.closed, "bars_held")[mine]
    return Side(
        name=name,
        trades=pnl.size,
        net_profit=float(pnl.sum()),
        win_rate=metrics.win_rate(pnl),
        profit_factor=metrics.profit_factor(pnl),
        expectancy=metrics.expectancy(pnl),
        average_bars=float(bars.mean()) if bars.size else float("nan"),
        exposure=float(held.mean()) if "position" in report.equity else float("nan"),
    )


@dataclass(frozen=True, kw_only=True)
class Costs:
    """The run with its commission and slippage times `factor`; sizes and fills stay as they were."""

    factor: float
    paid: float
    net_profit: float
    annual_return: float
    sharpe: float
    max_drawdown: float
    profit_factor: float


def dearer(report: ReportData, factors: Sequence[float] = COST_FACTORS) -> list[Costs]:
    """Return what would be left if every trade had cost `factors` times as much; empty without costs."""
    columns = (floats(report.trades, name) for name in ("commission", "slippage_cost"))
    costs = np.add(*(np.nan_to_num(each) for each in columns))
    if not costs.size or not costs.sum() > 0:
        return []
    paid = np.bincount(report.bars_at(report.trades["exit_end"]), weights=costs, minlength=len(report.equity))
    booked = np.cumsum(paid.astype(np.float64))
    is_closed = (report.trades["status"] == "closed").to_numpy()
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda factor: _costs(report, factor, costs, booked, costs[is_closed]), factors))


def _costs(report: ReportData, factor: float, costs: Floats, booked: Floats, closed: Floats) -> Costs:
    equity = floats(report.equity, "equity") - (factor - 1.0) * booked
    curve = metrics.curve_from(report.capital, equity)
    sessions = metrics.curve_from(report.capital, equity[report.session_ends])
    returns = metrics.period_returns(sessions, report.capital)
    return Costs(
        factor=factor,
        paid=factor * float(costs.sum()),
        net_profit=float(curve[-1] - report.capital),
        annual_return=float(curve[-1] / report.capital - 1.0) / report.scale.years,
        sharpe=metrics.sharpe(returns, report.scale.periods_per_year),
        max_drawdown=float(metrics.drawdowns(curve).max()),
        profit_factor=metrics.profit_factor(floats(report.closed, "net_pnl") - (factor - 1.0) * closed),
    )


def leverage(report: ReportData) -> Floats | None:
    """Return position x close x multiplier / capital after each bar, float64 (bars,), signed, or None."""
    if report.multiplier is None or "position" not in report.equity:
        return None
    notional = floats(report.equity, "position") * np.abs(floats(report.equity, "close")) * report.multiplier
    return notional / report.capital


def yearly_turnover(report: ReportData) -> tuple[Dates, Floats] | None:
    """Return first dates of years and notional traded in each, both sides, over capital; None if unknown."""
    if report.multiplier is None or report.trades.empty:
        return None
    trades, value = report.trades, report.multiplier / report.capital
    legs = []
    for at, price in (("entry_end", "entry_price"), ("exit_end", "exit_price")):
        stamps = pd.to_datetime(trades[at], utc=True)
        years = pd.Series(stamps.dt.year.to_numpy())
        notional = floats(trades, "quantity") * np.abs(floats(trades, price)) * value
        legs.append(pd.Series(notional).groupby(years).sum())
    total = legs[0].add(legs[1], fill_value=0.0)
    starts = np.array([f"{int(year)}-01-01" for year in total.index], dtype="datetime64[D]")
    return starts, np.asarray(total.to_numpy(), dtype=np.float64)
