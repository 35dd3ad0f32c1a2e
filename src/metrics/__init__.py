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

**Rounding is not variance.** Equal gains that come out of an equity curve differ in their last bits. A spread
that rounding alone can leave counts as zero, so that a ratio over it is nan; see `arrays.py`.

**Years are the calendar's.** Where session dates are known, a year is 365.25 days and not 252 rows, so that a
hole in the data is time that passed; see `years.py`.

Futures returns on notional capital need no financing, so no risk-free rate is subtracted anywhere.
"""

from lockstep.metrics.arrays import Dates, Floats, Integers
from lockstep.metrics.benchmark import (
    Relative,
    beta,
    correlation,
    information_ratio,
    market_returns,
    relative,
    timing_returns,
)
from lockstep.metrics.curves import (
    Drawdown,
    cagr,
    curve_from,
    deepest_drawdowns,
    drawdown_fractions,
    drawdowns,
    longest_drawdown,
    max_drawdown,
    period_returns,
    recovery_factor,
    resolution,
    session_equity,
    session_ordinals,
    ulcer_index,
)
from lockstep.metrics.performance import Performance, performance, summary, time_scale
from lockstep.metrics.returns import (
    downside_deviation,
    expected_shortfall,
    kurtosis,
    longest_run,
    omega,
    sharpe,
    skew,
    sortino,
    tail_ratio,
    value_at_risk,
    volatility,
)
from lockstep.metrics.rolling import rolling_beta, rolling_sharpe, rolling_sortino, rolling_volatility
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

__all__ = [
    "SESSIONS_PER_YEAR",
    "Annual",
    "Dates",
    "Drawdown",
    "Floats",
    "Integers",
    "Performance",
    "Relative",
    "annual",
    "average_loss",
    "average_win",
    "beta",
    "cagr",
    "calendar_years",
    "correlation",
    "curve_from",
    "deepest_drawdowns",
    "downside_deviation",
    "drawdown_fractions",
    "drawdowns",
    "expectancy",
    "expected_shortfall",
    "exposure",
    "information_ratio",
    "kurtosis",
    "longest_drawdown",
    "longest_run",
    "market_returns",
    "max_drawdown",
    "omega",
    "payoff_ratio",
    "performance",
    "period_returns",
    "profit_factor",
    "recovery_factor",
    "relative",
    "resolution",
    "rolling_beta",
    "rolling_sharpe",
    "rolling_sortino",
    "rolling_volatility",
    "session_equity",
    "session_ordinals",
    "sharpe",
    "skew",
    "sortino",
    "summary",
    "tail_ratio",
    "time_scale",
    "timing_returns",
    "ulcer_index",
    "value_at_risk",
    "volatility",
    "win_rate",
]
