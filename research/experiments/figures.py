"""Figures of an experiment's page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from lockstep.market.bars import Floats
from research.experiments.accounts import SymbolAccount
from research.experiments.sensitivity import ParameterImportance, Scores
from research.report.page import plain
from research.report.theme import (
    ACCENT,
    BAR,
    GAIN,
    GAIN_SOFT,
    LOSS,
    MUTED,
    axis,
    figure,
    level,
    time_axis,
    titled,
)
from research.report.thinning import thin
from research.splits.ranges import TrainTestWindow
from research.statistics.pbo import Overfitting

_POINTS = 2_000
_BINS = 40
_ROW_PIXELS = 26
_DIGITS = 4


def equity(
    train: SymbolAccount,
    test: SymbolAccount,
    forward: SymbolAccount | None,
    windows: Sequence[TrainTestWindow],
    points: int,
) -> go.Figure:
    """Return the winner's equity over its training range and all test windows, as one line of profit.

    Test ranges are shaded in turn, the training range in grey; `forward`, where each window trades its own
    choice, is dotted. At most about `points` points per line, no extreme lost.
    """
    drawn = figure(340, hovermode="x unified")
    start = float(train.equity[-1]) - train.capital if train.equity.size else 0.0
    lines: list[tuple[str, SymbolAccount, float, str, str | None]]
    lines = [("winner, training", train, 0.0, MUTED, None), ("winner, test", test, start, GAIN, None)]
    if forward is not None:
        lines.append(("each window's own choice", forward, start, ACCENT, "dot"))
    for name, account, before, colour, dash in lines:
        kept = thin(account.equity, points)
        drawn.add_scatter(
            x=np.datetime_as_string(account.days[kept]).tolist(),
            y=(account.equity[kept] + before).round().tolist(),
            mode="lines",
            line={"color": colour, "width": 1.5, "dash": dash},
            name=name,
            hovertemplate="%{y:$,.0f}",
        )
    ranges = [(train.stretches, MUTED, 0.10)]
    ranges.append(([each.test for each in windows[::2]], GAIN, 0.07))
    for dates, colour, opacity in ranges:
        for each in dates:
            drawn.add_vrect(
                x0=str(each.start), x1=str(each.end), fillcolor=colour, opacity=opacity, line_width=0,
                layer="below",
            )  # fmt: skip
    level(drawn, train.capital)
    drawn.update_layout(
        xaxis=time_axis(), yaxis=axis(tickformat="$~s", title=titled("Equity")), showlegend=True
    )
    return drawn


def importance_bars(found: ParameterImportance) -> go.Figure:
    """Return what the measure loses when a parameter is shuffled, with its spread over repeats."""
    drawn = figure(60 + _ROW_PIXELS * len(found.drop))
    paths = list(reversed(found.drop))
    drawn.add_bar(
        x=[round(found.drop[path], _DIGITS) for path in paths],
        y=[plain(path) for path in paths],
        orientation="h",
        marker={"color": BAR},
        error_x={
            "type": "data",
            "array": [round(found.spread[path], _DIGITS) for path in paths],
            "color": MUTED,
        },
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    drawn.update_layout(
        xaxis=axis(title=titled("loss of R² when shuffled")), yaxis=axis(showgrid=False, type="category")
    )
    return drawn


def by_value_lines(frame: pd.DataFrame, winner: str, measure: str) -> go.Figure:
    """Return median, quartiles and best of the measure per value of one parameter; the winner's is marked."""
    drawn = figure(250)
    values = [plain(text) for text in frame.index]
    upper, lower = frame["75%"].round(_DIGITS).tolist(), frame["25%"].round(_DIGITS).tolist()
    drawn.add_scatter(x=values, y=upper, mode="lines", line={"width": 0}, hoverinfo="skip", name="75 %")
    drawn.add_scatter(
        x=values, y=lower, mode="lines", line={"width": 0}, fill="tonexty", fillcolor=GAIN_SOFT,
        hoverinfo="skip", name="25 %",
    )  # fmt: skip
    for column, name, colour in (("50%", "median", GAIN), ("max", "best", MUTED)):
        drawn.add_scatter(
            x=values,
            y=frame[column].round(_DIGITS).tolist(),
            mode="lines+markers",
            line={
                "color": colour,
                "width": 1.6 if column == "50%" else 1.0,
                "dash": None if column == "50%" else "dot",
            },
            marker={"size": 5},
            name=name,
            hovertemplate=f"{name} %{{y:.3f}}<extra></extra>",
        )
    if winner in frame.index:
        drawn.add_scatter(
            x=[plain(winner)],
            y=[round(float(frame["max"].to_numpy()[frame.index.get_loc(winner)]), _DIGITS)],
            mode="markers",
            marker={"color": ACCENT, "size": 11, "symbol": "diamond"},
            name="winner's value",
            hovertemplate="winner's value<extra></extra>",
        )
    drawn.update_layout(
        xaxis=axis(type="category", showgrid=False, title=titled(plain(str(frame.index.name)))),
        yaxis=axis(title=titled(measure), zeroline=True, zerolinecolor=MUTED),
    )
    return drawn


