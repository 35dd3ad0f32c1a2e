"""The validation report: every check with its verdict, as a page and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.monitoring.frozen import FrozenReference
from research.backtest.account import Account
from research.model_validation.case import ModelCase, ValidationCase
from research.model_validation.checks import CHECKS
from research.model_validation.report_gain import gain_figures, gain_lines, lots_histogram, scaled
from research.model_validation.report_reference import reference_card, reference_facts
from research.report import page
from research.report.page import (
    UNDEFINED,
    Tile,
    card,
    count,
    document,
    failed,
    fragment,
    grid,
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
from research.report.views import on_paper
from research.statistics.gate import Check, GateVerdict
from research.statistics.sharpe import SharpeSample, probabilistic_sharpe
from research.statistics.verdict import VerdictLine, of_checks
from research.training.acceptance import loosened
from research.training.report import replace_text
from research.training.report_sections import environment, provenance_of, unbroken

SCHEMA = 1
# The checks that ask whether there is anything, by name: those of a model's gain, and luck after all trials.
AGAINST_THE_BENCHMARK = ("gain", "random veto", "ROC area", "deflated Sharpe")
_SIZE = 0.05
_DRIFTS = "it earns, but what the model adds to its strategy may be luck: "
_DIGITS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class ValidationReport:
    """A judged version.

    promoted    whether it is in production already
    reference   what a desk will be held to; None: `unfrozen` says why there is none
    """

    case: ValidationCase
    verdict: GateVerdict
    promoted: bool = False
    reference: FrozenReference | None = None
    unfrozen: str = "Nothing was frozen."

    @property
    def line(self) -> VerdictLine:
        """The verdict in one of four words, with a reason; see `research.statistics.verdict`.

        A model is tested against its strategy without it, a strategy without a model against luck alone.
        """
        sample = SharpeSample.of_blocks(self.case.account.returns) if self._is_long_enough else None
        return of_checks(
            self.verdict,
            AGAINST_THE_BENCHMARK,
            profit=sample is not None and 1.0 - probabilistic_sharpe(sample) <= _SIZE,
            drifts=_DRIFTS if isinstance(self.case, ModelCase) else "",
            promoted=self.promoted,
            waiting="every check passed; the parity certificate and `lockstep promote` are next",
        )

    @property
    def _is_long_enough(self) -> bool:
        returns = self.case.account.returns
        return returns.size >= 8 and bool(np.isfinite(returns).all())

    @property
    def name(self) -> str:
        """Symbol and version: names the files."""
        return f"{self.case.bundle.symbol}_{self.case.bundle.version}-validation"

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return self.verdict.passed

    @property
    def table(self) -> pd.DataFrame:
        """One row per check: whether it passed, what was measured, its limit, and a sentence."""
        rows = [
            {"passed": each.passed, "measured": each.value, "limit": each.limit, "found": each.sentence}
            for each in self.verdict.checks
        ]
        return pd.DataFrame(rows, index=pd.Index([each.name for each in self.verdict.checks], name="check"))

    def plot(self) -> go.Figure:
        """Return the accounts in and out of sample, and that of production where there is one."""
        return on_paper(_accounts(self.case))

    def _repr_html_(self) -> str:
        checks = card("Checks", _checks(self.verdict), caption=_caption(self.verdict), classes="wide")
        return fragment(_header(self), _key_figures(self.case), grid([checks]))


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
        "looser_than_shipped": list(loosened(report.case.acceptance)),
        "champion": None if report.case.champion is None else report.case.champion.version,
        "trials": report.case.trials,
        **_judged_on(report.case),
        "reference": None if report.reference is None else reference_facts(report.reference),
        "provenance": _provenance(report.case),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _judged_on(case: ValidationCase) -> dict[str, dict[str, Any]]:
    """Return the measures of the accounts, by what they are of."""
    found = {name.replace(" ", "_"): account.measures for name, account in case.compared.items()}
    return {name: {**_dates(case), **_finite(measures)} for name, measures in found.items()}


def _provenance(case: ValidationCase) -> dict[str, str]:
    if isinstance(case, ModelCase):
        return provenance_of(case.outcome)
    named = {f"{name.removeprefix('release ')} of the release": value for name, value in case.hashes.items()}
    return {"strategy config": case.bundle.strategy["config_hash"], **named, **environment()}


def _dates(case: ValidationCase) -> dict[str, str]:
    return {"first": str(case.span.start), "last": str(case.span.end)}


def _finite(measures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in measures.items()}


def _check(found: Check) -> dict[str, Any]:
    return {
        "name": found.name,
        "about": CHECKS[found.name].group,
        "passed": found.passed if found.applies else None,
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
    refused = f"refused by {len(verdict.refusals)} of {len(verdict.applicable)} checks"
    span, veto, (judged, *_) = report.case.span, bundle.threshold, report.case.compared
    return page.header(
        f"{bundle.symbol} {bundle.version}",
        "validation",
        (
            f"bundle {bundle.sha256[:12]}",
            f"{judged} {span.start} to {span.end}",
            "no model" if veto is None else f"threshold {ratio(veto)}",
        ),
        badge="passed every check" if verdict.passed else refused,
        verdict=str(report.line),
        is_loss=report.line.is_loss,
    )


def _key_figures(case: ValidationCase) -> Markup:
    (name_of, own), (beside, other) = case.compared.items()
    first = gain_figures(case) if isinstance(case, ModelCase) else ()
    out, inside = own.measures, other.measures
    dates = f"{case.span.start} to {case.span.end}"
    shown = (
        (f"Sharpe {name_of}", ratio, "sharpe"),
        (f"Trades {name_of}", count, "trades"),
        (f"Profit factor {name_of}", ratio, "profit_factor"),
        (f"Max drawdown {name_of}", percent, "max_drawdown"),
    )
    tiles = [
        *(
            (title, written(out[name]), f"{beside} {written(inside[name])}; {unbroken(dates)}")
            for title, written, name in shown
        ),
    ]
    if not first:
        tiles.append(("Deflated Sharpe", percent(case.deflation.dsr), f"after {count(case.trials)} trials"))
    return page.key_figures((*first, *(Tile(*tile) for tile in tiles)))


def _checks(verdict: GateVerdict) -> Markup:
    asked = {each.name: each.asks for each in CHECKS.values()}
    rows = [
        (
            joined(strong(found.name), page.small(asked[found.name])),
            prose(CHECKS[found.name].group),
            prose(found.sentence),
            _value(found.value),
            _value(found.limit),
            _outcome(found),
        )
        for found in verdict.checks
    ]
    head = ("check", prose("about"), prose("what was found"), "measured", "limit", "outcome")
    return table(head, rows, classes="explained")


def _outcome(found: Check) -> str:
    if not found.applies:
        return "not applicable"
    return "passed" if found.passed else failed("failed")


def _value(value: float) -> str:
    if math.isinf(value):
        return "∞"
    return UNDEFINED if math.isnan(value) else f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _caption(verdict: GateVerdict) -> str:
    passed, asked = sum(found.passed for found in verdict.applicable), len(verdict.applicable)
    left = len(verdict.checks) - asked
    unasked = f" {left} more do not apply: they ask about a model, and this version has none." if left else ""
    return f"{passed} of {asked} passed. What was not measured has not passed.{unasked}"


def _accounts(case: ValidationCase) -> go.Figure:
    drawn = figure(380, hovermode="x unified")
    (own, judged), (beside, other) = case.compared.items()
    shown: list[tuple[str, Account, str]] = [(beside, other, BAR), (own, judged, GAIN)]
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


def _notes(case: ValidationCase) -> list[str]:
    sentences = [*_loosened(case), *_estimate(case)]
    if case.champion is not None:
        sentences.append(f"Production is {case.champion.version}, judged by {case.champion.how}.")
    if case.bundle.needs_certificate:
        sentences.append(
            f"The source of {', '.join(case.bundle.changed_features)} has changed since training, its values "
            "have not: trade it after a fresh parity certificate only."
        )
    return sentences


def _loosened(case: ValidationCase) -> list[str]:
    found = loosened(case.acceptance)
    return [f"Judged by looser limits than the shipped ones: {', '.join(found)}."] if found else []


def _estimate(case: ValidationCase) -> list[str]:
    """Say what the figures estimate, and what they do not."""
    if isinstance(case, ModelCase):
        return [
            *case.outcome.idle,
            "The estimate is that of the outer windows, as one account over all of them in order. The bundle "
            "is another model, fitted on all samples before the hold-out with the same procedure; only the "
            "hold-out has never been seen by it.",
        ]
    return [
        "This version has no model: its strategy trades as it is. Nothing was fitted, so nothing here is out "
        "of sample in that sense. The strategy may have been chosen on the very dates that are shown; the "
        "deflated Sharpe ratio counts every trial of the family against it, and only the hold-out is free of "
        "that choice.",
    ]


def _differing(case: ValidationCase) -> str:
    if isinstance(case, ModelCase):
        return (
            "Out of sample: models of the outer windows, which had not seen these dates. In sample: "
            "the bundle itself, which was fitted on them."
        )
    return "The strategy as configured, and the same with twice the commission and slippage."


def _origin(case: ValidationCase) -> dict[str, str]:
    return {"bundle": case.bundle.sha256, **_provenance(case)}


def _model(report: ValidationReport) -> ModelCase:
    assert isinstance(report.case, ModelCase)
    return report.case


SECTIONS: Sections[ValidationReport] = Sections("the validation report")
"""Every card of the validation report, in the order of the page."""
SECTIONS.figure(
    "",
    "What the veto adds",
    "gain",
    lambda report: gain_lines(_model(report)),
    caption=lambda report: scaled(_model(report)),
    shown=lambda report: isinstance(report.case, ModelCase),
    wide=True,
)
SECTIONS.figure(
    "",
    "Against lots",
    "lots",
    lambda report: lots_histogram(_model(report)),
    empty="Every veto that draws lots lets the same trades through: this one decides nothing.",
    caption="Vetoes that let as many signals of each window through, at random; one position at a time.",
    shown=lambda report: isinstance(report.case, ModelCase),
    wide=True,
)
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
    title=lambda report: (
        "Same dates, other " + ("knowledge" if isinstance(report.case, ModelCase) else "costs")
    ),
    caption=lambda report: _differing(report.case),
    wide=True,
)
SECTIONS.add(
    "",
    "Frozen reference",
    lambda report: reference_card(report.reference, report.unfrozen),
    caption="What a desk that trades this version is held to. ALARM bets that the mean has fallen below the "
    "floor, WATCH that it has fallen below the estimate.",
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
