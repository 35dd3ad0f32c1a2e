"""Performance measures: research, live and monitoring compute them here and nowhere else.

**Returns are taken on constant notional capital.** Position sizes follow the configured capital and never the
broker's equity, so a dollar earned in 2005 and one earned in 2015 come from bets of the same size. The
return of a period is therefore its change of equity divided by that capital; returns add up, they do not
compound, and a good first year does not shrink the look of a bad last one. An account that trades so has
`equity = capital + all profit and loss so far, costs included, open positions marked at the close`.

**A curve starts before the first period.** Functions that take a `curve` expect float64 (n + 1,) in USD: the
starting capital, then the equity after each of n periods; see `curve_from`.

**nan rule, for every function:** nan where the input is shorter than the measure needs, where one value is
not finite, or where the denominator is zero. Nothing is replaced by zero or infinity.

Futures returns on notional capital need no financing, so no risk-free rate is subtracted anywhere.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SESSIONS_PER_YEAR = 252.0


@dataclass(frozen=True, kw_only=True)
class Drawdown:
    """One decline of a curve below its running maximum, by positions in the curve.

    peak       the last position at the maximum before the decline
    trough     the first position at the lowest point
    recovery   the first later position at or above the peak, or None while the curve is still below it
    depth      USD, >= 0: equity at the peak - equity at the trough
    fraction   depth / equity at the peak
    length     periods, >= 0: from the peak to the recovery, or to the end of the curve
    """

    peak: int
    trough: int
    recovery: int | None
    depth: float
    fraction: float
    length: int


@dataclass(frozen=True, kw_only=True)
class Performance:
    """All measures of one run. Amounts are USD, returns are fractions of capital per session.

    bars, sessions, trades     counts; `trades` are closed trades
    net_profit                 last equity - capital
    total_return               net_profit / capital
    annual_return              mean session return x sessions per year (additive)
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


def _usable(values: Floats, least: int = 1) -> bool:
    return values.size >= least and bool(np.isfinite(values).all())


def _mean(values: Floats) -> float:
    return float(np.mean(values)) if _usable(values) else math.nan


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator != 0 else math.nan


def _spread(returns: Floats) -> float:
    """Standard deviation with ddof 1; exactly 0 for equal values, where rounding may leave 1e-19."""
    return float(np.std(returns, ddof=1)) if np.ptp(returns) > 0 else 0.0


def curve_from(capital: float, equity: Floats) -> Floats:
    """Return the curve (n + 1,): `capital`, then `equity` (n,)."""
    return np.concatenate((np.array([capital], dtype=np.float64), equity))


def session_ordinals(session: Integers) -> Integers:
    """Return the 0-based number of each bar's session, int64 (n,).

    `session` int64 (n,) are session ids (such as dates) that never fall; DataError where they do.
    """
    step = np.diff(session)
    if step.size and step.min() < 0:
        bar = int((step < 0).argmax()) + 1
        raise DataError(f"bar {bar}: session {session[bar]}: ids must not fall; sort the bars by time")
    return np.concatenate((np.zeros(min(session.size, 1), np.int64), np.cumsum(step > 0, dtype=np.int64)))


def session_equity(equity: Floats, session: Integers) -> Floats:
    """Return the equity after the last bar of each session, float64 (sessions,).

    `equity` float64 (n,) per bar, `session` as in `session_ordinals`. Measures of return use
    this: bars within a session are correlated, and their number differs between timeframes.
    """
    ordinals = session_ordinals(session)
    if ordinals.size != equity.size:
        raise DataError(f"{equity.size} equity values, {ordinals.size} session ids: need one id per bar")
    is_last = np.diff(ordinals, append=ordinals[-1:] + 1) > 0
    return equity[is_last]


def period_returns(curve: Floats, capital: float) -> Floats:
    """Return each period's change of equity / `capital`, float64 (n,); they sum to total_return."""
    return np.diff(curve) / capital


