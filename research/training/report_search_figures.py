"""Figures about the search and the samples: convergence, parameters, labels, features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lockstep.metrics import Floats
from research.report.page import plain
from research.report.theme import ACCENT, BAR, GAIN, LOSS, axis, figure, titled
from research.training.outcome import SearchStep
from research.training.report_data import TrainingReport

_DIGITS = 5
_BINS = 40
_COLUMNS = 3
_ROW_PIXELS = 210
_GAP = 0.07
_FEATURES = 9
_FEATURE_BINS = 24


def convergence(steps: Sequence[SearchStep], objective: str) -> go.Figure:
    """Return the score of every step, its spread over the splits, and the best so far."""
    drawn = figure(330)
    number = [each.number + 1 for each in steps]
    score = np.array([each.score for each in steps])
    error = [float(np.std(each.split_scores) / max(1, each.split_scores.size) ** 0.5) for each in steps]
    drawn.add_scatter(
        x=number,
        y=score.round(_DIGITS).tolist(),
        mode="markers",
        marker={"size": 6, "color": BAR},
        error_y={
            "type": "data",
            "array": np.round(error, _DIGITS).tolist(),
            "color": "#d5dde5",
            "thickness": 1,
        },
        hovertemplate="step %{x}: %{y:.4f}<extra></extra>",
    )
    drawn.add_scatter(
        x=number,
        y=np.maximum.accumulate(score).round(_DIGITS).tolist(),
        mode="lines",
        line={"color": GAIN, "width": 1.6, "shape": "hv"},
        hovertemplate="best so far %{y:.4f}<extra></extra>",
    )
    drawn.update_layout(
        xaxis=axis(title=titled("step"), showgrid=False), yaxis=axis(title=titled(plain(objective)))
    )
    return drawn


def dependence(steps: Sequence[SearchStep], best: SearchStep) -> go.Figure | None:
    """Return the score against every parameter that varied; None where none did. The winner is marked."""
    names = [name for name in best.parameters if len({repr(each.parameters.get(name)) for each in steps}) > 1]
    if not names:
        return None
    drawn, places = _grid(len(names))
    for place, name in enumerate(names):
        _panel(drawn, place, places[place], name, steps, best)
    return drawn


def _panel(
    drawn: go.Figure,
    place: int,
    domain: tuple[list[float], list[float]],
    name: str,
    steps: Sequence[SearchStep],
    best: SearchStep,
) -> None:
    values = [each.parameters.get(name) for each in steps]
    numeric = all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)
    spelled: list[Any] = values if numeric else [plain("none" if each is None else each) for each in values]
    if not numeric and any(isinstance(each, int | float) for each in values):
        # Numbers beside words: every value a category, the numbers in order before the words.
        order = sorted({each for each in values if isinstance(each, int | float)})
        categories = [plain(each) for each in order] + sorted({plain("none")} & set(spelled))
    else:
        categories = sorted(set(spelled)) if not numeric else []
    score = [round(each.score, _DIGITS) for each in steps]
    own = next(number for number, each in enumerate(steps) if each.number == best.number)
    suffix = "" if place == 0 else str(place + 1)
    for x, y, colour, size, symbol in (
        (spelled, score, BAR, 6, "circle"),
        ([spelled[own]], [score[own]], ACCENT, 10, "diamond"),
    ):
        drawn.add_scatter(
            x=x,
            y=y,
            mode="markers",
            marker={"size": size, "color": colour, "symbol": symbol},
            xaxis=f"x{suffix}",
            yaxis=f"y{suffix}",
            hovertemplate=f"{plain(name)} %{{x}}: %{{y:.4f}}<extra></extra>",
        )
    kind = {} if numeric else {"type": "category", "categoryorder": "array", "categoryarray": categories}
    drawn.update_layout(
        {
            f"xaxis{suffix}": axis(
                domain=domain[0], anchor=f"y{suffix}", title=titled(plain(name)), nticks=6, **kind
            ),
            f"yaxis{suffix}": axis(domain=domain[1], anchor=f"x{suffix}", nticks=5),
        }
    )


def results(pnl: Floats) -> go.Figure:
    """Return the distribution of the samples' net results."""
    drawn = figure(300)
    edges = np.histogram_bin_edges(np.clip(pnl, *np.quantile(pnl, (0.005, 0.995))), _BINS)
    counts, _ = np.histogram(np.clip(pnl, edges[0], edges[-1]), edges)
    middle = (edges[1:] + edges[:-1]) / 2
    drawn.add_bar(
        x=middle.round(2).tolist(),
        y=counts.tolist(),
        marker={"color": [GAIN if each > 0 else LOSS for each in middle]},
        hovertemplate="$%{x:,.0f}: %{y}<extra></extra>",
    )
    drawn.update_layout(
        bargap=0.04, xaxis=axis(title=titled("net P&L per sample"), tickformat="$~s"),
        yaxis=axis(title=titled("samples")),
    )  # fmt: skip
    return drawn


