"""Bootstrap bands: what the validation backtest leads to expect of a run of so many sessions.

Blocks of consecutive sessions are drawn (the stationary bootstrap), so that
days that belong together stay together; the first n sessions of each draw are a run as long as the paper run.
Several statistics are judged at once: each band is widened to 1 - (1 - level) / statistics (Bonferroni), so
that a desk that works as validated leaves any of them with a chance of at most 1 - level.

What an account did, session by session: the rows that comparison and bootstrap work on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.market.sessions import Dates
from lockstep.metrics import Floats, Integers
from lockstep.metrics.arrays import RESIDUE
from lockstep.monitoring.parity import COMPLETED, EngineStep
from lockstep.settings import Settings
from lockstep.strategy.records import ENTRY, OrderRecord
from research.statistics.bootstrap import block_length, require_draws

MONTHS = 12


@dataclass(frozen=True, kw_only=True)
class AccountStretch:
    """Consecutive bars of one account, from a flat start. opening: equity before the first bar, USD."""

    steps: Sequence[EngineStep]
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
        stretches: Iterable[AccountStretch],
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


def closed_trades(steps: Iterable[EngineStep], multiplier: float) -> list[tuple[int, float]]:
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


STATISTICS = ("return", "sharpe", "win_rate", "trades_per_month")
_ENOUGH_DRAWS = 0.5
_FAN = (0.05, 0.5, 0.95)

Draws = Integers


class Band(Settings):
    """One statistic of the paper run beside its band.

    paper, backtest   over the same dates; null where undefined
    low, middle, high   quantiles of the validation backtest's resampled runs
    judged   whether there is a value and a band; inside   low <= paper <= high, or not judged
    """

    statistic: str
    paper: float | None
    backtest: float | None
    low: float | None
    middle: float | None
    high: float | None
    judged: bool
    inside: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Fan:
    """Pointwise 5 %, 50 % and 95 % quantiles of the cumulated P&L of resampled runs, USD, float64 (n,)."""

    low: Floats
    middle: Floats
    high: Floats


def drawn_runs(reference: Sessions, length: int, *, resamples: int, seed: int) -> tuple[Draws, int]:
    """Return rows of the reference, int64 (resamples, length), and the average block length in sessions.

    DataError where the reference is shorter than the run, ConfigError for resamples that are not positive.
    """
    from arch.bootstrap import StationaryBootstrap

    if len(reference) < max(length, 8):
        raise DataError(
            f"validation backtest of {len(reference)} sessions: the run has {length}, and 8 are the least; "
            "begin it earlier (--start)"
        )
    block = block_length(reference.pnl)
    require_draws(resamples, block)
    samples = StationaryBootstrap(block, np.arange(len(reference)), seed=seed).bootstrap(resamples)
    return np.array([sample[0][0][:length] for sample in samples], dtype=np.int64), block


def statistics(sessions: Sessions, rows: Draws | None = None) -> dict[str, Floats]:
    """Return each statistic of runs of sessions, float64 (runs,), NaN where it is undefined.

    rows              int64 (runs, n): which sessions make up each run; None: all of them, once
    return            sum of session returns on the capital; sharpe   annualised, NaN without variance
    win_rate          winning trades over closed ones, NaN without any
    trades_per_month  closed trades over n / (sessions per year / 12)
    """
    chosen = np.arange(len(sessions))[None, :] if rows is None else rows
    returns = (sessions.pnl / sessions.capital)[chosen]
    closed, won = sessions.closed[chosen].sum(axis=1), sessions.won[chosen].sum(axis=1)
    months = chosen.shape[1] / (sessions.per_year / MONTHS)
    spread = returns.std(axis=1, ddof=1) if chosen.shape[1] > 1 else np.zeros(len(chosen))
    moves = spread > RESIDUE * np.sqrt((returns**2).mean(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        sharpe = np.where(moves, returns.mean(axis=1) / spread, math.nan) * math.sqrt(sessions.per_year)
        win_rate = np.where(closed > 0, won / closed, math.nan)
    return {
        "return": returns.sum(axis=1),
        "sharpe": sharpe,
        "win_rate": win_rate,
        "trades_per_month": closed / months,
    }


def bands(
    paper: Sessions,
    backtest: Sessions,
    reference: Sessions,
    rows: Draws,
    *,
    level: float,
    judged_at_once: int,
) -> tuple[Band, ...]:
    """Return one band per statistic; ConfigError for a level outside (0, 1).

    judged_at_once   how many bands are judged together, those of other instruments included
    """
    if not 0 < level < 1:
        raise ConfigError(f"level {level}: must be above 0 and below 1, such as 0.95")
    tail = (1 - level) / judged_at_once / 2
    ours, theirs, drawn = statistics(paper), statistics(backtest), statistics(reference, rows)
    return tuple(
        _band(name, float(ours[name][0]), float(theirs[name][0]), drawn[name], tail) for name in STATISTICS
    )


def _band(name: str, paper: float, backtest: float, drawn: Floats, tail: float) -> Band:
    known = drawn[np.isfinite(drawn)]
    judged = math.isfinite(paper) and known.size >= _ENOUGH_DRAWS * drawn.size
    low = high = middle = None
    if known.size:
        # Statistics that count trades take few values: a bound is one that did occur, never one between.
        low = float(np.quantile(known, tail, method="lower"))
        high = float(np.quantile(known, 1 - tail, method="higher"))
        middle = float(np.median(known))
    inside = not judged or (low is not None and high is not None and low <= paper <= high)
    return Band(
        statistic=name, paper=_known(paper), backtest=_known(backtest), low=low, middle=middle, high=high,
        judged=judged, inside=inside,
    )  # fmt: skip


def fan(reference: Sessions, rows: Draws) -> Fan:
    """Return the fan of cumulated P&L of the resampled runs."""
    low, middle, high = np.quantile(reference.pnl[rows].cumsum(axis=1), _FAN, axis=0)
    return Fan(low=low, middle=middle, high=high)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
