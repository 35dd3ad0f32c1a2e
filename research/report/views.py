"""What a notebook shows of the objects that the library hands out: the pieces of the pages, small.

An object's `_repr_html_` is one of these; what has more to say has `plot()` and a table, too. Objects of
`lockstep` reach this module as `lockstep.views`, since they may not import what is built on them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.models.listing import evidence_words
from lockstep.models.tasks import described
from research.report import page, sections
from research.report.data import ReportData, floats
from research.report.page import UNDEFINED, Tile, count, fragment, percent, ratio, usd
from research.report.theme import PAPER
from research.report.thinning import thin

if TYPE_CHECKING:
    from lockstep.market.bars import Bars
    from lockstep.market.quality import QualityReport
    from lockstep.models.bundle import Bundle
    from lockstep.models.manifest import Manifest
    from lockstep.models.verbs import Change
    from lockstep.monitoring.parity import ParityComparison
    from lockstep.strategy.config import StrategyConfig

_POINTS = 400
_LAST_BARS = 5
_MOST_NOTES = 6


def on_paper(drawn: go.Figure) -> go.Figure:
    """Return a figure of a page for a notebook, whose background may be of any colour."""
    drawn.update_layout(paper_bgcolor=PAPER, plot_bgcolor=PAPER, margin={"l": 16, "r": 20, "t": 24, "b": 16})
    return drawn


def tear_sheet(report: ReportData) -> str:
    """Return header, caveats and key figures of a report, and its equity as a line."""
    equity = floats(report.equity, "equity")
    return fragment(
        sections.header(report),
        page.caveats("Before you read the numbers", report.notes[:_MOST_NOTES]),
        sections.key_figures(report),
        page.grid(
            [
                page.card(
                    "Equity",
                    page.sparkline("equity", equity[thin(equity, _POINTS)].tolist(), level=report.capital),
                    caption=f"Costs included, from {usd(report.capital)} (dotted). "
                    "plot() draws it with its drawdowns, save() writes the tear sheet.",
                    classes="wide",
                )
            ]
        ),
    )


def bars(found: Bars) -> str:
    """Return symbol, dates and the last bars of a history."""
    head = ("bar end, UTC", "open", "high", "low", "close", "volume")
    last = found.to_frame().tail(_LAST_BARS)
    rows = [
        (f"{end:%Y-%m-%d %H:%M}", *(f"{value:,.10g}" for value in values))
        for end, *values in last[list(head[1:])].itertuples()
    ]
    dates = found.end.astype("datetime64[ns]").astype("datetime64[D]")
    span = f"{dates[0]} to {dates[-1]}" if len(found) else "no bars"
    return fragment(
        page.header(found.symbol, f"{found.timeframe} bars", (span, f"{count(len(found))} bars")),
        _wide("The last bars", page.table(head, rows), "to_frame() has them all."),
    )


def quality(found: QualityReport) -> str:
    """Return what is suspicious in a series."""
    rows = [(each.kind, page.prose(each.sentence)) for each in found.findings]
    table = (
        page.table(("finding", page.prose("what it says")), rows) if rows else page.empty_block("Nothing.")
    )
    return fragment(
        page.header(
            found.symbol,
            f"quality of {found.timeframe} bars",
            (
                f"{found.first} to {found.last}",
                f"{count(found.bars)} bars",
                f"quality {found.shown_score} of 100",
            ),
            badge=f"opens equal to the previous close: {percent(found.stale_open_share)}",
        ),
        _wide("What was found", table, ""),
    )


def strategy(config: StrategyConfig) -> str:
    """Return a configuration: what differs from the defaults, as YAML."""
    return fragment(
        page.header(config.name, type(config).__name__, (f"decides on {', '.join(config.feature_ids)}",)),
        _wide("Configuration", page.listing(config.to_yaml()), ""),
    )


def bundle(found: Bundle) -> str:
    """Return what a bundle is: strategy, model, features, measures."""
    tiles = [
        Tile("Version", found.version or "not registered", f"SHA-256 {found.sha256[:12] or UNDEFINED}"),
        Tile("Answers", found.output, described(found.task, found.output, found.horizon))
        if found.of_zoo
        else Tile("Threshold", ratio(found.threshold), "an entry needs at least this probability"),
        Tile("Features", count(len(found.feature_ids)), "in the order of the model's columns"),
        Tile("Golden vectors", count(len(found.golden.stamps)), "must come out again wherever it is used"),
    ]
    caveats = (
        [
            f"The source of {', '.join(found.changed_features)} has changed since training: certify this "
            "version again before it trades."
        ]
        if found.needs_certificate
        else []
    )
    measures = {name: _written(value) for name, value in found.metrics.items()}
    facts = {"features": ", ".join(found.feature_ids), **_flat(found.training)}
    return fragment(
        page.header(
            found.symbol,
            f"bundle {found.version}".strip(),
            (_model_name(found.pipeline),),
            lead=found.target if found.of_zoo else str(_strategy_name(found.strategy)),
        ),
        page.caveats("Before you use it", caveats),
        page.key_figures(tiles),
        page.grid(
            [
                *([page.card("Measures", page.provenance(measures))] if measures else []),
                page.card("Depends on", page.provenance(facts), classes="" if measures else "wide"),
            ]
        ),
    )


def manifest(found: Manifest) -> str:
    """Return the versions of a store, the newest last."""
    head = ("model", "version", "task", "status", "trained on", "threshold", "evidence")
    rows = [
        (
            f"{symbol} {name}",
            page.strong(version) if version == model.production else version,
            described(entry.task, entry.output, entry.horizon),
            entry.status,
            " to ".join(entry.training_range) if entry.training_range else "",
            ratio(entry.threshold),
            evidence_words(entry),
        )
        for symbol, models in found.instruments.items()
        for name, model in models.items()
        for version, entry in model.versions.items()
    ]
    table = page.table(head, rows) if rows else page.empty_block("No version is registered.")
    history = f"{len(found.history)} entries of history"
    return fragment(page.header("Model store", history), _wide("Versions", table, "Bold: in production."))


def change(found: Change) -> str:
    """Return what a promotion or a rollback did."""
    first, *rest = found.lines()
    return fragment(_wide(first, page.notes(rest) if rest else page.joined(), found.reason))


def comparison(found: ParityComparison) -> str:
    """Return how much of two records was compared and what differed."""
    names = ("bars", "values", "probabilities", "orders", "fills")
    tiles = [Tile(name.capitalize(), count(getattr(found, name)), "compared bit for bit") for name in names]
    verdict = f"{count(found.different)} differences" if found.different else "no difference"
    rows = [(str(each), "") for each in found.differences]
    table = page.notes(text for text, _ in rows) if rows else page.empty_block("None.")
    return fragment(
        page.header("Comparison", verdict, (f"{count(found.trades)} trades",), badge=verdict),
        page.key_figures(tiles),
        _wide("Differences", table, ""),
    )


def lookahead(
    traded: object, verdict: str, cuts: Sequence[int], ids: Sequence[str], findings: Sequence[object]
) -> str:
    """Return whether anything moved before a cut of the history, and what."""
    facts = (f"{count(len(ids))} features", f"history changed behind {count(len(cuts))} bars")
    head = page.header(str(traded), "look-ahead check", facts, verdict=verdict, is_loss=bool(findings))
    moved = page.notes(map(str, findings)) if findings else page.empty_block("Nothing moved.")
    return fragment(head, _wide("What moved", moved, "Before a cut nothing may move, not by one bit."))


def _wide(title: str, content: Markup, caption: str) -> Markup:
    return page.grid([page.card(title, content, caption=caption, classes="wide")])


def _model_name(pipeline: Any) -> str:
    if pipeline is None:
        return "without a model"
    steps = getattr(pipeline, "steps", None)
    return type(steps[-1][1] if steps else pipeline).__name__


def _strategy_name(strategy: Mapping[str, Any]) -> object:
    return strategy.get("config", {}).get("name", strategy.get("family", ""))


def _flat(values: Mapping[str, Any]) -> dict[str, str]:
    """Return what a fit depended on as texts; a whole configuration is told by its hash beside it."""
    return {name.replace("_", " "): _text(value) for name, value in values.items() if name != "config"}


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " to ".join(map(str, value))
    return str(value)


def _written(value: float) -> str:
    if not math.isfinite(value):
        return UNDEFINED
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
