"""Measures from the sums of an account, for many accounts at once: what a sweep can afford to keep.

The formulas are those of the other modules, written over sums; the nan rule and what counts as rounding are
theirs too. A sum of squares loses digits against the squared mean, so that results agree with those from the
whole curve to some ten digits, not to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lockstep.metrics.arrays import LEAST_FRACTION, LEAST_LOSS, OPERATIONS, RESIDUE, Floats
from lockstep.metrics.years import Annual

# A variance below this part of the mean square is rounding of the sums.
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class AccountSums:
    """What is kept of V accounts, each float64 (V,).

    power_1 … power_4   sums over the sessions of the return's first to fourth power
    downside            sum of the squares of negative returns
    equity              at the end, USD
    drawdown, drawdown_fraction   deepest decline, USD and as a fraction of the peak before it
    trades, wins        closed trades, and those that earned
    gains, losses       of closed trades, USD, both >= 0
    bars_in_position    bars that ended with a position
    """

    power_1: Floats
    power_2: Floats
    power_3: Floats
    power_4: Floats
    downside: Floats
    equity: Floats
    drawdown: Floats
    drawdown_fraction: Floats
    trades: Floats
    wins: Floats
    gains: Floats
    losses: Floats
    bars_in_position: Floats


def summary_of_sums(sums: AccountSums, *, scale: Annual, bars: int, capital: float) -> dict[str, Floats]:
    """Return measures by the names of `metrics.summary`, each float64 (V,).

    scale     says how many sessions there are and how ratios are annualised
    bars      of the run; capital   > 0, USD

    nan where a measure is undefined: no trade, no loss, fewer than two sessions, or returns that vary by no
    more than rounding.

    >>> one, none = np.ones(1), np.zeros(1)
    >>> kept = AccountSums(
    ...     power_1=0.02 * one, power_2=0.001 * one, power_3=none, power_4=none, downside=none,
    ...     equity=102.0 * one, drawdown=none, drawdown_fraction=none, trades=2 * one, wins=one,
    ...     gains=3.0 * one, losses=one, bars_in_position=2 * one,
    ... )
    >>> scale = Annual(periods=4, years=1.0, nominal=4.0, periods_per_year=4.0)
    >>> found = summary_of_sums(kept, scale=scale, bars=4, capital=100.0)
    >>> float(found["profit_factor"][0]), round(float(found["cagr"][0]), 3)
    (3.0, 0.02)
    """
    sessions = scale.periods
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = sums.power_1 / sessions
        central_2 = np.maximum(sums.power_2 / sessions - mean**2, 0.0)
        central_3 = sums.power_3 / sessions - 3 * mean * sums.power_2 / sessions + 2 * mean**3
        central_4 = (
            sums.power_4 / sessions
            - 4 * mean * sums.power_3 / sessions
            + 6 * mean**2 * sums.power_2 / sessions
            - 3 * mean**4
        )
        resolution = _resolution(sums, capital)
        about_zero = sums.power_2 / sessions
        central_2[central_2 <= np.maximum(_ROUNDING * about_zero, resolution**2)] = np.nan
        undefined = np.full(mean.size, np.nan)
        deviation = np.sqrt(central_2 * sessions / (sessions - 1)) if sessions > 1 else undefined
        per_session = _defined(mean / deviation)
        downside = np.sqrt(sums.downside / sessions)
        downside[downside <= np.maximum(RESIDUE * np.sqrt(about_zero), resolution)] = np.nan
        left = np.maximum(sums.equity / capital, 0.0)
        growth = _defined(left ** (1.0 / scale.years) - 1.0)
        fall, lost = sums.drawdown_fraction, sums.losses
        return {
            "trades": sums.trades,
            "net_profit": sums.equity - capital,
            "sharpe_session": per_session,
            "sharpe": per_session * np.sqrt(scale.periods_per_year),
            "sortino": _defined(mean / downside) * np.sqrt(scale.periods_per_year),
            "cagr": growth,
            "calmar": _defined(growth / np.where(fall > LEAST_FRACTION, fall, np.nan)),
            "max_drawdown": sums.drawdown,
            "max_drawdown_fraction": sums.drawdown_fraction,
            "win_rate": _defined(sums.wins / sums.trades),
            "profit_factor": _defined(
                sums.gains / np.where(lost > LEAST_LOSS * (sums.gains + lost), lost, np.nan)
            ),
            "exposure": sums.bars_in_position / bars,
            "skew": _defined(central_3 / central_2**1.5),
            "kurtosis": _defined(central_4 / central_2**2),
            "sessions": np.full(mean.size, float(sessions)),
        }


def _resolution(sums: AccountSums, capital: float) -> Floats:
    """Rounding of one return: as `curves.resolution`, from the greatest equity that the sums know of."""
    largest: Floats = np.maximum(np.abs(sums.equity), capital) + sums.drawdown
    return OPERATIONS / capital * largest


def _defined(values: Floats) -> Floats:
    """Replace infinities by nan, as everywhere in `lockstep.metrics`."""
    return np.where(np.isfinite(values), values, np.nan)
