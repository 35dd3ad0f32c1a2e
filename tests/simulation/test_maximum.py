"""How often the test of the maximum takes luck for skill, and skill for skill; the whole is in `make soak`.

A rate may exceed its size by chance: it fails above the 99.9 % bound of the binomial law. Seeds are fixed.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

from simulation.maximum import (
    EDGES,
    Verdict,
    World,
    allowed,
    dependent,
    gaps,
    independent,
    rates,
    searches,
)


@functools.cache
def found(world: World, count: int) -> list[Verdict]:
    return searches(world, count, seed=1)


def test_bounds_are_those_of_the_binomial_law() -> None:
    assert [allowed(count) for count in (100, 200, 1_000, 2_000)] == [13, 21, 73, 131]


@pytest.mark.parametrize("drift", [0.0, 0.8])
def test_searches_without_skill_seldom_pass(drift: float) -> None:
    assert rates(found(World(drift=drift), 100))["passed"] <= allowed(100)


def test_against_zero_a_drift_passes() -> None:
    """Negative control: without the benchmark of equal exposure the rate is beyond its bound."""
    assert rates(found(World(drift=0.8), 100))["passed against zero"] > allowed(100)


@pytest.mark.parametrize(("sharpe", "share"), [(1.7, 0.70), (2.7, 0.95)])
def test_an_edge_passes(sharpe: float, share: float) -> None:
    seen = rates(found(World(edge=EDGES[sharpe]), 50))
    assert seen["median yearly Sharpe ratio of the best"] == pytest.approx(sharpe, abs=0.15)
    assert seen["passed"] >= share * 50


@pytest.mark.parametrize("trials", [100, 1_000])
def test_independent_trials_seldom_pass(trials: int) -> None:
    random = np.random.default_rng(trials)
    assert sum(independent(trials, 252, random) <= 0.05 for _ in range(100)) <= allowed(100)


def test_days_that_depend_on_each_other_need_blocks() -> None:
    """Autocorrelation of .3: single days pass far too often, blocks of two weeks do not."""
    one, weeks = (dependent(100, 3, block, phi=0.3, common=0.3) for block in (1, 14))
    assert weeks <= allowed(100) < one


def test_plain_resampling_agrees() -> None:
    apart = gaps(30, seed=1)
    assert np.median(np.abs(apart)) <= 0.03
    assert abs(np.median(apart)) <= 0.01
