"""Figures of a portfolio's page: the account with its tiers and stops, lanes, refusals, exposure."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from research.report.data import floats
from research.report.figures_account import equity_and_drawdown
from research.report.heat_map import heat_map, rows_high
from research.report.page import plain
from research.report.portfolio_data import PortfolioSheet
from research.report.tables import bar_texts, readable, shown_dates
from research.report.theme import (
    ACCENT,
    BAR,
    GAIN,
    GAIN_SOFT,
    LOSS,
    MUTED,
    RULE,
    axis,
    figure,
    time_axis,
    titled,
)
from research.report.thinning import NARROW_LIMIT, thin

_CENTS = 2
# Lanes and rules side by side; in grey what comes behind them.
_COLOURS = (GAIN, LOSS, ACCENT, "#4f8f6b", "#8562a8", "#3d98a3", "#b3627f", MUTED)
_DASHES = ("solid", "dash", "dot")
# Points of the exposure, each a stretch of bar sets.
_STRETCHES = 500
_SOFT = {"Gross": GAIN_SOFT, "Positions": RULE}


def _colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]


def account(report: PortfolioSheet) -> go.Figure:
    """Return equity with days that were stopped, drawdown, and what sizes were multiplied by."""
    own = report.account
    drawn = equity_and_drawdown(own)
    equity = floats(own.equity, "equity")
    halted = own.equity["halted"].to_numpy(dtype=np.bool_)
    scale = np.where(halted, 0.0, floats(own.equity, "scale"))
    keep = thin(scale)
    drawn.add_scatter(
        x=bar_texts(own, keep).tolist(), y=scale[keep].round(_CENTS).tolist(), name="Size of new entries",
        yaxis="y3", line={"color": ACCENT, "width": 1.2, "shape": "hv"}, hovertemplate="× %{y:.2f}",
    )  # fmt: skip
    if report.stops.size:
        drawn.add_scatter(
            x=bar_texts(own, report.stops).tolist(), y=equity[report.stops].round(_CENTS).tolist(),
            name="Day stopped by its loss", mode="markers", hovertemplate="$%{y:,.0f}",
            marker={"symbol": "triangle-down", "size": 8, "color": LOSS},
        )  # fmt: skip
    first, last = bar_texts(own, np.array([0, len(equity) - 1]))
    drawn.update_layout(
        height=560,
        # Markers would widen it.
        xaxis=time_axis(anchor="y3", range=[first, last]),
        yaxis_domain=[0.45, 1.0],
        yaxis2_domain=[0.2, 0.39],
        yaxis3=axis(
            domain=[0.0, 0.13], range=[-0.05, 1.1], title=titled("Sizes"), tickvals=[0, 0.5, 1],
            ticktext=["0 ×", "0.5 ×", "1 ×"],
        ),
        showlegend=True,
    )  # fmt: skip
    if report.halt is not None:
        _mark_halt(drawn, report, report.halt)
    return drawn


def _mark_halt(drawn: go.Figure, report: PortfolioSheet, halt: int) -> None:
    when = bar_texts(report.account, np.array([halt]))[0]
    # Below the name of the deepest drawdown.
    drawn.add_shape(
        type="line", x0=when, x1=when, y0=0.0, y1=0.95, yref="paper",
        line={"color": LOSS, "width": 1.2, "dash": "dash"},
    )  # fmt: skip
    is_late = halt > len(report.account.equity) / 2
    drawn.add_annotation(
        x=when, y=0.45, yref="paper", yanchor="bottom", xanchor="right" if is_late else "left",
        showarrow=False, text=" halted ", font={"size": 11, "color": LOSS},
    )  # fmt: skip


def by_lane(report: PortfolioSheet) -> go.Figure:
    """Return what each lane has made so far, by session."""
    drawn = figure(360, hovermode="x unified")
    earned = report.earned[report.account.session_ends]
    for place, symbol in enumerate(report.symbols):
        keep = thin(earned[:, place], NARROW_LIMIT)
        drawn.add_scatter(
            x=shown_dates(report.account.dates[keep]), y=earned[keep, place].round(_CENTS).tolist(),
            name=plain(symbol), hovertemplate="$%{y:,.0f}",
            line={"color": _colour(place), "width": 1.4, "dash": _DASHES[place // len(_COLOURS) % 3]},
        )  # fmt: skip
    drawn.update_layout(
        xaxis=time_axis(),
        yaxis=axis(tickformat="$~s", zeroline=True, zerolinecolor=MUTED, title=titled("P&L so far")),
        showlegend=True,
    )
    return drawn


def correlations(report: PortfolioSheet) -> go.Figure | None:
    """Return the correlations of the lanes' results by session; None for one lane, or where none varies."""
    found = report.correlation
    if len(found) < 2 or bool(found.isna().all(axis=None)):
        return None
    return heat_map(found, "", reach=1.0, first_on_top=True)


