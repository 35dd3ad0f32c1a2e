"""The page kit: the frame of a self-contained page, and its pieces, from the header to the notes.

All HTML is in the templates beside this file. Whatever a piece is given is text and is escaped there, unless
another piece has made it (`Markup`): a page composes pieces and never writes a tag or escapes a name itself.

How numbers are written: a true minus sign, thousands separated, a dash for what is undefined.
"""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go
import plotly.io as pio
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from lockstep.files import replace_file
from research.report.style import FRAGMENT_STYLE, SCRIPT, STYLE

_FIGURE = 'class="figure"'
_LEAST_POINTS, _SPARK_ROOM = 2, 3


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        auto_reload=False,
    )


def _piece(piece: str, /, *values: Any) -> Markup:
    """Return a macro of `kit.html` with its values filled in."""
    made: Markup = getattr(_templates().get_template("kit.html").module, piece)(*values)
    return made


def document(title: str, body: Markup, *, library: str | None = None) -> str:
    """Return a page that needs nothing else; `body` is made of the pieces below.

    library   where the plotting library is, relative to the page; None: within the page (4.8 MB). A page
              without a figure has none.
    """
    has_figures = _FIGURE in body
    return (
        _templates()
        .get_template("page.html")
        .render(
            title=title,
            body=body,
            style=Markup(STYLE),
            has_figures=has_figures,
            library=library,
            plotly=Markup(get_plotlyjs()) if has_figures and library is None else "",
            script=Markup(SCRIPT),
        )
    )


def served_page(
    title: str,
    pieces: Sequence[tuple[str, Markup]],
    *,
    page: str,
    links: Sequence[tuple[str, str, bool]],
    styles: Sequence[str],
    scripts: Sequence[str],
) -> str:
    """Return a page for a server: a bar of links over pieces that its script replaces one by one.

    pieces   each with a digest of itself; page   its name, for the script
    links    address, name, and whether it is this page; styles, scripts   addresses of files
    """
    return (
        _templates()
        .get_template("served.html")
        .render(title=title, pieces=pieces, page=page, links=links, styles=styles, scripts=scripts)
    )


def login_page(title: str, explanation: str, *, refusal: str, page: str, styles: Sequence[str]) -> str:
    """Return the page that asks for a token and posts it to `/login`, with the `page` to go on to.

    refusal   why the last one was not taken; empty: nothing was given yet
    """
    return (
        _templates()
        .get_template("login.html")
        .render(title=title, help=explanation, refusal=refusal, page=page, styles=styles)
    )


def fragment(*pieces: str) -> str:
    """Return what a notebook shows of an object: pieces with the style of the pages, light and dark."""
    rendered = _templates().get_template("fragment.html")
    return rendered.render(style=Markup(FRAGMENT_STYLE), body=joined(*pieces))


def write_page(path: Path, title: str, body: Markup, *, shared_js: Path | None = None) -> Path:
    """Write a page to `path` in a single step and return `path`; its folder is made where missing.

    shared_js   folder that gets the plotting library once, for this page and all others that name the folder;
                None: the page holds it. The page then needs that file where it is, seen from the page.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    library = None if shared_js is None else share_library(shared_js, beside=path.parent)
    return replace_file(path, document(title, body, library=library))


def share_library(folder: Path, *, beside: Path) -> str:
    """Write the plotting library into `folder` unless it is there; return its place, seen from `beside`.

    The file's name holds its version, so that pages written by another release keep theirs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"plotly-{get_plotlyjs_version()}.min.js"
    if not library.is_file():
        replace_file(library, get_plotlyjs())
    return Path(os.path.relpath(library.resolve(), beside.resolve())).as_posix()


def plain(text: object) -> str:
    """Return `text` for a plotly label, which reads a few HTML tags and no quotation entities."""
    return html.escape(str(text), quote=False)


class Tile(NamedTuple):
    """One key figure: what it is, the figure, a word on it, and whether it is drawn as a loss."""

    name: str
    value: str
    note: str
    is_loss: bool = False


class Shade(NamedTuple):
    """A cell of a heat map: its text on a colour, `share` of it from 0 to 1."""

    text: str
    red: int
    green: int
    blue: int
    share: float


def header(
    title: str,
    subtitle: str,
    facts: Iterable[str] = (),
    *,
    lead: str = "",
    lead_class: str = "",
    badge: str = "",
    verdict: str = "",
    is_loss: bool = False,
) -> Markup:
    """Return the page's head: a line of facts under the title, the first one (`lead`) in bold.

    badge     the one thing not to overlook, framed
    verdict   a sentence of its own under the facts, in the colour of losses where `is_loss`
    """
    verdict_class = "loss" if is_loss else ""
    return _piece(
        "header", title, subtitle, lead, lead_class, list(facts), badge, verdict, verdict_class
    )  # fmt: skip


def caveats(title: str, sentences: Sequence[str]) -> Markup:
    """Return what a reader must know first, framed; nothing where there is no sentence."""
    return _piece("caveats", title, sentences) if sentences else Markup()


def key_figures(tiles: Iterable[Tile]) -> Markup:
    """Return the strip of key figures."""
    return _piece("key_figures", list(tiles))


def grid(cards: Iterable[Markup], classes: str = "") -> Markup:
    """Return cards in two columns."""
    return _piece("grid", list(cards), classes)


