"""Pictures of a paper comparison: both P&Ls on the fan of resampled runs, and each statistic on its band."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from lockstep.metrics import Floats
from research.paper.bands import Band
from research.paper.compare import Curves
from research.report.theme import (
    ACCENT,
    BAR,
    GAIN,
    GAIN_SOFT,
    INK,
    LOSS,
    MUTED,
    axis,
    figure,
    time_axis,
    titled,
)

LABELS = {
    "return": "return on capital",
    "sharpe": "Sharpe ratio, annualised",
    "win_rate": "win rate",
    "trades_per_month": "trades per month",
}
_CENTS = 2
_OUTSIDE = 0.06


def pnl(curves: Curves) -> go.Figure:
    """Return the P&L of paper and backtest by session, on the fan of resampled validation runs."""
    dates = np.datetime_as_string(curves.paper.dates).tolist()
    drawn = figure(380, hovermode="x unified")
    for values, filled in ((curves.fan.low, None), (curves.fan.high, "tonexty")):
        drawn.add_scatter(
            x=dates, y=_rounded(values), mode="lines", line={"width": 0}, fill=filled, fillcolor=GAIN_SOFT,
            showlegend=filled is not None, name="90 % of validation runs", hoverinfo="skip",
        )  # fmt: skip
    drawn.add_scatter(
        x=dates, y=_rounded(curves.fan.middle), name="middle of validation runs", mode="lines",
        line={"color": BAR, "width": 1, "dash": "dot"}, hovertemplate="$%{y:,.0f}",
    )  # fmt: skip
    drawn.add_scatter(
        x=np.datetime_as_string(curves.backtest.dates).tolist(), y=_rounded(curves.backtest.pnl.cumsum()),
        name="backtest", mode="lines", line={"color": ACCENT, "width": 4}, opacity=0.5,
        hovertemplate="$%{y:,.2f}",
    )  # fmt: skip
    drawn.add_scatter(
        x=dates, y=_rounded(curves.paper.pnl.cumsum()), name="paper", mode="lines",
        line={"color": GAIN, "width": 1.8}, hovertemplate="$%{y:,.2f}",
    )  # fmt: skip
    drawn.update_layout(
        xaxis=time_axis(),
        yaxis=axis(tickformat="$~s", title=titled("P&L"), zeroline=True, zerolinecolor=MUTED),
        showlegend=True,
    )
    return drawn


def strip(band: Band) -> go.Figure | None:
    """Return one statistic on its band; None where there is no band."""
    if band.low is None or band.high is None:
        return None
    drawn = figure(96)
    drawn.update_layout(
        xaxis=axis(range=_range(band), nticks=6, tickformat=_format(band.statistic)),
        yaxis=axis(visible=False, range=[-1, 1]),
    )
    drawn.add_scatter(
        x=[band.low, band.high], y=[0, 0], mode="lines", line={"color": BAR, "width": 10}, hoverinfo="skip"
    )
    for value, symbol, size, colour, name in (
        (band.middle, "line-ns", 13, INK, "middle"),
        (band.backtest, "diamond-open", 18, ACCENT, "backtest"),
        (band.paper, "circle", 9, GAIN if band.inside else LOSS, "paper"),
    ):
        if value is not None:
            line = {"width": 2, "color": colour}
            drawn.add_scatter(
                x=[value], y=[0], mode="markers", name=name,
                marker={"symbol": symbol, "size": size, "color": colour, "line": line},
                hovertemplate=f"{name} %{{x:.4g}}<extra></extra>",
            )  # fmt: skip
    return drawn


def _range(band: Band) -> list[float]:
    known = [each for each in (band.low, band.high, band.paper, band.backtest) if each is not None]
    room = _OUTSIDE * (max(known) - min(known)) or 1.0
    return [min(known) - room, max(known) + room]


def _format(statistic: str) -> str:
    return ".1%" if statistic in ("return", "win_rate") else ".2~f"


def _rounded(values: Floats) -> list[float]:
    rounded: list[float] = values.round(_CENTS).tolist()
    return rounded
