"""The risk page: the same for a desk and for research, with a part for every plug."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from markupsafe import Markup

from lockstep.portfolio.var import DEFAULT, TailRisk
from research.report import page
from research.report.page import Tile, coloured, count, percent, ratio, table, usd
from research.report.section import Sections, cards
from research.risk import figures
from research.risk.forecasts import JudgedForecasts
from research.risk.measured import OWN, TODAY, RiskReport
from research.risk.written import JUDGED_NAMES, METHOD_NAMES, TEST_NAMES, confidence
from research.statistics.var_backtests import ALARM, VarBacktest

LEVELS, LANES, BACKTESTS = "Value at risk and expected shortfall", "By lane", "Backtests"
SECTIONS: Sections[RiskReport] = Sections("the risk page")
"""Cards of value at risk; the parts of the plugs follow them."""


def write_risk_page(report: RiskReport, path: Path, *, shared_js: Path | None = None) -> Path:
    """Write the page of a report to `path` and return it; `shared_js` as of `page.write_page`."""
    return page.write_page(path, f"{report.subject.name} · risk", _body(report), shared_js=shared_js)


def risk_html(report: RiskReport) -> str:
    """Return the page, self-contained."""
    return page.document(f"{report.subject.name} · risk", _body(report))


def risk_fragment(report: RiskReport) -> str:
    """Return what a notebook shows: header, key figures, methods and lanes."""
    shown = [each.card(report) for each in SECTIONS.values() if each.part in (LEVELS, LANES)]
    return page.fragment(*_top(report), page.grid(shown))


def _body(report: RiskReport) -> Markup:
    parts = [page.part(part.title, part.cards) for part in report.parts.values()]
    return page.joined(*_top(report), cards(SECTIONS, report), page.grid(parts) if parts else "")


def _top(report: RiskReport) -> tuple[Markup, Markup, Markup]:
    subject = report.subject
    held = ", ".join(f"{symbol} {size:+g}" for symbol, size in subject.positions.items() if size) or "flat"
    waiting = ", ".join(f"{symbol} {size:+g}" for symbol, size in subject.reserved.items() if size)
    head = page.header(
        subject.name,
        f"Risk of the {'desk' if subject.kind == 'desk' else 'portfolio'} in the next session",
        [
            held,
            *([f"reserved: {waiting}"] if waiting else []),
            f"{usd(subject.capital)} capital",
            f"{len(subject.dates):,} common sessions, {subject.dates[0]} to {subject.dates[-1]}",
        ],
        lead=f"after {subject.as_of}",
    )
    caveats = page.caveats("Before you read the numbers", list(subject.notes))
    return head, caveats, page.key_figures(_tiles(report))


def _tiles(report: RiskReport) -> list[Tile]:
    capital, found = report.subject.capital, []
    for tail in report.tails:
        for name, value in zip(("VaR", "Expected shortfall"), report.level(tail), strict=True):
            found.append(
                Tile(f"{name} {confidence(tail)}", usd(value), f"{percent(value / capital, 2)} of capital")
            )
    tail = min(report.tails)
    judged = report.judged_of(OWN).get(tail)
    if judged is not None:
        tested = judged.backtest
        rejected = len(tested.rejected)
        note = f"{ratio(tested.expected, 1)} expected; {rejected} of {len(tested.tests)} tests reject"
        found.append(Tile(f"Violations {confidence(tail)}", count(tested.hits), note, rejected > 0))
    return found


def levels(report: RiskReport) -> Markup:
    """Return value at risk and expected shortfall by method, and of the account's own P&L."""
    head = ["Method", *(f"{name} {confidence(tail)}" for tail in report.tails for name in ("VaR", "ES"))]
    rows = [
        (METHOD_NAMES[method] + (" (default)" if method == DEFAULT else ""), *_level_cells(report, each))
        for method, each in report.levels.items()
    ]
    foot = ("Own P&L, historical", *_level_cells(report, report.own))
    return page.joined(table(head, rows, foot=foot), *_refusals(report))


def _level_cells(report: RiskReport, found: Mapping[float, TailRisk | str]) -> list[str]:
    cells: list[str] = []
    for tail in report.tails:
        each = found[tail]
        cells += [page.UNDEFINED] * 2 if isinstance(each, str) else [usd(each.var), usd(each.es)]
    return cells


def _refusals(report: RiskReport) -> list[Markup]:
    sentences = [
        f"{METHOD_NAMES[method]} {confidence(tail)}: {found}"
        for method, each in report.levels.items()
        for tail, found in each.items()
        if isinstance(found, str)
    ]
    return [page.notes(sentences)] if sentences else []


