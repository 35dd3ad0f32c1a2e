"""The parts of the page that are text and tables: header, key figures, months, years, measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from research.report.data import BARS, COSTS, TRADES, ReportData, floats
from research.report.measures import GROUPS, Measure, Value, unnamed
from research.report.numbers import TIMES, UNDEFINED, count, percent, ratio, usd
from research.report.page import escaped, table
from research.report.tables import Year, exits, monthly_returns, readable, yearly
from research.report.track_record import evidence, runs, trailing

Tile = tuple[str, Value, Callable[[Value], str], str]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_GAIN_RGB = (42, 111, 158)
_LOSS_RGB = (200, 81, 43)
_STRONGEST_SHADE = 0.85


def header(report: ReportData) -> str:
    """Return symbol, strategy, dates, and the warning of a proxy."""
    dates = np.datetime_as_string(report.session_dates[[0, -1]])
    what = (
        f"{report.timeframe} bars" if BARS in report.known else f"{len(report.sessions):,} {report.period}s"
    )
    capital = "at the start, compounded" if report.compounded else "notional capital"
    proxy = (
        f'<span class="proxy">Index proxy for {escaped(report.proxy_of)}: not tradable as is</span>'
        if report.proxy_of
        else ""
    )
    return (
        f"<header><h1>{escaped(report.symbol)}<small>{escaped(report.instrument_name)}</small></h1>"
        f'<p class="facts"><b>{escaped(report.title)}</b><span>{dates[0]} to {dates[1]}</span>'
        f"<span>{escaped(what)}</span><span>{usd(report.capital)} {capital}</span>"
        f"{proxy}</p></header>"
    )


def caveats(report: ReportData) -> str:
    """Return what a reader must know before believing the numbers, or nothing where there is nothing."""
    found = [*_time_caveats(report), *report.notes]
    if not found:
        return ""
    items = "".join(f"<li>{escaped(each)}</li>" for each in found)
    title = "<h2>Before you read the numbers</h2>"
    return f'<section class="caveats">{title}<ul class="notes">{items}</ul></section>'


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


def key_figures(report: ReportData) -> str:
    """Return the strip of ten key figures, or of those that are known."""
    known = report.metrics
    depth, length = known.get("max_drawdown"), count(known.get("max_drawdown_sessions"))
    tiles: list[Tile] = [
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
        tiles[0] = (
            "Total return",
            known.get("total_return"),
            percent,
            f"{usd(known.get('net_profit'))} gained",
        )
        tiles[4] = (
            "Max drawdown",
            None if fraction is None else -fraction,
            percent,
            f"{length} {report.period}s",
        )
        tiles[1] = ("CAGR", known.get("cagr"), percent, f"{ratio(known.get('years'), 1)} years")
    tiles += _trade_tiles(report) if TRADES in report.known else _period_tiles(report)
    return '<div class="kpis">' + "".join(_tile(*tile) for tile in tiles) + "</div>"


def _interval(report: ReportData) -> str:
    found = evidence(report)
    volatility = f"volatility {percent(report.metrics.get('volatility'))}"
    return volatility if found is None else f"95%: {ratio(found.low)} to {ratio(found.high)}; {volatility}"


def _trade_tiles(report: ReportData) -> list[Tile]:
    known = report.metrics
    still_open = f", {report.open_trades} open" if report.open_trades else ""
    tiles: list[Tile] = [
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


def _period_tiles(report: ReportData) -> list[Tile]:
    known, months, periods = report.metrics, *runs(report)[:2]
    unit = report.period
    return [
        ("Volatility", known.get("volatility"), percent, "annualised"),
        ("Winning months", months.won, percent, f"of {months.count}"),
        (f"Winning {unit}s", periods.won, percent, f"longest run lost {periods.longest_lost}"),
        (f"Worst {unit}", known.get("worst_session"), percent, f"best {percent(known.get('best_session'))}"),
        ("CVaR 95", known.get("cvar_95"), percent, f"mean of the worst 5% of {unit}s"),
    ]


def _tile(label: str, value: Value, write: Callable[[Value], str], under: str) -> str:
    is_loss = value is not None and value < 0
    colour = ' class="loss"' if is_loss else ""
    return (
        f'<div class="kpi"><span>{escaped(label)}</span><b{colour}>{write(value)}</b>'
        f"<span>{escaped(under)}</span></div>"
    )


def months(report: ReportData) -> str:
    """Return the heat map of monthly returns with yearly totals."""
    grid = monthly_returns(report)
    values = grid.to_numpy()
    known = np.abs(values[np.isfinite(values)])
    # One extreme month must not bleach all others.
    strongest = float(np.quantile(known, 0.95)) if known.size else 0.0
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", *_MONTHS, "Year"))
    body = "".join(
        f'<tr><th scope="row">{year}</th>{"".join(_shaded(value, strongest) for value in row)}'
        f"<td>{_points(_year_of(report, row))}</td></tr>"
        for year, row in zip(grid.index, values, strict=True)
    )
    return (
        f'<div class="scroll"><table class="months"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _year_of(report: ReportData, row: np.ndarray) -> float:
    return float(np.nanprod(1.0 + row) - 1.0 if report.compounded else np.nansum(row))


def _points(value: float) -> str:
    return ratio(100 * value, 1)


def _shaded(value: float, strongest: float) -> str:
    if not math.isfinite(value):
        return "<td></td>"
    share = min(abs(value) / strongest, 1.0) * _STRONGEST_SHADE if strongest > 0 else 0.0
    red, green, blue = _GAIN_RGB if value >= 0 else _LOSS_RGB
    ink = ";color:#fff" if share > 0.6 else ""
    return f'<td style="background:rgba({red},{green},{blue},{share:.2f}){ink}">{_points(value)}</td>'


def years(report: ReportData) -> str:
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
    head = ["Year"] + ["Net P&amp;L"] * (not report.compounded) + ["Return"]
    head += ["Benchmark"] * (report.beside is not None) + ["Max drawdown", "Sharpe", "Trades", "Win rate"]
    width = len(head) if TRADES in report.known else len(head) - 2
    body = table(head[:width], [row[:width] for row in cells], foot=foot[:width], classes="even")
    return f'<div class="scroll">{body}</div>'


def _year_cells(
    report: ReportData, name: str, profit: float, change: float, benchmark: float, fall: str
) -> list[str]:
    """The cells that a year and the whole run have in common; amounts say little where returns compound."""
    amount = [] if report.compounded else [_coloured(profit)]
    beside = [] if report.beside is None else [percent(benchmark)]
    return [name, *amount, percent(change), *beside, fall]


def _fall(report: ReportData, row: Year) -> str:
    return percent(row.max_drawdown_fraction) if report.compounded else usd(-row.max_drawdown)


def _coloured(amount: float) -> str:
    return f'<span class="loss">{usd(amount)}</span>' if amount < 0 else usd(amount)


def exit_table(report: ReportData) -> str:
    """Return the table of exit reasons, or a sentence where no trade has ended."""
    rows = exits(report)
    if not rows:
        return '<p class="empty">No trade was closed in this run.</p>'
    head = ("Reason", "Trades", "Share", "Win rate", "Mean P&amp;L", "Total P&amp;L")
    cells = [
        (
            escaped(readable(row.reason)),
            count(row.count),
            percent(row.share),
            percent(row.win_rate),
            _coloured(row.mean_pnl),
            _coloured(row.total_pnl),
        )
        for row in rows
    ]
    return f'<div class="scroll">{table(head, cells)}</div>'


def measures(report: ReportData) -> str:
    """Return every measure with its convention, in columns."""
    groups = [*GROUPS]
    if extra := unnamed(report.metrics):
        groups.append(("Further", extra))
    blocks = (f"<div><h3>{name}</h3>{_measure_table(report, group)}</div>" for name, group in groups)
    return f'<div class="columns">{"".join(blocks)}</div>'


def _measure_table(report: ReportData, group: Iterable[Measure]) -> str:
    shown = [each for each in group if BARS in report.known or _is_known(report.metrics.get(each.key))]
    rows = "".join(
        f'<tr><th scope="row">{escaped(_worded(measure.label, report))}'
        f"<small>{escaped(_worded(measure.note, report))}</small></th>"
        f"<td>{measure.write(report.metrics.get(measure.key))}</td></tr>"
        for measure in shown
        if BARS in report.known or measure.key not in ("bars", "exposure")
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _is_known(value: Value) -> bool:
    return value is not None and math.isfinite(value)


def _worded(text: str, report: ReportData) -> str:
    """Sessions are called what the report's periods are; holding times are days where there are no bars."""
    text = text.replace("session", report.period).replace("Session", report.period.capitalize())
    return "days" if text == "bars" and BARS not in report.known else text


def provenance(report: ReportData) -> str:
    """Return hashes, versions and seed, in the order given."""
    rows = "".join(
        f'<tr><th scope="row">{escaped(name)}</th><td>{escaped(value) or UNDEFINED}</td></tr>'
        for name, value in report.provenance.items()
    )
    return f'<table class="provenance"><tbody>{rows}</tbody></table>'
