"""The parts of the page that are text and tables: header, key figures, months, years, measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from markupsafe import Markup

from research.report import page
from research.report.data import BARS, COSTS, TRADES, ReportData, floats
from research.report.measures import GROUPS, Measure, Value, unnamed
from research.report.page import TIMES, UNDEFINED, Shade, Tile, coloured, count, percent, ratio, table, usd
from research.report.tables import Year, exits, monthly_returns, readable, yearly
from research.report.theme import GAIN_RGB, LOSS_RGB
from research.report.track_record import runs, trailing
from research.report.trust import evidence

Figure = tuple[str, Value, Callable[[Value], str], str]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STRONGEST_SHADE = 0.85


def header(report: ReportData) -> Markup:
    """Return symbol, strategy, dates, and the warning of a proxy."""
    dates = np.datetime_as_string(report.session_dates[[0, -1]])
    what = (
        f"{report.timeframe} bars" if BARS in report.known else f"{len(report.sessions):,} {report.period}s"
    )
    capital = "at the start, compounded" if report.compounded else "notional capital"
    return page.header(
        report.symbol,
        report.instrument_name,
        (f"{dates[0]} to {dates[1]}", what, f"{usd(report.capital)} {capital}"),
        lead=report.title,
        badge=proxy(report.proxy_of),
    )


def proxy(of: str | None) -> str:
    """Return the warning that an index stands in for the future `of`; nothing where it does not."""
    return f"Index proxy for {of}: not tradable as is" if of else ""


def caveats(report: ReportData) -> Markup:
    """Return what a reader must know before believing the numbers, or nothing where there is nothing."""
    return page.caveats("Before you read the numbers", [*_time_caveats(report), *report.notes])


def _time_caveats(report: ReportData) -> list[str]:
    scale = report.scale
    if scale.is_regular:
        return []
    kind = "fewer" if scale.periods < scale.expected else "more"
    return [
        f"{scale.periods:,} {report.period}s in {scale.years:.1f} years, {kind} than the "
        f"{scale.expected:,.0f} of a whole record at {scale.nominal:g} a year: growth is by the calendar, "
        f"and ratios are annualised by {scale.periods_per_year:.0f} a year."
    ]


def key_figures(report: ReportData) -> Markup:
    """Return the strip of ten key figures, or of those that are known."""
    return page.key_figures(tiles(report))


def tiles(report: ReportData) -> list[Tile]:
    """Return the key figures."""
    known = report.metrics
    depth, length = known.get("max_drawdown"), count(known.get("max_drawdown_sessions"))
    found: list[Figure] = [
        ("Net P&L", known.get("net_profit"), usd, f"{percent(known.get('total_return'))} of capital"),
        ("CAGR", known.get("cagr"), percent, f"{percent(known.get('annual_return'))} a year, additive"),
        ("Sharpe", known.get("sharpe"), ratio, _interval(report)),
        ("Sortino", known.get("sortino"), ratio, f"Calmar {ratio(known.get('calmar'))}"),
        (
            "Max drawdown",
            None if depth is None else -depth,
            usd,
            f"{length} {report.period}s; {percent(known.get('max_drawdown_fraction'))} of a peak at worst",
        ),
    ]
    if report.compounded:
        fraction = known.get("max_drawdown_fraction")
        found[0] = (
            "Total return",
            known.get("total_return"),
            percent,
            f"{usd(known.get('net_profit'))} gained",
        )
        found[4] = (
            "Max drawdown",
            None if fraction is None else -fraction,
            percent,
            f"{length} {report.period}s",
        )
        found[1] = ("CAGR", known.get("cagr"), percent, f"{ratio(known.get('years'), 1)} years")
    found += _trade_tiles(report) if TRADES in report.known else _period_tiles(report)
    return [_tile(*each) for each in found]


def _interval(report: ReportData) -> str:
    found = evidence(report)
    volatility = f"volatility {percent(report.metrics.get('volatility'))}"
    return volatility if found is None else f"95%: {ratio(found.low)} to {ratio(found.high)}; {volatility}"


def _trade_tiles(report: ReportData) -> list[Figure]:
    known = report.metrics
    still_open = f", {report.open_trades} open" if report.open_trades else ""
    tiles: list[Figure] = [
        (
            "Trades",
            known.get("trades"),
            count,
            f"{ratio(known.get('average_bars_held'), 1)} {held_unit(report)} held{still_open}",
        ),
        ("Win rate", known.get("win_rate"), percent, f"payoff {ratio(known.get('payoff_ratio'))}"),
        ("Profit factor", known.get("profit_factor"), ratio, f"{usd(known.get('expectancy'))} per trade"),
    ]
    if BARS in report.known:
        under = f"turnover {ratio(known.get('turnover'), 1)} {TIMES} capital a year"
        tiles.append(("Exposure", known.get("exposure"), percent, under))
    if COSTS in report.known:
        columns = ("commission", "slippage_cost")
        commission, slippage = (float(np.nansum(floats(report.trades, name))) for name in columns)
        under = f"commission {usd(commission)}, slippage {usd(slippage)}"
        if report.trades["slippage_cost"].isna().all() and len(report.trades):
            under = "fees; slippage is not known"
        tiles.append(("Costs paid", commission + slippage, usd, under))
    return tiles


def held_unit(report: ReportData) -> str:
    """Return what holding times are counted in: bars, or days where bars are not known."""
    return "bars" if BARS in report.known else "days"


def _period_tiles(report: ReportData) -> list[Figure]:
    known, months, periods = report.metrics, *runs(report)[:2]
    unit = report.period
    return [
        ("Volatility", known.get("volatility"), percent, "annualised"),
        ("Winning months", months.won, percent, f"of {months.count}"),
        (f"Winning {unit}s", periods.won, percent, f"longest run lost {periods.longest_lost}"),
        (f"Worst {unit}", known.get("worst_session"), percent, f"best {percent(known.get('best_session'))}"),
        ("CVaR 95", known.get("cvar_95"), percent, f"mean of the worst 5% of {unit}s"),
    ]


def _tile(label: str, value: Value, write: Callable[[Value], str], under: str) -> Tile:
    return Tile(label, write(value), under, is_loss=value is not None and value < 0)


def months(report: ReportData) -> Markup:
    """Return the heat map of monthly returns with yearly totals."""
    grid = monthly_returns(report)
    values = grid.to_numpy()
    known = np.abs(values[np.isfinite(values)])
    # One extreme month must not bleach all others.
    strongest = float(np.quantile(known, 0.95)) if known.size else 0.0
    rows = (
        (str(year), [_shaded(value, strongest) for value in row], _points(_year_of(report, row)))
        for year, row in zip(grid.index, values, strict=True)
    )
    return page.shaded_table(("", *_MONTHS, "Year"), rows)


def _year_of(report: ReportData, row: np.ndarray) -> float:
    return float(np.nanprod(1.0 + row) - 1.0 if report.compounded else np.nansum(row))


def _points(value: float) -> str:
    return ratio(100 * value, 1)


def _shaded(value: float, strongest: float) -> Shade | None:
    if not math.isfinite(value):
        return None
    share = min(abs(value) / strongest, 1.0) * _STRONGEST_SHADE if strongest > 0 else 0.0
    return Shade(_points(value), *(GAIN_RGB if value >= 0 else LOSS_RGB), share)


def years(report: ReportData) -> Markup:
    """Return the table of calendar years, the benchmark's beside them where there is one."""
    rows = yearly(report)
    known, whole = report.metrics, trailing(report)[-1]
    cells = []
    for row in rows:
        own = (row.net_profit, row.annual_return, row.benchmark, _fall(report, row))
        rest = (ratio(row.sharpe), count(row.trades), percent(row.win_rate))
        cells.append([*_year_cells(report, str(row.year), *own), *rest])
    total = sum(row.net_profit for row in rows)
    deepest = percent(known.get("max_drawdown_fraction"))
    if not report.compounded:
        deepest = usd(-(known.get("max_drawdown") or 0.0))
    foot = _year_cells(report, "All", total, total / report.capital, whole.benchmark, deepest)
    trades = count(sum(row.trades for row in rows))
    foot += [ratio(known.get("sharpe")), trades, percent(known.get("win_rate"))]
    head = ["Year"] + ["Net P&L"] * (not report.compounded) + ["Return"]
    head += ["Benchmark"] * (report.beside is not None) + ["Max drawdown", "Sharpe", "Trades", "Win rate"]
    width = len(head) if TRADES in report.known else len(head) - 2
    return table(head[:width], [row[:width] for row in cells], foot=foot[:width], classes="even")


