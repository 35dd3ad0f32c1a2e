"""The numbers of an account up to the end of a month: measures, periods, drawdowns, trades, costs.

Every formula is that of `lockstep.metrics` or of the tear sheet; here they are only asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lockstep import metrics
from lockstep.errors import DataError
from lockstep.market.sessions import Dates
from lockstep.metrics import Floats, Integers, Relative
from research.report.data import ReportData, floats
from research.report.tables import Year, grouped_returns, monthly_returns, yearly
from research.report.track_record import (
    Decline,
    Quantiles,
    ReturnPeriod,
    against,
    declines,
    quantiles,
    trailing,
)

ROLLING_MONTHS = 6
_MONTHS_A_YEAR = 12
EXTREMES = 5
"""How many of the worst and the best periods are shown."""
MOST_TRADES = 60
_BINS = 21
_EARLIEST, _LATEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class FilledOrders:
    """Fills of one lane: stamps int64 (k,), UTC ns; points float64 (k,), contracts times price, both >= 0."""

    stamps: Integers
    points: Floats
    multiplier: float

    def between(self, first: int, last: int) -> FilledOrders:
        """Return the fills from one stamp to another, both included."""
        mine = (self.stamps >= first) & (self.stamps <= last)
        return FilledOrders(stamps=self.stamps[mine], points=self.points[mine], multiplier=self.multiplier)


@dataclass(frozen=True, kw_only=True, eq=False)
class AccountRecord:
    """An account as it was written down, up to some session; amounts are USD.

    data    what a tear sheet would show
    fills   of each lane, for the turnover
    """

    data: ReportData
    fills: Sequence[FilledOrders]

    def measured(self) -> dict[str, float | int]:
        """Return all measures of the account as it stands, as a run folder's metrics.json has them."""
        data, closed = self.data, self.data.closed
        position = (
            floats(data.equity, "position")
            if "position" in data.equity
            else np.full(len(data.equity), math.nan)
        )
        return metrics.summary(
            equity=floats(data.equity, "equity"),
            session=data.session_dates,
            trade_pnl=floats(closed, "net_pnl"),
            trade_bars_held=floats(closed, "bars_held"),
            position=position,
            traded_notional=sum((float(each.points.sum() * each.multiplier) for each in self.fills), 0.0),
            capital=data.capital,
            sessions_per_year=data.sessions_per_year,
        )


@dataclass(frozen=True, kw_only=True)
class Rolling:
    """A measure over the last six months at every session: newest, least, middle, greatest; NaN: unknown."""

    name: str
    newest: float
    least: float
    middle: float
    greatest: float

    @property
    def values(self) -> tuple[float, float, float, float]:
        """The four numbers, in this order."""
        return self.newest, self.least, self.middle, self.greatest


@dataclass(frozen=True, kw_only=True)
class ExtremePeriod:
    """One of the worst or best periods: its first date and its return, a fraction of capital."""

    unit: str
    first: np.datetime64
    change: float


@dataclass(frozen=True, kw_only=True)
class TradeCosts:
    """What trades that ended in a period paid, USD; slippage is that of the cost model, within the prices."""

    trades: int
    commission: float
    slippage: float

    @property
    def paid(self) -> float:
        """Both together."""
        return self.commission + self.slippage


