"""What the returns of a report say: against a benchmark, over calendar periods, in drawdowns and crises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lockstep import metrics
from lockstep.metrics import Dates
from research.report.data import Floats, ReportData, floats
from research.report.tables import grouped_returns

# Closes of the S&P 500 from its high to its low, or the days that the event is known by.
EPISODES: tuple[tuple[str, str, str], ...] = (
    ("Crash of 1987", "1987-10-13", "1987-10-19"),
    ("Asian crisis", "1997-10-07", "1997-10-27"),
    ("Russia and LTCM", "1998-07-17", "1998-08-31"),
    ("End of the dot-com boom", "2000-03-24", "2002-10-09"),
    ("11 September 2001", "2001-09-10", "2001-09-21"),
    ("Quant crisis", "2007-08-03", "2007-08-15"),
    ("Financial crisis", "2007-10-09", "2009-03-09"),
    ("Lehman", "2008-09-12", "2008-11-20"),
    ("Flash crash and Greece", "2010-04-23", "2010-07-02"),
    ("US downgrade and the euro", "2011-07-22", "2011-10-03"),
    ("Taper tantrum", "2013-05-21", "2013-06-24"),
    ("China's devaluation", "2015-08-17", "2015-08-25"),
    ("Oil and China", "2015-12-29", "2016-02-11"),
    ("Brexit vote", "2016-06-23", "2016-06-27"),
    ("Volmageddon", "2018-01-26", "2018-02-08"),
    ("Fourth quarter of 2018", "2018-09-20", "2018-12-24"),
    ("Covid crash", "2020-02-19", "2020-03-23"),
    ("Inflation and rates", "2022-01-03", "2022-10-12"),
    ("Regional banks", "2023-03-06", "2023-03-13"),
    ("Yen carry unwound", "2024-07-16", "2024-08-05"),
    ("Tariffs", "2025-02-19", "2025-04-08"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Returns of the report and of its benchmark over the same n periods, by `dates` (n,)."""

    dates: Dates
    returns: Floats
    benchmark: Floats


def against(report: ReportData) -> Pair | None:
    """Return both series over the dates that they share, or None with fewer than 3.

    The benchmark's return of a session goes from its level at the session before; the first session of the
    report has none.
    """
    if report.beside is None or len(report.sessions) < 2:
        return None
    level = report.beside.at(report.dates)
    moves = level[1:] / level[:-1] - 1.0
    shared = np.isfinite(moves)
    if shared.sum() < 3:
        return None
    return Pair(
        dates=report.dates[1:][shared],
        returns=floats(report.sessions, "return")[1:][shared],
        benchmark=moves[shared],
    )


@dataclass(frozen=True, kw_only=True)
class ReturnPeriod:
    """Returns between two dates; NaN where they are not known. `benchmark_*` belong to the benchmark."""

    name: str
    first: np.datetime64
    last: np.datetime64
    total: float
    yearly: float
    drawdown: float
    benchmark: float


def stretch(report: ReportData, name: str, after: np.datetime64, last: np.datetime64) -> ReturnPeriod:
    """Return what happened in sessions later than `after` up to `last`, inclusive.

    drawdown   greatest decline from a high of the stretch, as a fraction of capital, or of the high for
               returns that compound
    yearly     total per calendar year, growth for returns that compound; NaN for less than a year
    """
    dates, equity = report.dates, floats(report.sessions, "equity")
    start = int(np.searchsorted(dates, after, side="right"))
    stop = int(np.searchsorted(dates, last, side="right"))
    before = equity[start - 1] if start else report.capital
    curve = metrics.curve_from(before, equity[start:stop])
    total = (curve[-1] - before) / (before if report.compounded else report.capital)
    years = float((last - after).astype("timedelta64[D]").astype(int)) / 365.25
    yearly = float("nan")
    if years > 0.999:
        yearly = max(1 + total, 0.0) ** (1 / years) - 1 if report.compounded else total / years
    fall = metrics.drawdown_fractions(curve)
    if not report.compounded:
        fall = metrics.drawdowns(curve) / report.capital
    return ReturnPeriod(
        name=name,
        first=after,
        last=last,
        total=float(total),
        yearly=float(yearly),
        drawdown=float(fall.max()),
        benchmark=_benchmark_change(report, after, last),
    )


def _benchmark_change(report: ReportData, after: np.datetime64, last: np.datetime64) -> float:
    if report.beside is None:
        return float("nan")
    # What starts before the report's first date starts with it: the benchmark, too, is known from then on.
    begin = max(after, report.dates[0])
    start, stop = report.beside.at(np.array([begin, last], dtype="datetime64[D]"))
    return float(stop / start - 1.0)


def trailing(report: ReportData) -> list[ReturnPeriod]:
    """Return month, quarter and year to date, and the last 1, 3, 5 and 10 years that the report covers."""
    last, begin = report.dates[-1], report.dates[0] - np.timedelta64(1, "D")
    stamp = pd.Timestamp(last)
    starts = {
        "Month to date": stamp.to_period("M").start_time - pd.Timedelta(days=1),
        "Quarter to date": stamp.to_period("Q").start_time - pd.Timedelta(days=1),
        "Year to date": stamp.to_period("Y").start_time - pd.Timedelta(days=1),
        **{f"{n} year{'s' if n > 1 else ''}": stamp - pd.DateOffset(years=n) for n in (1, 3, 5, 10)},
    }
    cuts = {name: np.datetime64(start.date(), "D") for name, start in starts.items()}
    # A stretch that begins before the report does would show a part of it under the name of the whole.
    known = {name: cut for name, cut in cuts.items() if cut >= begin}
    rows = [stretch(report, name, cut, last) for name, cut in known.items()]
    return [*rows, stretch(report, "All", begin, last)]