def part(title: str, cards: Iterable[Markup]) -> Markup:
    """Return cards of a grid under a heading."""
    return _piece("part", title, list(cards))


def card(title: str, content: str, *, caption: str = "", classes: str = "") -> Markup:
    """Return a titled card; `classes="wide"` takes both columns."""
    return _piece("card", title, content, caption, classes)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, foot: Sequence[str] = (), classes: str = ""
) -> Markup:
    """Return a table that scrolls within its card; the first column is text, the rest numbers."""
    return _piece("table", head, list(rows), foot, classes)


def shaded_table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[Shade | None], str]]) -> Markup:
    """Return a heat map: per row a name, shaded cells (None where empty) and a total."""
    return _piece("shaded_table", head, list(rows))


def facts_table(rows: Iterable[tuple[str, str, str]], classes: str = "facts-table") -> Markup:
    """Return rows of label, explanation and value."""
    return _piece("facts_table", list(rows), classes)


def columns(blocks: Iterable[tuple[str, Markup]]) -> Markup:
    """Return blocks side by side, each with a heading."""
    return _piece("columns", list(blocks))


def provenance(entries: Mapping[str, str]) -> Markup:
    """Return a table of labels with hashes, versions or seeds."""
    return _piece("provenance", list(entries.items()))


def notes(sentences: Iterable[str]) -> Markup:
    """Return sentences as a list."""
    return _piece("notes", list(sentences))


def figure_block(name: str, drawn: go.Figure | None, *, empty: str = "", fit: bool = False) -> Markup:
    """Return a figure's place and its data, or the sentence `empty` where there is nothing to draw.

    `fit` lets the page refit the vertical axes when the reader moves the time axis.
    """
    if drawn is None:
        return empty_block(empty)
    # The engine is named: another one, picked up when installed, would write other bytes. It escapes `<`.
    spec = pio.to_json(drawn, validate=False, remove_uids=True, engine="json")
    return _piece("figure", name, int(drawn.layout.height), fit, Markup(spec))


def sparkline(label: str, values: Sequence[float], *, level: float | None = None) -> Markup:
    """Return a small line that needs no script: `values` from left to right, `level` a dotted line.

    Nothing where there are fewer than two values that are numbers.
    """
    known = [(at, value) for at, value in enumerate(values) if math.isfinite(value)]
    if len(known) < _LEAST_POINTS:
        return Markup()
    heights = [value for _, value in known] + ([] if level is None else [level])
    low, span = min(heights), (max(heights) - min(heights)) or 1.0

    def height(value: float) -> float:
        return round(_SPARK_ROOM + (100 - 2 * _SPARK_ROOM) * (1 - (value - low) / span), 1)

    last = len(values) - 1
    points = [(round(1000 * at / last, 1), height(value)) for at, value in known]
    return _piece("sparkline", label, points, None if level is None else height(level))


def empty_block(sentence: str) -> Markup:
    """Return the sentence that stands where there is nothing to show."""
    return _piece("empty", sentence)


def paragraph(text: str, classes: str) -> Markup:
    """Return a paragraph."""
    return _piece("paragraph", text, classes)


def listing(text: str) -> Markup:
    """Return text as it is, in a fixed-width font."""
    return _piece("listing", text)


def strong(text: str) -> Markup:
    """Return text in bold."""
    return _piece("strong", text, "")


def failed(text: str) -> Markup:
    """Return text in bold and in the colour of losses."""
    return _piece("strong", text, "loss")


def coloured(text: str) -> Markup:
    """Return a number as text, in the colour of losses where it begins with a minus sign."""
    return _piece("span", text, "loss") if text.startswith("\N{MINUS SIGN}") else Markup.escape(text)


def small(text: str) -> Markup:
    """Return text in small print."""
    return _piece("small", text)


def link(text: str, address: str) -> Markup:
    """Return text that leads to another page; address: a path of ours, seen from the page."""
    return _piece("link", text, address)


def prose(text: str) -> Markup:
    """Return text for a table's cell that wraps and begins at the left."""
    return _piece("block", text, "prose")


def joined(*parts: str) -> Markup:
    """Return pieces and texts one after the other."""
    return Markup().join(parts)


EN_DASH = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
UNDEFINED = EN_DASH
_MINUS = "\N{MINUS SIGN}"


def _written(value: float | int | None, pattern: str, before: str = "", after: str = "") -> str:
    if value is None or not math.isfinite(value):
        return UNDEFINED
    digits = format(abs(value), pattern)
    is_negative = value < 0 and any(character in "123456789" for character in digits)
    return f"{_MINUS if is_negative else ''}{before}{digits}{after}"


def usd(value: float | int | None, decimals: int = 0) -> str:
    """Return whole dollars, or cents too: `$12,345`, the minus sign before the dollar."""
    return _written(value, f",.{decimals}f", before="$")


def percent(value: float | int | None, decimals: int = 1) -> str:
    """Return a fraction as `12.3%`."""
    return _written(None if value is None else value * 100, f",.{decimals}f", after="%")


def ratio(value: float | int | None, decimals: int = 2) -> str:
    """Return `1.23`."""
    return _written(value, f",.{decimals}f")


def count(value: float | int | None) -> str:
    """Return `12,345`."""
    return _written(value, ",.0f")


def price(value: float | int | None) -> str:
    """Return a price with up to ten significant digits and no trailing zeros."""
    return _written(value, ",.10g")
