"""Performance measures from the sums that a sweep keeps; conventions as in `lockstep.metrics`."""

from __future__ import annotations

import numpy as np

from lockstep.market.bars import Floats
from research.sweep_account import (
    BARS_IN_POSITION,
    DOWNSIDE,
    DRAWDOWN,
    DRAWDOWN_FRACTION,
    EQUITY,
    GAINS,
    LOSSES,
    SUM_1,
    SUM_2,
    SUM_3,
    SUM_4,
    TRADES,
    WINS,
)


def measures_of(
    raw: Floats, *, sessions: int, bars: int, capital: float, sessions_per_year: float
) -> dict[str, Floats]:
    """Return the measures of V variants, each float64 (V,), from raw sums (V, MEASURES).

    NaN where a measure is undefined: no trade, no loss, fewer than two sessions, no variation.
    """
    column = raw.T
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = column[SUM_1] / sessions
        central_2 = np.maximum(column[SUM_2] / sessions - mean**2, 0.0)
        central_3 = column[SUM_3] / sessions - 3 * mean * column[SUM_2] / sessions + 2 * mean**3
        central_4 = (
            column[SUM_4] / sessions
            - 4 * mean * column[SUM_3] / sessions
            + 6 * mean**2 * column[SUM_2] / sessions
            - 3 * mean**4
        )
        deviation = (
            np.sqrt(central_2 * sessions / (sessions - 1)) if sessions > 1 else np.full(len(raw), np.nan)
        )
        per_session = _defined(mean / deviation)
        downside = np.sqrt(column[DOWNSIDE] / sessions)
        left = np.maximum(column[EQUITY] / capital, 0.0)
        growth = left ** (sessions_per_year / sessions) - 1.0
        return {
            "trades": column[TRADES],
            "net_profit": column[EQUITY] - capital,
            "sharpe_session": per_session,
            "sharpe": per_session * np.sqrt(sessions_per_year),
            "sortino": _defined(mean / downside) * np.sqrt(sessions_per_year),
            "cagr": growth,
            "calmar": _defined(growth / column[DRAWDOWN_FRACTION]),
            "max_drawdown": column[DRAWDOWN],
            "max_drawdown_fraction": column[DRAWDOWN_FRACTION],
            "win_rate": _defined(column[WINS] / column[TRADES]),
            "profit_factor": _defined(column[GAINS] / column[LOSSES]),
            "exposure": column[BARS_IN_POSITION] / bars,
            "skew": _defined(central_3 / central_2**1.5),
            "kurtosis": _defined(central_4 / central_2**2),
            "sessions": np.full(len(raw), float(sessions)),
        }


def _defined(values: Floats) -> Floats:
    """Replace infinities by NaN, as everywhere in `lockstep.metrics`."""
    return np.where(np.isfinite(values), values, np.nan)
