"""The page kit: the frame of a self-contained page, and its pieces: escaped text, tables, figures, cards."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import plotly.graph_objects as go
import plotly.io as pio
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from research.report.style import SCRIPT, STYLE


def document(title: str, body: str, *, library: str | None = None) -> str:
    """Return a page that needs nothing else: `body` is HTML, `title` is escaped here.

    library   where the plotting library is, relative to the page; None: within the page (4.8 MB)
    """
    plotly = f"<script>{get_plotlyjs()}</script>"
    if library is not None:
        plotly = f'<script src="{escaped(library)}"></script>'
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{STYLE}</style></head>\n<body><main>{body}"
        "<noscript>The charts need JavaScript; the tables do not.</noscript></main>\n"
        f"{plotly}\n<script>{SCRIPT}</script></body></html>\n"
    )


def write_page(path: Path, title: str, body: str, *, shared_js: Path | None = None) -> Path:
    """Write a page to `path` in a single step and return `path`; its folder is made where missing.

    shared_js   folder that gets the plotting library once, for this page and all others that name the folder;
                None: the page holds it. The page then needs that file where it lies, seen from the page.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    library = None if shared_js is None else share_library(shared_js, beside=path.parent)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(document(title, body, library=library), encoding="utf-8", newline="\n")
    os.replace(partial, path)
    return path


def share_library(folder: Path, *, beside: Path) -> str:
    """Write the plotting library into `folder` unless it is there; return its place, seen from `beside`.

    The file's name holds its version, so that pages written by another release keep theirs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"plotly-{get_plotlyjs_version()}.min.js"
    if not library.is_file():
        partial = library.with_name(f"{library.name}.{os.getpid()}.partial")
        partial.write_text(get_plotlyjs(), encoding="utf-8", newline="\n")
        os.replace(partial, library)
    return Path(os.path.relpath(library.resolve(), beside.resolve())).as_posix()


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
