"""Figures about trades: their results, their excursions, and where they lie on the price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from research.report.data import Floats, ReportData, floats
from research.report.page import plain, price, usd
from research.report.tables import bar_texts, grouped_returns, readable, times_of
from research.report.theme import (
    ACCENT,
    BUTTON,
    GAIN,
    INK,
    LOSS,
    MUTED,
    PAPER,
    PRESSED,
    PRICE,
    axis,
    figure,
    time_axis,
    titled,
)
from research.report.thinning import thin

FIRST_VIEW_BARS = 250
TRADE_LIMIT = 1_000
_MOST_BINS = 60
_FEW = 6
_PADDING = 0.06


def pnl_distribution(report: ReportData) -> go.Figure | None:
    """Return the histogram of net results of closed trades, split at zero; None without one."""
    pnl = floats(report.closed, "net_pnl")
    if not pnl.size:
        return None
    drawn = _histogram(pnl, lambda left, width: f"{usd(left)} to {usd(left + width)}", "trades")
    drawn.update_layout(xaxis={"tickformat": "$~s", "title": titled("Net result of a trade")})
    drawn.update_yaxes(title=titled("Trades"))
    drawn.add_vline(x=float(pnl.mean()), line={"color": INK, "width": 1.2, "dash": "dot"})
    drawn.add_vline(x=float(np.median(pnl)), line={"color": MUTED, "width": 1.2, "dash": "dash"})
    return drawn


def _histogram(values: Floats, text: Callable[[float, float], str], unit: str) -> go.Figure:
    """Bars of the counts, losses and gains in their colours; `text` names a bin by left edge and width."""
    width, edges = histogram_edges(values)
    counts = np.histogram(values, edges)[0]
    middles = edges[:-1] + width / 2
    drawn = figure(300)
    for name, colour, mine in (("Loss", LOSS, middles < 0), ("Gain", GAIN, middles > 0)):
        drawn.add_bar(
            x=middles[mine].tolist(),
            y=counts[mine].tolist(),
            width=width,
            name=name,
            marker={"color": colour, "line": {"color": PAPER, "width": 1}},
            customdata=[text(float(left), width) for left in edges[:-1][mine]],
            hovertemplate=f"%{{customdata}}: %{{y}} {unit}<extra></extra>",
        )
    drawn.update_layout(
        barmode="overlay",
        xaxis=axis(showgrid=False, range=[edges[0] - 2 * width, edges[-1] + 2 * width]),
        yaxis=axis(rangemode="tozero", dtick=1 if counts.max() < _FEW else None),
    )
    return drawn


def monthly_distribution(report: ReportData) -> go.Figure | None:
    """Return the histogram of monthly returns in percent, split at zero; None with fewer than 3 months."""
    months = 100.0 * grouped_returns(report, "M")[1]
    if months.size < 3 or not months.any():
        return None
    drawn = _histogram(months, lambda left, width: f"{left:g}% to {left + width:g}%", "months")
    drawn.update_layout(xaxis={"ticksuffix": "%", "title": titled("Return of a month")})
    drawn.update_yaxes(title=titled("Months"))
    drawn.add_vline(x=float(months.mean()), line={"color": INK, "width": 1.2, "dash": "dot"})
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
    close = floats(report.equity, "close")
    # The first view shows few bars of a long history; thinned, it would be a handful of straight lines.
    keep = np.union1d(thin(close), np.arange(max(close.size - FIRST_VIEW_BARS, 0), close.size))
    drawn = figure(470, hovermode="closest")
    drawn.add_scatter(
        x=bar_texts(report, keep).tolist(),
        y=close[keep].tolist(),
        name="Close",
        line={"color": PRICE, "width": 1.2},
        hovertemplate="%{x}: %{y}<extra></extra>",
    )
    if not report.trades.empty:
        shown = replace(report, trades=shown_trades(report))
        _add_paths(drawn, shown)
        _add_entries(drawn, shown, 1, "Long entry", "triangle-up")
        _add_entries(drawn, shown, -1, "Short entry", "triangle-down")
        _add_exits(drawn, shown, "Exit with gain", GAIN, "circle", floats(shown.closed, "net_pnl") > 0)
        _add_exits(drawn, shown, "Exit with loss", LOSS, "x", floats(shown.closed, "net_pnl") <= 0)
        _add_doubtful(drawn, shown)
    drawn.update_layout(
        xaxis=time_axis(range=_first_view(report), rangeselector=_view_buttons()),
        yaxis=axis(range=_price_range(report), tickformat=",~f"),
        showlegend=True,
        legend={"y": -0.08, "yanchor": "top"},
    )
    return drawn


def doubtful(trades: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which trades lie across a hole, a jump or a ruin: column `spans` is there and not empty."""
    if "spans" not in trades:
        return np.zeros(len(trades), dtype=np.bool_)
    spans = trades["spans"].fillna("")
    named = [each for each in spans.unique() if str(each).strip()]
    return np.asarray(spans.isin(named), dtype=np.bool_)


