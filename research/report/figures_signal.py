"""Figures about the signal: what follows each IBS decile, and why bars had no trade."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from research.report.data import ReportData
from research.report.page import EN_DASH, count, percent, plain
from research.report.tables import IBS_BINS, ibs_deciles, non_trade_reasons, readable
from research.report.theme import BAR, GAIN, LOSS, MUTED, axis, figure, level, titled

_ROW_PIXELS = 24
_LONGEST_LABEL = 46


def next_move_by_ibs(report: ReportData) -> go.Figure | None:
    """Return the mean move of the next bar per tenth of the IBS range, 95 % intervals; None without IBS."""
    deciles = ibs_deciles(report)
    if not deciles.count.any():
        return None
    scale = 100.0 if deciles.in_percent else 1.0
    unit = "%" if deciles.in_percent else " points"
    mean, half_width = deciles.mean * scale, deciles.half_width * scale
    labels = [f"{number / IBS_BINS:.1f}{EN_DASH}{(number + 1) / IBS_BINS:.1f}" for number in range(IBS_BINS)]
    drawn = figure(300)
    drawn.add_bar(
        x=labels,
        y=mean.tolist(),
        error_y={"type": "data", "array": half_width.tolist(), "color": MUTED, "thickness": 1.2, "width": 4},
        marker={"color": [GAIN if value >= 0 else LOSS for value in mean]},
        customdata=[
            [count(number), f"{half:.3f}"] for number, half in zip(deciles.count, half_width, strict=True)
        ],
        hovertemplate="IBS %{x}: %{y:.3f}"
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
            title=titled("IBS of the bar, number of bars"),
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
