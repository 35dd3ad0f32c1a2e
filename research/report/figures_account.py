"""Figures about the account: equity with drawdown, rolling Sharpe ratio, costs paid."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from lockstep import metrics
from research.report.data import Floats, ReportData, floats
from research.report.numbers import percent, usd
from research.report.series import bar_texts, thin, times_of
from research.report.tables import session_table
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

ROLLING_SESSIONS = 126
_CENTS = 2


def equity_and_drawdown(report: ReportData) -> go.Figure:
    """Return equity over drawdown, one time axis, every bar; the deepest drawdown is shaded."""
    times, equity = bar_texts(report), floats(report.equity, "equity")
    curve = metrics.curve_from(report.capital, equity)
    under, share = -metrics.drawdowns(curve)[1:], -metrics.drawdown_fractions(curve)[1:]
    drawn = figure(470, hovermode="x unified")
    keep = thin(equity)
    drawn.add_scatter(
        x=times[keep].tolist(),
        y=equity[keep].round(_CENTS).tolist(),
        name="Equity",
        line={"color": GAIN, "width": 1.6},
        hovertemplate="$%{y:,.0f}",
    )
    keep = thin(under)
    drawn.add_scatter(
        x=times[keep].tolist(),
        y=under[keep].round(_CENTS).tolist(),
        customdata=(100 * share[keep]).round(_CENTS).tolist(),
        name="Drawdown",
        line={"color": LOSS, "width": 1.0},
        fill="tozeroy",
        fillcolor=LOSS_SOFT,
        yaxis="y2",
        hovertemplate="$%{y:,.0f} (%{customdata}% of peak)",
    )
    drawn.update_layout(
        xaxis=time_axis(anchor="y2"),
        yaxis=axis(domain=[0.34, 1.0], tickformat="$~s", title=titled("Equity")),
        yaxis2=axis(domain=[0.0, 0.27], tickformat="$~s", nticks=4, title=titled("Drawdown")),
    )
    _widen_if_flat(drawn, report.capital, equity, under)
    level(drawn, report.capital)
    _shade_deepest(drawn, report, times)
    return drawn


def _widen_if_flat(drawn: go.Figure, capital: float, equity: Floats, under: Floats) -> None:
    """Left alone, the axis of a curve that never moves shows fractions of a cent."""
    if np.ptp(equity) == 0:
        drawn.update_layout(yaxis={"range": [equity[0] - capital / 100, equity[0] + capital / 100]})
    if not under.any():
        drawn.update_layout(yaxis2={"range": [-capital / 100, 0.0]})


def _shade_deepest(drawn: go.Figure, report: ReportData, times: np.ndarray) -> None:
    deepest = metrics.max_drawdown(metrics.curve_from(report.capital, floats(report.equity, "equity")))
    if deepest is None:
        return
    # Position 0 of the curve is the capital, before the first bar.
    start, stop = (times[max(at - 1, 0)] for at in (deepest.peak, deepest.peak + deepest.length))
    drawn.add_vrect(x0=start, x1=stop, fillcolor=LOSS, opacity=0.06, line_width=0, layer="below")
    state = "" if deepest.recovery is not None else ", not recovered"
    # Text that runs past the last bar would widen the time axis.
    is_late = deepest.peak > len(times) / 2
    drawn.add_annotation(
        x=start,
        y=1.0,
        yref="paper",
        xanchor="right" if is_late else "left",
        yanchor="top",
        showarrow=False,
        text=f"deepest {usd(-deepest.depth)} ({percent(deepest.fraction)} of peak{state})",
        font={"size": 10, "color": LOSS},
    )


def rolling_sharpe(report: ReportData) -> go.Figure | None:
    """Return the annualised Sharpe ratio of the last 126 sessions; None where it is nowhere defined."""
    sessions = session_table(report)
    returns = floats(sessions, "return")
    rolled = metrics.rolling_sharpe(returns, ROLLING_SESSIONS, report.sessions_per_year)
    if not np.isfinite(rolled).any():
        return None
    keep = thin(rolled)
    dates = np.datetime_as_string(sessions["date"].to_numpy().astype("datetime64[D]"))
    drawn = figure(300)
    drawn.add_scatter(
        x=dates[keep].tolist(),
        y=rolled[keep].round(4).tolist(),
        line={"color": GAIN, "width": 1.4},
        fill="tozeroy",
        fillcolor=GAIN_SOFT,
        hovertemplate="%{x|%Y-%m-%d}: %{y:.2f}<extra></extra>",
    )
    drawn.update_layout(xaxis=time_axis(), yaxis=axis(tickformat=".1f", zeroline=True, zerolinecolor=MUTED))
    overall = metrics.sharpe(returns, report.sessions_per_year)
    level(drawn, overall)
    return drawn


def costs_paid(report: ReportData) -> go.Figure | None:
    """Return commission and slippage paid so far, stacked, by the end of each trade; None without trades."""
    if report.trades.empty:
        return None
    trades = report.trades.assign(at=_booked_at(report)).sort_values(["at", "trade_id"], kind="stable")
    times = [*bar_texts(report)[:1], *times_of(report, trades["at"]), *bar_texts(report)[-1:]]
    drawn = figure(300, hovermode="x unified")
    for column, name, colour in (("commission", "Commission", BAR), ("slippage_cost", "Slippage", ACCENT)):
        paid = np.cumsum(floats(trades, column))
        drawn.add_scatter(
            x=times,
            y=[0.0, *paid.round(_CENTS).tolist(), round(float(paid[-1]), _CENTS)],
            name=name,
            line={"color": colour, "width": 1, "shape": "hv"},
            stackgroup="costs",
            hovertemplate="$%{y:,.2f}",
        )
    drawn.update_layout(xaxis=time_axis(), yaxis=axis(tickformat="$~s", rangemode="tozero"), showlegend=True)
    return drawn


def _booked_at(report: ReportData) -> pd.Series:
    """Where a trade's costs are booked: its exit, or the last bar while it is open."""
    return pd.to_datetime(report.trades["exit_end"], utc=True).fillna(report.equity.index[-1])