def by_lane(report: RiskReport) -> Markup:
    """Return risk by lane at every confidence."""
    tables = []
    for tail in report.tails:
        found = report.lanes[tail]
        head = (
            f"At {confidence(tail)}", "Contracts", "Reserved", "Component VaR", "Component ES", "Share of ES",
            "One more contract: ES", "Without it: ES", "Alone: ES",
        )  # fmt: skip
        rows = [
            (
                symbol,
                ratio(report.subject.positions[symbol], 10).rstrip("0").rstrip("."),
                ratio(report.subject.reserved.get(symbol, 0.0), 10).rstrip("0").rstrip("."),
                coloured(usd(float(found.component_var[place]))),
                coloured(usd(float(found.component_es[place]))),
                percent(float(found.component_es[place]) / found.total.es if found.total.es else None),
                usd(float(found.marginal_es[place])),
                usd(-float(found.incremental_es[place])),
                usd(float(found.alone_es[place])),
            )
            for place, symbol in enumerate(found.symbols)
        ]
        whole = percent(1.0 if found.total.es else None)
        total = found.total
        foot = ("All", "", "", usd(total.var), usd(total.es), whole, "", "", usd(found.alone_es.sum()))
        tables.append(table(head, rows, foot=foot))
    return page.joined(*tables)


def tests_table(report: RiskReport, whose: str) -> Markup:
    """Return the tests of one kind of forecasts, a column for each confidence."""
    found = report.judged_of(whose)
    every = report.judged[whose].items()
    refused = [f"{confidence(tail)}: {each}" for tail, each in every if isinstance(each, str)]
    if not found:
        return page.empty_block(" ".join(refused))
    head = ["Test", *(f"{name} {confidence(tail)}" for tail in found for name in ("Statistic", "p-value"))]
    rows = [
        (TEST_NAMES[name], *(cell for each in found.values() for cell in _test_cells(each.backtest, name)))
        for name in TEST_NAMES
    ]
    evidence = (cell for each in found.values() for cell in _evidence_cells(each))
    rows.append((f"E-process, alarm at {ALARM:g}", *evidence))
    foot = ["Violations, expected"]
    for each in found.values():
        foot += [count(each.backtest.hits), ratio(each.backtest.expected, 1)]
    return page.joined(table(head, rows, foot=foot), *([page.notes(refused)] if refused else []))


def _test_cells(tested: VarBacktest, name: str) -> tuple[str, str]:
    each = tested.tests[name]
    shown = f"{each.p_value:.3f}"
    return ratio(each.statistic), page.failed(shown) if each.is_rejected else shown


def _evidence_cells(found: JudgedForecasts) -> tuple[str, str]:
    tested = found.backtest
    if tested.alarm is None:
        return ratio(float(tested.evidence.max())), "no alarm"
    return page.failed(ratio(float(tested.evidence.max()))), page.failed(str(found.dates[tested.alarm]))


def _judged_caption(whose: str, report: RiskReport) -> str:
    spans = [
        f"{confidence(tail)}: {found.backtest.sessions:,} sessions, {found.dates[0]} to {found.dates[-1]}."
        for tail, found in report.judged_of(whose).items()
    ]
    told = "Forecasts of each session as of the evening before; p-values by simulation, below 5 % in bold."
    return " ".join([*spans, told] if spans else spans)


def _is_exposed(report: RiskReport) -> bool:
    return bool(np.any(report.subject.exposed))


SECTIONS.add(
    LEVELS, "By method", levels, wide=True,
    caption="The loss in USD that the next session exceeds with the rest of the probability, and the mean "
    "loss where it does. Of the positions after the newest bar set and of entries that wait to fill; own "
    "P&L is what the account has made, whatever it held.",
)  # fmt: skip
SECTIONS.figure(
    LEVELS, "What the next session may bring", "scenarios", figures.scenarios, shown=_is_exposed, wide=True,
    empty="Nothing is at risk.",
    caption="What today's positions, reserved entries included, would earn in the sessions of two years, "
    "each rescaled to the volatility of today. Dashed: value at risk; dotted: expected shortfall.",
)  # fmt: skip
SECTIONS.add(
    LANES, "Risk by lane", by_lane, wide=True, shown=_is_exposed,
    caption="Components add up to the whole (Euler); below zero, a lane makes the whole safer. One more "
    "contract: what a contract bought would add at the margin. Without it: what would change if the position "
    "were closed. Alone: what it would be without the others; the sum says what diversification saves.",
)  # fmt: skip
SECTIONS.figure(
    LANES, "Components of expected shortfall", "components", figures.components, shown=_is_exposed,
    empty="Nothing is at risk.", caption="By lane, as shares of the whole.", wide=True,
)  # fmt: skip
for _whose in (OWN, TODAY):
    SECTIONS.add(
        BACKTESTS, JUDGED_NAMES[_whose], partial(tests_table, whose=_whose), wide=True,
        caption=partial(_judged_caption, _whose),
    )  # fmt: skip
SECTIONS.figure(
    BACKTESTS, "Forecasts and results", "forecasts", figures.forecasts, fit=True, wide=True,
    empty="Too few sessions to judge forecasts.",
    caption="Result of each session that began with a position, and the value at risk that was forecast for "
    "it; marked: losses beyond it.",
)  # fmt: skip
SECTIONS.figure(
    BACKTESTS, "Evidence against the forecasts", "evidence", figures.evidence, wide=True,
    empty="Too few sessions to judge forecasts.",
    caption="The e-process of Wang, Wang and Ziegel: what a bet on losses beyond the expected shortfall "
    "would have won. Right forecasts ever reach 20 (dotted) with a probability of at most 5 %: it may be "
    "looked at every day.",
)  # fmt: skip
