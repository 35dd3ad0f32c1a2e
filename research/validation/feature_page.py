"""The feature check as a page: one HTML file that needs nothing else, the same bytes for the same values."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from lockstep.errors import DataError
from lockstep.market.files import write_atomically
from research.report.numbers import count, ratio
from research.report.page import (
    card,
    document,
    empty_block,
    figure_block,
    grid,
    header,
    joined,
    paragraph,
    table,
)
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
