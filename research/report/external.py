"""The tear sheet of anybody's results: a returns series, an equity curve or a list of trades."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import lockstep
from lockstep import metrics
from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Dates
from research.report.data import (
    COSTS,
    REASON_COLUMNS,
    TRADE_COLUMNS,
    TRADES,
    Benchmark,
    Floats,
    ReportData,
)
from research.report.results_file import Kind, Results, Unit, results_of
from research.report.tearsheet import write_tearsheet

START = 100_000.0
_UNDEFLATED = (
    "How many variants this one was chosen from is not known, so the Sharpe ratio is not deflated: the best "
    "of many looks good by chance."
)
_WEEKDAYS_PER_YEAR = 365.25 * 5 / 7
# Days from one value to the next -> what the period is called, and how many a year has.
_PERIODS = (
    (5.0, 9.0, "week", 52.0),
    (26.0, 35.0, "month", 12.0),
    (85.0, 95.0, "quarter", 4.0),
    (350.0, 380.0, "year", 1.0),
)


def tearsheet(
    results: Any,
    out: Path | str = "tearsheet.html",
    *,
    benchmark: Any = None,
    trials: float | None = None,
    capital: float | None = None,
    kind: Kind | None = None,
    unit: Unit | None = None,
    constant_size: bool = False,
    out_of_sample: date | str | None = None,
    title: str = "",
    date_format: str | None = None,
    column: str | None = None,
    shared_js: Path | str | None = None,
) -> Path:
    """Write the tear sheet of `results` to `out` and return its path.

    results         a run of Lockstep; the path of a CSV file; a pandas Series by date (returns or equity); or
                    a DataFrame, such as a list of trades with entry, exit and pnl
    benchmark       the same, of what to compare with: returns, or prices
    trials          how many variants the strategy was chosen from, >= 1: deflates the Sharpe ratio
    capital         > 0: start of the account; needed where results are amounts (trades, pnl)
    kind, unit      `returns`, `equity`, `pnl` or `trades`; `fraction` or `percent`: where names do not say
    constant_size   sizes did not grow with the account: returns add up and do not compound. Always so for
                    amounts
    out_of_sample   first date that the strategy was not chosen on
    date_format, column   see `results_file.results_of`
    shared_js       folder that holds the plotting library for many pages

    What the results do not hold is left off the page, and the page says so. DataError or ConfigError, one
    line, where something is missing or could mean two things.

    >>> import pandas as pd
    >>> days = pd.bdate_range("2020-01-01", periods=300)
    >>> returns = pd.Series([0.01, -0.008, 0.002] * 100, index=days, name="returns")
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     tearsheet(returns, Path(folder) / "page.html", trials=20).name
    'page.html'
    """
    report = report_of(
        results,
        benchmark=benchmark,
        trials=trials,
        capital=capital,
        kind=kind,
        unit=unit,
        constant_size=constant_size,
        out_of_sample=out_of_sample,
        title=title,
        date_format=date_format,
        column=column,
    )
    return write_tearsheet(report, Path(out), shared_js=None if shared_js is None else Path(shared_js))


def report_of(
    results: Any,
    *,
    benchmark: Any = None,
    trials: float | None = None,
    capital: float | None = None,
    kind: Kind | None = None,
    unit: Unit | None = None,
    constant_size: bool = False,
    out_of_sample: date | str | None = None,
    title: str = "",
    date_format: str | None = None,
    column: str | None = None,
) -> ReportData:
    """Return what the tear sheet of `results` shows; the arguments are those of `tearsheet`."""
    if trials is not None and not trials >= 1:
        raise ConfigError(
            f"trials {trials:g}: at least the one that is shown; count every variant that was tried"
        )
    if capital is not None and not capital > 0:
        raise ConfigError(f"capital {capital:g}: must be positive")
    if hasattr(results, "report_data"):
        report: ReportData = results.report_data()
    else:
        found = results_of(results, kind=kind, unit=unit, date_format=date_format, column=column)
        report = _report(found, capital, constant_size, title, _digest(results))
        if trials is None:
            report = replace(report, notes=[*report.notes, _UNDEFLATED])
    if benchmark is not None:
        beside = benchmark_of(benchmark, date_format)
        origin = {"benchmark": f"{beside.name} {_digest(benchmark)}".strip()}
        report = replace(report, benchmark=beside, provenance={**report.provenance, **origin})
    shaded = _out_of_sample(report, out_of_sample)
    return replace(report, trials=trials or report.trials, out_of_sample=shaded)


def benchmark_of(given: Any, date_format: str | None = None) -> Benchmark:
    """Return a benchmark from the path of a file or a Series: prices, or returns, which are compounded."""
    found = results_of(given, date_format=date_format)
    if found.kind not in ("equity", "returns"):
        raise DataError(
            f"benchmark {found.source}: {found.kind} cannot be compared with: give prices or returns"
        )
    days, level = _by_day(found.dates, found.values, found.kind)
    if found.kind == "returns":
        # The first return starts from a level, on the day before it.
        level = np.multiply.accumulate(np.concatenate(([1.0], 1.0 + level)))
        days = np.concatenate((days[:1] - np.timedelta64(1, "D"), days))
    return Benchmark(name=Path(found.source).stem, dates=days, level=level)


def _by_day(dates: Dates, values: Floats, kind: Kind) -> tuple[Dates, Floats]:
    """Return one value per date: the day's last equity, its compounded return, or its sum of amounts."""
    days = dates.astype("datetime64[D]")
    starts = np.flatnonzero(np.concatenate(([True], days[1:] > days[:-1])))
    stops = np.append(starts[1:], days.size)
    if kind == "equity":
        return days[starts], values[stops - 1]
    if kind == "returns":
        return days[starts], np.multiply.reduceat(1.0 + values, starts) - 1.0
    return days[starts], np.add.reduceat(values, starts)


