"""Write the tear sheet: one HTML file that needs nothing else, the same bytes for the same report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from markupsafe import Markup

from research.report import captions, sections, sections_record, sections_regimes
from research.report.data import BARS, COSTS, DEEPEST, PRICES, RECORD, TRADES, ReportData
from research.report.figures_account import costs_paid, equity_and_drawdown, leverage, turnover
from research.report.figures_rolling import (
    rolling_beta,
    rolling_sharpe,
    rolling_sortino,
    rolling_volatility,
    windows,
)
from research.report.figures_signal import next_move_by_signal, reasons_for_no_trade
from research.report.figures_trades import (
    excursions,
    monthly_distribution,
    pnl_distribution,
    trades_on_price,
)
from research.report.page import document, joined, listing, write_page
from research.report.section import Sections, cards
from research.report.tables import signal_name

RESULT, RISK, EXPOSURE, TRADING, RECORDED = "Result", "Risk", "Exposure and costs", "Trades", "Record"
SECTIONS: Sections[ReportData] = Sections("the tear sheet")
"""Every card of the tear sheet, in the order of the page. To add one: a file, an import, and a line below."""


def write_tearsheet(report: ReportData, path: Path, *, shared_js: Path | None = None) -> Path:
    """Write the tear sheet of `report` to `path` and return `path`; its folder is made where missing.

    The file holds no time, host or path. It replaces an earlier one in a single step. `shared_js` is a folder
    that holds the plotting library for many pages; see `page.write_page`.
    """
    return write_page(path, _title(report), _body(report), shared_js=shared_js)


def tearsheet_html(report: ReportData) -> str:
    """Return the page, the plotting library within."""
    return document(_title(report), _body(report))


def _title(report: ReportData) -> str:
    return f"{report.symbol} · {report.title}"


def _body(report: ReportData) -> Markup:
    return joined(
        sections.header(report),
        sections.caveats(report),
        sections.key_figures(report),
        cards(SECTIONS, report),
    )


def _knows(*known: str) -> Callable[[ReportData], bool]:
    return lambda report: set(known) <= set(report.known)


def _too_short(report: ReportData) -> str:
    half, _ = windows(report)
    return f"Needs {half} {report.period}s in which equity moves; this run has {len(report.sessions)}."


def _rolled_over(report: ReportData) -> str:
    half, year = windows(report)
    return f"{half} and {year} {report.period}s; whole run dotted."


def _has_leverage(report: ReportData) -> bool:
    return BARS in report.known and report.multiplier is not None


def _has_sides(report: ReportData) -> bool:
    return TRADES in report.known and bool(report.trades["side"].notna().any() or BARS in report.known)


SECTIONS.figure(
    RESULT, "Equity and drawdown", "equity", equity_and_drawdown, fit=True, caption=captions.equity, wide=True
)
SECTIONS.add(RESULT, "Monthly returns", sections.months, caption=captions.months, wide=True)
SECTIONS.add(RESULT, "Years", sections.years, caption=captions.years, wide=True)
SECTIONS.add(
    RESULT,
    "How far the Sharpe ratio can be trusted",
    sections_record.trust,
    caption="Errors at the observed ratio; Bailey and López de Prado (2012, 2014). They take returns as "
    "independent in time, except where blocks are named.",
)
SECTIONS.add(
    RESULT,
    "Timing, or the market",
    sections_record.timing,
    caption="What holding as much of the instrument all the time would have earned is taken off: what is "
    "left is when the position was held, and how. Hansen (2005).",
    shown=_has_leverage,
)
SECTIONS.add(RESULT, "Against the benchmark", sections_record.benchmark, caption=captions.benchmark)
SECTIONS.add(
    RESULT,
    "Trailing returns",
    sections_record.trailing,
    caption=lambda report: f"Up to {report.dates[-1]}; periods that begin before the first date are omitted.",
)
SECTIONS.figure(
    RESULT,
    "Distribution of monthly returns",
    "months",
    monthly_distribution,
    empty="Needs three months in which equity moves.",
    caption="Mean dotted. The first and the last month may be partial.",
)
SECTIONS.add(
    RESULT,
    "In and out of sample",
    sections_record.samples,
    shown=lambda report: bool(report.out_of_sample),
    caption="Out of sample are the shaded dates, which the strategy was not chosen on.",
    wide=True,
)

SECTIONS.add(
    RISK,
    f"The {DEEPEST} deepest drawdowns",
    sections_record.declines,
    caption="From a high of equity to the first return to it, in calendar days.",
    wide=True,
)
SECTIONS.figure(
    RISK, "Rolling Sharpe ratio", "rolling", rolling_sharpe, empty=_too_short, caption=_rolled_over
)
SECTIONS.figure(
    RISK, "Rolling Sortino ratio", "sortino", rolling_sortino, empty=_too_short, caption=_rolled_over
)
SECTIONS.figure(
    RISK, "Rolling volatility", "volatility", rolling_volatility, empty=_too_short, caption=_rolled_over
)
SECTIONS.figure(
    RISK,
    "Rolling beta",
    "beta",
    rolling_beta,
    empty=_too_short,
    caption=_rolled_over,
    shown=lambda report: report.beside is not None,
)
SECTIONS.add(
    RISK,
    "The same trades in another order",
    sections_record.other_orders,
    caption="The order in which trades came is one of very many: fund the account for the drawdown of one "
    "in twenty. Streaks that trades have by nature are not in it.",
    shown=_knows(TRADES),
    wide=True,
)
SECTIONS.add(
    RISK,
    "Returns by period",
    sections_record.quantiles,
    caption="Quantiles of the returns of calendar periods, and the share above zero.",
    wide=True,
)
SECTIONS.add(
    RISK,
    "Winning periods and runs",
    sections_record.runs,
    caption="Gains and losses in percent of capital; runs of periods that follow each other.",
    wide=True,
)
SECTIONS.add(
    RISK,
    "By regime",
    sections_regimes.by_regime,
    caption=sections_regimes.caption,
    shown=sections_regimes.is_known,
    wide=True,
)
SECTIONS.add(
    RISK,
    "Episodes of stress",
    sections_record.crises,
    caption="From close to close, those that lie within these dates.",
    wide=True,
)

SECTIONS.figure(
    EXPOSURE,
    "Leverage",
    "leverage",
    leverage,
    empty="No position was held at a close.",
    caption=captions.leverage,
    shown=_has_leverage,
)
SECTIONS.figure(
    EXPOSURE,
    "Turnover",
    "turnover",
    turnover,
    empty="No trade.",
    caption="Notional traded in a calendar year, both sides, in multiples of capital.",
    shown=_has_leverage,
)
SECTIONS.add(
    EXPOSURE,
    "Results at higher costs",
    sections_record.dearer,
    caption="Commission and slippage of every trade times a factor; sizes and fills stay.",
    shown=_knows(COSTS),
)
SECTIONS.figure(
    EXPOSURE,
    "Costs paid",
    "costs",
    costs_paid,
    empty="No trade, no costs.",
    caption="Cumulative, booked when a trade ends. Slippage is already in the fill prices.",
    shown=_knows(COSTS),
)

SECTIONS.add(TRADING, "Long and short", sections_record.sides, shown=_has_sides, wide=True)
SECTIONS.figure(
    TRADING,
    "Result per trade",
    "distribution",
    pnl_distribution,
    empty="No trade was closed in this run.",
    caption=captions.distribution,
    shown=_knows(TRADES),
)
SECTIONS.figure(
    TRADING,
    "Excursions",
    "excursions",
    excursions,
    empty="No trade was closed in this run.",
    caption=captions.excursions,
    shown=lambda report: TRADES in report.known and "mae" in report.trades,
)
SECTIONS.figure(
    TRADING,
    "Trades on price",
    "trades",
    trades_on_price,
    fit=True,
    caption=captions.trades,
    shown=_knows(TRADES, BARS, PRICES),
    wide=True,
)
SECTIONS.add(
    TRADING,
    "Exits",
    sections.exit_table,
    caption="Closed trades by the reason they ended.",
    shown=_knows(TRADES, RECORD),
    wide=True,
)

SECTIONS.figure(
    RECORDED,
    "Next move by decile of the signal",
    "deciles",
    next_move_by_signal,
    title=lambda report: (
        f"Next-{'session' if report.is_daily else 'bar'} return by {signal_name(report)} decile"
    ),
    empty="The signal is not known for any bar.",
    caption=captions.deciles,
    shown=_knows(RECORD),
)
SECTIONS.figure(
    RECORDED,
    "Why there was no trade",
    "reasons",
    reasons_for_no_trade,
    empty="No bar was turned down.",
    caption="Bars that led to no entry, by their recorded reason.",
    shown=_knows(RECORD),
)
SECTIONS.add(RECORDED, "All measures", sections.measures, wide=True)
SECTIONS.add(RECORDED, "Provenance", sections.provenance, caption="What this page was computed from.")
SECTIONS.add(
    RECORDED,
    "Strategy config",
    lambda report: listing(report.config_yaml),
    shown=_knows(RECORD),
)