@dataclass(frozen=True, kw_only=True, eq=False)
class AccountNumbers:
    """An account at the end of a month.

    month, whole        measures by the names of `lockstep.metrics.Performance`, of the month and of all
    dates, profit       sessions (n,) and profit so far over capital (n,); fall: drawdown so far, <= 0
    beside              profit of the benchmark so far (n,), NaN where unknown; empty without one
    benchmark           its name; relative: to it, None where they share too few sessions
    months              years x months 1 to 12, NaN without a session; years, trailing, declines: tear sheet's
    rolling             summaries; rolling_curves: by name, (n,)
    worst, best         days, weeks and months; histogram: edges (b + 1,) and sessions in each bin (b,)
    trades              rows for the reader, the newest first; left_out: older ones that are not shown
    costs               of the month and of all, by these names
    """

    month: Mapping[str, float | int]
    whole: Mapping[str, float | int]
    dates: Dates
    profit: Floats
    fall: Floats
    benchmark: str
    beside: Floats
    relative: Relative | None
    months: pd.DataFrame
    years: Sequence[Year]
    trailing: Sequence[ReturnPeriod]
    declines: Sequence[Decline]
    rolling: Sequence[Rolling]
    rolling_curves: Mapping[str, Floats]
    worst: Sequence[ExtremePeriod]
    best: Sequence[ExtremePeriod]
    quantiles: Sequence[Quantiles]
    histogram: tuple[Floats, Floats]
    trades: pd.DataFrame
    left_out: int
    costs: Mapping[str, TradeCosts]


def until(record: AccountRecord, last: np.datetime64) -> AccountRecord:
    """Return the account as it stood after session `last`: what came later is not in it.

    A trade that was open then is open; its results are NaN, since they were not known.
    """
    data = record.data
    keep = data.session_dates <= last
    if keep.all():
        return record
    equity = data.equity[keep]
    end = equity.index[-1] if len(equity) else pd.Timestamp.min.tz_localize("UTC")
    stamp = end.as_unit("ns").value
    trades = data.trades[pd.to_datetime(data.trades["entry_end"], utc=True) <= end].copy()
    later = ~(pd.to_datetime(trades["exit_end"], utc=True) <= end)
    trades.loc[later, ["exit_price", "gross_pnl", "net_pnl", "slippage_cost", "commission"]] = math.nan
    trades.loc[later, "exit_end"] = pd.NaT
    trades.loc[later, ["exit_reason", "status"]] = ["", "open"]
    changed = {name: getattr(data, name) for name in data.__dataclass_fields__}
    changed |= {"equity": equity, "trades": trades, "regimes": None}
    return AccountRecord(
        data=ReportData(**changed), fills=[each.between(_EARLIEST, stamp) for each in record.fills]
    )


def account_numbers(record: AccountRecord, month: np.datetime64) -> AccountNumbers:
    """Return the numbers of an account at the end of a month, datetime64[M].

    DataError where the account has no session in it.
    """
    first = month.astype("datetime64[D]")
    last = (month + 1).astype("datetime64[D]") - 1
    dates = record.data.dates
    if not ((dates >= first) & (dates <= last)).any():
        raise DataError(
            f"month {month}: {record.data.symbol} has no session in it; it has {dates[0]} to {dates[-1]}: "
            "name a month of these"
        )
    so_far = until(record, last)
    data, curves = so_far.data, _curves(so_far.data)
    worst, best = _extremes(data)
    trades, left_out = _shown(data, first)
    pair = against(data)
    returns = floats(data.sessions, "return")
    counts, edges = np.histogram(returns, bins=min(_BINS, max(1, returns.size)))
    per_year = data.scale.periods_per_year
    curve = metrics.curve_from(data.capital, floats(data.sessions, "equity"))
    return AccountNumbers(
        month=_of_month(so_far, first),
        whole=so_far.measured(),
        dates=data.dates,
        profit=curve[1:] / data.capital - 1.0,
        fall=-metrics.drawdowns(curve)[1:] / data.capital,
        benchmark=data.beside.name if data.beside is not None else "",
        beside=_beside(data),
        relative=None if pair is None else metrics.relative(pair.returns, pair.benchmark, per_year),
        months=monthly_returns(data),
        years=yearly(data),
        trailing=trailing(data),
        declines=declines(data),
        rolling=tuple(_rolling(name, values) for name, values in curves.items()),
        rolling_curves=curves,
        worst=worst,
        best=best,
        quantiles=quantiles(data),
        histogram=(edges, counts.astype(np.float64)),
        trades=trades,
        left_out=left_out,
        costs={
            "month": _costs(data, first),
            "whole": _costs(data, data.dates[0]),
        },
    )


