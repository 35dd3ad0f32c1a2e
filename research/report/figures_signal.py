"""Figures about the signal: what follows each tenth of it, and why bars had no trade."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go

from research.report.data import ReportData
from research.report.page import EN_DASH, count, percent, plain
from research.report.tables import Deciles, non_trade_reasons, readable, signal_deciles
from research.report.theme import BAR, GAIN, LOSS, MUTED, axis, figure, level, titled

_ROW_PIXELS = 24
_LONGEST_LABEL = 46


def next_move_by_signal(report: ReportData) -> go.Figure | None:
    """Return the mean move of the next bar per tenth of the signal, 95 % intervals; None without a signal."""
    deciles = signal_deciles(report)
    if not deciles.count.any():
        return None
    scale = 100.0 if deciles.in_percent else 1.0
    unit = "%" if deciles.in_percent else " points"
    mean, half_width = deciles.mean * scale, deciles.half_width * scale
    labels = _labels(deciles)
    drawn = figure(300)
    drawn.add_bar(
        x=labels,
        y=mean.tolist(),
        error_y={"type": "data", "array": half_width.tolist(), "color": MUTED, "thickness": 1.2, "width": 4},
        marker={"color": [GAIN if value >= 0 else LOSS for value in mean]},
        customdata=[
            [count(number), f"{half:.3f}"] for number, half in zip(deciles.count, half_width, strict=True)
        ],
        hovertemplate=deciles.signal
        + " %{x}: %{y:.3f}"
        + unit
        + " ± %{customdata[1]}<br>%{customdata[0]} bars<extra></extra>",
    )
    drawn.update_layout(
        xaxis=axis(
            type="category",
            showgrid=False,
            tickangle=0,
            tickmode="array",
            tickvals=labels,
            ticktext=[
                f"{label.replace(EN_DASH, EN_DASH + '<br>')}<br>{count(number)}"
                for label, number in zip(labels, deciles.count, strict=True)
            ],
            tickfont={"size": 10, "color": MUTED},
            title=titled(f"{deciles.signal} of the bar, number of bars"),
        ),
        yaxis=axis(ticksuffix="%" if deciles.in_percent else "", zeroline=True, zerolinecolor=MUTED),
    )
    level(drawn, deciles.overall * scale)
    return drawn


def reasons_for_no_trade(report: ReportData) -> go.Figure | None:
    """Return bars of counted reasons, the most frequent at the top; None where there are none."""
    rows = non_trade_reasons(report)
    if not rows:
        return None
    total = sum(number for _, number in rows)
    values = [number for _, number in rows]
    drawn = figure(max(180, 46 + _ROW_PIXELS * len(rows)))
    drawn.add_bar(
        x=values,
        y=list(range(len(rows))),
        orientation="h",
        marker={"color": BAR},
        text=[f" {count(number)} · {percent(number / total)}" for number in values],
        textposition="outside",
        textfont={"size": 11, "color": MUTED},
        cliponaxis=False,
        customdata=[plain(readable(reason)) for reason, _ in rows],
        hovertemplate="%{customdata}: %{x:,}<extra></extra>",
    )
    drawn.update_layout(
        xaxis=axis(range=[0, float(np.max(values)) * 1.6], showticklabels=False, showgrid=False),
        yaxis=axis(
            autorange="reversed",
            showgrid=False,
            tickmode="array",
            tickvals=list(range(len(rows))),
            ticktext=[plain(_shortened(readable(reason))) + " " for reason, _ in rows],
        ),
    )
    return drawn


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"


def _labels(deciles: Deciles) -> list[str]:
    """Return the bins in words, with as many digits as tell them apart."""
    forms = ["{:.1f}"] if deciles.in_range else [f"{{:.{digits}g}}" for digits in range(3, 18)]
    for form in forms:
        labels = [f"{form.format(low)}{EN_DASH}{form.format(high)}" for low, high in pairwise(deciles.edges)]
        if len(set(labels)) == len(labels):
            break
    return labels
