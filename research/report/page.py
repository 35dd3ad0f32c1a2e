"""Pieces of HTML: escaped text, tables, figures, cards."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import plotly.graph_objects as go
import plotly.io as pio


def escaped(text: object) -> str:
    """Return `text` for HTML content and attributes."""
    return html.escape(str(text), quote=True)


def plain(text: object) -> str:
    """Return `text` for a plotly label, which reads a few HTML tags and no quotation entities."""
    return html.escape(str(text), quote=False)


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    foot: Sequence[str] | None = None,
    classes: str = "",
) -> str:
    """Return a table of ready cells (escape them before); the first column is text, the rest numbers."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(_row(cells) for cells in rows)
    bottom = f"<tfoot>{_row(foot)}</tfoot>" if foot else ""
    return f'<table class="{classes}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody>{bottom}</table>'


def _row(cells: Sequence[str]) -> str:
    first, *rest = cells
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'


def figure_block(name: str, drawn: go.Figure | None, *, empty: str, fit: bool = False) -> str:
    """Return a figure's place and its data, or the sentence `empty` where there is nothing to draw.

    `fit` lets the page refit the vertical axes when the reader moves the time axis.
    """
    if drawn is None:
        return f'<p class="empty">{escaped(empty)}</p>'
    # The engine is named: another one, picked up when installed, would write other bytes.
    spec = pio.to_json(drawn, validate=False, remove_uids=True, engine="json")
    height = int(drawn.layout.height)
    return (
        f'<div class="figure" id="{name}" style="height:{height}px"{" data-fit" if fit else ""}></div>'
        f'<script type="application/json" id="{name}-data">{spec}</script>'
    )


def card(title: str, content: str, *, caption: str = "", classes: str = "") -> str:
    """Return a titled card; `title` and `caption` are escaped here, `content` is HTML."""
    under = f'<p class="caption">{escaped(caption)}</p>' if caption else ""
    return f'<section class="card {classes}"><h2>{escaped(title)}</h2>{under}{content}</section>'
