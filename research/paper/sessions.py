"""What an account did, session by session: the rows that comparison and bootstrap work on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.market.sessions import Dates
from lockstep.metrics import Floats, Integers
from lockstep.monitoring.parity import COMPLETED, Step
from lockstep.strategy.records import ENTRY, OrderRecord

MONTHS = 12


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Consecutive bars of one account, from a flat start. opening: equity before the first bar, USD."""

    steps: Sequence[Step]
    opening: float

    @property
    def pnl(self) -> Floats:
        """Profit and loss since the start at the close of each bar, USD, float64 (bars,)."""
        return np.array([step.mark[3] for step in self.steps if step.mark]) - self.opening


@dataclass(frozen=True, kw_only=True, eq=False)
class Sessions:
    """n sessions of one instrument, in order.

    dates    datetime64[D] (n,); pnl   float64 (n,), USD, net of costs, marked at the close
    closed   int64 (n,): trades that ended in the session; won   of those with a net gain
    capital  USD > 0: what returns refer to; per_year   sessions in a year
    """

    dates: Dates
    pnl: Floats
    closed: Integers
    won: Integers
    capital: float
    per_year: float

    @classmethod
    def of(
        cls,
        stretches: Iterable[Stretch],
        dates_of: Callable[[Integers], Dates],
        *,
        multiplier: float,
        capital: float,
        per_year: float,
    ) -> Sessions:
        """Gather stretches of bars; `dates_of` returns the session dates of bar ends, datetime64[D]."""
        parts = [each for each in stretches if each.steps]
        ends = np.array([step.stamp for each in parts for step in each.steps], dtype=np.int64)
        changes = np.concatenate([np.diff(each.pnl, prepend=0.0) for each in parts])
        trades = [trade for each in parts for trade in closed_trades(each.steps, multiplier)]
        dates, row = np.unique(dates_of(ends), return_inverse=True)
        ended = np.searchsorted(ends, np.array([stamp for stamp, _ in trades], dtype=np.int64))
        gains = np.array([net > 0 for _, net in trades], dtype=np.float64)
        count = dates.size
        return cls(
            dates=dates,
            pnl=np.asarray(np.bincount(row, weights=changes, minlength=count), dtype=np.float64),
            closed=np.bincount(row[ended], minlength=count).astype(np.int64),
            won=np.bincount(row[ended], weights=gains, minlength=count).astype(np.int64),
            capital=capital,
            per_year=per_year,
        )

    def __len__(self) -> int:
        return int(self.dates.size)


def closed_trades(steps: Iterable[Step], multiplier: float) -> list[tuple[int, float]]:
    """Return (bar end of the exit, net profit in USD) of each trade that ended, in order."""
    trades, entry = [], None
    for order in (order for step in steps for order in step.orders or ()):
        if order.status != COMPLETED:
            continue
        if order.intent == ENTRY:
            entry = order
        elif entry is not None:
            trades.append((order.stamp, _net(entry, order, multiplier)))
            entry = None
    return trades


def _net(entry: OrderRecord, leave: OrderRecord, multiplier: float) -> float:
    gross = (leave.price - entry.price) * entry.quantity * multiplier
    return gross - entry.commission - leave.commission
