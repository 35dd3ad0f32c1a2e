"""The feature check as a picture: price, volume and every feature of the month, one axis of bars.

The feature check as a page: one HTML file that needs nothing else, the same bytes for the same values.

The feature check as tables for the terminal.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from rich.console import Console

from lockstep.errors import DataError
from lockstep.files import replace_file
from lockstep.market.bars import BAR_COLUMNS
from lockstep.tables import TextTable, number
from research.checks.features import FLOOR, TOLERANCE, FeatureComparison
from research.report.page import (
    UNDEFINED,
    card,
    count,
    document,
    empty_block,
    figure_block,
    grid,
    header,
    joined,
    paragraph,
    plain,
    ratio,
    table,
)
from research.report.theme import BAR, GAIN, INK, LOSS, MUTED, axis, figure, titled

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


LISTED = 45
NOT_EQUAL = "\N{NOT EQUAL TO}"


def values_table(check: FeatureComparison) -> TextTable:
    """Return the bars of the month with our values; `≠` and the other value where they do not agree."""
    title = f"{check.market.instrument.symbol} {check.timeframe}, {check.month}"
    table = TextTable("bar", *map(number, (*BAR_COLUMNS, *check.ids)), title=title, bands=True)
    bars = check.bars[list(BAR_COLUMNS)].to_numpy()
    for row in range(min(LISTED, len(check.labels))):
        *prices, volume = bars[row].tolist()
        table.add_row(
            check.labels[row],
            *(UNDEFINED if math.isnan(each) else f"{each:.10g}" for each in prices),
            _short(volume),
            *(spelled(check, row, column) for column in range(len(check.ids))),
        )
    if len(check.labels) > LISTED:
        table.caption = f"the first {LISTED} of {len(check.labels):,} bars; the plot has all"
    return table


def _short(volume: float) -> str:
    """Return a volume as `1.91M`, so that a row fits into a terminal."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if volume >= size:
            return f"{volume / size:.2f}{unit}"
    return UNDEFINED if math.isnan(volume) else f"{volume:g}"


def spelled(check: FeatureComparison, row: int, column: int) -> str:
    """Return our value, and the other one where it is out of tolerance or the only one."""
    ours, theirs = (float(frame.to_numpy()[row, column]) for frame in (check.ours, check.theirs))
    if check.is_outside.iloc[row, column] or not check.compared.iloc[row, column]:
        text = f"{ratio(ours, _DIGITS)} {NOT_EQUAL} {ratio(theirs, _DIGITS)}"
        return UNDEFINED if text == f"{UNDEFINED} {NOT_EQUAL} {UNDEFINED}" else text
    return ratio(ours, _DIGITS)


def counts_table(check: FeatureComparison) -> TextTable:
    """Return, per feature, how many bars were compared, are out of tolerance, or miss a value."""
    names = ("bars", "compared", "out of tolerance", "missing here", "missing there")
    table = TextTable("feature", *map(number, names), title=f"against {check.against}")
    for feature, counts in check.counts.iterrows():
        table.add_row(str(feature), *(count(int(value)) for value in counts))
    return table


def outside_table(check: FeatureComparison) -> TextTable:
    """Return the values that do not agree."""
    names = map(str, check.outside.columns[2:])
    table = TextTable("bar", "feature", *map(number, names), title="out of tolerance")
    for bar, feature, *values in check.outside.head(LISTED).itertuples(index=False):
        table.add_row(bar, feature, *(ratio(value, _DIGITS) for value in values))
    if len(check.outside) > LISTED:
        table.caption = f"the first {LISTED} of {len(check.outside):,}"
    return table


def print_check(console: Console, check: FeatureComparison, page: Path) -> None:
    """Print the bars with their values, the counts, what does not agree, and the verdict."""
    console.print(values_table(check))
    console.print(counts_table(check))
    if len(check.outside):
        console.print(outside_table(check))
    console.print(f"plot: {page}", soft_wrap=True, highlight=False)
    console.print(check.verdict, style="bold", soft_wrap=True, highlight=False)


_DIGITS = 4


def write_page(check: FeatureComparison, folder: Path) -> Path:
    """Write `<SYMBOL>-<timeframe>-<month>-features.html` into `folder` and return its path.

    DataError where it cannot be written. The file holds no time, host or path.
    """
    path = folder / f"{check.market.instrument.symbol}-{check.timeframe}-{check.month}-features.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}: no folder can be made there; check --out") from error
    replace_file(path, page(check), error=DataError)
    return path


def page(check: FeatureComparison) -> str:
    """Return the page."""
    instrument = check.market.instrument
    cards = (
        card(
            "Price, volume and features",
            figure_block("features", comparison_figure(check)),
            caption="Lines are Lockstep's values, rings those of the second source; where a ring "
            "is missing, that source has no value. Drag to zoom, double-click for all.",
            classes="wide",
        ),
        card("Agreement", _counts(check), caption=_rule(), classes="wide"),
        card(
            "Out of tolerance",
            _outside(check),
            caption="Values that do not agree, by bar.",
            classes="wide",
        ),
    )
    head = header(
        instrument.symbol,
        instrument.name,
        (str(check.month), f"{check.timeframe} bars", f"against {check.against}"),
        lead="Feature check",
        verdict=check.verdict,
        is_loss=not check.passed,
    )
    return document(f"{instrument.symbol} {check.month} · features", joined(head, grid(cards)))


def _rule() -> str:
    return (
        f"Two values agree within {TOLERANCE:.0%} of the larger one; differences up to {FLOOR:.0%} of the "
        "feature's declared range always do."
    )


def _counts(check: FeatureComparison) -> Markup:
    rows = [
        (str(feature), *(count(int(value)) for value in counts))
        for feature, counts in check.counts.iterrows()
    ]
    return table(("feature", "bars", "compared", "out of tolerance", "missing here", "missing there"), rows)


def _outside(check: FeatureComparison) -> Markup:
    if check.outside.empty:
        return empty_block("None.")
    rows = [
        (f"{bar} {feature}", *(ratio(value, _DIGITS) for value in values))
        for bar, feature, *values in check.outside.head(LISTED).itertuples(index=False)
    ]
    more = len(check.outside) - LISTED
    rest = paragraph(f"{count(more)} more are not listed.", "caption") if more > 0 else ""
    return joined(table(("value", "ours", "theirs", "difference", "allowed"), rows), rest)
