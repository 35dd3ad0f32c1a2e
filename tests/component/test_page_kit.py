"""The page kit: text stays text wherever a page shows it, and no page writes HTML of its own."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup

from certify.certificate import Certificate, Part
from certify.page import certificate_html
from research.paper.bands import Band, Fan, Sessions
from research.paper.compare import Curves
from research.paper.report import comparison_html
from research.paper.verdict import Equality, InstrumentComparison, PaperComparison, Reference
from research.report import page
from research.report.external import report_of
from research.report.page import Shade, Tile, document
from research.report.tearsheet import tearsheet_html
from research.report.theme import figure
from support.pages import HOSTILE, assert_escaped
from support.reports import Page, full

ROOT = Path(__file__).resolve().parents[2]
KIT = "research/report/page.py"
NOW = datetime(2026, 1, 5, tzinfo=UTC)

# One call per piece with a text in each of its positions; `each` makes these texts.
PIECES: dict[str, Callable[[Callable[[], str]], Markup]] = {
    "header": lambda each: page.header(
        each(), each(), (each(), each()), lead=each(), badge=each(), verdict=each(), is_loss=True
    ),
    "caveats": lambda each: page.caveats(each(), [each(), each()]),
    "key_figures": lambda each: page.key_figures(
        [Tile(each(), each(), each()), Tile(each(), each(), each())]
    ),
    "grid": lambda each: page.grid([page.strong(each())]),
    "part": lambda each: page.part(each(), [page.strong(each())]),
    "card": lambda each: page.card(each(), each(), caption=each(), classes="wide"),
    "table": lambda each: page.table((each(), each()), [(each(), each())], foot=(each(), each())),
    "shaded_table": lambda each: page.shaded_table(
        (each(), each(), each()), [(each(), [Shade(each(), 1, 2, 3, 0.7), None], each())]
    ),
    "facts_table": lambda each: page.facts_table([(each(), each(), each())]),
    "columns": lambda each: page.columns([(each(), page.strong(each()))]),
    "provenance": lambda each: page.provenance({each(): each()}),
    "notes": lambda each: page.notes([each(), each()]),
    "figure_block": lambda each: page.figure_block("name", None, empty=each()),
    "sparkline": lambda each: page.joined(page.sparkline("a line", [1.0, 2.0], level=1.5), each()),
    "empty_block": lambda each: page.empty_block(each()),
    "paragraph": lambda each: page.paragraph(each(), "caption"),
    "link": lambda each: page.link(each(), "page.html"),
    "listing": lambda each: page.listing(each()),
    "strong": lambda each: page.strong(each()),
    "failed": lambda each: page.failed(each()),
    "coloured": lambda each: page.joined(page.coloured(each()), page.coloured(f"\N{MINUS SIGN}{each()}")),
    "small": lambda each: page.small(each()),
    "prose": lambda each: page.prose(each()),
    "joined": lambda each: page.joined(each(), page.strong(each()), each()),
}


def texts(suffix: str) -> tuple[list[str], Callable[[], str]]:
    """Return a list and a function that makes a new text each time and writes it down there."""
    made: list[str] = []

    def each() -> str:
        made.append(f"text {len(made)}{suffix}")
        return made[-1]

    return made, each


def test_every_piece_is_asked() -> None:
    pieces = {
        name
        for name, each in inspect.getmembers(page, inspect.isfunction)
        if each.__module__ == page.__name__ and inspect.signature(each).return_annotation == "Markup"
    }
    assert {name for name in pieces if not name.startswith("_")} == PIECES.keys()


@pytest.mark.parametrize("piece", sorted(PIECES))
def test_text_stays_text_in_every_position_of_every_piece(piece: str) -> None:
    made, each = texts(HOSTILE)
    hostile = Page(document("title", PIECES[piece](each)))
    plain = Page(document("title", PIECES[piece](texts("")[1])))
    assert (hostile.tags, hostile.attributes) == (plain.tags, plain.attributes)
    assert made
    for text in made:
        assert text in hostile.text


def test_titles_names_and_data_of_figures_stay_text() -> None:
    drawn = figure(100)
    drawn.add_scatter(x=[HOSTILE], y=[1], name="</script><script>alert(1)</script>")
    found = Page(document(HOSTILE, page.figure_block(f"id{HOSTILE}", drawn), library=f"js/{HOSTILE}"))
    assert found.tags.count("script") == 3  # the data, the library, the page's own
    assert HOSTILE in found.text  # the title
    assert ("script", f"js/{HOSTILE}") in found.loads
    assert found.figures[f"id{HOSTILE}"]["data"][0]["x"] == [HOSTILE]


def test_a_page_without_a_figure_needs_no_plotting_library() -> None:
    text = document("title", page.notes(["a", 'class="figure"']))
    assert "script" not in Page(text).tags
    assert len(text) < 20_000


@pytest.mark.parametrize(
    "render",
    [
        lambda names: f"<html><body><p>{names['name']}</p></body></html>",
        lambda names: f"<p>{Markup.escape(str(Markup.escape(names['name'])))}</p>",
        lambda names: "<p>no name at all</p>",
        lambda names: f"<p title='{names['name'].replace('<', '&lt;')}'>{Markup.escape(names['name'])}</p>",
    ],
    ids=["not escaped", "escaped twice", "not shown", "out of its attribute"],
)
def test_the_check_of_pages_can_fail(render: Callable[[Any], str]) -> None:
    with pytest.raises(AssertionError):
        assert_escaped(render, {"name": "harmless"}, "harmless")


# Pages


def test_hostile_names_in_a_tear_sheet() -> None:
    data = full(
        title="the title", symbol="the symbol", instrument_name="the instrument", proxy_of="the proxy",
        notes=["a note"], provenance={"a label": "a value"}, config_yaml="the config",
    )  # fmt: skip
    assert_escaped(
        tearsheet_html, data, "the title", "the symbol", "the instrument", "a note", "a label", "a value",
        "the config",
    )  # fmt: skip
    assert f"proxy for {Markup.escape(HOSTILE)}" in tearsheet_html(full(proxy_of=HOSTILE))


def test_hostile_names_in_the_tear_sheet_of_anybodys_results() -> None:
    days = pd.bdate_range("2020-01-01", periods=300)
    returns = pd.Series([0.01, -0.008, 0.002] * 100, index=days, name="returns")
    data = report_of(returns, title="the results", trials=20)
    assert_escaped(tearsheet_html, data, "the results")


def certificate() -> Certificate:
    counts = dict.fromkeys(
        ("bars", "vectors", "values", "probabilities", "decisions", "orders", "fills", "marks"), 100
    )
    part = Part(
        between=("research", "live"), **counts, trades=3, series={"a series": 5}, different=1,
        kind="a kind", first="a difference",
    )  # fmt: skip
    return Certificate(
        symbol="the symbol", version="the version", bundle_sha256="0", start="the start", end="the end",
        parts=(part,), killed_after=(60,), hashes={"a hash": "its value"}, processor="the processor",
        machine="the machine", floats="the mode", versions={"a library": "its version"}, issued=NOW,
        expires=NOW + timedelta(days=90),
    )  # fmt: skip


def test_hostile_names_in_a_certificate() -> None:
    assert_escaped(
        certificate_html, certificate(), "the symbol", "a series", "a kind", "a difference", "a hash",
        "its value", "the processor", "the machine", "the mode", "a library", "its version",
    )  # fmt: skip
    assert HOSTILE in Page(certificate_html(certificate().model_copy(update={"version": HOSTILE}))).text
    assert_escaped(Certificate._repr_html_, certificate(), "the symbol", "a kind", "a difference")


def comparison() -> tuple[PaperComparison, dict[str, Curves]]:
    counts = dict.fromkeys(("bars", "vectors", "probabilities", "decisions", "orders", "fills", "marks"), 100)
    band = Band(
        statistic="sharpe", paper=1.0, backtest=1.1, low=0.5, middle=1.0, high=2.0, inside=True, judged=True
    )
    instrument = InstrumentComparison(
        symbol="the symbol", versions=("the version",), start="2020-01-01", end="2020-01-10", sessions=10,
        left_out=0, refused={"a rule": 2}, equality=Equality(**counts, different=1, first="a difference"),
        paper_pnl=1.0, backtest_pnl=1.0, paper_trades=1, backtest_trades=1, bands=(band,),
        reference=Reference(start="2019-01-01", end="2019-12-31", sessions=250, block=5,
                            seen_in_training=True),
    )  # fmt: skip
    dates = np.datetime64("2020-01-01") + np.arange(10)
    none = np.zeros(10, dtype=np.int64)
    pnl = Sessions(dates=dates, pnl=np.ones(10), closed=none, won=none, capital=1e3, per_year=252.0)
    fan = Fan(low=np.zeros(10), middle=np.ones(10), high=np.full(10, 2.0))
    whole = PaperComparison(
        journal="the journal", journal_hash="", mode="the mode", epochs=(1,), bundles={"the key": ("0",)},
        data={}, reads={}, sources={}, newest={}, level=0.9, resamples=10, seed=1, code="the code", time=0,
        instruments=(instrument,),
    )  # fmt: skip
    return whole, {"the symbol": Curves(paper=pnl, backtest=pnl, fan=fan)}


def test_hostile_names_in_a_paper_comparison() -> None:
    def render(data: Any) -> str:
        return comparison_html(*data)

    assert_escaped(render, comparison(), "the symbol", "the journal", "the code", "a difference")
    whole, curves = comparison()
    for changes in ({"mode": HOSTILE}, {"bundles": {HOSTILE: ("0",)}}):
        assert HOSTILE in Page(comparison_html(whole.model_copy(update=changes), curves)).text


# No HTML outside the kit

_TAG = re.compile(
    r"</?(html|head|body|main|header|section|div|p|span|small|b|i|h[1-6]|a|img|pre|code|ul|ol|li|table|thead|"
    r"tbody|tfoot|tr|th|td|style|script|noscript)(\s[a-z-]+=|\s*/?>)"
)
# Who escapes or marks a text as HTML.
_MAKERS = {
    ("html", "escape"),
    ("Markup", "escape"),
    ("", "Markup"),
    ("", "escaped"),
    ("markupsafe", "escape"),
}
# Discord's own markup, which is no HTML.
_OTHER = {"src/monitoring/discord.py"}


def homemade(source: str) -> Iterator[str]:
    """Return what makes HTML in a module: tags in texts that are no docstrings, and calls that escape."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = None  # a docstring
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _TAG.search(node.value):
            yield f"line {node.lineno}: {node.value!r}"
        if isinstance(node, ast.Call):
            made = getattr(getattr(node.func, "value", None), "id", "")
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if (made, name) in _MAKERS:
                yield f"line {node.lineno}: {name}()"
        if isinstance(node, ast.ImportFrom) and node.module in ("html", "markupsafe"):
            yield from (f"line {node.lineno}: {each.name}" for each in node.names if each.name == "escape")


@pytest.mark.parametrize(
    "source",
    [
        'x = f"<td>{y}</td>"',
        "x = '<p class=\"empty\">'",
        "x = html.escape(y)",
        "x = Markup(y)",
        "from html import escape",
    ],
)
def test_the_search_for_html_finds_it(source: str) -> None:
    assert list(homemade(source))


def test_what_is_no_html_is_not_found() -> None:
    source = '"""Return <p>."""\nx = "%{y:.2f}<extra></extra><br>"\ny = "<SYMBOL>_<version>.joblib"\n'
    assert not list(homemade(source))


@pytest.mark.no_cover
def test_only_the_kit_writes_html() -> None:
    found = {}
    for folder in ("src", "research", "certify", "operations", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if name != KIT and name not in _OTHER and (lines := list(homemade(path.read_text("utf-8")))):
                found[name] = lines
    assert not found
