"""A year of nights promotes noise within its budget, and planted edges at the rates that are stated."""

from __future__ import annotations

import pytest

from lockstep.monitoring.eprocess import FULL, PILOT
from simulation.forward import NIGHTS, cohorts, search
from simulation.nights import gap, mean_promoted, off_the_table, rule, years_of_noise
from simulation.rates import budget_bound

YEARS = 100


@pytest.mark.parametrize("learns", [False, True], ids=["fresh", "adaptive"])
@pytest.mark.parametrize("allowed", [PILOT, FULL])
def test_false_promotions_of_a_year_are_within_the_budget(learns: bool, allowed: float) -> None:
    assert mean_promoted(years_of_noise(YEARS, 1, learns=learns, allowed=allowed)) <= budget_bound(
        allowed, YEARS
    )


def test_registrations_keep_their_distance_and_wait_for_a_history() -> None:
    searched = search(20, 1)
    waiting = cohorts(searched, rule(PILOT, adaptive=False))
    anybody = cohorts(searched, rule(PILOT, adaptive=False, floor=0.0))
    learning = cohorts(search(20, 1, learns=True), rule(PILOT, adaptive=True))
    # 12 a year at most, since 250 nights hold 12 gaps of a month; few have a history that is worth anything.
    assert gap() == 21
    assert set(anybody.registered.tolist()) == set(learning.registered.tolist()) == {NIGHTS // gap() + 1}
    assert waiting.registered.mean() < 2


def test_a_budget_that_nobody_spends_is_noticed() -> None:
    """The control: every night registers at the weight of a first registration."""
    loose = {"spent": lambda weights, ages: [], "gap": 0}
    found = years_of_noise(YEARS, 1, learns=True, allowed=PILOT, **loose)
    assert mean_promoted(found) > budget_bound(PILOT, YEARS)


def test_planted_edges_are_promoted_at_the_rates_of_the_table() -> None:
    assert list(off_the_table(300, 1)) == []


def test_rates_that_are_not_the_stated_ones_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: results of half the size."""
    monkeypatch.setattr("simulation.nights.SESSIONS", 4 * 252)
    assert list(off_the_table(300, 1)) != []
