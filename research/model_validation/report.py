"""The validation report: every check with its verdict, as a page and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from research.backtest.account import Account
from research.model_validation.case import Case
from research.model_validation.checks import CHECKS
from research.report import page
from research.report.page import (
    UNDEFINED,
    Tile,
    count,
    document,
    failed,
    joined,
    notes,
    percent,
    plain,
    prose,
    provenance,
    ratio,
    strong,
    table,
)
from research.report.section import Sections, cards
from research.report.theme import ACCENT, BAR, GAIN, MUTED, axis, figure, time_axis, titled
from research.statistics.gate import Check, Verdict
from research.training.report import replace_text
from research.training.report_sections import provenance_of, unbroken

SCHEMA = 1
_DIGITS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class ValidationReport:
    """A judged model."""

    case: Case
    verdict: Verdict

    @property
    def name(self) -> str:
        """Symbol and version: names the files."""
        return f"{self.case.bundle.symbol}_{self.case.bundle.version}-validation"


def write_validation(report: ValidationReport, folder: Path) -> tuple[Path, Path]:
    """Write the page and the JSON into `folder`, made where missing; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = replace_text(folder / f"{report.name}.json", validation_json(report))
    return replace_text(folder / f"{report.name}.html", validation_html(report)), numbers


def validation_json(report: ValidationReport) -> str:
    """Return the verdict as JSON; null where a value was not measured. No time, host or path is in it."""
    bundle = report.case.bundle
    content = {
        "schema_version": SCHEMA,
        "symbol": bundle.symbol,
        "version": bundle.version,
        "bundle_sha256": bundle.sha256,
        "passed": report.verdict.passed,
        "checks": [_check(each) for each in report.verdict.checks],
        "champion": None if report.case.champion is None else report.case.champion.version,
        "trials": report.case.trials,
        "out_of_sample": {**_dates(report.case), **_finite(report.case.filtered.measures)},
        "in_sample": {**_dates(report.case), **_finite(report.case.in_sample.measures)},
        "provenance": provenance_of(report.case.outcome),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _dates(case: Case) -> dict[str, str]:
    return {"first": str(case.span.start), "last": str(case.span.end)}


def _finite(measures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in measures.items()}


def _check(found: Check) -> dict[str, Any]:
    return {
        "name": found.name,
        "passed": found.passed,
        "value": _number(found.value),
        "limit": _number(found.limit),
        "sentence": found.sentence,
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def validation_html(report: ValidationReport) -> str:
    """Return the page."""
    case = report.case
    title = f"{case.bundle.symbol} {case.bundle.version} · validation"
    return document(title, joined(_header(report), _key_figures(case), cards(SECTIONS, report)))


def _header(report: ValidationReport) -> Markup:
    bundle, verdict = report.case.bundle, report.verdict
    refused = f"refused by {len(verdict.refusals)} of {len(verdict.checks)} checks"
    span = report.case.span
    return page.header(
        f"{bundle.symbol} {bundle.version}",
        "validation",
        (
            f"bundle {bundle.sha256[:12]}",
            f"out of sample {span.start} to {span.end}",
            f"threshold {ratio(bundle.threshold)}",
        ),
        badge="passed every check" if verdict.passed else refused,
    )


def _key_figures(case: Case) -> Markup:
    out, inside = case.filtered.measures, case.in_sample.measures
    dates = f"{case.span.start} to {case.span.end}"
    shown = (
        ("Sharpe out of sample", ratio, "sharpe"),
        ("Trades out of sample", count, "trades"),
        ("Profit factor out of sample", ratio, "profit_factor"),
        ("Max drawdown out of sample", percent, "max_drawdown"),
    )
    tiles = [
        *(
            (title, written(out[name]), f"in sample {written(inside[name])}; {unbroken(dates)}")
            for title, written, name in shown
        ),
        ("Deflated Sharpe", percent(case.deflation.dsr), f"after {count(case.trials)} trials"),
    ]
    return page.key_figures(Tile(*tile) for tile in tiles)


def _checks(verdict: Verdict) -> Markup:
    asked = {each.name: each.asks for each in CHECKS.values()}
    rows = [
        (
            joined(strong(found.name), page.small(asked[found.name])),
            prose(found.sentence),
            _value(found.value),
            _value(found.limit),
            "passed" if found.passed else failed("failed"),
        )
        for found in verdict.checks
    ]
    head = ("check", prose("what was found"), "measured", "limit", "outcome")
    return table(head, rows, classes="explained")


def _value(value: float) -> str:
    if math.isinf(value):
        return "∞"
    return UNDEFINED if math.isnan(value) else f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _caption(verdict: Verdict) -> str:
    passed = sum(found.passed for found in verdict.checks)
    return f"{passed} of {len(verdict.checks)} passed. What was not measured has not passed."


def _accounts(case: Case) -> go.Figure:
    drawn = figure(380, hovermode="x unified")
    shown: list[tuple[str, Account, str]] = [
        ("in sample", case.in_sample, BAR),
        ("out of sample", case.filtered, GAIN),
    ]
    if case.champion is not None:
        shown.append((f"production, {case.champion.version}", case.champion.account, ACCENT))
    for name, account, colour in shown:
        drawn.add_scatter(
            x=np.datetime_as_string(account.sessions).tolist(),
            y=(account.session_equity - account.capital).round(2).tolist(),
            name=plain(name),
            line={"color": colour, "width": 1.6},
            hovertemplate="$%{y:,.0f}",
        )
    drawn.update_layout(
        xaxis=time_axis(),
        yaxis=axis(tickformat="$~s", title=titled("P&L"), zeroline=True, zerolinecolor=MUTED),
        showlegend=True,
    )
    return drawn


def _notes(case: Case) -> list[str]:
    sentences = [
        *case.outcome.idle,
        "The estimate is that of the outer windows, as one account over all of them in order. The bundle is "
        "another model, fitted on all samples before the hold-out with the same procedure; only the hold-out "
        "has never been seen by it.",
    ]
    if case.champion is not None:
        sentences.append(f"Production is {case.champion.version}, judged by {case.champion.how}.")
    if case.bundle.needs_certificate:
        sentences.append(
            f"The source of {', '.join(case.bundle.changed_features)} has changed since training, its values "
            "have not: trade it after a fresh parity certificate only."
        )
    return sentences


def _origin(case: Case) -> dict[str, str]:
    return {"bundle": case.bundle.sha256, **provenance_of(case.outcome)}


SECTIONS: Sections[ValidationReport] = Sections("the validation report")
"""Every card of the validation report, in the order of the page."""
SECTIONS.add(
    "",
    "Checks",
    lambda report: _checks(report.verdict),
    caption=lambda report: _caption(report.verdict),
    wide=True,
)
SECTIONS.figure(
    "",
    "Same dates, other knowledge",
    "accounts",
    lambda report: _accounts(report.case),
    caption="Out of sample: models of the outer windows, which had not seen these dates. In sample: "
    "the bundle itself, which was fitted on them.",
    wide=True,
)
SECTIONS.add("", "Notes", lambda report: notes(_notes(report.case)), wide=True)
SECTIONS.add(
    "",
    "Provenance",
    lambda report: provenance(_origin(report.case)),
    caption="What was judged.",
    wide=True,
)
