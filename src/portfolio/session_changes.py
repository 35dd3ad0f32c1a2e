"""What one contract of each instrument earned in every session, and how far a forecast looks back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lockstep.errors import DataError
from lockstep.market.continuous import levels
from lockstep.market.history import History, SeriesKey
from lockstep.metrics.arrays import Dates, Floats
from lockstep.portfolio.var import WARM_UP, Method, sessions_needed

WINDOW = 500
"""Sessions that a forecast looks back on, two years; today's and those of the backtest alike."""

_DAY = "datetime64[D]"


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionCloses:
    """The last close of every session of one instrument.

    dates   datetime64[D] (T,), rising; closes float64 (T,), points; multiplier USD per point of a contract
    """

    dates: Dates
    closes: Floats
    multiplier: float

    @classmethod
    def of(cls, history: History, key: SeriesKey) -> SessionCloses:
        """Return those of a series; DataError where it has no bars."""
        bars = levels(history.series(key))
        market = history.markets[key.symbol]
        if not len(bars):
            raise DataError(f"{key}: no bars: its position has no history to be measured by")
        days = market.session.dates(bars.end, bars.timeframe).astype(_DAY)
        last = np.flatnonzero(np.append(days[1:] != days[:-1], True))
        return cls(dates=days[last], closes=bars.close[last], multiplier=market.instrument.multiplier)

    def until(self, day: np.datetime64) -> SessionCloses:
        """Return the sessions up to a date, that one included."""
        rows = int(np.searchsorted(self.dates, day, side="right"))
        return replace(self, dates=self.dates[:rows], closes=self.closes[:rows])


def common_changes(closes: Mapping[str, SessionCloses]) -> tuple[Dates, Floats]:
    """Return sessions that all instruments have, (T,), and USD per contract since the one before, (T, n).

    A day that one instrument does not trade is no session of the sample: what the others did on it is part of
    their next change. DataError for fewer than two common sessions.

    >>> days = np.array(["2024-01-02", "2024-01-03", "2024-01-04"], dtype="datetime64[D]")
    >>> es = SessionCloses(dates=days, closes=np.array([10.0, 11.0, 9.0]), multiplier=50.0)
    >>> zc = SessionCloses(dates=days[[0, 2]], closes=np.array([4.0, 5.0]), multiplier=50.0)
    >>> common_changes({"ES": es, "ZC": zc})[1]
    array([[-50.,  50.]])
    """
    if not closes:
        raise DataError("risk: no instrument; a portfolio or a desk has at least one")
    each = list(closes.values())
    dates = each[0].dates
    for one in each[1:]:
        dates = np.intersect1d(dates, one.dates)
    if dates.size < 2:
        spans = ", ".join(f"{symbol} {_span(one)}" for symbol, one in closes.items())
        raise DataError(
            f"risk: {dates.size} sessions that all instruments have ({spans}); give bars of the same dates"
        )
    columns = [np.diff(one.closes[np.searchsorted(one.dates, dates)]) * one.multiplier for one in each]
    return dates[1:], np.stack(columns, axis=1)


def require_history(positions: Mapping[str, float], closes: Mapping[str, SessionCloses]) -> None:
    """DataError, naming the position, where one has no closes to be measured by."""
    for symbol, contracts in positions.items():
        if contracts and symbol not in closes:
            raise DataError(
                f"{symbol}: a position of {contracts:+g} without a history: its risk cannot be measured; "
                "give its bars (--data-dir, or lockstep data add-source)"
            )


def _span(one: SessionCloses) -> str:
    return f"{one.dates[0]} to {one.dates[-1]}" if one.dates.size else "none"


def window_for(tail: float) -> int:
    """Return how many sessions a forecast of a tail looks back on: 500, more where the tail needs more."""
    return max(WINDOW, sessions_needed(tail, "historical"))


def newest_changes(changes: Floats, tail: float, method: Method) -> Floats:
    """Return the newest of changes (T, n) that a tail is measured by, with what the filter begins with."""
    return changes[-(window_for(tail) + (WARM_UP if method == "filtered" else 0)) :]
