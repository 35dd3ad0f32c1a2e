"""Regimes on the risk page: what each lane earned in which regime, and how calm each instrument is now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from lockstep.tables import TextTable, number
from research.report import page
from research.report.page import UNDEFINED, percent, ratio
from research.report.sections_regimes import HOW, regime_table, results_of
from research.risk.section import RiskPart
from research.risk.subject import RiskSubject
from research.statistics.markov import REFIT, WINDOW, turbulent_probabilities
from research.statistics.regimes import RegimeResult, failing_regimes, judged_together

TITLE = "Regimes"


class Regimes:
    """The part of the page: results by regime of each lane, judged together, and each instrument's state."""

    name = "regimes"

    def measure(self, subject: RiskSubject) -> RiskPart | None:
        """Return the part; None where nothing was run and no instrument has a record long enough."""
        lanes = {} if subject.run is None else subject.run.lanes
        found = {symbol: results_of(lane.report_data()) for symbol, lane in lanes.items()}
        results = judged_together({symbol: each for symbol, each in found.items() if each})
        states = {symbol: _state(subject, symbol) for symbol in subject.closes}
        known = {symbol: state for symbol, state in states.items() if state is not None}
        if not results and not known:
            return None
        failing = {symbol: names for symbol, each in results.items() if (names := failing_regimes(each))}
        return RiskPart(
            title=TITLE,
            cards=_cards(results, states),
            content={
                "by_lane": {symbol: [each.plain for each in found] for symbol, found in results.items()},
                "failing": {symbol: list(names) for symbol, names in failing.items()},
                "turbulence_now": states,
            },
            lines=[f"{symbol} fails in: {', '.join(names)}." for symbol, names in failing.items()],
            tables=[regimes_text(results)] if results else [],
        )


def _state(subject: RiskSubject, symbol: str) -> float | None:
    """Return the probability that an instrument is turbulent now, filtered; None for too short a record.

    Parameters come from a window that ends before the newest stretch, as if they were fitted once a year.
    """
    changes = np.diff(subject.closes[symbol].closes)
    if changes.size < WINDOW + REFIT:
        return None
    newest = turbulent_probabilities(changes[-WINDOW - REFIT :], window=WINDOW, refit=REFIT)[-1]
    return float(newest) if math.isfinite(newest) else None


def _cards(
    results: Mapping[str, Sequence[RegimeResult]], states: Mapping[str, float | None]
) -> Sequence[Markup]:
    cards = [
        page.card(
            f"{symbol} by regime", regime_table(found), caption=HOW if place == 0 else "", classes="wide"
        )
        for place, (symbol, found) in enumerate(results.items())
    ]
    if states:
        rows = [
            (
                symbol,
                "filtered, parameters of an earlier window",
                UNDEFINED if now is None else percent(now, 0),
            )
            for symbol, now in states.items()
        ]
        cards.append(
            page.card(
                "Probability of turbulence now",
                page.facts_table(rows),
                caption=f"Markov switching between two variances of daily changes. {UNDEFINED}: fewer than "
                f"{WINDOW + REFIT:,} sessions.",
            )
        )
    return cards


def regimes_text(results: Mapping[str, Sequence[RegimeResult]]) -> TextTable:
    """Return the results of all lanes as a table for the terminal."""
    numbers = [number(each) for each in ("trades", "runs", "net", "mean trade", "p")]
    table = TextTable("lane", "regime", *numbers, "verdict", title="by regime")
    for symbol, found in results.items():
        for each in found:
            mean = UNDEFINED if math.isnan(each.mean) else f"{each.mean:,.0f}"
            table.add_row(
                symbol, each.name, f"{each.trades:,}", f"{each.runs:,}", f"{each.net:,.0f}", mean,
                ratio(each.p_value, 3), each.verdict,
            )  # fmt: skip
    return table
