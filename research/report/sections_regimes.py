"""Results by market regime: a table and a figure that the tear sheet and the risk page share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from research.report import page
from research.report.data import TRADES, ReportData, floats
from research.report.page import coloured, count, failed, percent, ratio, usd
from research.report.theme import GAIN, INK, LOSS, MUTED, axis, figure, titled
from research.statistics.regimes import (
    FAILS,
    LEAST_RUNS,
    LEAST_TRADES,
    NOT_ENOUGH,
    RegimeResult,
    failing_regimes,
    results_by_regime,
)

HEAD = (
    "", "Share of bars", "Trades", "Runs", "Net", "Mean trade", "95% interval", "Winning", "Profit factor",
    "p", "",
)  # fmt: skip
HOW = (
    "The regime is that of the bar that decided the entry. Intervals resample whole runs. A strategy fails "
    "in a regime where its mean trade there is below zero and significantly below that of its other "
    "trades: errors by run, Benjamini-Hochberg at 5% over the regimes."
)


def is_known(report: ReportData) -> bool:
    """Whether the regime of any bar, and trades, are known."""
    known = report.regimes is not None and bool((~np.isnan(report.regimes)).any())
    return known and TRADES in report.known


def results_of(report: ReportData) -> tuple[RegimeResult, ...]:
    """Return what the closed trades of a report came to in each regime."""
    assert report.regimes is not None
    decided = report.bars_at(report.closed["decision_end"])
    return results_by_regime(floats(report.closed, "net_pnl"), decided, report.regimes)


def by_regime(report: ReportData) -> Markup:
    """Return the table of regimes, with a figure of the mean trade where any trade was decided in one."""
    found = results_of(report)
    drawn = mean_trades(found)
    shown = [] if drawn is None else [page.figure_block("regimes", drawn)]
    return page.joined(*shown, regime_table(found))


def caption(report: ReportData) -> str:
    """Return in which regimes the strategy fails, and how that is decided."""
    failing = failing_regimes(results_of(report))
    told = f"Fails in: {', '.join(failing)}. " if failing else ""
    assert report.regimes is not None
    missing = float(np.isnan(report.regimes).mean())
    unknown = f" Not known on {percent(missing)} of the bars, whose windows are not full." if missing else ""
    return f"{told}{HOW}{unknown}"


def regime_table(found: Sequence[RegimeResult]) -> Markup:
    """Return one row per regime."""
    return page.table(HEAD, [_row(each) for each in found])


def _row(each: RegimeResult) -> Sequence[str]:
    known = not math.isnan(each.low)
    return (
        each.name.capitalize(),
        percent(each.bars),
        count(each.trades),
        count(each.runs),
        coloured(usd(each.net)),
        coloured(usd(each.mean)),
        f"{usd(each.low)} to {usd(each.high)}" if known else page.UNDEFINED,
        percent(each.win_rate),
        ratio(each.profit_factor),
        ratio(each.p_value, 3),
        _verdict(each),
    )


def _verdict(each: RegimeResult) -> str:
    if each.verdict == NOT_ENOUGH:
        return page.small(f"not enough ({LEAST_TRADES} trades, {LEAST_RUNS} runs)")
    return failed(each.verdict) if each.verdict == FAILS else each.verdict


def mean_trades(found: Iterable[RegimeResult]) -> go.Figure | None:
    """Return the mean trade of each regime with its interval; None where no regime has one."""
    shown = [each for each in found if each.trades and not math.isnan(each.low)]
    if not shown:
        return None
    drawn = figure(200)
    drawn.add_scatter(
        x=[each.mean for each in shown],
        y=[each.name.capitalize() for each in shown],
        mode="markers",
        marker={"size": 9, "color": [GAIN if each.mean >= 0 else LOSS for each in shown]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [each.high - each.mean for each in shown],
            "arrayminus": [each.mean - each.low for each in shown],
            "color": MUTED,
            "thickness": 1.4,
            "width": 4,
        },
        hovertemplate="%{y}: $%{x:,.0f}<extra></extra>",
    )
    drawn.update_layout(
        xaxis=axis(tickformat="$,~f", title=titled("Mean trade, with its 95% interval")),
        yaxis=axis(autorange="reversed", showgrid=False),
    )
    drawn.add_vline(x=0, line={"color": INK, "width": 1})
    return drawn
