"""A few features once more: slow, obvious formulas in pandas, written without the registry.

They are the second opinion of the feature check where no second source of values is at hand.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from lockstep.errors import ConfigError
from lockstep.features.feature_id import FeatureId


def ibs(bars: pd.DataFrame) -> pd.Series:
    """(close - low) / (high - low); 0.5 where high == low."""
    size = bars["high"] - bars["low"]
    return ((bars["close"] - bars["low"]) / size.where(size > 0)).fillna(0.5)


def rsi(bars: pd.DataFrame, period: int) -> pd.Series:
    """100 - 100 / (1 + average gain / average loss); Wilder's recursion, begun with a simple mean.

    50 where nothing has moved yet. Wilder, New Concepts in Technical Trading Systems (1978), section VI.
    """
    change = bars["close"].diff()
    gain, loss = (_wilder(part.clip(lower=0), period) for part in (change, -change))
    total = gain + loss
    return (100 * gain / total.where(total > 0)).where(total != 0, 50.0)


def _wilder(values: pd.Series, period: int) -> pd.Series:
    averages = [np.nan] * len(values)
    if len(values) > period:
        averages[period] = float(values.iloc[1 : period + 1].mean())
    for row in range(period + 1, len(values)):
        averages[row] = (averages[row - 1] * (period - 1) + values.iloc[row]) / period
    return pd.Series(averages, index=values.index)


def volume_pctile(bars: pd.DataFrame, window: int) -> pd.Series:
    """Share of the earlier volumes in the window that are lower, ties counting half."""
    # Rank 1 is the lowest; ties share the mean of their ranks.
    return (bars["volume"].rolling(window).rank() - 1) / (window - 1)


def ret(bars: pd.DataFrame, window: int) -> pd.Series:
    """Simple return over `window` bars; missing where the earlier close is not positive."""
    earlier = bars["close"].shift(window)
    return bars["close"] / earlier.where(earlier > 0) - 1


def zscore(bars: pd.DataFrame, window: int) -> pd.Series:
    """Distance of the close from its mean in population deviations; 0 where it does not vary."""
    closes = bars["close"].rolling(window)
    spread = closes.std(ddof=0)
    return ((bars["close"] - closes.mean()) / spread.where(spread > 0)).where(spread != 0, 0.0)


def stoch_k(bars: pd.DataFrame, window: int) -> pd.Series:
    """Close between the lowest low (0) and the highest high (100); 50 where they are equal."""
    low, high = bars["low"].rolling(window).min(), bars["high"].rolling(window).max()
    size = high - low
    return (100 * (bars["close"] - low) / size.where(size > 0)).where(size != 0, 50.0)


_FORMULAS: dict[str, Callable[..., pd.Series]] = {
    formula.__name__: formula for formula in (ibs, ret, rsi, stoch_k, volume_pctile, zscore)
}


def slow_values(feature_id: FeatureId, bars: pd.DataFrame) -> pd.Series:
    """Return an id over `bars` (columns open, high, low, close, volume) by the formula above, on its index.

    ConfigError where there is no such formula, or the id is of another series.
    """
    values = pd.Series(1.0, index=bars.index)
    for term in feature_id.terms:
        derived = feature_id.column is not None
        qualified = term.symbol is not None or term.timeframe is not None
        if derived or qualified or term.feature.name not in _FORMULAS:
            raise ConfigError(
                f"feature {feature_id}: no second formula to check it by, only for {', '.join(_FORMULAS)} "
                "of the bars themselves; give a file with its values by --against"
            )
        factor = _FORMULAS[term.feature.name](bars, *term.parameters)
        values = values * (_rank(factor, term.rank) if term.rank else factor).shift(term.lag)
    return values


def _rank(values: pd.Series, earlier: int) -> pd.Series:
    """Share of the `earlier` values before each that are lower, ties counting half."""
    return (values.rolling(earlier + 1).rank() - 1) / earlier