def refusals(report: PortfolioSheet) -> go.Figure | None:
    """Return how many proposals each rule refused over time, stacked; None where none was refused."""
    if report.refused.empty:
        return None
    periods, counts = report.over_time()
    drawn = figure(320, barmode="stack", hovermode="x unified")
    shown = counts.to_numpy()
    # The rarest rules are one colour, so that no colour says two things.
    most = len(_COLOURS) - 1
    parts = [(readable(str(rule)), shown[place]) for place, rule in enumerate(counts.index[:most])]
    if len(counts) > most:
        parts.append((f"{len(counts) - most} rarer rules", shown[most:].sum(axis=0)))
    for place, (name, values) in enumerate(parts):
        drawn.add_bar(
            x=periods, y=values.tolist(), name=plain(name), marker={"color": _colour(place)},
            hovertemplate="%{y:,.0f}",
        )  # fmt: skip
    drawn.update_layout(
        xaxis=axis(type="category", showgrid=False, nticks=12),
        yaxis=axis(title=titled("Refused"), tickformat=",d", rangemode="tozero"),
        showlegend=True,
        legend_traceorder="normal",
    )
    return drawn


def contributions(report: PortfolioSheet) -> go.Figure | None:
    """Return each lane's share of the account's profit and of its risk; None where nothing was made."""
    earned = report.earned[-1]
    if not earned.any():
        return None
    drawn = figure(rows_high(len(report.lanes)), barmode="group")
    total = float(earned.sum())
    profit = earned / abs(total) if total else None
    for name, values, colour in (("Profit", profit, BAR), ("Risk", report.risk_shares, GAIN)):
        if values is None or np.isnan(values).any():
            continue
        drawn.add_bar(
            y=list(map(plain, report.symbols)), x=values.round(4).tolist(), name=name, orientation="h",
            marker={"color": colour}, hovertemplate=f"{name} %{{x:.1%}}<extra>%{{y}}</extra>",
        )  # fmt: skip
    drawn.update_layout(
        xaxis=axis(tickformat=".0%", zeroline=True, zerolinecolor=MUTED, nticks=6),
        yaxis=axis(type="category", showgrid=False, autorange="reversed"),
        showlegend=True,
        legend_traceorder="normal",
    )
    return drawn


def stretch_of(report: PortfolioSheet) -> int:
    """Return how many bar sets one point of the exposure stands for."""
    return max(1, -(-report.stamps.size // _STRETCHES))


def exposure(report: PortfolioSheet) -> go.Figure | None:
    """Return gross and net value over capital, above the number of positions; None where none was held.

    Of a long run in stretches: the greatest gross value, the mean net one, the most positions.
    """
    notional = report.notional / report.account.capital
    if not notional.any():
        return None
    starts = np.arange(0, report.stamps.size, stretch_of(report))
    lengths = np.diff(np.append(starts, report.stamps.size))
    held = (notional != 0.0).sum(axis=1).astype(np.float64)
    rows = (
        ("Gross", np.maximum.reduceat(np.abs(notional).sum(axis=1), starts), GAIN, "y", "%{y:.2f} × capital"),
        ("Net", np.add.reduceat(notional.sum(axis=1), starts) / lengths, LOSS, "y", "%{y:.2f} × capital"),
        ("Positions", np.maximum.reduceat(held, starts), BAR, "y2", "%{y:.0f}"),
    )
    drawn = figure(380, hovermode="x unified")
    for name, values, colour, where, hover in rows:
        fill = {} if name == "Net" else {"fill": "tozeroy", "fillcolor": _SOFT[name]}
        drawn.add_scatter(
            x=bar_texts(report.account, starts).tolist(), y=values.round(3).tolist(), name=name, yaxis=where,
            line={"color": colour, "width": 1.0, "shape": "hv"}, hovertemplate=hover, **fill,
        )  # fmt: skip
    drawn.update_layout(
        xaxis=time_axis(anchor="y2"),
        yaxis=axis(domain=[0.36, 1.0], ticksuffix=" ×", zeroline=True, zerolinecolor=MUTED,
                   title=titled("Value")),
        yaxis2=axis(domain=[0.0, 0.28], range=[0, len(report.lanes) + 0.3], tickformat="d", nticks=4,
                    title=titled("Positions")),
        showlegend=True,
    )  # fmt: skip
    return drawn
