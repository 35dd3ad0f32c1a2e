"""A genealogy of real variants on noise passes any count of its trials, and no forward evidence."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.metrics import Integers
from lockstep.monitoring.eprocess import FULL, PILOT
from simulation.genealogy import Bred, Futures, breed, futures, passed_by_counting, passed_by_maximum
from simulation.rates import budget_bound

SEEDS, FUTURES = (1, 2, 3), 8


@pytest.fixture(scope="module")
def genealogies() -> list[Bred]:
    return [breed(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def followed(genealogies: list[Bred]) -> list[Futures]:
    return [futures(each, FUTURES) for each in genealogies]


def assert_within_budget(promoted: list[Integers], allowed: float) -> None:
    found = np.concatenate(promoted)
    assert found.mean() <= budget_bound(allowed, found.size), (
        f"{found.mean():.2f} false promotions a year, {allowed} allowed"
    )


def test_counting_trials_passes_it(genealogies: list[Bred]) -> None:
    """Negative control: the old rule, with every trial counted, is talked round by each of three seeds."""
    nights = [passed_by_counting(each) for each in genealogies]
    assert min(nights) >= 10, nights


def test_the_maximum_of_its_trials_passes_it(genealogies: list[Bred]) -> None:
    """Negative control: no test of all trials is valid where trials were chosen by results."""
    nights = [passed_by_maximum(each) for each in genealogies]
    assert min(nights) >= 2, nights


def test_both_hold_against_variants_that_nobody_bred() -> None:
    alone = [breed(seed, learns=False) for seed in SEEDS[:2]]
    assert [passed_by_counting(each) for each in alone] == [0, 0]
    assert [passed_by_maximum(each) for each in alone] == [0, 0]


@pytest.mark.parametrize("allowed", [PILOT, FULL])
def test_forward_evidence_does_not_promote_it(followed: list[Futures], allowed: float) -> None:
    assert all((each.history == 1).all() for each in followed)
    assert_within_budget([each.promoted(each.history, allowed) for each in followed], allowed)


@pytest.mark.parametrize("allowed", [PILOT, FULL])
def test_its_history_would_promote_it(followed: list[Futures], allowed: float) -> None:
    """Negative control: its history is taken for that of a declared space."""
    with pytest.raises(AssertionError):
        assert_within_budget([each.promoted(each.counted, allowed) for each in followed], allowed)