def period_of(days: Dates) -> tuple[str, float]:
    """Return what one of `days`' steps is called, and how many of them a year has."""
    gap = float(np.median(np.diff(days).astype(np.float64)))
    for low, high, name, per_year in _PERIODS:
        if low <= gap <= high:
            return name, per_year
    if gap > 4:
        years = float((days[-1] - days[0]).astype(np.float64)) / 365.25
        return "period", (days.size - 1) / years
    weekday = (days.astype(np.int64) + 3) % 7
    return "day", 365.0 if float(np.mean(weekday >= 5)) > 0.1 else metrics.SESSIONS_PER_YEAR


def _report(
    found: Results, capital: float | None, constant_size: bool, title: str, digest: str
) -> ReportData:
    is_amount = found.kind in ("pnl", "trades")
    if is_amount and capital is None:
        raise ConfigError(f"{found.source}: results are amounts: add --capital, the size of the account")
    days, values = _by_day(found.dates, found.values, found.kind)
    if found.trades is None and days.size < 3:
        raise DataError(
            f"{found.source}: {found.values.size} values on {days.size} dates: needed are 3 dates"
        )
    name, per_year = period_of(days) if found.trades is None else ("day", _WEEKDAYS_PER_YEAR)
    start = capital or START
    if found.trades is not None:
        days, values, per_year = _filled(days, values, found.trades)
    if found.kind == "equity":
        start = capital or float(values[0])
        equity = values if capital else values[1:]
        days = days if capital else days[1:]
    elif is_amount or constant_size:
        equity = start + np.add.accumulate(values if is_amount else values * start)
    else:
        equity = start * np.multiply.accumulate(1.0 + values)
    compounded = not (is_amount or constant_size)
    return _assembled(found, days, equity, start, compounded, name, per_year, title, digest)


def _filled(days: Dates, values: Floats, trades: pd.DataFrame) -> tuple[Dates, Floats, float]:
    """Return every weekday from the first entry to the last exit with its sum of results, mostly zero.

    Every calendar day where trades ended on weekends, too.
    """
    entries = trades["entry"].dropna()
    first = min(days[0], np.datetime64(entries.min(), "D")) if len(entries) else days[0]
    whole = np.arange(first, days[-1] + np.timedelta64(1, "D"))
    is_weekend = (whole.astype(np.int64) + 3) % 7 >= 5
    ended = np.isin(whole, days)
    trades_on_weekends = float(np.mean(((days.astype(np.int64) + 3) % 7) >= 5)) > 0.1
    kept = whole if trades_on_weekends else whole[~is_weekend | ended]
    out = np.zeros(kept.size)
    out[np.searchsorted(kept, days)] = values
    return kept, out, 365.0 if trades_on_weekends else _WEEKDAYS_PER_YEAR


