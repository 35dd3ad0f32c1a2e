"""The feature check as a picture: price, volume and every feature of the month, one axis of bars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from research.report.page import plain
from research.report.theme import BAR, GAIN, INK, LOSS, MUTED, axis, figure, titled
from research.validation.feature_comparison import FeatureComparison

_PRICE, _VOLUME, _FEATURE, _SPACE = 280, 80, 130, 34
_MOST_TICKS = 8
_FIGURE_DIGITS = 6


def comparison_figure(check: FeatureComparison) -> go.Figure:
    """Return candles, volume and, per feature, our values as a line and theirs as rings.

    Values out of tolerance are marked with a cross. Bars are evenly spaced: there are no gaps for nights.
    """
    heights = [_PRICE, _VOLUME, *(_FEATURE for _ in check.ids)]
    domains = _domains(heights)
    drawn = figure(sum(heights) + _SPACE * len(heights), hovermode="x unified", dragmode="zoom")
    bottom = f"y{len(heights)}"
    drawn.update_layout(xaxis=_bar_axis(check, anchor=bottom), showlegend=True)
    drawn.update_layout(legend={"traceorder": "normal"})
    _add_candles(drawn, check)
    _add_volume(drawn, check)
    drawn.update_layout(
        yaxis=axis(domain=domains[0], title=titled("price")),
        yaxis2=axis(domain=domains[1], title=titled("volume"), tickformat="~s", nticks=3),
    )
    for panel, feature_id in enumerate(check.ids):
        _add_feature(drawn, check, feature_id, f"y{panel + 3}", is_first=panel == 0)
        settings = axis(domain=domains[panel + 2], title=titled(plain(feature_id)), nticks=5)
        drawn.update_layout({f"yaxis{panel + 3}": settings})
    return drawn


def _domains(heights: list[int]) -> list[list[float]]:
    """Return the share of the height that each panel takes, from the top down."""
    total = sum(heights) + _SPACE * (len(heights) - 1)
    tops = np.cumsum([0, *(height + _SPACE for height in heights[:-1])])
    return [
        [round(1 - float(top + height) / total, 6), round(1 - float(top) / total, 6)]
        for top, height in zip(tops, heights, strict=True)
    ]


def _bar_axis(check: FeatureComparison, anchor: str) -> dict[str, Any]:
    labels = check.labels
    step = -(-len(labels) // _MOST_TICKS)
    return axis(
        type="category",
        anchor=anchor,
        categoryorder="array",
        categoryarray=labels,
        tickmode="array",
        tickvals=labels[::step],
        # Without the year, which the header says.
        ticktext=[label[5:] for label in labels[::step]],
        tickangle=0,
        range=[-0.5, len(labels) - 0.5],
        showgrid=False,
        showline=True,
        linecolor=MUTED,
        rangeslider={"visible": False},
    )


def _add_candles(drawn: go.Figure, check: FeatureComparison) -> None:
    prices = {name: _listed(check.bars[name]) for name in ("open", "high", "low", "close")}
    drawn.add_candlestick(
        x=check.labels,
        **prices,
        name="bars",
        showlegend=False,
        increasing={"line": {"color": GAIN, "width": 1.2}, "fillcolor": "#ffffff"},
        decreasing={"line": {"color": INK, "width": 1.2}, "fillcolor": INK},
    )


def _add_volume(drawn: go.Figure, check: FeatureComparison) -> None:
    drawn.add_bar(
        x=check.labels,
        y=_listed(check.bars["volume"]),
        name="volume",
        showlegend=False,
        marker={"color": BAR},
        yaxis="y2",
        hovertemplate="%{y:,.0f}",
    )


def _add_feature(
    drawn: go.Figure, check: FeatureComparison, feature_id: str, panel: str, *, is_first: bool
) -> None:
    shared = {"x": check.labels, "yaxis": panel, "showlegend": is_first, "hovertemplate": "%{y:.4f}"}
    ours, theirs = check.ours[feature_id], check.theirs[feature_id]
    drawn.add_scatter(
        y=_listed(ours),
        name="Lockstep",
        mode="lines",
        line={"color": GAIN, "width": 1.6},
        legendgroup="ours",
        **shared,
    )
    drawn.add_scatter(
        y=_listed(theirs),
        name=plain(check.against),
        mode="markers",
        marker={"color": INK, "size": 7, "symbol": "circle-open", "line": {"width": 1.2}},
        legendgroup="theirs",
        **shared,
    )
    # Drawn always, so that the legend says what a cross is also where the first panel has none.
    drawn.add_scatter(
        y=_listed(theirs.where(check.is_outside[feature_id])),
        name="out of tolerance",
        mode="markers",
        marker={"color": LOSS, "size": 9, "symbol": "x-thin", "line": {"color": LOSS, "width": 2}},
        legendgroup="outside",
        **{**shared, "hoverinfo": "skip", "hovertemplate": None},
    )


def _listed(values: pd.Series) -> list[float | None]:
    """Return rounded values for the page, None where missing."""
    return [None if np.isnan(value) else round(float(value), _FIGURE_DIGITS) for value in values]
