"""Figures about the model: its account out of sample, its probabilities, what it leans on."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from lockstep.metrics import Floats
from research.backtest.account import Account
from research.report.page import plain
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
    level,
    time_axis,
    titled,
)
from research.training.importance import Attribution, FeatureImportance
from research.training.probabilities import Calibration, Curve
from research.training.report_data import TrainingReport

_DIGITS = 4
_ROW_PIXELS = 24
_SHOWN = 20


def equity(data: TrainingReport) -> go.Figure:
    """Return both accounts over the outer walk-forward, and what the veto added; windows are marked."""
    drawn = figure(
        440,
        hovermode="x unified",
    )
    filtered, unfiltered = data.runs.filtered, data.runs.unfiltered
    for account, name, colour, width in (
        (unfiltered, "without veto", BAR, 1.3),
        (filtered, "with veto", GAIN, 1.9),
    ):
        drawn.add_scatter(
            x=_dates(account),
            y=(account.session_equity - account.capital).round(2).tolist(),
            name=name,
            line={"color": colour, "width": width},
            hovertemplate=f"{name} $%{{y:,.0f}}<extra></extra>",
        )
    drawn.add_scatter(
        x=_dates(filtered),
        y=(filtered.session_equity - unfiltered.session_equity).round(2).tolist(),
        name="difference",
        line={"color": ACCENT, "width": 1.2},
        fill="tozeroy",
        fillcolor="rgba(138,109,31,0.10)",
        yaxis="y2",
        showlegend=False,
        hovertemplate="difference $%{y:,.0f}<extra></extra>",
    )
    for each in data.windows:
        _window_mark(drawn, str(each.first), f"window {each.window.number + 1}")
    drawn.update_layout(
        xaxis=time_axis(anchor="y2"),
        yaxis=axis(
            domain=[0.34, 0.97], tickformat="$~s", title=titled("P&L"), zeroline=True, zerolinecolor=MUTED
        ),
        yaxis2=axis(
            domain=[0.0, 0.26], tickformat="$~s", nticks=4, title=titled("added"), zeroline=True,
            zerolinecolor=MUTED,
        ),
        showlegend=True,
        legend={"x": 0, "y": 1.04},
    )  # fmt: skip
    return drawn


def _window_mark(drawn: go.Figure, day: str, text: str) -> None:
    drawn.add_vline(x=day, line={"color": RULE, "width": 1.2})
    drawn.add_annotation(
        x=day, y=0.985, yref="paper", text=text, showarrow=False, xanchor="left", xshift=3,
        font={"size": 10, "color": MUTED},
    )  # fmt: skip


def _dates(account: Account) -> list[str]:
    return [str(date) for date in account.sessions]


def calibration(data: TrainingReport) -> go.Figure:
    """Return predicted against observed wins with 95 % intervals, and the number of samples below."""
    return reliability(data.calibration, data.answers.probability)


def reliability(found: Calibration, answers: Floats, *, form: str = ".1%") -> go.Figure:
    """Return what was answered, in groups, against what came, and how often below; `form` writes both."""
    drawn = figure(380)
    ticks = form.replace(".1", ".0")
    ends = [
        float(min(found.predicted[0], found.low.min())),
        float(max(found.predicted[-1], found.high.max())),
    ]
    drawn.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": MUTED, "width": 1, "dash": "dot"}, hoverinfo="skip"
    )
    drawn.add_scatter(
        x=found.predicted.round(_DIGITS).tolist(),
        y=found.observed.round(_DIGITS).tolist(),
        error_y={
            "type": "data",
            "symmetric": False,
            "array": (found.high - found.observed).round(_DIGITS).tolist(),
            "arrayminus": (found.observed - found.low).round(_DIGITS).tolist(),
            "color": BAR,
            "thickness": 1.2,
            "width": 3,
        },
        mode="markers+lines",
        line={"color": GAIN, "width": 1.2},
        marker={"size": 7, "color": GAIN},
        customdata=found.count.tolist(),
        hovertemplate=f"predicted %{{x:{form}}}, observed %{{y:{form}}} of %{{customdata}}<extra></extra>",
    )
    counts, edges = np.histogram(answers, bins=30)
    drawn.add_bar(
        x=((edges[1:] + edges[:-1]) / 2).round(_DIGITS).tolist(),
        y=counts.tolist(),
        marker={"color": BAR},
        yaxis="y2",
        hovertemplate=f"%{{x:{form}}}: %{{y}} samples<extra></extra>",
    )
    drawn.update_layout(
        xaxis=axis(tickformat=ticks, title=titled("predicted"), anchor="y2"),
        yaxis=axis(domain=[0.32, 1.0], tickformat=ticks, title=titled("observed")),
        yaxis2=axis(domain=[0.0, 0.22], title=titled("samples"), nticks=3),
        bargap=0.06,
    )
    return drawn


def roc(curve: Curve) -> go.Figure:
    """Return true against false positives; the dotted line is chance."""
    return _area(curve, "false positives", "true positives", [[0.0, 1.0], [0.0, 1.0]])


def precision_recall(curve: Curve, base_rate: float) -> go.Figure:
    """Return precision against recall; the dotted line is the share of winners."""
    return _area(curve, "recall", "precision", [[0.0, 1.0], [base_rate, base_rate]])


def _area(curve: Curve, x: str, y: str, chance: list[list[float]]) -> go.Figure:
    drawn = figure(330)
    drawn.add_scatter(
        x=chance[0],
        y=[round(each, _DIGITS) for each in chance[1]],
        mode="lines",
        line={"color": MUTED, "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )
    drawn.add_scatter(
        x=curve.x.round(_DIGITS).tolist(),
        y=curve.y.round(_DIGITS).tolist(),
        mode="lines",
        line={"color": GAIN, "width": 1.6},
        hovertemplate=f"{x} %{{x:.2f}}, {y} %{{y:.2f}}<extra></extra>",
    )
    drawn.update_layout(
        xaxis=axis(title=titled(x), range=[0, 1.01], tickformat=".0%"),
        yaxis=axis(title=titled(y), range=[-0.02, 1.03], tickformat=".0%"),
    )
    return drawn


def thresholds(data: TrainingReport) -> go.Figure:
    """Return net P&L and the share of trades kept per threshold; the chosen one is marked."""
    found, chosen = data.thresholds, data.outcome.threshold
    drawn = figure(380, hovermode="x unified")
    x = found.threshold.round(_DIGITS).tolist()
    drawn.add_scatter(
        x=x, y=found.net_pnl.round(2).tolist(), name="net P&L", line={"color": GAIN, "width": 1.6},
        hovertemplate="net P&L $%{y:,.0f}<extra></extra>",
    )  # fmt: skip
    drawn.add_scatter(
        x=x, y=found.kept.round(_DIGITS).tolist(), customdata=found.trades.tolist(), name="kept", yaxis="y2",
        line={"color": BAR, "width": 1.4}, fill="tozeroy", fillcolor=GAIN_SOFT,
        hovertemplate="kept %{y:.0%}, %{customdata:.0f} trades<extra></extra>",
    )  # fmt: skip
    if found.threshold[0] <= chosen <= found.threshold[-1]:
        drawn.add_vline(x=chosen, line={"color": ACCENT, "width": 1.4, "dash": "dot"})
    level(drawn, float(found.net_pnl[0]))
    drawn.update_layout(
        xaxis=axis(title=titled("threshold"), tickformat=".2f", anchor="y2"),
        yaxis=axis(domain=[0.36, 1.0], tickformat="$~s", title=titled("net P&L")),
        yaxis2=axis(domain=[0.0, 0.27], tickformat=".0%", title=titled("trades kept"), nticks=4),
    )
    return drawn


def importance(found: FeatureImportance, *, loss: str = "log loss") -> go.Figure:
    """Return the rise of the loss when a feature is shuffled, with 95 % intervals; 20 at most."""
    rows = range(min(_SHOWN, len(found.ids)))[::-1]
    drawn = figure(70 + _ROW_PIXELS * len(rows))
    colours = [GAIN if found.low[row] > 0 else (LOSS if found.mean[row] < 0 else BAR) for row in rows]
    mean = [round(float(found.mean[row]), 5) for row in rows]
    drawn.add_bar(
        x=mean,
        y=[plain(found.ids[row]) for row in rows],
        orientation="h",
        marker={"color": colours},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [round(float(found.high[row] - found.mean[row]), 5) for row in rows],
            "arrayminus": [round(float(found.mean[row] - found.low[row]), 5) for row in rows],
            "color": MUTED,
            "thickness": 1.1,
            "width": 2,
        },
        hovertemplate="%{y}: %{x:.4f}<extra></extra>",
    )
    drawn.update_layout(
        xaxis=axis(title=titled(f"rise of the {loss} when shuffled"), zeroline=True, zerolinecolor=MUTED),
        yaxis=axis(showgrid=False, type="category"),
    )
    return drawn


def attribution(found: Attribution) -> go.Figure:
    """Return mean absolute SHAP values; blue pushes up with the feature, vermilion down; 20 at most."""
    rows = range(min(_SHOWN, len(found.ids)))[::-1]
    drawn = figure(70 + _ROW_PIXELS * len(rows))
    drawn.add_bar(
        x=[round(float(found.mean[row]), 5) for row in rows],
        y=[plain(found.ids[row]) for row in rows],
        orientation="h",
        marker={"color": [GAIN if found.slope[row] >= 0 else LOSS for row in rows]},
        customdata=[round(float(found.slope[row]), 2) for row in rows],
        hovertemplate="%{y}: %{x:.4f}, direction %{customdata}<extra></extra>",
    )
    drawn.update_layout(
        xaxis=axis(title=titled("mean |SHAP value|")), yaxis=axis(showgrid=False, type="category")
    )
    return drawn
