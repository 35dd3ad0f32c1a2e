"""What is written and printed of a risk report: `risk.json`, tables and sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lockstep.portfolio.var import DEFAULT, TailRisk
from lockstep.tables import TextTable, number, prose
from research.backtest.folder import write_json
from research.risk.forecasts import JudgedForecasts
from research.risk.measured import OWN, TODAY, RiskReport
from research.statistics.var_backtests import ALARM, REJECTED

SCHEMA = 1
JSON, PAGE = "risk.json", "risk.html"
METHOD_NAMES: Mapping[str, str] = {
    "filtered": "Filtered historical",
    "historical": "Historical",
    "normal": "Normal, EWMA",
    "cornish_fisher": "Cornish-Fisher",
}
TEST_NAMES: Mapping[str, str] = {
    "kupiec": "Coverage (Kupiec)",
    "independence": "Independence (Christoffersen)",
    "conditional_coverage": "Conditional coverage (Christoffersen)",
    "shortfall_given_hit": "Depth of violations (Acerbi-Szekely Z1)",
    "shortfall": "Expected shortfall (Acerbi-Szekely Z2)",
}
JUDGED_NAMES: Mapping[str, str] = {
    TODAY: "Today's positions, had they always been held",
    OWN: "Positions of each evening, the account's own P&L",
}
_SHORT = {TODAY: "today's", OWN: "own"}


def confidence(tail: float) -> str:
    """Return a tail as the confidence that people name it by.

    >>> confidence(0.01), confidence(0.025)
    ('99%', '97.5%')
    """
    return f"{100 * (1 - tail):.6g}%"


def risk_content(report: RiskReport) -> dict[str, Any]:
    """Return what `risk.json` holds; numbers in USD, positive for a loss, by confidence in per cent."""
    subject = report.subject
    found: dict[str, Any] = _finite({
        "schema": SCHEMA,
        "kind": subject.kind,
        "name": subject.name,
        "as_of": str(subject.as_of),
        "stamp": subject.stamp,
        "capital": subject.capital,
        "positions": dict(subject.positions),
        "reserved": dict(subject.reserved),
        "sessions": {
            "first": str(subject.dates[0]), "last": str(subject.dates[-1]), "count": len(subject.dates)
        },
        "method": DEFAULT,
        "levels": {
            method: {_key(tail): _level(found) for tail, found in each.items()}
            for method, each in report.levels.items()
        },
        "own": {_key(tail): _level(found) for tail, found in report.own.items()},
        "lanes": {_key(tail): _lanes(report, tail) for tail in report.tails},
        "backtests": {
            whose: {_key(tail): _judged(found) for tail, found in each.items()}
            for whose, each in report.judged.items()
        },
        "seed": report.seed,
        "notes": list(subject.notes),
        "parts": {name: dict(part.content) for name, part in report.parts.items()},
    })  # fmt: skip
    return found


def _finite(value: Any) -> Any:
    """Return plain content for JSON, which has no NaN and no infinity: None stands for them."""
    if isinstance(value, Mapping):
        return {str(name): _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _key(tail: float) -> str:
    return confidence(tail).rstrip("%")


def _level(found: TailRisk | str) -> dict[str, Any]:
    return {"refused": found} if isinstance(found, str) else {"var": found.var, "es": found.es}


def _lanes(report: RiskReport, tail: float) -> dict[str, Any]:
    found = report.lanes[tail]
    columns = ("component", "marginal", "incremental", "alone")
    return {
        symbol: {
            f"{column}_{measure}": float(getattr(found, f"{column}_{measure}")[place])
            for column in columns
            for measure in ("var", "es")
        }
        for place, symbol in enumerate(found.symbols)
    }


def _judged(found: JudgedForecasts | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {"refused": found}
    tested = found.backtest
    return {
        "sessions": tested.sessions,
        "first": str(found.dates[0]),
        "last": str(found.dates[-1]),
        "hits": tested.hits,
        "expected": tested.expected,
        "tests": {
            name: {"statistic": each.statistic, "p_value": each.p_value}
            for name, each in tested.tests.items()
        },
        "evidence": float(tested.evidence[-1]),
        "largest_evidence": float(tested.evidence.max()),
        "alarm": None if tested.alarm is None else str(found.dates[tested.alarm]),
    }


def write_risk(report: RiskReport, folder: Path) -> tuple[Path, Path]:
    """Write `risk.json` and `risk.html` into a folder, each in one step; return both."""
    from research.risk.page import write_risk_page

    folder.mkdir(parents=True, exist_ok=True)
    page = write_risk_page(report, folder / PAGE)
    write_json(folder / JSON, risk_content(report))
    return folder / JSON, page


def levels_table(report: RiskReport) -> TextTable:
    """Return one row a method: value at risk and expected shortfall of each tail, USD."""
    title = f"{report.subject.name}, after {report.subject.as_of}: next session, USD"
    columns = [number(f"{name} {confidence(tail)}") for tail in report.tails for name in ("VaR", "ES")]
    table = TextTable("method", *columns, title=title)
    for method, each in report.levels.items():
        table.add_row(METHOD_NAMES[method], *_cells(each, report.tails))
    table.add_row("own P&L, historical", *_cells(report.own, report.tails))
    return table


def _cells(found: Mapping[float, TailRisk | str], tails: Sequence[float]) -> Iterator[str]:
    for tail in tails:
        each = found[tail]
        values = (math.nan, math.nan) if isinstance(each, str) else each
        yield from ("refused" if math.isnan(value) else f"{value:,.0f}" for value in values)


def lanes_table(report: RiskReport) -> TextTable:
    """Return one row a lane: contracts, and its expected shortfall at the highest confidence."""
    tail = min(report.tails)
    found = report.lanes[tail]
    table = TextTable(
        "symbol", number("held"), number("reserved"), number("component"), number("share"),
        number("one more"), number("without it"), number("alone"),
        title=f"expected shortfall {confidence(tail)} by lane, USD",
    )  # fmt: skip
    for place, symbol in enumerate(found.symbols):
        share = found.component_es[place] / found.total.es if found.total.es else 0.0
        table.add_row(
            symbol, f"{report.subject.positions[symbol]:+g}",
            f"{report.subject.reserved.get(symbol, 0.0):+g}", f"{found.component_es[place]:,.0f}",
            f"{share:.1%}", f"{found.marginal_es[place]:,.0f}", f"{0.0 - found.incremental_es[place]:,.0f}",
            f"{found.alone_es[place]:,.0f}",
        )  # fmt: skip
    return table


def backtests_table(report: RiskReport) -> TextTable:
    """Return one row for each forecast that was judged: violations, and the tests that reject."""
    table = TextTable(
        "forecasts", number("sessions"), number("violations"), number("expected"),
        number("least p"), number("evidence"), prose("rejected by"), title="backtests",
    )  # fmt: skip
    for whose, each in report.judged.items():
        for tail, found in each.items():
            if isinstance(found, str):
                continue
            tested = found.backtest
            least = min(one.p_value for one in tested.tests.values())
            alarm = (f"e-process on {found.dates[tested.alarm]}",) if tested.alarm is not None else ()
            table.add_row(
                f"{_SHORT[whose]} {confidence(tail)}", f"{tested.sessions:,}",
                f"{tested.hits:,}", f"{tested.expected:,.1f}", f"{least:.3f}",
                f"{tested.evidence.max():,.2f}", ", ".join((*tested.rejected, *alarm)) or "nothing",
            )  # fmt: skip
    return table


def risk_lines(report: RiskReport) -> list[str]:
    """Return what could not be measured, what the tests mean, and the sentences of the parts."""
    lines = [
        f"{METHOD_NAMES[method]} {confidence(tail)}: {found}"
        for method, each in report.levels.items()
        for tail, found in each.items()
        if isinstance(found, str)
    ]
    lines += [
        f"{JUDGED_NAMES[whose]}, {confidence(tail)}: {found}"
        for whose, each in report.judged.items()
        for tail, found in each.items()
        if isinstance(found, str)
    ]
    if any(report.judged_of(whose) for whose in report.judged):
        lines.append(
            f"each test rejects right forecasts in {REJECTED:.0%} of cases; the e-process, which may be "
            f"looked at every day, reaches {ALARM:g} in at most {1 / ALARM:.0%}"
        )
    if not report.subject.exposed.any():
        lines.append("no position is open and no entry waits: nothing is at risk")
    return [*lines, *(line for part in report.parts.values() for line in part.lines)]
