"""The feature check as a page: one HTML file that needs nothing else, the same bytes for the same values."""

from __future__ import annotations

from pathlib import Path

from plotly.offline import get_plotlyjs

from lockstep.errors import DataError
from lockstep.market.files import write_atomically
from research.report.numbers import count, ratio
from research.report.page import card, escaped, figure_block, table
from research.report.style import SCRIPT, STYLE
from research.validation.feature_comparison import FLOOR, TOLERANCE, FeatureComparison
from research.validation.feature_figure import comparison_figure
from research.validation.feature_tables import LISTED

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
    write_atomically(path, page(check))
    return path


def page(check: FeatureComparison) -> str:
    """Return the page."""
    instrument = check.market.instrument
    cards = "".join(
        (
            card(
                "Price, volume and features",
                figure_block("features", comparison_figure(check), empty=""),
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
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(instrument.symbol)} {check.month} · features</title>"
        f"<style>{STYLE}</style></head>\n<body><main>"
        f"<header><h1>{escaped(instrument.symbol)}<small>{escaped(instrument.name)}</small></h1>"
        f'<p class="facts"><b>Feature check</b><span>{check.month}</span><span>{check.timeframe} bars</span>'
        f"<span>against {escaped(check.against)}</span></p>"
        f'<p class="{"" if check.passed else "loss"}"><b>{escaped(check.verdict)}</b></p></header>'
        f'<div class="grid">{cards}</div>'
        "<noscript>The chart needs JavaScript; the tables do not.</noscript></main>\n"
        f"<script>{get_plotlyjs()}</script>\n<script>{SCRIPT}</script></body></html>\n"
    )


def _rule() -> str:
    return (
        f"Two values agree within {TOLERANCE:.0%} of the larger one; differences up to {FLOOR:.0%} of the "
        "feature's declared range always do."
    )


def _counts(check: FeatureComparison) -> str:
    rows = [
        (escaped(feature), *(count(int(value)) for value in counts))
        for feature, counts in check.counts.iterrows()
    ]
    return _scrolling(
        ("feature", "bars", "compared", "out of tolerance", "missing here", "missing there"), rows
    )


def _outside(check: FeatureComparison) -> str:
    if check.outside.empty:
        return '<p class="empty">None.</p>'
    rows = [
        (f"{bar} {escaped(feature)}", *(ratio(value, _DIGITS) for value in values))
        for bar, feature, *values in check.outside.head(LISTED).itertuples(index=False)
    ]
    more = len(check.outside) - LISTED
    rest = f'<p class="caption">{count(more)} more are not listed.</p>' if more > 0 else ""
    return _scrolling(("value", "ours", "theirs", "difference", "allowed"), rows) + rest


def _scrolling(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return f'<div class="scroll">{table(head, rows)}</div>'