def sharpe(returns: Floats, periods_per_year: float = 1.0) -> float:
    """Mean / standard deviation (ddof 1) x sqrt(periods_per_year); the default 1 gives it per period.

    nan for fewer than 2 returns or no variance. Sharpe (1994), The Sharpe Ratio, J. Portfolio
    Management 21. The square root holds for uncorrelated returns: Lo (2002), The Statistics of Sharpe Ratios.
    """
    if not _usable(returns, 2):
        return math.nan
    return _ratio(_mean(returns) * math.sqrt(periods_per_year), _spread(returns))


def rolling_sharpe(returns: Floats, window: int, periods_per_year: float = 1.0) -> Floats:
    """Return `sharpe` of the last `window` returns at every return, float64 (n,).

    nan before the first full window.
    """
    out = np.full(returns.size, math.nan)
    if window <= returns.size:
        windows = np.lib.stride_tricks.sliding_window_view(returns, window)
        out[window - 1 :] = [sharpe(part, periods_per_year) for part in windows]
    return out


def downside_deviation(returns: Floats, target: float = 0.0) -> float:
    """Root of the mean square of min(return - target, 0) over **all** returns (ddof 0)."""
    if not _usable(returns):
        return math.nan
    return math.sqrt(_mean(np.minimum(returns - target, 0.0) ** 2))


def sortino(returns: Floats, periods_per_year: float = 1.0, target: float = 0.0) -> float:
    """(Mean - target) / downside deviation x sqrt(periods_per_year); `target` is per period.

    nan without a return below target. Sortino and Price (1994), Performance Measurement in a Downside Risk
    Framework, Journal of Investing 3.
    """
    excess = (_mean(returns) - target) * math.sqrt(periods_per_year)
    return _ratio(excess, downside_deviation(returns, target))


def cagr(curve: Floats, periods_per_year: float) -> float:
    """Yearly growth that takes the first equity to the last: (last / first) ** (1 / years) - 1.

    years = (points - 1) / periods_per_year. -1 when the capital is lost or more; nan for fewer than 2 points,
    or where a year's growth is more than a float can hold (a run of a session or two).
    """
    if not _usable(curve, 2) or curve[0] <= 0:
        return math.nan
    growth = max(float(curve[-1] / curve[0]), 0.0)
    try:
        return float(growth ** (periods_per_year / (curve.size - 1))) - 1.0
    except OverflowError:
        return math.nan


def drawdowns(curve: Floats) -> Floats:
    """Return running maximum - equity at every point, USD >= 0, the shape of `curve`."""
    return np.maximum.accumulate(curve) - curve


def drawdown_fractions(curve: Floats) -> Floats:
    """Return drawdown / running maximum at every point, >= 0; above 1 where more than everything is lost."""
    return drawdowns(curve) / np.maximum.accumulate(curve)


def max_drawdown(curve: Floats) -> Drawdown | None:
    """Return the decline that is deepest in USD, the first of equals; None if the curve never falls.

    None too for an empty curve; DataError where a value is not finite.
    """
    if not np.isfinite(curve).all():
        raise DataError("equity curve: not a finite number: a drawdown needs finite equity; mark every bar")
    under = drawdowns(curve)
    if not under.size or under.max() == 0:
        return None
    trough = int(under.argmax())
    top = float(curve[: trough + 1].max())
    peak = trough - int(curve[trough::-1].argmax())
    after = np.flatnonzero(curve[trough:] >= top)
    recovery = trough + int(after[0]) if after.size else None
    end = curve.size - 1 if recovery is None else recovery
    depth = float(under[trough])
    return Drawdown(
        peak=peak,
        trough=trough,
        recovery=recovery,
        depth=depth,
        fraction=_ratio(depth, top),
        length=end - peak,
    )


