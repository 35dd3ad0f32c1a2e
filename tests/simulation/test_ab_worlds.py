"""Looking daily at equal arms seldom names a winner; a better arm wins as often as its creation said."""

from __future__ import annotations

import numpy as np

from lockstep.monitoring.ab import LEVEL, AbMode, AbVerdict, planned
from lockstep.monitoring.eprocess import confidence_sequence, e_process
from simulation.ab_worlds import (
    DIFFERENCE,
    THREE_YEARS,
    differences,
    named_by_t_test,
    power_of,
    verdicts,
)
from simulation.rates import bound

TESTS = 200


def test_looking_every_day_at_equal_arms() -> None:
    """Negative control: a t-test of the same tests names a winner in more than a quarter."""
    x = differences("student", TESTS, THREE_YEARS, seed=1)
    plan = planned(DIFFERENCE, mode=AbMode.REPLAY, correlation=0.98, years=3.0, paths=50)
    ends = verdicts(x, plan)
    named = sum(each in (AbVerdict.WON, AbVerdict.LOST) for each in ends)
    assert named <= bound(0.05, TESTS)
    assert named_by_t_test(x) > 0.25


def test_a_better_arm_wins_as_often_as_its_creation_said() -> None:
    plan = planned(DIFFERENCE, mode=AbMode.REPLAY, correlation=0.99)
    assert abs(power_of(plan, TESTS, seed=2) - plan.power) < 3 * np.sqrt(0.8 * 0.2 / TESTS)


def test_power_is_simulated_by_the_rule_that_decides() -> None:
    """The plan asks for the evidence against 0 alone: the same sessions win by the sequence's lower bound."""
    x = differences("student", 40, 300, seed=3, mean=0.15)
    low, _ = confidence_sequence(x, level=LEVEL)
    assert np.array_equal(low > 0, e_process(x) >= 2 / (1 - LEVEL))