def _of_month(record: AccountRecord, first: np.datetime64) -> dict[str, float | int]:
    """Return the measures of the last month: what it earned on the same capital."""
    data = record.data
    mine = data.session_dates >= first
    equity = data.equity[mine].copy()
    before = floats(data.equity, "equity")[~mine]
    # Returns are on constant capital, so that a month may begin with it as the account did.
    equity["equity"] += data.capital - (before[-1] if before.size else data.capital)
    changed = {name: getattr(data, name) for name in data.__dataclass_fields__}
    ended = _ended_since(data, first)
    changed |= {"equity": equity, "trades": ended, "regimes": None}
    begin = equity.index[0].as_unit("ns").value
    fills = [each.between(begin, _LATEST) for each in record.fills]
    return AccountRecord(data=ReportData(**changed), fills=fills).measured()


def _ended_since(data: ReportData, first: np.datetime64) -> pd.DataFrame:
    closed = data.closed
    return closed[data.session_dates[data.bars_at(closed["exit_end"])] >= first] if len(closed) else closed


def _beside(data: ReportData) -> Floats:
    if data.beside is None:
        return np.empty(0)
    level = data.beside.at(data.dates)
    known = np.flatnonzero(np.isfinite(level))
    return level / level[known[0]] - 1.0 if known.size else np.empty(0)


def _curves(data: ReportData) -> dict[str, Floats]:
    """Return Sharpe ratio, volatility and beta over six months at every session, (n,)."""
    window = max(2, round(data.sessions_per_year * ROLLING_MONTHS / _MONTHS_A_YEAR))
    returns, per_year = floats(data.sessions, "return"), data.scale.periods_per_year
    found = {
        "Sharpe ratio": metrics.rolling_sharpe(returns, window, per_year),
        "Volatility": metrics.rolling_volatility(returns, window, per_year),
    }
    pair = against(data)
    if pair is not None:
        curve = np.full(returns.size, math.nan)
        curve[np.searchsorted(data.dates, pair.dates)] = metrics.rolling_beta(
            pair.returns, pair.benchmark, window
        )
        found["Beta"] = curve
    return found


def _rolling(name: str, values: Floats) -> Rolling:
    known = values[np.isfinite(values)]
    if not known.size:
        return Rolling(name=name, newest=math.nan, least=math.nan, middle=math.nan, greatest=math.nan)
    return Rolling(
        name=name,
        newest=float(values[-1]),
        least=float(known.min()),
        middle=float(np.median(known)),
        greatest=float(known.max()),
    )


def _extremes(data: ReportData) -> tuple[list[ExtremePeriod], list[ExtremePeriod]]:
    worst: list[ExtremePeriod] = []
    best: list[ExtremePeriod] = []
    for unit, name in (("D", "Day"), ("W", "Week"), ("M", "Month")):
        starts, changes = grouped_returns(data, unit)
        order = np.argsort(changes, kind="stable")
        for places, into in ((order[:EXTREMES], worst), (order[::-1][:EXTREMES], best)):
            into += [
                ExtremePeriod(unit=name, first=starts[at], change=float(changes[at]))
                for at in places.tolist()
            ]
    return worst, best


def _shown(data: ReportData, first: np.datetime64) -> tuple[pd.DataFrame, int]:
    """Return the newest trades, those of the month whole, and how many older ones are left out."""
    trades = data.trades
    if trades.empty:
        return trades, 0
    ended = data.session_dates[data.bars_at(trades["exit_end"])]
    of_month = int((ended >= first).sum())
    order = np.lexsort((np.arange(len(trades)), ended))[::-1]
    shown = order[: max(MOST_TRADES, of_month)]
    return trades.iloc[shown], len(trades) - shown.size


def _costs(data: ReportData, first: np.datetime64) -> TradeCosts:
    mine = _ended_since(data, first)
    return TradeCosts(
        trades=len(mine),
        commission=float(np.nansum(floats(mine, "commission"))),
        slippage=float(np.nansum(floats(mine, "slippage_cost"))),
    )
