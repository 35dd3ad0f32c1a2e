"""One figure of several pages: a table as coloured cells with their numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from research.report.page import plain
from research.report.theme import FAINT, GAIN, LOSS, axis, figure, titled

_DIGITS = 4
_LEAST_PIXELS, _FRAME_PIXELS, _ROW_PIXELS = 240, 90, 26
# Columns that have room for a number each.
_NUMBERED = 12
# Diverging, pale at zero: a reader sees at once which corner loses.
_SCALE = [[0.0, LOSS], [0.5, FAINT], [1.0, GAIN]]


def rows_high(rows: int) -> int:
    """Return the height of a figure of so many rows, pixels."""
    return max(_LEAST_PIXELS, _FRAME_PIXELS + _ROW_PIXELS * rows)


def heat_map(
    table: pd.DataFrame, measure: str, *, reach: float | None = None, first_on_top: bool = False
) -> go.Figure:
    """Return a cell for each value of `table`, pale at zero, with its number.

    measure        what the colours measure
    reach          size of the value with the full colour; None: the largest in the table
    first_on_top   first row above; else it is below, as the values of an axis are

    Cells without a value are empty; numbers are left out where cells would be too small for them.
    """
    drawn = figure(rows_high(len(table)))
    values = table.to_numpy(dtype=np.float64)
    reach = reach or float(np.nanmax(np.abs(values))) or 1.0
    drawn.add_heatmap(
        z=[[None if np.isnan(cell) else round(cell, _DIGITS) for cell in row] for row in values.tolist()],
        x=[plain(text) for text in table.columns],
        y=[plain(text) for text in table.index],
        colorscale=_SCALE,
        zmin=-reach,
        zmax=reach,
        xgap=1,
        ygap=1,
        colorbar={"title": {"text": measure, "font": {"size": 11}}, "thickness": 10, "outlinewidth": 0},
        texttemplate="%{z:.2f}" if table.shape[1] <= _NUMBERED else None,
        textfont={"size": 11},
        hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>",
    )
    names = [plain(str(each.name)) if each.name else "" for each in (table.columns, table.index)]
    order = {"autorange": "reversed"} if first_on_top else {}
    drawn.update_layout(
        xaxis=axis(type="category", showgrid=False, title=titled(names[0])),
        yaxis=axis(type="category", showgrid=False, title=titled(names[1]), **order),
    )
    return drawn
