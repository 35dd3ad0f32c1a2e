"""Figures over rolling windows of 6 and 12 months: Sharpe, Sortino, volatility and beta."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go

from lockstep import metrics
from research.report.data import Floats, ReportData, floats
from research.report.tables import shown_dates
from research.report.theme import ACCENT, GAIN, MUTED, axis, figure, level, time_axis
from research.report.thinning import NARROW_LIMIT, thin
from research.report.track_record import against

Measure = Callable[[int], Floats]


def windows(report: ReportData) -> tuple[int, int]:
    """Return how many periods 6 and 12 months have: 126 and 252 sessions on most markets."""
    half = max(2, round(report.scale.periods_per_year / 2))
    return half, 2 * half


def rolling_sharpe(report: ReportData) -> go.Figure | None:
    """Return the annualised Sharpe ratio of both windows; None where it is nowhere defined."""
    returns, per_year = floats(report.sessions, "return"), report.scale.periods_per_year
    resolution = metrics.resolution(floats(report.sessions, "equity"), report.capital)
    return _figure(
        report,
        lambda window: metrics.rolling_sharpe(returns, window, per_year, resolution),
        metrics.sharpe(returns, per_year, resolution),
    )


def rolling_sortino(report: ReportData) -> go.Figure | None:
    """Return the annualised Sortino ratio of both windows; None where it is nowhere defined."""
    returns, per_year = floats(report.sessions, "return"), report.scale.periods_per_year
    resolution = metrics.resolution(floats(report.sessions, "equity"), report.capital)
    return _figure(
        report,
        lambda window: metrics.rolling_sortino(returns, window, per_year, resolution),
        metrics.sortino(returns, per_year, resolution=resolution),
    )


def rolling_volatility(report: ReportData) -> go.Figure | None:
    """Return the annualised volatility of both windows; None where equity never moves."""
    returns, per_year = floats(report.sessions, "return"), report.scale.periods_per_year
    overall = metrics.volatility(returns, per_year)
    if not overall > 0:
        return None
    return _figure(
        report,
        lambda window: metrics.rolling_volatility(returns, window, per_year),
        overall,
        tickformat=".1~%",
        hover="%{y:.1%}",
    )


def rolling_beta(report: ReportData) -> go.Figure | None:
    """Return beta to the benchmark over both windows; None without a benchmark."""
    pair = against(report)
    if pair is None or not np.ptp(pair.returns):
        return None
    return _figure(
        report,
        lambda window: metrics.rolling_beta(pair.returns, pair.benchmark, window),
        metrics.beta(pair.returns, pair.benchmark),
        dates=pair.dates,
    )


def _figure(
    report: ReportData,
    measure: Measure,
    overall: float,
    *,
    dates: metrics.Dates | None = None,
    tickformat: str = ".1f",
    hover: str = "%{y:.2f}",
) -> go.Figure | None:
    stamps = report.dates if dates is None else dates
    drawn = figure(260, hovermode="x unified")
    styles = (("6 months", ACCENT, 1.0), ("12 months", GAIN, 1.8))
    for window, (name, colour, width) in zip(windows(report), styles, strict=True):
        values = measure(window)
        if not np.isfinite(values).any():
            continue
        keep = thin(values, NARROW_LIMIT)
        drawn.add_scatter(
            x=shown_dates(stamps[keep]),
            y=values[keep].round(4).tolist(),
            name=name,
            line={"color": colour, "width": width},
            hovertemplate=hover,
        )
    if not drawn.data:
        return None
    drawn.update_layout(
        xaxis=time_axis(),
        yaxis=axis(tickformat=tickformat, zeroline=True, zerolinecolor=MUTED),
        showlegend=True,
    )
    if np.isfinite(overall):
        level(drawn, overall)
    return drawn