def train_against_test(found: Scores, winner: int, measure: str) -> go.Figure:
    """Return a point per variant, and the line on which test equals training."""
    drawn = figure(330)
    rows = np.unique(np.linspace(0, found.variants.size - 1, _POINTS).astype(np.int64))
    drawn.add_scatter(
        x=found.train[rows].round(_DIGITS).tolist(),
        y=found.test[rows].round(_DIGITS).tolist(),
        mode="markers",
        marker={"size": 4, "color": GAIN, "opacity": 0.35},
        hovertemplate="train %{x:.2f}, test %{y:.2f}<extra></extra>",
    )
    low = float(min(found.train.min(), found.test.min()))
    high = float(max(found.train.max(), found.test.max()))
    drawn.add_scatter(
        x=[low, high], y=[low, high], mode="lines", line={"color": MUTED, "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )  # fmt: skip
    row = int(np.searchsorted(found.variants, winner))
    drawn.add_scatter(
        x=[round(float(found.train[row]), _DIGITS)],
        y=[round(float(found.test[row]), _DIGITS)],
        mode="markers+text",
        text=["winner"],
        textposition="bottom center",
        marker={"color": ACCENT, "size": 11, "symbol": "diamond"},
        hovertemplate="winner: train %{x:.2f}, test %{y:.2f}<extra></extra>",
    )
    drawn.update_layout(
        xaxis=axis(title=titled(f"training {measure}"), zeroline=True, zerolinecolor=MUTED),
        yaxis=axis(title=titled(f"test {measure}"), zeroline=True, zerolinecolor=MUTED),
    )
    return drawn


def logits(found: Overfitting) -> go.Figure:
    """Return the distribution of CSCV's logits; left of zero the choice fell below the median."""
    edges = np.histogram_bin_edges(found.logits, _BINS)
    counts, _ = np.histogram(found.logits, edges)
    middle = (edges[1:] + edges[:-1]) / 2
    return _histogram(
        middle,
        counts,
        [LOSS if each <= 0 else GAIN for each in middle],
        "logit of the rank out of sample",
        [(0.0, "")],
    )


def sharpe_ratios(annual: Floats, chance: float, winner: float) -> go.Figure:
    """Return the trials' annual Sharpe ratios, the winner's, and what the best without skill would reach."""
    edges = np.histogram_bin_edges(annual, _BINS)
    counts, _ = np.histogram(annual, edges)
    marks = [(chance, "best of noise"), (winner, "winner")]
    return _histogram((edges[1:] + edges[:-1]) / 2, counts, BAR, "annual Sharpe ratio, test range", marks)


def _histogram(
    middle: Floats, counts: Floats, colour: str | list[str], title: str, marks: list[tuple[float, str]]
) -> go.Figure:
    drawn = figure(280)
    drawn.add_bar(
        x=middle.round(_DIGITS).tolist(),
        y=counts.tolist(),
        marker={"color": colour},
        hovertemplate="%{x:.2f}: %{y}<extra></extra>",
    )
    for place, (value, text) in enumerate(marks):
        drawn.add_vline(x=value, line={"color": MUTED if not place else ACCENT, "width": 1.4, "dash": "dot"})
        if text:
            drawn.add_annotation(
                x=value, y=1.0 - 0.1 * place, yref="paper", text=text, showarrow=False, xanchor="left",
                xshift=4, font={"size": 11, "color": MUTED if not place else ACCENT},
            )  # fmt: skip
    drawn.update_layout(bargap=0.04, xaxis=axis(title=titled(title)), yaxis=axis(title=titled("number")))
    return drawn
