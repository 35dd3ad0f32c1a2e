"""Figures of the risk page."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from lockstep.portfolio.session_changes import newest_changes
from lockstep.portfolio.var import DEFAULT
from lockstep.portfolio.var import scenarios as next_sessions
from research.report.page import plain
from research.report.theme import ACCENT, BAR, GAIN, LOSS, MUTED, axis, figure, level, time_axis, titled
from research.report.thinning import thin
from research.risk.forecasts import JudgedForecasts
from research.risk.measured import OWN, TODAY, RiskReport
from research.risk.written import confidence
from research.statistics.var_backtests import ALARM

_BINS = 60
_DASHES = ("dash", "dot")
_LEAST_EVIDENCE = 1e-3


def scenarios(report: RiskReport) -> go.Figure:
    """Return the distribution of today's positions' results, with value at risk and expected shortfall."""
    tail = min(report.tails)
    rows = newest_changes(report.subject.changes, tail, DEFAULT) * report.subject.exposed
    total = next_sessions(rows, DEFAULT).sum(axis=1)
    counts, edges = np.histogram(total, bins=_BINS)
    middle = (edges[1:] + edges[:-1]) / 2
    limit = -min(report.level(each).var for each in report.tails)
    drawn = figure(300, xaxis=axis(title=titled("Result, USD")), yaxis=axis(title=titled("Sessions")))
    drawn.add_bar(
        x=middle.round(2).tolist(), y=counts.tolist(), width=float(edges[1] - edges[0]) * 0.9,
        marker={"color": [LOSS if each < limit else BAR for each in middle]},
        hovertemplate="$%{x:,.0f}: %{y} sessions<extra></extra>",
    )  # fmt: skip
    for each in report.tails:
        found = report.level(each)
        for value, dash in zip((found.var, found.es), _DASHES, strict=True):
            drawn.add_vline(x=-value, line={"color": MUTED, "width": 1.2, "dash": dash})
        drawn.add_annotation(
            x=-found.var, y=1.0, yref="paper", yanchor="top", xanchor="right", showarrow=False,
            text=f"VaR {confidence(each)} ", font={"size": 11, "color": MUTED}, textangle=-90,
        )  # fmt: skip
    return drawn


def components(report: RiskReport) -> go.Figure | None:
    """Return each lane's share of expected shortfall at every confidence."""
    symbols = [plain(each) for each in report.subject.symbols]
    colours = (BAR, GAIN, ACCENT)
    drawn = figure(
        90 + 34 * len(symbols) * len(report.tails), barmode="group", xaxis=axis(tickformat=".0%"),
        yaxis=axis(showgrid=False, autorange="reversed"),
    )  # fmt: skip
    drawn.update_layout(showlegend=True)
    for place, tail in enumerate(report.tails):
        found = report.lanes[tail]
        if not found.total.es:
            return None
        drawn.add_bar(
            y=symbols, x=(found.component_es / found.total.es).round(4).tolist(), orientation="h",
            name=confidence(tail), marker={"color": colours[place % len(colours)]},
            hovertemplate="%{x:.1%}",
        )  # fmt: skip
    return drawn


def forecasts(report: RiskReport) -> go.Figure | None:
    """Return results and forecasts of value at risk over time, violations marked."""
    judged = _judged(report)
    if not judged:
        return None
    drawn = figure(360, xaxis=time_axis(), yaxis=axis(title=titled("USD")))
    drawn.update_layout(showlegend=True)
    first = next(iter(judged.values()))
    drawn.add_scatter(
        x=first.dates.astype(str).tolist(), y=first.pnl.round(2).tolist(), name="Result", mode="markers",
        marker={"color": BAR, "size": 3}, hovertemplate="$%{y:,.0f}",
    )  # fmt: skip
    colours = (GAIN, ACCENT)
    for place, (tail, found) in enumerate(judged.items()):
        days, colour = found.dates.astype(str), colours[place % len(colours)]
        keep = thin(found.var)
        drawn.add_scatter(
            x=days[keep].tolist(), y=(-found.var[keep]).round(2).tolist(), name=f"VaR {confidence(tail)}",
            line={"color": colour, "width": 1.1}, hovertemplate="$%{y:,.0f}",
        )  # fmt: skip
    found = judged[min(judged)]
    drawn.add_scatter(
        x=found.dates[found.hits].astype(str).tolist(), y=found.pnl[found.hits].round(2).tolist(),
        name=f"Beyond {confidence(min(judged))}", mode="markers", hovertemplate="$%{y:,.0f}",
        marker={"color": LOSS, "size": 7, "symbol": "x-thin", "line": {"color": LOSS, "width": 1.6}},
    )  # fmt: skip
    return drawn


def evidence(report: RiskReport) -> go.Figure | None:
    """Return the e-process of each confidence over time."""
    judged = _judged(report)
    if not judged:
        return None
    drawn = figure(260, xaxis=time_axis(), yaxis=axis(type="log", dtick=1, title=titled("Evidence")))
    drawn.update_layout(showlegend=True)
    colours = (GAIN, ACCENT)
    for place, (tail, found) in enumerate(judged.items()):
        shown = np.maximum(found.backtest.evidence, _LEAST_EVIDENCE)
        keep = thin(shown)
        drawn.add_scatter(
            x=found.dates[keep].astype(str).tolist(), y=shown[keep].round(4).tolist(),
            name=confidence(tail), line={"color": colours[place % len(colours)], "width": 1.2},
            hovertemplate="%{y:.3g}",
        )  # fmt: skip
    level(drawn, ALARM)
    return drawn


def _judged(report: RiskReport) -> dict[float, JudgedForecasts]:
    """Return the forecasts that were judged: of the account's own results, else of today's positions."""
    return report.judged_of(OWN) or report.judged_of(TODAY)
