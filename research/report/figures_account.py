"""Figures about the account: equity with drawdown, exposure, turnover, costs paid."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from lockstep import metrics
from research.report import trade_tables
from research.report.data import Floats, ReportData, floats
from research.report.page import percent, plain, usd
from research.report.tables import bar_texts, shown_dates
from research.report.theme import (
    ACCENT,
    BAR,
    GAIN,
    GAIN_SOFT,
    LOSS,
    LOSS_SOFT,
    MUTED,
    axis,
    figure,
    level,
    time_axis,
    titled,
)
from research.report.thinning import NARROW_LIMIT, thin

_CENTS = 2


def equity_and_drawdown(report: ReportData) -> go.Figure:
    """Return equity beside the benchmark, over drawdown; shaded: the deepest drawdown, out of sample."""
    equity = floats(report.equity, "equity")
    drawn = figure(470, hovermode="x unified")
    _add_benchmark(drawn, report)
    keep = thin(equity)
    drawn.add_scatter(
        x=bar_texts(report, keep).tolist(),
        y=equity[keep].round(_CENTS).tolist(),
        name="Equity",
        line={"color": GAIN, "width": 1.6},
        hovertemplate="$%{y:,.0f}",
    )
    under = _add_drawdown(drawn, report)
    drawn.update_layout(
        xaxis=time_axis(anchor="y2"),
        yaxis=axis(domain=[0.34, 1.0], tickformat="$~s", title=titled("Equity")),
        yaxis2=axis(
            domain=[0.0, 0.27],
            tickformat=".0%" if report.compounded else "$,.0f",
            nticks=4,
            title=titled("Drawdown"),
        ),
        showlegend=report.beside is not None,
    )
    _widen_if_flat(drawn, report.capital, equity, under)
    level(drawn, report.capital)
    _shade_deepest(drawn, report)
    _shade_out_of_sample(drawn, report)
    return drawn


def _add_drawdown(drawn: go.Figure, report: ReportData) -> Floats:
    """Draw the drawdown below the equity and return it, <= 0: in USD, or of the peak where it compounds."""
    curve = report.curve
    amount, share = -metrics.drawdowns(curve)[1:], -metrics.drawdown_fractions(curve)[1:]
    # What compounds is judged by what part of it was lost: a thousand was more in the first year.
    under, other = (share, amount) if report.compounded else (amount, share)
    hover = "%{y:.1%} ($%{customdata:,.0f})" if report.compounded else "$%{y:,.0f} (%{customdata}% of peak)"
    digits = 5 if report.compounded else _CENTS
    keep = thin(under)
    drawn.add_scatter(
        x=bar_texts(report, keep).tolist(),
        y=under[keep].round(digits).tolist(),
        customdata=((1 if report.compounded else 100) * other[keep]).round(_CENTS).tolist(),
        name="Drawdown",
        line={"color": LOSS, "width": 1.0},
        fill="tozeroy",
        fillcolor=LOSS_SOFT,
        yaxis="y2",
        hovertemplate=hover,
    )
    return under


def _add_benchmark(drawn: go.Figure, report: ReportData) -> None:
    """The capital in the benchmark at its first shared date: held, unlevered, without costs."""
    if report.beside is None:
        return
    level = report.beside.at(report.dates)
    known = np.flatnonzero(np.isfinite(level))
    if not known.size:
        return
    worth = level[known] / level[known[0]] * report.capital
    keep = thin(worth, NARROW_LIMIT)
    drawn.add_scatter(
        x=shown_dates(report.dates[known[keep]]),
        y=worth[keep].round(_CENTS).tolist(),
        name=plain(report.beside.name),
        line={"color": BAR, "width": 1.0},
        hovertemplate="$%{y:,.0f}",
    )


def _shade_out_of_sample(drawn: go.Figure, report: ReportData) -> None:
    for first, last in report.out_of_sample:
        drawn.add_vrect(
            x0=str(first), x1=str(last), fillcolor=GAIN, opacity=0.08, line_width=0, layer="below",
            annotation={"text": "out of sample", "font": {"size": 10, "color": GAIN}},
            annotation_position="bottom left",
        )  # fmt: skip


def _widen_if_flat(drawn: go.Figure, capital: float, equity: Floats, under: Floats) -> None:
    """Left alone, the axis of a curve that never moves shows fractions of a cent."""
    if np.ptp(equity) == 0:
        drawn.update_layout(yaxis={"range": [equity[0] - capital / 100, equity[0] + capital / 100]})
    if not under.any():
        drawn.update_layout(yaxis2={"range": [-capital / 100, 0.0]})


def _shade_deepest(drawn: go.Figure, report: ReportData) -> None:
    if not report.declines:
        return
    deepest = report.declines[0]
    # Position 0 of the curve is the capital, before the first bar.
    ends = np.maximum(np.array([deepest.peak, deepest.peak + deepest.length]) - 1, 0)
    start, stop = bar_texts(report, ends)
    drawn.add_vrect(x0=start, x1=stop, fillcolor=LOSS, opacity=0.06, line_width=0, layer="below")
    state = "" if deepest.recovery is not None else ", not recovered"
    # Text that runs past the last bar would widen the time axis.
    is_late = deepest.peak > len(report.equity) / 2
    drawn.add_annotation(
        x=start,
        y=1.0,
        yref="paper",
        xanchor="right" if is_late else "left",
        yanchor="top",
        showarrow=False,
        text=f"deepest {_depth(report, deepest)}{state}",
        font={"size": 10, "color": LOSS},
    )


def _depth(report: ReportData, deepest: metrics.Drawdown) -> str:
    if report.compounded:
        return percent(-deepest.fraction)
    return f"{usd(-deepest.depth)} ({percent(deepest.fraction)} of peak)"


def leverage(report: ReportData) -> go.Figure | None:
    """Return notional over capital after each bar, long above and short below zero; None where unknown."""
    values = trade_tables.leverage(report)
    if values is None or not values.any():
        return None
    drawn = figure(260, hovermode="x unified")
    for name, colour, soft, mine in (
        ("Long", GAIN, GAIN_SOFT, np.maximum(values, 0.0)),
        ("Short", LOSS, LOSS_SOFT, np.minimum(values, 0.0)),
    ):
        if not mine.any():
            continue
        keep = thin(mine, NARROW_LIMIT)
        drawn.add_scatter(
            x=bar_texts(report, keep).tolist(),
            y=mine[keep].round(3).tolist(),
            name=name,
            line={"color": colour, "width": 0.8, "shape": "hv"},
            fill="tozeroy",
            fillcolor=soft,
            hovertemplate="%{y:.2f} × capital",
        )
    drawn.update_layout(
        xaxis=time_axis(),
        yaxis=axis(ticksuffix=" ×", zeroline=True, zerolinecolor=MUTED, rangemode="tozero"),
        showlegend=len(drawn.data) > 1,
    )
    return drawn


def turnover(report: ReportData) -> go.Figure | None:
    """Return notional traded per calendar year over capital, both sides; None where unknown."""
    found = trade_tables.yearly_turnover(report)
    if found is None:
        return None
    years, values = found
    drawn = figure(260)
    drawn.add_bar(
        x=np.datetime_as_string(years, unit="Y").tolist(),
        y=values.round(2).tolist(),
        marker={"color": BAR},
        hovertemplate="%{x}: %{y:,.1f} × capital<extra></extra>",
    )
    drawn.update_layout(xaxis=axis(type="category", showgrid=False), yaxis=axis(ticksuffix=" ×"))
    return drawn


def costs_paid(report: ReportData) -> go.Figure | None:
    """Return commission and slippage paid so far, stacked, by the end of each trade; None without trades."""
    if report.trades.empty:
        return None
    booked = report.bars_at(report.trades["exit_end"])
    order = np.lexsort((report.trades["trade_id"].astype(str).to_numpy(), booked))
    bars = np.concatenate(([0], booked[order], [len(report.equity) - 1]))
    drawn = figure(300, hovermode="x unified")
    paid_for = {name: np.nan_to_num(floats(report.trades, name)) for name in ("commission", "slippage_cost")}
    both = paid_for["commission"] + paid_for["slippage_cost"]
    keep = thin(np.cumsum(np.concatenate(([0.0], both[order], [0.0]))), NARROW_LIMIT)
    times = bar_texts(report, bars[keep]).tolist()
    for column, name, colour in (("commission", "Commission", BAR), ("slippage_cost", "Slippage", ACCENT)):
        paid = np.cumsum(np.concatenate(([0.0], paid_for[column][order], [0.0])))
        drawn.add_scatter(
            x=times,
            y=paid[keep].round(_CENTS).tolist(),
            name=name,
            line={"color": colour, "width": 1, "shape": "hv"},
            stackgroup="costs",
            hovertemplate="$%{y:,.2f}",
        )
    drawn.update_layout(xaxis=time_axis(), yaxis=axis(tickformat="$~s", rangemode="tozero"), showlegend=True)
    return drawn
