"""What the tear sheet's tables and bars show, computed from a report: years, months, exits, deciles.

Series of a report as plotly wants them: texts of time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep import metrics
from lockstep.metrics import Dates
from research.report.data import Benchmark, Floats, ReportData, floats

SIGNAL_BINS = 10
_DECILES: WeakKeyDictionary[ReportData, Deciles] = WeakKeyDictionary()
_CODE = re.compile(r"[^\s:]+")
_ACRONYMS = frozenset({"ibs", "rsi", "atr", "nan"})
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Year:
    """One calendar year; profit is the change of equity, trades are counted where they end.

    benchmark   change of its level from the last date of the year before, or its first; NaN where not known
    """

    year: int
    trades: int
    net_profit: float
    annual_return: float
    benchmark: float
    max_drawdown: float
    max_drawdown_fraction: float
    sharpe: float
    win_rate: float


@dataclass(frozen=True, kw_only=True)
class Exit:
    """All closed trades that ended for one reason."""

    reason: str
    count: int
    share: float
    mean_pnl: float
    total_pnl: float
    win_rate: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Deciles:
    """The next bar's move by tenths of the signal; arrays are (bins,), 10 where its values differ enough.

    signal             what the strategy's rules read first, as a reader knows it
    edges              (bins + 1,): tenths of the range 0 to 1 where every value is in it, as of IBS; else
                       such that each bin holds as many bars. Empty where no value is known
    mean, half_width   mean move and half its 95 % interval (1.96 standard errors); NaN below 1 and 2 moves
    count              moves in the bin
    overall            mean move of all bars
    in_percent         whether moves are fractions of the close, or points (where a close is not positive)
    """

    signal: str
    edges: Floats
    mean: Floats
    half_width: Floats
    count: Floats
    overall: float
    in_percent: bool

    @property
    def in_range(self) -> bool:
        """Whether the bins are tenths of the range 0 to 1."""
        return self.edges.size > 0 and bool(self.edges[0] == 0.0 and self.edges[-1] == 1.0)


def monthly_returns(report: ReportData) -> pd.DataFrame:
    """Return years x months 1 to 12: the month's return, NaN where there was no session."""
    months, returns = grouped_returns(report, "M")
    stamps = pd.DatetimeIndex(months)
    cells = pd.DataFrame({"year": stamps.year, "month": stamps.month, "return": returns})
    years = range(int(stamps.year[0]), int(stamps.year[-1]) + 1)
    grid = cells.pivot_table(index="year", columns="month", values="return", aggfunc="sum")
    return grid.reindex(index=years, columns=range(1, 13))


def grouped_returns(report: ReportData, unit: str) -> tuple[Dates, Floats]:
    """Return the first dates of the calendar periods with a session, and the return of each.

    unit   `D`, `W` (Monday to Sunday), `M`, `Q` or `Y`. Returns on capital add up, compounded ones multiply.
    """
    periods = pd.PeriodIndex(pd.DatetimeIndex(report.dates), freq=unit)
    returns = pd.Series(floats(report.sessions, "return"))
    if report.compounded:
        grouped = (1.0 + returns).groupby(periods).prod() - 1.0
    else:
        grouped = returns.groupby(periods).sum()
    starts = pd.PeriodIndex(grouped.index).start_time.to_numpy().astype("datetime64[D]")
    return np.asarray(starts), np.asarray(grouped.to_numpy(), dtype=np.float64)


def exit_years(report: ReportData) -> Floats:
    """Return the year of the session in which each closed trade ended, (closed,)."""
    dates = report.session_dates[report.bars_at(report.closed["exit_end"])]
    return np.asarray(dates.astype("datetime64[Y]").astype(np.float64) + 1970.0, dtype=np.float64)


def yearly(report: ReportData) -> list[Year]:
    """Return one row per calendar year with a session."""
    sessions, bars = report.sessions, floats(report.equity, "equity")
    session_year = pd.DatetimeIndex(sessions["date"]).year.to_numpy()
    bar_year = pd.DatetimeIndex(report.session_dates).year.to_numpy()
    trade_year, pnl = exit_years(report), floats(report.closed, "net_pnl")
    rows, before = [], report.capital
    for year in np.unique(session_year):
        returns = floats(sessions, "return")[session_year == year]
        curve = metrics.curve_from(before, bars[bar_year == year])
        mine = pnl[trade_year == year]
        rows.append(
            Year(
                year=int(year),
                trades=mine.size,
                net_profit=float(curve[-1] - before),
                annual_return=float(curve[-1] - before) / (before if report.compounded else report.capital),
                benchmark=_change(report.beside, year),
                max_drawdown=float(metrics.drawdowns(curve).max()),
                max_drawdown_fraction=float(metrics.drawdown_fractions(curve).max()),
                sharpe=metrics.sharpe(returns, report.scale.periods_per_year),
                win_rate=metrics.win_rate(mine),
            )
        )
        before = float(curve[-1])
    return rows


def _change(benchmark: Benchmark | None, year: int) -> float:
    if benchmark is None:
        return float("nan")
    ends = np.array([f"{year - 1}-12-31", f"{year}-12-31"], dtype="datetime64[D]")
    start, stop = benchmark.at(np.clip(ends, benchmark.dates[0], benchmark.dates[-1]))
    is_covered = benchmark.dates[0] <= ends[1] and benchmark.dates[-1] > ends[0]
    return float(stop / start - 1.0) if is_covered else float("nan")