def _year_cells(
    report: ReportData, name: str, profit: float, change: float, benchmark: float, fall: str
) -> list[str]:
    """The cells that a year and the whole run have in common; amounts say little where returns compound."""
    amount = [] if report.compounded else [coloured(usd(profit))]
    beside = [] if report.beside is None else [percent(benchmark)]
    return [name, *amount, percent(change), *beside, fall]


def _fall(report: ReportData, row: Year) -> str:
    return percent(row.max_drawdown_fraction) if report.compounded else usd(-row.max_drawdown)


def exit_table(report: ReportData) -> Markup:
    """Return the table of exit reasons, or a sentence where no trade has ended."""
    rows = exits(report)
    if not rows:
        return page.empty_block("No trade was closed in this run.")
    head = ("Reason", "Trades", "Share", "Win rate", "Mean P&L", "Total P&L")
    cells = [
        (
            readable(row.reason),
            count(row.count),
            percent(row.share),
            percent(row.win_rate),
            coloured(usd(row.mean_pnl)),
            coloured(usd(row.total_pnl)),
        )
        for row in rows
    ]
    return table(head, cells)


def measures(report: ReportData) -> Markup:
    """Return every measure with its convention, in columns."""
    groups = [*GROUPS]
    if extra := unnamed(report.metrics):
        groups.append(("Further", extra))
    return page.columns((name, _measure_table(report, group)) for name, group in groups)


def _measure_table(report: ReportData, group: Iterable[Measure]) -> Markup:
    shown = [each for each in group if BARS in report.known or _is_known(report.metrics.get(each.key))]
    rows = (
        (
            _worded(measure.label, report),
            _worded(measure.note, report),
            measure.write(report.metrics.get(measure.key)),
        )
        for measure in shown
        if BARS in report.known or measure.key not in ("bars", "exposure")
    )
    return page.facts_table(rows, classes="")


def _is_known(value: Value) -> bool:
    return value is not None and math.isfinite(value)


def _worded(text: str, report: ReportData) -> str:
    """Sessions are called what the report's periods are; holding times are days where there are no bars."""
    text = text.replace("session", report.period).replace("Session", report.period.capitalize())
    return "days" if text == "bars" and BARS not in report.known else text


def provenance(report: ReportData) -> Markup:
    """Return hashes, versions and seed, in the order given."""
    return page.provenance({name: value or UNDEFINED for name, value in report.provenance.items()})