def longest_drawdown(curve: Floats, clock: Integers | None = None) -> int:
    """Return the greatest time below a former maximum, peak to recovery or end; 0 if it never falls.

    Counted in points of the curve, or in units of `clock`, int64 of the curve's shape.
    """
    if not curve.size:
        return 0
    position = np.arange(curve.size)
    at_high = np.where(drawdowns(curve) == 0, position, 0)
    previous_high = np.concatenate(([0], np.maximum.accumulate(at_high)[:-1]))
    fell_between = np.concatenate(([False], drawdowns(curve)[:-1] > 0)) | (drawdowns(curve) > 0)
    ticks = position if clock is None else clock
    return int(np.where(fell_between, ticks - ticks[previous_high], 0).max())


def profit_factor(pnl: Floats) -> float:
    """Sum of gains / -(sum of losses) of trades (k,), USD net of costs; nan without a losing trade."""
    if not _usable(pnl):
        return math.nan
    return _ratio(float(pnl[pnl > 0].sum()), -float(pnl[pnl < 0].sum()))


def win_rate(pnl: Floats) -> float:
    """Trades with a net gain / all trades; one that ends at exactly zero is no win."""
    return float(np.mean(pnl > 0)) if _usable(pnl) else math.nan


def expectancy(pnl: Floats) -> float:
    """Mean net profit per trade, USD."""
    return _mean(pnl)


def average_win(pnl: Floats) -> float:
    """Mean of the gains, USD > 0; nan without one."""
    return _mean(pnl[pnl > 0]) if _usable(pnl) else math.nan


def average_loss(pnl: Floats) -> float:
    """Mean of the losses, USD < 0; nan without one."""
    return _mean(pnl[pnl < 0]) if _usable(pnl) else math.nan


def exposure(position: Floats) -> float:
    """Bars with a position after their close / all bars, [0, 1].

    A trade that opens and ends within one bar is not seen.
    """
    return float(np.mean(position != 0)) if _usable(position) else math.nan


def _worst(returns: Floats, tail: float) -> Floats:
    """The ceil(tail x n) smallest returns; the tolerance keeps (1 - 0.95) x 100 at 5 and not at 6."""
    if not _usable(returns):
        return np.array([math.nan])
    count = max(1, math.ceil(tail * returns.size - 1e-9))
    return np.sort(returns)[:count]


def value_at_risk(returns: Floats, tail: float) -> float:
    """Historical value at risk: minus the k-th smallest return, k = ceil(tail x n). Positive for a loss.

    `tail` is 0.05 for VaR 95. No interpolation: it is a return that did occur.
    """
    return 0.0 - float(_worst(returns, tail)[-1])


def expected_shortfall(returns: Floats, tail: float) -> float:
    """Historical CVaR: minus the mean of the k smallest returns, k as in `value_at_risk`; never below it.

    Acerbi and Tasche (2002), On the Coherence of Expected Shortfall, Journal of Banking & Finance 26.
    """
    return 0.0 - _mean(_worst(returns, tail))


def _standardised_moment(returns: Floats, order: int) -> float:
    if not _usable(returns, 2) or np.ptp(returns) == 0:
        return math.nan
    centred = returns - returns.mean()
    return _ratio(_mean(centred**order), _mean(centred**2) ** (order / 2))


def skew(returns: Floats) -> float:
    """Third central moment / variance ** 1.5, both with ddof 0; 0 for a symmetric sample."""
    return _standardised_moment(returns, 3)


def kurtosis(returns: Floats) -> float:
    """Fourth central moment / variance ** 2, both with ddof 0; 3 for a normal law (it is not the excess).

    The form that the deflated Sharpe ratio takes: Bailey and López de Prado (2014), eq. 9.
    """
    return _standardised_moment(returns, 4)


