"""`RiskSubject`: whose risk is measured: positions, and what one contract of each earned in every session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Literal

import numpy as np

from lockstep.errors import DataError
from lockstep.market.history import History, SeriesKey
from lockstep.metrics.arrays import Dates, Floats

if TYPE_CHECKING:
    from research.backtest.portfolio import PortfolioMember, PortfolioResult

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
        bars = history.series(key)
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


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnResults:
    """What the account itself made: session dates (S,), P&L of each (S,), and what was held at its end.

    positions   float64 (S, n), contracts after each session, columns as of the subject; None: not known
    """

    dates: Dates
    pnl: Floats
    positions: Floats | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RiskSubject:
    """A portfolio's run, or a desk, as everything that measures risk sees it.

    as_of       session date of the positions; stamp: of the newest bar set that they follow, UTC ns
    capital     USD
    positions   contracts held, signed, by symbol in their order; reserved: of entries that were admitted and
                wait to be filled, signed
    dates       datetime64[D] (T,): sessions that all instruments have; changes float64 (T, n): USD that one
                contract earned from the session before to this one, points x multiplier
    closes      by symbol, whole; own: results of the account itself, None where there are none
    run, members   of a portfolio that was run in research, else None
    notes       what a reader must know first
    """

    kind: Literal["portfolio", "desk"]
    name: str
    as_of: date
    stamp: int
    capital: float
    positions: Mapping[str, float]
    reserved: Mapping[str, float]
    dates: Dates
    changes: Floats
    closes: Mapping[str, SessionCloses]
    own: OwnResults | None = None
    run: PortfolioResult | None = None
    members: Mapping[str, PortfolioMember] | None = None
    notes: Sequence[str] = field(default=())

    @property
    def symbols(self) -> tuple[str, ...]:
        """Instruments in the order of the columns."""
        return tuple(self.positions)

    @property
    def exposed(self) -> Floats:
        """Contracts that are measured, (n,): held and reserved."""
        return np.array([self.positions[each] + self.reserved.get(each, 0.0) for each in self.symbols])

    @property
    def pnl(self) -> Floats:
        """What today's positions would have earned in each session, float64 (T, n), USD."""
        return np.asarray(self.changes * self.exposed)


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
