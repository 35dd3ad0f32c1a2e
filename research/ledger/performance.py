"""What strategies earned by day, week and month: complete periods only, each written once.

A row is a statement about the past: a bar that is corrected later, other code or another capital changes no
row that is there. What would come out otherwise now is counted and left out, as in `first_seen.py`.

A day is complete when its session is over, a week (ISO, Monday to Sunday, by session dates) or a month when
there is a session of a later one. The first and last period of an account may hold a part of its sessions
only; a row says which.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any, Literal, get_args

import numpy as np
from sqlalchemy import Connection, select

from lockstep import metrics
from lockstep.errors import DataError
from lockstep.market.bars import Flags
from lockstep.market.dates import DateRange
from lockstep.market.sessions import Dates
from lockstep.metrics import Floats, Integers
from research.ledger.chain import append_rows, table_of
from research.ledger.ledger import Ledger
from research.ledger.performance_tables import PerformanceRow

PerformanceMode = Literal["backtest", "shadow", "paper", "live"]
PeriodKind = Literal["day", "week", "month"]
MODES: tuple[PerformanceMode, ...] = get_args(PerformanceMode)
PERIODS: tuple[PeriodKind, ...] = get_args(PeriodKind)

# Days from a Monday to 1 January 1970.
_EPOCH_WEEKDAY = 3
_DAYS_A_WEEK = 7
_SAME = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionResults:
    """What an account on constant capital made in S complete sessions, and its k closed trades; USD.

    dates       datetime64[D] (S,), rising; pnl: float64 (S,), net of costs, open positions marked
    capital     > 0: what returns refer to; sessions_per_year > 0: what annualises
    ended       datetime64[D] (k,): session in which each trade ended; trade_pnl: float64 (k,), net of costs

    DataError for lengths that differ, dates that do not rise, or values that are not finite.
    """

    dates: Dates
    pnl: Floats
    capital: float
    sessions_per_year: float
    ended: Dates
    trade_pnl: Floats

    def __post_init__(self) -> None:
        sizes = (self.dates.size, self.pnl.size, self.ended.size, self.trade_pnl.size)
        if sizes[0] != sizes[1] or sizes[2] != sizes[3]:
            raise DataError(f"results by session: {sizes} dates, results, ends, trades; give one of each")
        if not (np.diff(self.dates.astype("datetime64[D]").astype(np.int64)) > 0).all():
            raise DataError("results by session: dates must rise; sort them, one value per session")
        numbers = (*self.pnl, *self.trade_pnl, self.capital, self.sessions_per_year)
        if not np.isfinite(numbers).all() or min(self.capital, self.sessions_per_year) <= 0:
            raise DataError("results by session: must be finite, capital and sessions a year above 0")

    def outside(self, sealed: Sequence[DateRange]) -> SessionResults:
        """Return the results without sealed days, and without trades that ended on one."""
        shown, over = (~on_days(each, sealed) for each in (self.dates, self.ended))
        return replace(
            self,
            dates=self.dates[shown],
            pnl=self.pnl[shown],
            ended=self.ended[over],
            trade_pnl=self.trade_pnl[over],
        )


def on_days(dates: Dates, ranges: Sequence[DateRange]) -> Flags:
    """Return which dates, datetime64[D] (n,), lie in one of the ranges, bool (n,)."""
    found = np.zeros(dates.shape, dtype=np.bool_)
    for each in ranges:
        found |= (dates >= np.datetime64(each.start)) & (dates <= np.datetime64(each.end))
    return found


@dataclass(frozen=True, kw_only=True)
class PeriodPerformance:
    """What was earned in one period.

    first_date, last_date   its first and last session; sessions: how many it has
    trades     that ended in it; win_rate: of these, NaN without one
    result     sum of session results over the capital; pnl: the same, USD
    sharpe     annualised, NaN for fewer than two sessions or without spread
    drawdown   deepest fall within the period over the capital, >= 0, seen after each session
    """

    period: PeriodKind
    first_date: date
    last_date: date
    sessions: int
    trades: int
    result: float
    pnl: float
    sharpe: float
    drawdown: float
    win_rate: float


@dataclass(frozen=True, kw_only=True)
class MeasuredStrategy:
    """Whose performance it is.

    strategy   `config_hash` of a strategy, SHA-256 of a bundle; name: what people call it
    account    which of several in this mode: `candidate 3`, `experiment 12`, the name of a desk
    """

    strategy: str
    name: str
    symbol: str
    mode: PerformanceMode
    account: str


@dataclass(frozen=True, kw_only=True)
class StoredPeriods:
    """What one call stored: `new` rows; `changed`: periods that would come out otherwise now, and stay."""

    subject: MeasuredStrategy
    new: int
    changed: int


@dataclass(frozen=True, kw_only=True)
class PeriodRow(PeriodPerformance):
    """A stored period; source: where its numbers come from; recorded: when, an ISO text in UTC."""

    subject: MeasuredStrategy
    source: Mapping[str, Any]
    recorded: str

    @property
    def row(self) -> dict[str, Any]:
        """All of it by plain names, as an export has it; what is undefined is None."""
        found = {**asdict(self.subject), **{name: _plain(getattr(self, name)) for name in _MEASURED}}
        return {**found, "source": json.dumps(dict(self.source), sort_keys=True), "recorded": self.recorded}


_SUBJECT = ("strategy", "name", "symbol", "mode", "account")
_MEASURED = (
    "period", "first_date", "last_date", "sessions", "trades", "result", "pnl", "sharpe", "drawdown",
    "win_rate",
)  # fmt: skip
_NUMBERS = _MEASURED[3:]


def periods_of(results: SessionResults, *, newest: np.datetime64 | None = None) -> list[PeriodPerformance]:
    """Return the complete days, weeks and months of an account, in this order, each by date.

    newest   newest session that there is, datetime64[D]: a week or month is complete where it is of a later
             one; None: the account's last

    >>> days = np.array(["2026-01-02", "2026-01-05", "2026-01-06"], dtype="M8[D]")
    >>> none = {"ended": days[:0], "trade_pnl": np.zeros(0)}
    >>> made = SessionResults(dates=days, pnl=np.ones(3), capital=100.0, sessions_per_year=252.0, **none)
    >>> [(each.period, each.sessions) for each in periods_of(made)]
    [('day', 1), ('day', 1), ('day', 1), ('week', 1)]
    """
    if not results.dates.size:
        return []
    last = results.dates[-1] if newest is None else max(newest, results.dates[-1])
    order = np.argsort(results.ended, kind="stable")
    ended, trade_pnl = results.ended[order], results.trade_pnl[order]
    found = []
    for period in PERIODS:
        units, trade_units = _units(results.dates, period), _units(ended, period)
        for unit in np.unique(units).tolist():
            if period == "day" or unit < _units(last, period):
                mine, trades = (
                    slice(*np.searchsorted(each, (unit, unit + 1))) for each in (units, trade_units)
                )
                found.append(_measured(results, period, mine, trade_pnl[trades]))
    return found


def _units(dates: Any, period: PeriodKind) -> Integers:
    """Return the number of the day, week or month of each date, int64 of the same shape."""
    if period == "month":
        return np.asarray(dates, dtype="datetime64[M]").astype(np.int64)
    days = np.asarray(dates, dtype="datetime64[D]").astype(np.int64)
    return days if period == "day" else (days + _EPOCH_WEEKDAY) // _DAYS_A_WEEK


def _measured(results: SessionResults, period: PeriodKind, mine: slice, trades: Floats) -> PeriodPerformance:
    dates, pnl = results.dates[mine], results.pnl[mine]
    curve = metrics.curve_from(results.capital, results.capital + np.cumsum(pnl))
    returns = pnl / results.capital
    return PeriodPerformance(
        period=period,
        first_date=dates[0].item(),
        last_date=dates[-1].item(),
        sessions=dates.size,
        trades=trades.size,
        result=float(returns.sum()),
        pnl=float(pnl.sum()),
        sharpe=metrics.sharpe(returns, results.sessions_per_year, metrics.resolution(curve, results.capital)),
        drawdown=float(metrics.drawdowns(curve).max()) / results.capital,
        win_rate=metrics.win_rate(trades),
    )


def store(
    ledger: Ledger, subject: MeasuredStrategy, periods: Sequence[PeriodPerformance], *,
    source: Mapping[str, Any], now: datetime, connection: Connection | None = None,
) -> StoredPeriods:  # fmt: skip
    """Write the periods that have no row yet, all or none; a row that is there stays as it is.

    source      plain JSON; now: UTC
    connection  of a transaction of the caller's, with which they are written
    """
    if connection is not None:
        return _store(connection, subject, periods, source, now)
    with ledger.database.write() as own:
        return _store(own, subject, periods, source, now)


def _store(
    connection: Connection, subject: MeasuredStrategy, periods: Sequence[PeriodPerformance],
    source: Mapping[str, Any], now: datetime,
) -> StoredPeriods:  # fmt: skip
    own = {name: getattr(subject, name) for name in _SUBJECT if name != "name"}
    known = {_key(each): each for each in _rows(connection, own)}
    fresh = [each for each in periods if _key(each) not in known]
    changed = sum(not _same(known[_key(each)], each) for each in periods if _key(each) in known)
    whose = [getattr(subject, name) for name in _SUBJECT]
    written = json.dumps(dict(source), sort_keys=True), now.isoformat(timespec="seconds")
    rows = [(*whose, *(_plain(getattr(each, name)) for name in _MEASURED), *written) for each in fresh]
    append_rows(connection, PerformanceRow, (*_SUBJECT, *_MEASURED, "content", "recorded"), rows)
    return StoredPeriods(subject=subject, new=len(fresh), changed=changed)


def _key(each: PeriodPerformance) -> tuple[str, int]:
    return each.period, int(_units(each.first_date, each.period))


def _same(stored: PeriodPerformance, found: PeriodPerformance) -> bool:
    def equal(one: Any, other: Any) -> bool:
        close = math.isclose(one, other, rel_tol=_SAME, abs_tol=_SAME)
        return close or (math.isnan(one) and math.isnan(other))

    ends = (stored.first_date, stored.last_date) == (found.first_date, found.last_date)
    return ends and all(equal(getattr(stored, name), getattr(found, name)) for name in _NUMBERS)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def read(ledger: Ledger, **wanted: str) -> list[PeriodRow]:
    """Return stored periods by name, mode, account, period and date.

    wanted   which ones: any of `strategy`, `name`, `symbol`, `mode`, `account`, `period`
    """
    with ledger.database.read() as connection:
        return _rows(connection, wanted)


def _rows(connection: Connection, wanted: Mapping[str, str]) -> list[PeriodRow]:
    table = table_of(PerformanceRow)
    chosen = select(table).where(*(table.c[name] == value for name, value in wanted.items()))
    order = (table.c[name] for name in ("name", "symbol", "mode", "account", "period", "first_date", "id"))
    return [_read(row._mapping) for row in connection.execute(chosen.order_by(*order))]


def _read(row: Mapping[Any, Any]) -> PeriodRow:
    measured: dict[str, Any] = {n: math.nan if row[n] is None else row[n] for n in _MEASURED}
    return PeriodRow(
        **measured,
        subject=MeasuredStrategy(**{name: row[name] for name in _SUBJECT}),
        source=json.loads(row["content"]),
        recorded=row["recorded"],
    )