def performance(
    *,
    equity: Floats,
    session: Integers,
    trade_pnl: Floats,
    trade_bars_held: Floats,
    position: Floats,
    traded_notional: float,
    capital: float,
    sessions_per_year: float = SESSIONS_PER_YEAR,
) -> Performance:
    """Return all measures of a run of n bars and k closed trades.

    equity            float64 (n,): capital + profit and loss so far, USD, marked at each bar's close
    session           int64 (n,): session ids that never fall
    trade_pnl         float64 (k,): USD, net of costs
    trade_bars_held   (k,): bars from entry to exit
    position          float64 (n,): contracts after each bar, signed
    traded_notional   USD >= 0: sum over fills of |quantity| x price x multiplier, both sides
    capital           USD > 0: the notional capital that sizes are computed from

    DataError where capital is not positive, equity is not finite, or lengths differ. nan: see the module.
    """
    if not capital > 0:
        raise DataError(f"capital {capital}: must be positive: state the notional capital of the run")
    sizes = {"equity": equity.size, "session": session.size, "position": position.size}
    if len(set(sizes.values())) != 1:
        raise DataError(f"{sizes}: need one value per bar")
    curve = curve_from(capital, session_equity(equity, session))
    returns = period_returns(curve, capital)
    years = returns.size / sessions_per_year
    growth = cagr(curve, sessions_per_year)
    decline = _drawdown_measures(curve_from(capital, equity), session)
    return Performance(
        bars=equity.size,
        sessions=returns.size,
        trades=trade_pnl.size,
        net_profit=float(curve[-1] - capital),
        total_return=float(curve[-1] - capital) / capital,
        annual_return=_mean(returns) * sessions_per_year,
        cagr=growth,
        volatility=_spread(returns) * math.sqrt(sessions_per_year) if _usable(returns, 2) else math.nan,
        sharpe_session=sharpe(returns),
        sharpe=sharpe(returns, sessions_per_year),
        sortino=sortino(returns, sessions_per_year),
        calmar=_ratio(growth, decline[1]),
        max_drawdown=decline[0],
        max_drawdown_fraction=decline[1],
        max_drawdown_sessions=decline[2],
        longest_drawdown_sessions=decline[3],
        var_95=value_at_risk(returns, 0.05),
        cvar_95=expected_shortfall(returns, 0.05),
        var_99=value_at_risk(returns, 0.01),
        cvar_99=expected_shortfall(returns, 0.01),
        skew=skew(returns),
        kurtosis=kurtosis(returns),
        best_session=float(returns.max()) if _usable(returns) else math.nan,
        worst_session=float(returns.min()) if _usable(returns) else math.nan,
        win_rate=win_rate(trade_pnl),
        profit_factor=profit_factor(trade_pnl),
        expectancy=expectancy(trade_pnl),
        average_win=average_win(trade_pnl),
        average_loss=average_loss(trade_pnl),
        payoff_ratio=_ratio(average_win(trade_pnl), -average_loss(trade_pnl)),
        average_bars_held=_mean(np.asarray(trade_bars_held, dtype=np.float64)),
        exposure=exposure(position),
        turnover=_ratio(traded_notional / capital, years),
    )


def _drawdown_measures(curve: Floats, session: Integers) -> tuple[float, float, int, int]:
    """Return (depth in USD, greatest fraction, its sessions, longest in sessions) of a curve of bars."""
    deepest = max_drawdown(curve)
    if deepest is None:
        return (0.0, 0.0, 0, 0)
    clock = np.concatenate((np.zeros(1, np.int64), session_ordinals(session) + 1))
    sessions = int(clock[deepest.peak + deepest.length] - clock[deepest.peak])
    return (deepest.depth, float(drawdown_fractions(curve).max()), sessions, longest_drawdown(curve, clock))


def summary(
    *,
    equity: Floats,
    session: Integers,
    trade_pnl: Floats,
    trade_bars_held: Floats,
    position: Floats,
    traded_notional: float,
    capital: float,
    sessions_per_year: float = SESSIONS_PER_YEAR,
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
    )
    return asdict(measured)
