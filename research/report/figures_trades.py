"""Figures about trades: the distribution of their results, and where they lie on the price."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from research.report.data import Floats, ReportData, floats
from research.report.numbers import price, usd
from research.report.page import plain
from research.report.series import bar_texts, thin, times_of
from research.report.tables import readable
from research.report.theme import GAIN, INK, LOSS, MUTED, PRICE, axis, figure, time_axis, titled

FIRST_VIEW_BARS = 250
_MOST_BINS = 60
_FEW = 6
_PADDING = 0.06


def pnl_distribution(report: ReportData) -> go.Figure | None:
    """Return the histogram of net results of closed trades, split at zero; None without one."""
    pnl = floats(report.closed, "net_pnl")
    if not pnl.size:
        return None
    width, edges = histogram_edges(pnl)
    counts = np.histogram(pnl, edges)[0]
    middles = edges[:-1] + width / 2
    drawn = figure(300)
    for name, colour, mine in (("Loss", LOSS, middles < 0), ("Gain", GAIN, middles > 0)):
        drawn.add_bar(
            x=middles[mine].tolist(),
            y=counts[mine].tolist(),
            width=width,
            name=name,
            marker={"color": colour, "line": {"color": "#ffffff", "width": 1}},
            customdata=[f"{usd(left)} to {usd(left + width)}" for left in edges[:-1][mine]],
            hovertemplate="%{customdata}: %{y} trades<extra></extra>",
        )
    drawn.update_layout(
        barmode="overlay",
        xaxis=axis(
            tickformat="$~s",
            showgrid=False,
            title=titled("Net result of a trade"),
            range=[edges[0] - 2 * width, edges[-1] + 2 * width],
        ),
        yaxis=axis(title=titled("Trades"), rangemode="tozero", dtick=1 if counts.max() < _FEW else None),
    )
    drawn.add_vline(x=float(pnl.mean()), line={"color": INK, "width": 1.2, "dash": "dot"})
    drawn.add_vline(x=float(np.median(pnl)), line={"color": MUTED, "width": 1.2, "dash": "dash"})
    return drawn


def histogram_edges(values: Floats) -> tuple[float, Floats]:
    """Return (bin width, edges): width after Freedman and Diaconis rounded to 1, 2 or 5, one edge at zero."""
    low, high = float(values.min()), float(values.max())
    spread = float(np.subtract(*np.percentile(values, [75, 25])))
    wanted = 2 * spread / values.size ** (1 / 3) if spread > 0 else max(abs(low), abs(high), 1.0) / 5
    wanted = max(wanted, (high - low) / _MOST_BINS)
    scale = 10.0 ** np.floor(np.log10(wanted))
    width = float(next(step * scale for step in (1.0, 2.0, 5.0, 10.0) if step * scale >= wanted * 0.999))
    first, last = int(np.floor(low / width)), int(np.floor(high / width)) + 1
    return width, np.arange(first, last + 1, dtype=np.float64) * width


def trades_on_price(report: ReportData) -> go.Figure:
    """Return the close with every entry and exit: direction by shape, result by colour.

    The first view shows the last 250 bars, each of them; the page refits the price axis when the view moves.
    """
    times, close = bar_texts(report), floats(report.equity, "close")
    # The first view shows few bars of a long history; thinned, it would be a handful of straight lines.
    keep = np.union1d(thin(close), np.arange(max(close.size - FIRST_VIEW_BARS, 0), close.size))
    drawn = figure(470, hovermode="closest")
    drawn.add_scatter(
        x=times[keep].tolist(),
        y=close[keep].tolist(),
        name="Close",
        line={"color": PRICE, "width": 1.2},
        hovertemplate="%{x}: %{y}<extra></extra>",
    )
    if not report.trades.empty:
        _add_paths(drawn, report)
        _add_entries(drawn, report, 1, "Long entry", "triangle-up")
        _add_entries(drawn, report, -1, "Short entry", "triangle-down")
        _add_exits(drawn, report, "Exit with gain", GAIN, "circle", floats(report.closed, "net_pnl") > 0)
        _add_exits(drawn, report, "Exit with loss", LOSS, "x", floats(report.closed, "net_pnl") <= 0)
    drawn.update_layout(
        xaxis=time_axis(range=_first_view(times), rangeselector=_view_buttons()),
        yaxis=axis(range=_price_range(report), tickformat=",~f"),
        showlegend=True,
        legend={"y": -0.08, "yanchor": "top"},
    )
    return drawn


def _add_paths(drawn: go.Figure, report: ReportData) -> None:
    """A dotted line from entry to exit; one trace for gains, one for losses, broken between trades."""
    closed = report.closed
    for colour, mine in ((GAIN, closed["net_pnl"] > 0), (LOSS, closed["net_pnl"] <= 0)):
        part = closed[mine]
        ends = (times_of(report, part["entry_end"]), times_of(report, part["exit_end"]))
        prices = (floats(part, "entry_price"), floats(part, "exit_price"))
        drawn.add_scatter(
            x=[at for entry, exit_ in zip(*ends, strict=True) for at in (entry, exit_, None)],
            y=[at for entry, exit_ in zip(*prices, strict=True) for at in (float(entry), float(exit_), None)],
            mode="lines",
            line={"color": colour, "width": 1, "dash": "dot"},
            hoverinfo="skip",
            showlegend=False,
        )


def _add_entries(drawn: go.Figure, report: ReportData, side: int, name: str, symbol: str) -> None:
    part = report.trades[report.trades["side"] == side]
    if part.empty:
        return
    _add_markers(
        drawn,
        times_of(report, part["entry_end"]),
        part["entry_price"],
        name,
        {"symbol": symbol, "size": 10, "color": INK, "line": {"color": "#ffffff", "width": 1}},
        [
            f"{name} {quantity:g} @ {price(level)}<br>trade {plain(trade)}"
            for quantity, level, trade in zip(
                floats(part, "quantity"), floats(part, "entry_price"), part["trade_id"], strict=True
            )
        ],
    )


def _add_exits(drawn: go.Figure, report: ReportData, name: str, colour: str, symbol: str, mine: Any) -> None:
    part = report.closed[mine]
    if part.empty:
        return
    _add_markers(
        drawn,
        times_of(report, part["exit_end"]),
        part["exit_price"],
        name,
        {"symbol": symbol, "size": 8, "color": colour, "line": {"color": "#ffffff", "width": 1}},
        [
            f"Exit @ {price(level)}: {plain(readable(str(reason)))}<br>"
            f"net {usd(net, 2)} after {bars:g} bars<br>trade {plain(trade)}"
            for level, reason, net, bars, trade in zip(
                floats(part, "exit_price"),
                part["exit_reason"],
                floats(part, "net_pnl"),
                floats(part, "bars_held"),
                part["trade_id"],
                strict=True,
            )
        ],
    )


def _add_markers(
    drawn: go.Figure,
    times: list[str | None],
    prices: pd.Series,
    name: str,
    marker: dict[str, Any],
    texts: list[str],
) -> None:
    drawn.add_scatter(
        x=times,
        y=prices.astype(float).tolist(),
        mode="markers",
        name=name,
        marker=marker,
        customdata=texts,
        hovertemplate="%{x}<br>%{customdata}<extra></extra>",
    )


def _first_view(times: Any) -> list[str] | None:
    return [times[-FIRST_VIEW_BARS], times[-1]] if len(times) > FIRST_VIEW_BARS else None


def _price_range(report: ReportData) -> list[float] | None:
    """The range of closes in the first view, with room for markers; None leaves it to plotly."""
    if len(report.equity) <= FIRST_VIEW_BARS:
        return None
    seen = floats(report.equity, "close")[-FIRST_VIEW_BARS:]
    room = _PADDING * float(np.ptp(seen)) or 1.0
    return [float(seen.min()) - room, float(seen.max()) + room]


def _view_buttons() -> dict[str, Any]:
    steps = [("6 months", 6, "month"), ("1 year", 1, "year"), ("3 years", 3, "year")]
    buttons = [{"label": label, "count": count, "step": step} for label, count, step in steps]
    return {
        "buttons": [*buttons, {"label": "All", "step": "all"}],
        "x": 0,
        "y": 1.02,
        "yanchor": "bottom",
        "bgcolor": "#f2f4f7",
        "activecolor": "#dbe4ec",
        "font": {"size": 11, "color": INK},
    }
