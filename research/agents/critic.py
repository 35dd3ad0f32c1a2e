"""The critic: what is suspicious about a trial, a sentence each. A pure function of its measures.

What it finds goes into the next context. Some findings mean that a trial cannot win, whatever its fitness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from research.agents.proposal import Trial, TrialMeasures

MOST_IN = 0.95
"""Share of the sessions with a position from which on a strategy is the market."""
MOST_MISSING = 0.2
"""Share of the bars on which a value that is read may be missing."""
MOST_COSTS = 0.5
"""Share of the gross result that costs may take."""
MOST_OF_ONE = 0.3
"""Share of the whole result that one trade may make."""
LOSES = -0.5
"""Sharpe ratio in a market regime at which a strategy that gains otherwise is said to lose there."""


@dataclass(frozen=True, kw_only=True)
class Objection:
    """What the critic has to say; about: the same for all of its kind; fatal: such a trial wins nothing."""

    about: str
    text: str
    fatal: bool = False


def review(measures: TrialMeasures) -> tuple[Objection, ...]:
    """Return what is suspicious about the measures of a trial."""
    if not measures.trades:
        text = "never trades: its entries never come true, or a value is missing"
        return (Objection(about="never trades", text=text, fatal=True),)
    found = []
    if (share := _mean(measures, "exposure")) >= MOST_IN:
        text = f"is in the market in {share:.0%} of the sessions: it hardly decides"
        found.append(Objection(about="hardly ever out of the market", text=text, fatal=True))
    if measures.missing > MOST_MISSING:
        text = f"reads a value that is missing on {measures.missing:.0%} of the bars"
        found.append(Objection(about="reads what is often missing", text=text, fatal=True))
    if measures.largest > MOST_OF_ONE:
        text = f"makes {measures.largest:.0%} of its result in one trade"
        found.append(Objection(about="lives on one trade", text=text, fatal=True))
    if (costs := _mean(measures, "cost_share")) > MOST_COSTS:
        text = f"pays {costs:.0%} of its gains as costs: trade less often"
        found.append(Objection(about="pays its gains as costs", text=text))
    if lost := _lost_in(measures):
        where = ", ".join(f"{name} ({each:.2f})" for name, each in lost)
        found.append(
            Objection(about="loses in a regime", text=f"gains, but loses when the market is: {where}")
        )
    if math.isnan(measures.fitness):
        few = sum(each.trades for each in measures.folds) / len(measures.folds)
        text = f"has {few:.0f} trades in a fold, too few to be judged"
        found.append(Objection(about="trades too seldom to be judged", text=text))
    return tuple(found)


def may_win(trial: Trial) -> bool:
    """Whether a trial may be a session's winner: evaluated, judged by enough trades, nothing fatal found."""
    if trial.status != "evaluated" or trial.measures is None or math.isnan(trial.measures.fitness):
        return False
    return not any(each.fatal for each in review(trial.measures))


def _lost_in(measures: TrialMeasures) -> list[tuple[str, float]]:
    """Return the regimes in which what gains on the whole loses, with the ratio there, the worst first."""
    if not measures.sharpe > 0.0:
        return []
    lost = [(name, each) for name, each in measures.by_regime.items() if each <= LOSES]
    return sorted(lost, key=lambda item: item[1])


def _mean(measures: TrialMeasures, name: str) -> float:
    """Return the mean of a measure over the folds that have it; NaN where none does."""
    values = [getattr(each, name) for each in measures.folds if not math.isnan(getattr(each, name))]
    return math.fsum(values) / len(values) if values else math.nan
