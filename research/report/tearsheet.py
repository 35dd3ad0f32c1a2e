"""Write the tear sheet: one HTML file that needs nothing else, the same bytes for the same report."""

from __future__ import annotations

import os
from pathlib import Path

from plotly.offline import get_plotlyjs

from research.report import captions, sections
from research.report.data import ReportData
from research.report.figures_account import ROLLING_SESSIONS, costs_paid, equity_and_drawdown, rolling_sharpe
from research.report.figures_signal import next_move_by_ibs, reasons_for_no_trade
from research.report.figures_trades import pnl_distribution, trades_on_price
from research.report.page import card, escaped, figure_block
from research.report.series import thinning_note
from research.report.style import SCRIPT, STYLE
from research.report.tables import session_table


def write_tearsheet(report: ReportData, path: Path) -> Path:
    """Write the tear sheet of `report` to `path` and return `path`; its folder is made where missing.

    The file holds no time, host or path. It replaces an earlier one in a single step.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(tearsheet_html(report), encoding="utf-8", newline="\n")
    os.replace(partial, path)
    return path


def tearsheet_html(report: ReportData) -> str:
    """Return the page."""
    cards = "".join((*_account_cards(report), *_trade_cards(report), *_record_cards(report)))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(report.symbol)} · {escaped(report.title)}</title>"
        f"<style>{STYLE}</style></head>\n<body><main>"
        f'{sections.header(report)}{sections.key_figures(report)}<div class="grid">{cards}</div>'
        "<noscript>The charts need JavaScript; the tables do not.</noscript></main>\n"
        f"<script>{get_plotlyjs()}</script>\n<script>{SCRIPT}</script></body></html>\n"
    )


def _account_cards(report: ReportData) -> list[str]:
    sessions = len(session_table(report))
    return [
        card(
            "Equity and drawdown",
            figure_block("equity", equity_and_drawdown(report), empty="", fit=True),
            caption="Profit and loss on constant notional capital (dotted), costs included, marked at every "
            f"bar's close. {thinning_note(len(report.equity))}",
            classes="wide",
        ),
        card(
            "Monthly returns",
            sections.months(report),
            caption="Percent of capital. Sizes follow constant capital, so months add up to years.",
            classes="wide",
        ),
        card(
            "Result per trade",
            figure_block("distribution", pnl_distribution(report), empty="No trade was closed in this run."),
            caption=captions.distribution(report),
        ),
        card(
            f"Rolling Sharpe ratio, {ROLLING_SESSIONS} sessions",
            figure_block(
                "rolling",
                rolling_sharpe(report),
                empty=f"Needs {ROLLING_SESSIONS} sessions in which equity moves; this run has {sessions}.",
            ),
            caption=captions.rolling(report),
        ),
    ]


def _trade_cards(report: ReportData) -> list[str]:
    following = "session" if report.is_daily else "bar"
    return [
        card(
            "Trades on price",
            figure_block("trades", trades_on_price(report), empty="", fit=True),
            caption=captions.trades(report),
            classes="wide",
        ),
        card(
            f"Next-{following} return by IBS decile",
            figure_block("deciles", next_move_by_ibs(report), empty="IBS is not known for any bar."),
            caption=captions.deciles(report),
        ),
        card(
            "Costs paid",
            figure_block("costs", costs_paid(report), empty="No trade, no costs."),
            caption="Cumulative, booked when a trade ends. Slippage is already in the fill prices.",
        ),
        card(
            "Why there was no trade",
            figure_block("reasons", reasons_for_no_trade(report), empty="No bar was turned down."),
            caption="Bars that led to no entry, by their recorded reason.",
        ),
        card("Exits", sections.exit_table(report), caption="Closed trades by the reason they ended."),
    ]


def _record_cards(report: ReportData) -> list[str]:
    cards = [
        card(
            "Years",
            sections.years(report),
            caption="Change of equity on capital; trades are counted in the year they end.",
            classes="wide",
        ),
        card("All measures", sections.measures(report), classes="wide"),
        card("Provenance", sections.provenance(report), caption="What this run was computed from."),
        card("Strategy config", f"<pre>{escaped(report.config_yaml)}</pre>"),
    ]
    if report.notes:
        cards.append(card("Notes", sections.notes(report), classes="wide"))
    return cards
