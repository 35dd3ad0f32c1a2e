"""Nights through the product's command decide as their rules alone do, on what the same nights found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.measure import sources_with_tests
from benchmarks.soak import SOAKS
from lockstep.identity import hash_of
from lockstep.metrics import Floats
from research.ledger.candidates import PILOTED
from simulation.factory_years import (
    EDGE,
    PER_NIGHT,
    LivedYear,
    Planted,
    lived,
    off_the_table,
    shipped_rules,
    trials_of_parts,
)
from simulation.forward import NIGHTS
from simulation.markets import DEVIATION, market, sharpe_after
from simulation.rates import FORWARD_POWER, bound

LIVED = 8


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> LivedYear:
    """Return a short year over one declared space, in a market with an edge: history counts, and decides."""
    rules = {**shipped_rules(), "days_between": 3}
    return lived(tmp_path_factory.mktemp("walked"), 3, learns=False, nights=LIVED, rules=rules, edge=0.6)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> LivedYear:
    """Return a short year of a search that learns, in a market without an edge."""
    rules = {**shipped_rules(), "days_between": 3}
    return lived(tmp_path_factory.mktemp("learned"), 3, learns=True, nights=LIVED, rules=rules)


def test_nights_decide_as_their_rules_do(walked: LivedYear, learned: LivedYear) -> None:
    for year in (walked, learned):
        assert len(year.winners) == LIVED
        assert year.decisions == year.by_rules()
    assert {each.searched for each in walked.factory.registered} == {"declared"}
    assert {each.searched for each in learned.factory.registered} == {"adaptive"}
    assert len(walked.decisions.registered) >= 2
    assert len(learned.decisions.registered) >= 3
    assert len(walked.decisions.promoted) >= 2


def test_noise_is_promoted_within_the_budget(learned: LivedYear) -> None:
    found = learned.decisions
    promoted = sum(kind == PILOTED for _, kind in found.promoted)
    assert promoted <= bound(1 / 6, len(found.registered))


@pytest.mark.parametrize(
    "fault",
    [
        {"counted": lambda nights, registered, now: np.full(nights.size, PER_NIGHT)},
        {"counted": lambda nights, registered, now: np.full(nights.size, PER_NIGHT * LIVED)},
        {"evidence": lambda x: np.exp(np.cumsum(0.3 * x - 0.045))},
        {"adaptive": True},
    ],
    ids=["tonight's trials", "the whole space alone", "another evidence", "history is left out"],
)
def test_other_rules_for_history_would_decide_otherwise(walked: LivedYear, fault: dict[str, Any]) -> None:
    """The control: what is compared would show a product that has one of these rules."""
    assert walked.by_rules(**fault) != walked.decisions


@pytest.mark.parametrize("fault", [{"gap": 0}, {"tonight": False}, {"floor": 1.1}])
def test_other_rules_for_registering_would_decide_otherwise(
    learned: LivedYear, fault: dict[str, Any]
) -> None:
    assert learned.by_rules(**fault) != learned.decisions


def test_the_trials_of_a_space_are_those_since_the_registration_before() -> None:
    nights = np.array([1, 2, 3, 4])
    assert trials_of_parts(nights, [], 4, size=100).tolist() == [160, 160, 160, 160]
    assert trials_of_parts(nights, [2], 4, size=100).tolist() == [160, 160, 120, 120]
    assert trials_of_parts(nights, [2], 3, size=100).tolist() == [140, 140, 100, 100]


def test_a_soaks_hash_is_of_all_code_that_it_runs() -> None:
    """Of a step that is found by a late import, of what it imports, and of the simulation itself."""
    sources, code = sources_with_tests(), SOAKS["nights_of_a_year"].code
    for module in ("operations.nightly.steps.register", "research.ledger.candidates", "simulation.markets"):
        edited = sources.edited(**{module: f"{sources.texts[module]}\nedited = True\n"})
        assert hash_of((SOAKS["nights_of_a_year"].module,), edited) != code, module
    apart = sources.edited(**{"operations.ab.cli": "edited = True\n"})
    assert hash_of((SOAKS["nights_of_a_year"].module,), apart) == code


def after_closes_up_to(high: float, edge: float) -> Floats:
    """Return the residual of a market's sessions after closes up to a place in their range."""
    bars = market("NQ", "1990-01-02", "2025-12-31", 5, edge=edge)
    place = (bars.close - bars.low) / (bars.high - bars.low)
    earned = np.diff(bars.close) / DEVIATION
    held = place[:-1] <= high
    return (held - held.mean()) * earned


@pytest.mark.parametrize("high", [0.3, 0.5, 0.6])
def test_a_planted_edge_has_the_sharpe_ratio_that_is_said(high: float) -> None:
    x = after_closes_up_to(high, EDGE)
    error = 3.3 * np.sqrt(252 / x.size)
    assert 252**0.5 * x.mean() / x.std() == pytest.approx(sharpe_after(high, EDGE), abs=error)
    without = after_closes_up_to(high, 0.0)
    assert abs(252**0.5 * without.mean() / without.std()) < error
    assert sharpe_after(high, 0.0) == 0.0


def planted_at(rate: float, count: int = 100) -> list[Planted]:
    """Return candidates of Sharpe ratio 3 of which a share becomes a pilot within its first year."""
    promoted = round(rate * count)
    return [
        Planted(sharpe=3.0, sessions={"pilot": 100} if number < promoted else {}) for number in range(count)
    ]


def test_a_rate_that_is_not_the_tables_is_noticed() -> None:
    (first, *_) = FORWARD_POWER[6, 3]
    named = [line.partition(":")[0] for line in off_the_table(planted_at(first))]
    assert "pilot, 1 years" not in named
    assert "pilot, 1 years" in [line.partition(":")[0] for line in off_the_table(planted_at(first - 0.2))]
    assert "pilot, 2 years" in [line.partition(":")[0] for line in off_the_table(planted_at(0.5))]
    assert NIGHTS == 250
