"""Colours, type and the layout that all figures share.

Blue and vermilion stay apart for readers with any of the common colour deficiencies; nothing is told by
colour alone. Figures are written in the light colours; where the reader's system is dark, the page's script
replaces each by its counterpart in DARK before it draws.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

INK = "#1c2733"
MUTED = "#66727f"
RULE = "#e3e7ec"
GAIN = "#2a6f9e"
LOSS = "#c8512b"
GAIN_RGB = (42, 111, 158)
LOSS_RGB = (200, 81, 43)
GAIN_SOFT = "rgba(42,111,158,0.10)"
LOSS_SOFT = "rgba(200,81,43,0.16)"
ACCENT = "#8a6d1f"
BAR = "#8ea3b7"
PRICE = "#7b8794"

PAPER = "#ffffff"
GROUND = "#f4f6f8"
WELL = "#f8f9fb"
FAINT = "#eef1f4"
BUTTON = "#f2f4f7"
PRESSED = "#dbe4ec"
CAVEAT = "#fdf8ea"
PALE = "#d5dde5"

DARK = {
    INK: "#e4e9ee",
    MUTED: "#9aa6b2",
    RULE: "#313b46",
    GAIN: "#5fa8dc",
    LOSS: "#ee855c",
    "rgba(42,111,158,": "rgba(95,168,220,",
    "rgba(200,81,43,": "rgba(238,133,92,",
    ACCENT: "#d9b95c",
    "rgba(138,109,31,": "rgba(217,185,92,",
    PALE: "#3a4653",
    BAR: "#7f95aa",
    PRICE: "#94a1ae",
    PAPER: "#1a2129",
    GROUND: "#12171d",
    WELL: "#212a33",
    FAINT: "#28313b",
    BUTTON: "#262f39",
    PRESSED: "#3a4653",
    CAVEAT: "#2b2617",
}

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'


def axis(**changes: Any) -> dict[str, Any]:
    """Return the settings of a quiet axis, with `changes`."""
    quiet = {
        "showgrid": True,
        "gridcolor": RULE,
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "automargin": True,
        "tickfont": {"size": 11, "color": MUTED},
        "title": {"font": {"size": 11, "color": MUTED}, "standoff": 8},
    }
    return {**quiet, **changes}


def time_axis(**changes: Any) -> dict[str, Any]:
    """Return the settings of a time axis: no grid, a base line, dates in the hover."""
    return axis(**{"type": "date", "showgrid": False, "showline": True, "linecolor": RULE, **changes})


def titled(text: str) -> dict[str, Any]:
    """Return an axis title."""
    return {"text": text, "font": {"size": 11, "color": MUTED}, "standoff": 8}


def figure(height: int, **layout: Any) -> go.Figure:
    """Return an empty figure in the house style, `height` in pixels."""
    # plotly's default template would add seven kilobytes to each figure and a look that is not ours.
    drawn = go.Figure(layout={"template": {}})
    drawn.update_layout(
        height=height,
        font={"family": FONT, "size": 12, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 8, "r": 12, "t": 8, "b": 8},
        hoverlabel={"bgcolor": PAPER, "bordercolor": RULE, "font": {"size": 12, "color": INK}},
        showlegend=False,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 11}},
        bargap=0.18,
        **layout,
    )
    return drawn


def level(drawn: go.Figure, y: float) -> None:
    """Draw a dotted horizontal line at `y`; the caption says what it is, where a label would hide data."""
    drawn.add_hline(y=y, line={"color": MUTED, "width": 1, "dash": "dot"})