def exits(report: ReportData) -> list[Exit]:
    """Return one row per exit reason, the most frequent first, equals by name."""
    reasons, pnl = report.closed["exit_reason"].astype(str).to_numpy(), floats(report.closed, "net_pnl")
    rows = []
    for reason in sorted(set(reasons)):
        mine = pnl[reasons == reason]
        rows.append(
            Exit(
                reason=reason,
                count=mine.size,
                share=mine.size / pnl.size,
                mean_pnl=metrics.expectancy(mine),
                total_pnl=float(mine.sum()),
                win_rate=metrics.win_rate(mine),
            )
        )
    return sorted(rows, key=lambda row: (-row.count, row.reason))


def non_trade_reasons(report: ReportData, shown: int = 14) -> list[tuple[str, int]]:
    """Return (reason, count) of bars without a trade, most frequent first; the rare ones as one row."""
    mine = report.reasons[report.reasons["kind"] == "no_trade"]
    pairs = zip(mine["reason"].astype(str), mine["count"].astype(int), strict=True)
    ordered = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
    if len(ordered) <= shown:
        return ordered
    rest = ordered[shown - 1 :]
    return [*ordered[: shown - 1], (f"{len(rest)} rarer reasons", sum(count for _, count in rest))]


def readable(reason: str) -> str:
    """Return a reason code in words: `max_bars` -> `Max bars`, `cold atr_14` -> `Cold atr_14`.

    The first word is a code; what follows it behind a space or a colon is an id and stays as it is.
    """
    code = _CODE.match(reason)
    head = code.group() if code else ""
    words = [word.upper() if word in _ACRONYMS else word for word in head.split("_")]
    text = " ".join(words) + reason[len(head) :]
    return text[:1].upper() + text[1:]


def signal_name(report: ReportData) -> str:
    """Return the id of the strategy's signal as a reader knows it: `IBS` for `ibs`."""
    name = str(report.features.columns[0])
    return name.upper() if name in _ACRONYMS else name


def signal_deciles(report: ReportData) -> Deciles:
    """Return the close-to-close move of the bar after each bar, grouped by tenths of that bar's signal.

    Worked out once for a report, whose figure and caption both read it.
    """
    if report not in _DECILES:
        _DECILES[report] = _signal_deciles(report)
    return _DECILES[report]


def _signal_deciles(report: ReportData) -> Deciles:
    close = floats(report.equity, "close")
    column = str(report.features.columns[0])
    signal = floats(report.features.reindex(report.equity.index), column)[:-1]
    in_percent = bool((close > 0).all())
    moves = np.diff(close) / (close[:-1] if in_percent else 1.0)
    known = np.isfinite(signal)
    signal, moves = signal[known], moves[known]
    edges = _edges(signal)
    # The tolerance puts 0.3, stored a hair below three tenths, into the bin that begins there.
    bins = max(edges.size - 1, 0)
    place = np.clip(np.searchsorted(edges, signal + 1e-10, side="right") - 1, 0, bins - 1)
    order = np.argsort(place.astype(np.int8), kind="stable")
    ends = np.cumsum(np.bincount(place, minlength=bins))
    groups = np.split(moves[order], ends[:-1]) if bins else []
    return Deciles(
        signal=signal_name(report),
        edges=edges,
        mean=np.array([group.mean() if group.size else np.nan for group in groups]),
        half_width=np.array([_half_width(group) for group in groups]),
        count=np.array([group.size for group in groups], dtype=np.float64),
        overall=float(moves.mean()) if moves.size else float("nan"),
        in_percent=in_percent,
    )


def _edges(signal: Floats) -> Floats:
    if not signal.size:
        return np.empty(0)
    if 0.0 <= signal.min() and signal.max() <= 1.0:
        return np.arange(SIGNAL_BINS + 1) / SIGNAL_BINS
    edges = np.unique(np.quantile(signal, np.arange(SIGNAL_BINS + 1) / SIGNAL_BINS))
    return edges if edges.size > 1 else np.repeat(edges, 2)


def _half_width(values: Floats) -> float:
    if values.size < 2:
        return float("nan")
    return float(_NORMAL_95 * values.std(ddof=1) / np.sqrt(values.size))


def stamp_texts(stamps: pd.DatetimeIndex) -> NDArray[np.object_]:
    """Return UTC stamps as `2012-03-04 14:30`, None for NaT."""
    naive = stamps.tz_convert("UTC").tz_localize(None) if stamps.tz is not None else stamps
    texts = np.datetime_as_string(naive.to_numpy().astype("datetime64[m]")).astype(object)
    texts[np.asarray(naive.isna())] = None
    return np.char.replace(texts.astype(str), "T", " ").astype(object) if texts.size else texts


def bar_texts(report: ReportData, at: NDArray[np.intp] | slice = slice(None)) -> NDArray[np.object_]:
    """Return the time of the bars `at` some positions: session date of daily bars, else the end in UTC."""
    if report.is_daily:
        return np.datetime_as_string(report.session_dates[at]).astype(object)
    return stamp_texts(pd.DatetimeIndex(report.equity.index[at]))


def shown_dates(dates: Dates) -> list[str]:
    """Return dates as `2012-03-04`."""
    texts: list[str] = np.datetime_as_string(dates.astype("datetime64[D]")).tolist()
    return texts


def times_of(report: ReportData, stamps: pd.Series) -> list[str | None]:
    """Return the time of the bars that end at `stamps`, as `bar_texts` writes it; None for NaT."""
    wanted = pd.DatetimeIndex(pd.to_datetime(stamps, utc=True))
    position = report.bars_at(stamps)
    position[pd.DatetimeIndex(report.equity.index)[position] != wanted] = -1
    known, own = bar_texts(report, np.maximum(position, 0)), stamp_texts(wanted)
    return [
        None if missing else (bar if at >= 0 else text)
        for at, bar, text, missing in zip(position, known, own, wanted.isna(), strict=True)
    ]