def episodes(report: ReportData) -> list[ReturnPeriod]:
    """Return the known crises that the report covers from close to close."""
    first, last = report.dates[0], report.dates[-1]
    return [
        stretch(report, name, start, stop)
        for name, start, stop in (
            (name, np.datetime64(one, "D"), np.datetime64(other, "D")) for name, one, other in EPISODES
        )
        if first <= start and stop <= last
    ]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Measures of sessions within or outside the sample that the strategy was chosen on."""

    name: str
    sessions: int
    total: float
    sharpe: float
    volatility: float
    drawdown: float


def samples(report: ReportData) -> list[Sample]:
    """Return in-sample beside out-of-sample; empty where the report does not say which is which."""
    if not len(report.out_of_sample):
        return []
    dates, returns = report.dates, floats(report.sessions, "return")
    out = np.zeros(dates.size, dtype=np.bool_)
    for first, last in report.out_of_sample:
        out |= (dates >= first) & (dates <= last)
    return [
        _sample(report, name, returns[mask]) for name, mask in (("In sample", ~out), ("Out of sample", out))
    ]


def _sample(report: ReportData, name: str, returns: Floats) -> Sample:
    per_year = report.scale.periods_per_year
    start, steps = np.ones(1, dtype=np.float64), returns
    curve: Floats
    if report.compounded:
        curve = np.multiply.accumulate(np.concatenate((start, 1.0 + steps)))
        fall = metrics.drawdown_fractions(curve)
    else:
        curve = np.add.accumulate(np.concatenate((start, steps)))
        fall = metrics.drawdowns(curve)
    return Sample(
        name=name,
        sessions=returns.size,
        total=float(curve[-1] - 1.0) if returns.size else float("nan"),
        sharpe=metrics.sharpe(returns, per_year),
        volatility=metrics.volatility(returns, per_year),
        drawdown=float(fall.max()) if returns.size else float("nan"),
    )


@dataclass(frozen=True, kw_only=True)
class Decline:
    """A drawdown with its dates; `recovered` is None while equity is below the high. Calendar days."""

    peak: np.datetime64
    trough: np.datetime64
    recovered: np.datetime64 | None
    depth: float
    fraction: float
    days_down: int
    days: int


def declines(report: ReportData) -> list[Decline]:
    """Return the ten deepest drawdowns at bar closes, deepest first; by fraction where returns compound."""
    # Position 0 of the curve is the capital, before the first bar.
    dates = np.append(report.session_dates[:1], report.session_dates)
    rows = []
    for each in report.declines:
        end = each.peak + each.length
        rows.append(
            Decline(
                peak=dates[each.peak],
                trough=dates[each.trough],
                recovered=None if each.recovery is None else dates[each.recovery],
                depth=each.depth,
                fraction=each.fraction,
                days_down=int((dates[each.trough] - dates[each.peak]).astype(int)),
                days=int((dates[end] - dates[each.peak]).astype(int)),
            )
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """The distribution of returns over periods of one length."""

    name: str
    count: int
    values: tuple[float, ...]
    positive: float


SHARES: Sequence[float] = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def quantiles(report: ReportData) -> list[Quantiles]:
    """Return quantiles (worst, 5, 25, 50, 75, 95 %, best) of returns by day, week, month, quarter, year."""
    units = {"D": "Day", "W": "Week", "M": "Month", "Q": "Quarter", "Y": "Year"}
    rows: list[Quantiles] = []
    for unit, name in units.items():
        returns = grouped_returns(report, unit)[1]
        if rows and returns.size == rows[-1].count:
            rows.pop()  # The report's own periods are as long as these.
        rows.append(
            Quantiles(
                name=name,
                count=returns.size,
                values=tuple(np.quantile(returns, SHARES).tolist()),
                positive=float(np.mean(returns > 0)),
            )
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class WinningRuns:
    """Winning periods and the longest runs of them; a period without a change is neither won nor lost."""

    name: str
    count: int
    won: float
    average_gain: float
    average_loss: float
    longest_won: int
    longest_lost: int


def runs(report: ReportData) -> list[WinningRuns]:
    """Return one row for months, for periods and, where known, for trades; fractions of capital."""
    rows = [
        _runs("Months", grouped_returns(report, "M")[1]),
        _runs(f"{report.period.capitalize()}s", floats(report.sessions, "return")),
    ]
    pnl = floats(report.closed, "net_pnl")
    return [*rows, _runs("Trades", pnl / report.capital)] if pnl.size else rows


def _runs(name: str, values: Floats) -> WinningRuns:
    return WinningRuns(
        name=name,
        count=values.size,
        won=metrics.win_rate(values),
        average_gain=metrics.average_win(values),
        average_loss=metrics.average_loss(values),
        longest_won=metrics.longest_run(values > 0),
        longest_lost=metrics.longest_run(values < 0),
    )
