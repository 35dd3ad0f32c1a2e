"""Write the tear sheet: one HTML file that needs nothing else, the same bytes for the same report."""

from __future__ import annotations

from pathlib import Path

from research.report import captions, sections, sections_record
from research.report.data import BARS, COSTS, PRICES, RECORD, TRADES, ReportData
from research.report.figures_account import costs_paid, equity_and_drawdown, leverage, turnover
from research.report.figures_rolling import (
    rolling_beta,
    rolling_sharpe,
    rolling_sortino,
    rolling_volatility,
    windows,
)
from research.report.figures_signal import next_move_by_ibs, reasons_for_no_trade
from research.report.figures_trades import (
    excursions,
    monthly_distribution,
    pnl_distribution,
    trades_on_price,
)
from research.report.page import card, document, escaped, figure_block, write_page
from research.report.track_record import DEEPEST


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


def _body(report: ReportData) -> str:
    parts = (
        ("Result", _result_cards(report)),
        ("Risk", _risk_cards(report)),
        ("Exposure and costs", _exposure_cards(report)),
        ("Trades", _trade_cards(report)),
        ("Record", _record_cards(report)),
    )
    cards = "".join(_part(name, inside) for name, inside in parts if inside)
    return (
        f"{sections.header(report)}{sections.caveats(report)}{sections.key_figures(report)}"
        f'<div class="grid">{cards}</div>'
    )


def _part(name: str, cards: list[str]) -> str:
    return f'<h2 class="part">{escaped(name)}</h2>{"".join(cards)}'


def _result_cards(report: ReportData) -> list[str]:
    cards = [
        card(
            "Equity and drawdown",
            figure_block("equity", equity_and_drawdown(report), empty="", fit=True),
            caption=captions.equity(report),
            classes="wide",
        ),
        card("Monthly returns", sections.months(report), caption=captions.months(report), classes="wide"),
        card("Years", sections.years(report), caption=captions.years(report), classes="wide"),
        card(
            "How far the Sharpe ratio can be trusted",
            sections_record.trust(report),
            caption="For returns that are not autocorrelated. Bailey and López de Prado (2012, 2014).",
        ),
        card(
            "Against the benchmark",
            sections_record.benchmark(report),
            caption=captions.benchmark(report),
        ),
        card(
            "Trailing returns",
            sections_record.trailing(report),
            caption=f"Up to {report.dates[-1]}; stretches that begin before the first date are left out.",
        ),
        card(
            "Distribution of monthly returns",
            figure_block(
                "months", monthly_distribution(report), empty="Needs three months in which equity moves."
            ),
            caption="Mean dotted. The first and the last month may be partial.",
        ),
    ]
    if report.out_of_sample:
        cards.append(
            card(
                "In and out of sample",
                sections_record.samples(report),
                caption="Out of sample are the shaded dates, which the strategy was not chosen on.",
                classes="wide",
            )
        )
    return cards


def _risk_cards(report: ReportData) -> list[str]:
    periods = len(report.sessions)
    half, year = windows(report)
    short = f"Needs {half} {report.period}s in which equity moves; this run has {periods}."
    under = f"{half} and {year} {report.period}s; whole run dotted."
    figures = [
        ("Rolling Sharpe ratio", "rolling", rolling_sharpe(report)),
        ("Rolling Sortino ratio", "sortino", rolling_sortino(report)),
        ("Rolling volatility", "volatility", rolling_volatility(report)),
        ("Rolling beta", "beta", rolling_beta(report)),
    ]
    return [
        card(
            f"The {DEEPEST} deepest drawdowns",
            sections_record.declines(report),
            caption="From a high of equity to the first return to it, in calendar days.",
            classes="wide",
        ),
        *(
            card(title, figure_block(name, drawn, empty=short), caption=under)
            for title, name, drawn in figures
            if name != "beta" or report.beside is not None
        ),
        card(
            "Returns by period",
            sections_record.quantiles(report),
            caption="Quantiles of the returns of calendar periods, and the share above zero.",
            classes="wide",
        ),
        card(
            "Winning periods and runs",
            sections_record.runs(report),
            caption="Gains and losses in percent of capital; runs of periods that follow each other.",
            classes="wide",
        ),
        card(
            "Episodes of stress",
            sections_record.crises(report),
            caption="From close to close, those that lie within these dates.",
            classes="wide",
        ),
    ]


def _exposure_cards(report: ReportData) -> list[str]:
    cards = []
    if BARS in report.known and report.multiplier is not None:
        cards += [
            card(
                "Leverage",
                figure_block("leverage", leverage(report), empty="No position was held at a close."),
                caption=captions.leverage(report),
            ),
            card(
                "Turnover",
                figure_block("turnover", turnover(report), empty="No trade."),
                caption="Notional traded in a calendar year, both sides, in multiples of capital.",
            ),
        ]
    if COSTS in report.known:
        cards += [
            card(
                "What dearer trading would leave",
                sections_record.dearer(report),
                caption="Commission and slippage of every trade times a factor; sizes and fills stay.",
            ),
            card(
                "Costs paid",
                figure_block("costs", costs_paid(report), empty="No trade, no costs."),
                caption="Cumulative, booked when a trade ends. Slippage is already in the fill prices.",
            ),
        ]
    return cards


def _trade_cards(report: ReportData) -> list[str]:
    if TRADES not in report.known:
        return []
    cards = []
    if report.trades["side"].notna().any() or BARS in report.known:
        cards.append(card("Long and short", sections_record.sides(report), classes="wide"))
    cards += [
        card(
            "Result per trade",
            figure_block("distribution", pnl_distribution(report), empty="No trade was closed in this run."),
            caption=captions.distribution(report),
        ),
    ]
    if "mae" in report.trades:
        cards.append(
            card(
                "Excursions",
                figure_block("excursions", excursions(report), empty="No trade was closed in this run."),
                caption=captions.excursions(report),
            )
        )
    if BARS in report.known and PRICES in report.known:
        cards.append(
            card(
                "Trades on price",
                figure_block("trades", trades_on_price(report), empty="", fit=True),
                caption=captions.trades(report),
                classes="wide",
            )
        )
    if RECORD in report.known:
        under = "Closed trades by the reason they ended."
        cards.append(card("Exits", sections.exit_table(report), caption=under, classes="wide"))
    return cards


def _record_cards(report: ReportData) -> list[str]:
    following = "session" if report.is_daily else "bar"
    cards = []
    if RECORD in report.known:
        cards += [
            card(
                f"Next-{following} return by IBS decile",
                figure_block("deciles", next_move_by_ibs(report), empty="IBS is not known for any bar."),
                caption=captions.deciles(report),
            ),
            card(
                "Why there was no trade",
                figure_block("reasons", reasons_for_no_trade(report), empty="No bar was turned down."),
                caption="Bars that led to no entry, by their recorded reason.",
            ),
        ]
    cards += [
        card("All measures", sections.measures(report), classes="wide"),
        card("Provenance", sections.provenance(report), caption="What this page was computed from."),
    ]
    if RECORD in report.known:
        cards.append(card("Strategy config", f"<pre>{escaped(report.config_yaml)}</pre>"))
    return cards