def _assembled(
    found: Results,
    days: Dates,
    equity: Floats,
    capital: float,
    compounded: bool,
    period: str,
    per_year: float,
    title: str,
    digest: str,
) -> ReportData:
    trades = _trade_rows(found.trades)
    held = _held(days, found.trades)
    measured = metrics.summary(
        equity=equity,
        session=days,
        trade_pnl=trades["net_pnl"].to_numpy(dtype=np.float64),
        trade_bars_held=trades["bars_held"].to_numpy(dtype=np.float64),
        position=held,
        traded_notional=float("nan"),
        capital=capital,
        sessions_per_year=per_year,
        compounded=compounded,
    )
    known = set()
    if found.trades is not None:
        known = {TRADES} | ({COSTS} if found.trades["fees"].notna().any() else set())
    named = {"returns": "returns", "equity": "an equity curve", "pnl": "profit and loss", "trades": "trades"}
    return ReportData(
        title=f"from {named[found.kind]}",
        symbol=title or Path(found.source).stem,
        instrument_name="",
        proxy_of=None,
        timeframe="1d",
        capital=capital,
        equity=pd.DataFrame(
            {"session_date": days, "equity": equity}, index=pd.DatetimeIndex(days).tz_localize("UTC")
        ),
        trades=trades,
        reasons=pd.DataFrame(columns=list(REASON_COLUMNS)),
        features=pd.DataFrame(columns=["signal"]),
        metrics=measured,
        provenance=_provenance(found, digest),
        config_yaml="",
        notes=_notes(found),
        sessions_per_year=per_year,
        compounded=compounded,
        period=period,
        known=frozenset(known),
    )


def _trade_rows(trades: pd.DataFrame | None) -> pd.DataFrame:
    """Return the trades as a report has them; prices are not known, and what is held is counted in days."""
    if trades is None:
        return pd.DataFrame({name: pd.Series(dtype=np.float64) for name in TRADE_COLUMNS})
    rows = pd.DataFrame(np.nan, index=trades.index, columns=list(TRADE_COLUMNS))
    ends = pd.DatetimeIndex(trades["exit"]).normalize().tz_localize("UTC")
    days = (trades["exit"] - pd.to_datetime(trades["entry"])) / pd.Timedelta(days=1)
    return rows.assign(
        trade_id=[str(number + 1) for number in range(len(trades))],
        side=trades["side"],
        exit_end=ends,
        net_pnl=trades["pnl"],
        commission=trades["fees"],
        bars_held=days,
        status="closed",
        exit_reason="",
        **{name: trades[name] for name in ("mae", "mfe") if name in trades},
    )


def _held(days: Dates, trades: pd.DataFrame | None) -> Floats:
    """Return how many trades were open at the end of each day, NaN where entries are not known."""
    if trades is None or trades["entry"].isna().any():
        return np.full(days.size, np.nan)
    opened, closed = (np.sort(trades[name].to_numpy().astype("datetime64[D]")) for name in ("entry", "exit"))
    count = np.searchsorted(opened, days, side="right") - np.searchsorted(closed, days, side="right")
    return count.astype(np.float64)


def _notes(found: Results) -> list[str]:
    if found.kind == "trades":
        return [
            "Made from a list of trades: results count on the day of the exit and positions are not marked "
            "while they are open, so drawdowns and volatility are understated. Leverage and turnover are not "
            "known and left out.",
            "Results are taken as net of all costs; the list cannot show whether they are.",
        ]
    what = {"equity": "an equity curve", "pnl": "profit and loss by date"}.get(found.kind, "returns")
    return [
        f"Made from {what}: trades, costs, exposure and leverage are unknown and omitted. Whether the "
        "results are net of costs is not known either."
    ]


def _digest(results: Any) -> str:
    """Return the hash of a file's bytes; what comes from memory has none."""
    if isinstance(results, (str, Path)):
        return hashlib.sha256(Path(results).read_bytes()).hexdigest()
    return ""


def _provenance(found: Results, digest: str) -> dict[str, str]:
    return {
        "file": found.source,
        "sha256": digest or "not from a file",
        "read as": found.kind,
        "values": f"{found.values.size:,}",
        "columns not used": ", ".join(found.unused) or "none",
        "lockstep": lockstep.__version__,
    }


def _out_of_sample(report: ReportData, first: date | str | None) -> list[tuple[np.datetime64, np.datetime64]]:
    if first is None:
        return list(report.out_of_sample)
    try:
        start = np.datetime64(str(first), "D")
    except ValueError as error:
        raise ConfigError(f"out of sample from {first!r}: not a date like 2020-01-31") from error
    if not report.dates[0] < start <= report.dates[-1]:
        raise ConfigError(
            f"out of sample from {start}: not within the results, {report.dates[0]} to {report.dates[-1]}"
        )
    return [(start, report.dates[-1])]
