"""Performance measures from the sums that a sweep keeps; conventions as in `lockstep.metrics`."""

from __future__ import annotations

import numpy as np

from lockstep.market.bars import Floats
from lockstep.metrics.arrays import LEAST_FRACTION, LEAST_LOSS, OPERATIONS, RESIDUE
from lockstep.metrics.years import Annual
from research.sweep.account import (
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

# Sums of squares lose digits against the squared mean; a variance below this part of it is rounding.
_ROUNDING = 1e-12


def measures_of(raw: Floats, *, scale: Annual, bars: int, capital: float) -> dict[str, Floats]:
    """Return the measures of V variants, each float64 (V,), from raw sums (V, MEASURES).

    `scale` says how many sessions there are and how ratios are annualised. NaN where a measure is undefined:
    no trade, no loss, fewer than two sessions, no variation beyond rounding.
    """
    sessions = scale.periods
    column = raw.T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = column[SUM_1] / sessions
        central_2 = np.maximum(column[SUM_2] / sessions - mean**2, 0.0)
        central_3 = column[SUM_3] / sessions - 3 * mean * column[SUM_2] / sessions + 2 * mean**3
        central_4 = (
            column[SUM_4] / sessions
            - 4 * mean * column[SUM_3] / sessions
            + 6 * mean**2 * column[SUM_2] / sessions
            - 3 * mean**4
        )
        resolution = _resolution(column, capital)
        about_zero = column[SUM_2] / sessions
        central_2[central_2 <= np.maximum(_ROUNDING * about_zero, resolution**2)] = np.nan
        deviation = (
            np.sqrt(central_2 * sessions / (sessions - 1)) if sessions > 1 else np.full(len(raw), np.nan)
        )
        per_session = _defined(mean / deviation)
        downside = np.sqrt(column[DOWNSIDE] / sessions)
        downside[downside <= np.maximum(RESIDUE * np.sqrt(about_zero), resolution)] = np.nan
        left = np.maximum(column[EQUITY] / capital, 0.0)
        growth = _defined(left ** (1.0 / scale.years) - 1.0)
        fall, lost = column[DRAWDOWN_FRACTION], column[LOSSES]
        return {
            "trades": column[TRADES],
            "net_profit": column[EQUITY] - capital,
            "sharpe_session": per_session,
            "sharpe": per_session * np.sqrt(scale.periods_per_year),
            "sortino": _defined(mean / downside) * np.sqrt(scale.periods_per_year),
            "cagr": growth,
            "calmar": _defined(growth / np.where(fall > LEAST_FRACTION, fall, np.nan)),
            "max_drawdown": column[DRAWDOWN],
            "max_drawdown_fraction": column[DRAWDOWN_FRACTION],
            "win_rate": _defined(column[WINS] / column[TRADES]),
            "profit_factor": _defined(
                column[GAINS] / np.where(lost > LEAST_LOSS * (column[GAINS] + lost), lost, np.nan)
            ),
            "exposure": column[BARS_IN_POSITION] / bars,
            "skew": _defined(central_3 / central_2**1.5),
            "kurtosis": _defined(central_4 / central_2**2),
            "sessions": np.full(len(raw), float(sessions)),
        }


def _resolution(column: Floats, capital: float) -> Floats:
    """Rounding of one return: as `curves.resolution`, from the greatest equity that the sums know of."""
    largest: Floats = np.maximum(np.abs(column[EQUITY]), capital) + column[DRAWDOWN]
    return OPERATIONS / capital * largest


def _defined(values: Floats) -> Floats:
    """Replace infinities by NaN, as everywhere in `lockstep.metrics`."""
    return np.where(np.isfinite(values), values, np.nan)