def labels(won_by_year: dict[int, tuple[int, int]]) -> go.Figure:
    """Return samples and winners per year, and the share of winners."""
    drawn = figure(300, hovermode="x unified", barmode="overlay")
    years = [str(year) for year in won_by_year]
    total, won = ([each[place] for each in won_by_year.values()] for place in (0, 1))
    drawn.add_bar(x=years, y=total, marker={"color": "#d5dde5"}, hovertemplate="%{y} samples<extra></extra>")
    drawn.add_bar(x=years, y=won, marker={"color": GAIN}, hovertemplate="%{y} won<extra></extra>")
    drawn.update_layout(xaxis=axis(type="category", showgrid=False), yaxis=axis(title=titled("samples")))
    return drawn


def distributions(data: TrainingReport) -> go.Figure:
    """Return the most important features of winners and of losers, each scaled to the same area."""
    outcome = data.outcome
    ids = data.importance.ids[:_FEATURES]
    drawn, places = _grid(len(ids))
    known = outcome.dataset.subset(outcome.development)
    for place, name in enumerate(ids):
        values = known.features[:, outcome.dataset.feature_ids.index(name)]
        edges = _edges(values)
        suffix = "" if place == 0 else str(place + 1)
        for label, who, colour in ((0, "lost", LOSS), (1, "won", GAIN)):
            part = np.clip(values[known.target == label], edges[0], edges[-1])
            share = np.histogram(part, edges)[0] / max(1, part.size)
            drawn.add_scatter(
                x=((edges[1:] + edges[:-1]) / 2).round(_DIGITS).tolist(),
                y=share.round(_DIGITS).tolist(),
                name=who,
                mode="lines",
                legendgroup=who,
                showlegend=place == 0,
                line={"color": colour, "width": 1.3, "shape": "hvh"},
                xaxis=f"x{suffix}",
                yaxis=f"y{suffix}",
                hovertemplate=f"{who} %{{y:.1%}}<extra></extra>",
            )
        domain = places[place]
        drawn.update_layout(
            {
                f"xaxis{suffix}": axis(
                    domain=domain[0], anchor=f"y{suffix}", title=titled(plain(name)), nticks=6
                ),
                f"yaxis{suffix}": axis(domain=domain[1], anchor=f"x{suffix}", tickformat=".0%", nticks=4),
            }
        )
    drawn.update_layout(showlegend=True)
    return drawn


def _edges(values: Floats) -> Floats:
    """Return edges of bins: one per value where there are few, so that no bin between two stays empty."""
    known = np.unique(values)
    if 1 < known.size <= _FEATURE_BINS:
        middle = (known[1:] + known[:-1]) / 2
        return np.concatenate(([2 * known[0] - middle[0]], middle, [2 * known[-1] - middle[-1]]))
    return np.histogram_bin_edges(np.clip(values, *np.quantile(values, (0.005, 0.995))), _FEATURE_BINS)


def _grid(count: int) -> tuple[go.Figure, list[tuple[list[float], list[float]]]]:
    """Return an empty figure for `count` panels, three a row, and each panel's domain on x and y."""
    rows = -(-count // _COLUMNS)
    drawn = figure(_ROW_PIXELS * rows + 30)
    width = (1.0 - _GAP * (_COLUMNS - 1)) / _COLUMNS
    # Room for the titles below each row of panels.
    room = 46 / (_ROW_PIXELS * rows)
    height = (1.0 - room * (rows - 1)) / rows
    places = []
    for number in range(count):
        row, column = divmod(number, _COLUMNS)
        left, top = column * (width + _GAP), 1.0 - row * (height + room)
        places.append(([left, min(1.0, left + width)], [max(0.0, top - height), top]))
    return drawn, places
