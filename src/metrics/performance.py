"""All measures of one run, as research, live and monitoring show them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lockstep.errors import DataError
from lockstep.metrics.arrays import LEAST_FRACTION, Dates, Floats, Integers, mean, ratio
from lockstep.metrics.curves import (
    cagr,
    curve_from,
    deepest_drawdowns,
    drawdown_fractions,
    longest_drawdown,
    max_drawdown,
    period_returns,
    recovery_factor,
    resolution,
    session_equity,
    session_ordinals,
    ulcer_index,
)
from lockstep.metrics.returns import (
    expected_shortfall,
    kurtosis,
    omega,
    sharpe,
    skew,
    sortino,
    tail_ratio,
    value_at_risk,
    volatility,
)
from lockstep.metrics.trades import (
    average_loss,
    average_win,
    expectancy,
    exposure,
    payoff_ratio,
    profit_factor,
    win_rate,
)
from lockstep.metrics.years import SESSIONS_PER_YEAR, Annual, annual, calendar_years


@dataclass(frozen=True, kw_only=True)
class Performance:
    """All measures of one run. Amounts are USD, returns are fractions of capital per session.

    bars, sessions, trades     counts; `trades` are closed trades
    net_profit                 last equity - capital
    total_return               net_profit / capital
    annual_return              total return / years (additive)
    cagr                       see `cagr`
    volatility                 standard deviation (ddof 1) of session returns x sqrt(sessions per year)
    sharpe_session, sharpe     per session, and annualised; see `sharpe`
    sortino                    annualised, target 0; see `sortino`
    calmar                     cagr / max_drawdown_fraction
    max_drawdown               USD, >= 0, deepest decline, seen at every bar
    max_drawdown_fraction      greatest decline relative to its own peak; may be another episode
    max_drawdown_sessions      sessions from the deepest decline's peak to its recovery, or to the end
    longest_drawdown_sessions  longest time below a former high
    var_95 ... cvar_99         historical, per session, positive for a loss; see `value_at_risk`
    skew, kurtosis             of session returns; see the functions
    best_session, worst_session   greatest and smallest session return
    win_rate ... payoff_ratio  over closed trades; see the functions
    average_bars_held          mean over closed trades
    exposure                   see `exposure`
    turnover                   traded notional of both sides / capital, per year
    years                      of the calendar, see `years.calendar_years`
    omega, tail_ratio          of session returns; see the functions
    ulcer_index                of session equity; see the function
    recovery_factor            net profit / max_drawdown

    >>> import numpy as np
    >>> from lockstep.metrics import performance
    >>> measured = performance(
    ...     equity=np.array([1010.0, 1005.0, 1030.0]), session=np.array([0, 1, 2]),
    ...     trade_pnl=np.array([30.0]), trade_bars_held=np.array([3.0]), position=np.ones(3),
    ...     traded_notional=2000.0, capital=1000.0)
    >>> measured.net_profit, measured.max_drawdown, measured.trades
    (30.0, 5.0, 1)
    """

    bars: int
    sessions: int
    trades: int
    net_profit: float
    total_return: float
    annual_return: float
    cagr: float
    volatility: float
    sharpe_session: float
    sharpe: float
    sortino: float
    calmar: float
    max_drawdown: float
    max_drawdown_fraction: float
    max_drawdown_sessions: int
    longest_drawdown_sessions: int
    var_95: float
    cvar_95: float
    var_99: float
    cvar_99: float
    skew: float
    kurtosis: float
    best_session: float
    worst_session: float
    win_rate: float
    profit_factor: float
    expectancy: float
    average_win: float
    average_loss: float
    payoff_ratio: float
    average_bars_held: float
    exposure: float
    turnover: float
    years: float
    omega: float
    tail_ratio: float
    ulcer_index: float
    recovery_factor: float


def performance(
    *,
    equity: Floats,
    session: Integers | Dates,
    trade_pnl: Floats,
    trade_bars_held: Floats,
    position: Floats,
    traded_notional: float,
    capital: float,
    sessions_per_year: float = SESSIONS_PER_YEAR,
    compounded: bool = False,
) -> Performance:
    """Return all measures of a run of n bars and k closed trades.

    equity            float64 (n,): capital + profit and loss so far, USD, marked at each bar's close
    session           datetime64[D] (n,): session dates that never fall; or int64 ids, which leave the years
                      to the number of sessions
    trade_pnl         float64 (k,): USD, net of costs
    trade_bars_held   (k,): bars from entry to exit
    position          float64 (n,): contracts after each bar, signed
    traded_notional   USD >= 0: sum over fills of |quantity| x price x multiplier, both sides
    capital           USD > 0: the notional capital that sizes are computed from
    compounded        whether returns are on the equity before each session; for accounts of others

    DataError where capital is not positive, equity is not finite, or lengths differ. nan: see the module.
    """
    if not capital > 0:
        raise DataError(f"capital {capital}: must be positive: state the notional capital of the run")
    sizes = {"equity": equity.size, "session": session.size, "position": position.size}
    if len(set(sizes.values())) != 1:
        raise DataError(f"{sizes}: need one value per bar")
    curve, bar_curve = curve_from(capital, session_equity(equity, session)), curve_from(capital, equity)
    returns = period_returns(curve, curve[:-1] if compounded else capital)
    scale = time_scale(session, returns.size, sessions_per_year)
    growth = cagr(curve, sessions_per_year, years=scale.years)
    decline = _drawdown_measures(bar_curve, session, by_fraction=compounded)
    gained = float(curve[-1] - capital)
    return Performance(
        bars=equity.size,
        sessions=returns.size,
        net_profit=gained,
        total_return=gained / capital,
        annual_return=ratio(float(returns.sum()) if compounded else gained / capital, scale.years),
        cagr=growth,
        calmar=ratio(growth, decline[1], LEAST_FRACTION),
        max_drawdown=decline[0],
        max_drawdown_fraction=decline[1],
        max_drawdown_sessions=decline[2],
        longest_drawdown_sessions=decline[3],
        exposure=exposure(position),
        turnover=ratio(traded_notional / capital, scale.years),
        years=scale.years,
        ulcer_index=ulcer_index(curve),
        recovery_factor=recovery_factor(bar_curve),
        **_return_measures(returns, scale.periods_per_year, resolution(curve, capital)),
        **_trade_measures(trade_pnl, trade_bars_held),
    )


def _return_measures(returns: Floats, per_year: float, rounding: float) -> dict[str, Any]:
    """Measures of session returns; `rounding` is that of one return, see `curves.resolution`."""
    return {
        "volatility": volatility(returns, per_year),
        "sharpe_session": sharpe(returns, 1.0, rounding),
        "sharpe": sharpe(returns, per_year, rounding),
        "sortino": sortino(returns, per_year, resolution=rounding),
        "var_95": value_at_risk(returns, 0.05),
        "cvar_95": expected_shortfall(returns, 0.05),
        "var_99": value_at_risk(returns, 0.01),
        "cvar_99": expected_shortfall(returns, 0.01),
        "skew": skew(returns, rounding),
        "kurtosis": kurtosis(returns, rounding),
        "best_session": float(returns.max()) if returns.size else math.nan,
        "worst_session": float(returns.min()) if returns.size else math.nan,
        "omega": omega(returns),
        "tail_ratio": tail_ratio(returns),
    }


def _trade_measures(pnl: Floats, bars_held: Floats) -> dict[str, Any]:
    return {
        "trades": pnl.size,
        "win_rate": win_rate(pnl),
        "profit_factor": profit_factor(pnl),
        "expectancy": expectancy(pnl),
        "average_win": average_win(pnl),
        "average_loss": average_loss(pnl),
        "payoff_ratio": payoff_ratio(pnl),
        "average_bars_held": mean(np.asarray(bars_held, dtype=np.float64)),
    }


def time_scale(session: Integers | Dates, periods: int, sessions_per_year: float) -> Annual:
    """Return the time scale of `periods` sessions: of the calendar where `session` holds dates."""
    years = None
    if session.dtype.kind == "M":
        years = calendar_years(session.astype("datetime64[D]"), sessions_per_year)
    return annual(periods, sessions_per_year, years=years)


def _drawdown_measures(
    curve: Floats, session: Integers | Dates, *, by_fraction: bool
) -> tuple[float, float, int, int]:
    """Return (depth in USD, greatest fraction, sessions of the deepest, longest in sessions), by bars."""
    deepest = max_drawdown(curve)
    if by_fraction:
        deepest = next(iter(deepest_drawdowns(curve, 1, by_fraction=True)), None)
    if deepest is None:
        return (0.0, 0.0, 0, 0)
    clock = np.concatenate((np.zeros(1, np.int64), session_ordinals(session) + 1))
    sessions = int(clock[deepest.peak + deepest.length] - clock[deepest.peak])
    return (deepest.depth, float(drawdown_fractions(curve).max()), sessions, longest_drawdown(curve, clock))


def summary(
    *,
    equity: Floats,
    session: Integers | Dates,
    trade_pnl: Floats,
    trade_bars_held: Floats,
    position: Floats,
    traded_notional: float,
    capital: float,
    sessions_per_year: float = SESSIONS_PER_YEAR,
    compounded: bool = False,
) -> dict[str, float | int]:
    """Return `performance` as a plain dict, in the order of `Performance`; the arguments are the same."""
    measured = performance(
        equity=equity,
        session=session,
        trade_pnl=trade_pnl,
        trade_bars_held=trade_bars_held,
        position=position,
        traded_notional=traded_notional,
        capital=capital,
        sessions_per_year=sessions_per_year,
        compounded=compounded,
    )
    return asdict(measured)