def shown_trades(report: ReportData, limit: int = TRADE_LIMIT) -> pd.DataFrame:
    """Return at most `limit` trades, in order: the doubtful, the best and worst, the latest, and a sample."""
    trades = report.trades
    if len(trades) <= limit:
        return trades
    part = limit // 5
    by_result = np.argsort(np.nan_to_num(floats(trades, "net_pnl")), kind="stable")
    kept = np.unique(
        np.concatenate(
            (
                np.flatnonzero(doubtful(trades))[:part],
                by_result[:part],
                by_result[-part:],
                np.arange(len(trades) - part, len(trades)),
                np.linspace(0, len(trades) - 1, part).astype(np.intp),
            )
        )
    )
    return trades.iloc[kept]


def excursions(report: ReportData) -> go.Figure | None:
    """Return each closed trade's largest move against it and for it, by result; None where not known."""
    shown = replace(report, trades=shown_trades(report)).closed
    if shown.empty or "mae" not in shown or not np.isfinite(floats(shown, "mae")).any():
        return None
    pnl = floats(shown, "net_pnl")
    drawn = figure(300)
    for name, colour, symbol, mine in (("Gain", GAIN, "circle", pnl > 0), ("Loss", LOSS, "x", pnl <= 0)):
        part = shown[mine]
        drawn.add_scatter(
            x=floats(part, "mae").round(2).tolist(),
            y=floats(part, "mfe").round(2).tolist(),
            mode="markers",
            name=name,
            marker={"color": colour, "symbol": symbol, "size": 5, "opacity": 0.65},
            customdata=floats(part, "net_pnl").round(2).tolist(),
            hovertemplate="against $%{x:,.0f}, for $%{y:,.0f}<br>net $%{customdata:,.2f}<extra></extra>",
        )
    drawn.update_layout(
        xaxis=axis(tickformat="$~s", rangemode="tozero", title=titled("Largest move against the trade")),
        yaxis=axis(tickformat="$~s", rangemode="tozero", title=titled("For the trade")),
        showlegend=True,
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
        {"symbol": symbol, "size": 10, "color": INK, "line": {"color": PAPER, "width": 1}},
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
        {"symbol": symbol, "size": 8, "color": colour, "line": {"color": PAPER, "width": 1}},
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


def _add_doubtful(drawn: go.Figure, report: ReportData) -> None:
    """A ring around the exit of each trade that lies across a hole, a jump or the ruin of the account."""
    part = report.closed[doubtful(report.closed)]
    if part.empty:
        return
    _add_markers(
        drawn,
        times_of(report, part["exit_end"]),
        part["exit_price"],
        "Doubtful",
        {"symbol": "circle-open", "size": 15, "color": ACCENT, "line": {"color": ACCENT, "width": 2}},
        [f"within this trade: {plain(what)}" for what in part["spans"]],
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


def _first_view(report: ReportData) -> list[str] | None:
    bars = len(report.equity)
    if bars <= FIRST_VIEW_BARS:
        return None
    first, last = bar_texts(report, np.array([bars - FIRST_VIEW_BARS, bars - 1]))
    return [str(first), str(last)]


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
        "bgcolor": BUTTON,
        "activecolor": PRESSED,
        "font": {"size": 11, "color": INK},
    }
