"""What the validation report says first of a model: what its veto adds."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from research.model_validation.case import ModelCase
from research.model_validation.checks_gain import spelled
from research.report.page import Tile, count, percent, ratio
from research.report.theme import ACCENT, BAR, GAIN, MUTED, axis, figure, time_axis, titled
from research.training.gain import ranking

_BINS = 40


def gain_figures(case: ModelCase) -> tuple[Tile, ...]:
    """Return the key figures of the veto's gain."""
    (low, high), lots, answers = case.gain_interval, case.random_veto, case.separate
    ranked = ranking(answers.probability, answers.target, answers.window)
    return (
        Tile(
            "Gain of the veto a year",
            percent(case.gain.annual),
            f"at the same exposure; 90 % interval {percent(low)} to {percent(high)}",
        ),
        Tile("Against lots", spelled(lots.p_value), f"{count(lots.drawn.size)} random vetoes"),
        Tile("ROC area", ratio(ranked.area, 3), f"{spelled(ranked.p_value)}; 0.5 is chance"),
        Tile(
            "Deflated Sharpe of the gain",
            percent(case.deflation.dsr),
            f"after {count(case.trials)} training{'' if case.trials == 1 else 's'}",
        ),
    )


def gain_lines(case: ModelCase) -> go.Figure:
    """Return cumulated P&L with the veto at the exposure without it, without it, and their difference."""
    gain = case.gain
    capital = gain.filtered.capital
    days = np.datetime_as_string(gain.filtered.sessions).tolist()
    drawn = figure(380, hovermode="x unified")
    shown = (
        ("without the veto", gain.unfiltered.returns, BAR, 1.6),
        ("with the veto, same exposure", gain.scale * gain.filtered.returns, GAIN, 1.6),
        ("gain of the veto", gain.returns, ACCENT, 2.4),
    )
    for name, returns, colour, width in shown:
        drawn.add_scatter(
            x=days,
            y=(capital * np.cumsum(returns)).round(2).tolist(),
            name=name,
            line={"color": colour, "width": width},
            hovertemplate="$%{y:,.0f}",
        )
    drawn.update_layout(
        xaxis=time_axis(),
        yaxis=axis(tickformat="$~s", title=titled("P&L"), zeroline=True, zerolinecolor=MUTED),
        showlegend=True,
    )
    return drawn


def lots_histogram(case: ModelCase) -> go.Figure | None:
    """Return what vetoes that draw lots earned, and the model among them; None where they cannot differ."""
    lots = case.random_veto
    if not np.isfinite(lots.found) or np.ptp(lots.drawn) <= 1e-9 * abs(lots.found):
        return None
    heights, edges = np.histogram(lots.drawn, bins=_BINS)
    drawn = figure(300)
    drawn.add_bar(
        x=((edges[:-1] + edges[1:]) / 2).round(4).tolist(),
        y=heights.tolist(),
        name="lots",
        marker={"color": BAR},
        hovertemplate="$%{x:,.0f}: %{y} vetoes",
    )
    drawn.add_vline(
        x=lots.found,
        line={"color": ACCENT, "width": 2},
        annotation={"text": "the model", "font": {"color": ACCENT}},
    )
    drawn.update_layout(
        xaxis=axis(tickformat="$,.0f", title=titled("P&L per bar in the market")),
        yaxis=axis(title=titled("vetoes")),
        bargap=0.05,
    )
    return drawn


def scaled(case: ModelCase) -> str:
    """Say how the two accounts were made comparable."""
    gain = case.gain
    return (
        f"Out of sample, {case.span.start} to {case.span.end}. The account with the veto is scaled by "
        f"{ratio(gain.scale)}, to the mean exposure of the one without it: what is left between them is what "
        "the model chose, not how much it held back."
    )
