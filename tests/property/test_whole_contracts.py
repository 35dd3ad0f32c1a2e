"""Whole contracts: nothing allowed is nearer, for any wanted units, covariance, caps and budgets."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats
from research.optimise import whole
from research.optimise.whole import MOST_LANES, WholeContracts, whole_contracts

SEEDS = st.integers(0, 2**32 - 1)
Problem = tuple[Floats, Floats, Floats, Floats, Floats]


def problem(seed: int, lanes: int, *, budgets: int, cap: int = 5, room: float = 1.2) -> Problem:
    """Draw (wanted, covariance, caps, costs, budgets): often more is wanted than caps or budgets allow."""
    random = np.random.default_rng(seed)
    common = 2 * np.sqrt(random.uniform(0, 0.95)) * random.normal(size=40)
    pnl = (random.normal(size=(lanes, 40)) + common) * np.exp(random.normal(6, 0.8, (lanes, 1)))
    covariance = np.atleast_2d(np.cov(pnl)) + 1e-6 * np.eye(lanes)
    wanted = np.exp(random.normal(0.3, 1.0, lanes))
    caps = random.integers(0, cap + 1, lanes).astype(np.float64)
    costs = np.exp(random.normal(10, 1, (budgets, lanes)))
    return wanted, covariance, caps, costs, costs @ wanted * random.uniform(0.05, room, budgets)


def distance(quantities: Any, wanted: Floats, covariance: Floats) -> float:
    difference = np.asarray(quantities) - wanted
    return float(np.sqrt(difference @ covariance @ difference))


def exhaustive(wanted: Floats, covariance: Floats, caps: Floats, costs: Floats, budgets: Floats) -> float:
    """The least distance over every allowed point, one after the other: what the search must find."""
    grid = np.array(list(itertools.product(*(range(int(cap) + 1) for cap in caps))), dtype=np.float64)
    differences = grid[(grid @ costs.T <= budgets).all(axis=1)] - wanted
    return float(np.sqrt(((differences @ covariance) * differences).sum(axis=1).min()))


def by_adding(wanted: Floats, covariance: Floats, caps: Floats, costs: Floats, budgets: Floats) -> float:
    """The negative control: add the contract that helps most, until none does."""
    quantities = np.zeros(wanted.size)
    while True:
        more = [quantities + unit for unit in np.eye(wanted.size)]
        allowed = [each for each in more if (each <= caps).all() and (costs @ each <= budgets).all()]
        best = min([quantities, *allowed], key=lambda each: distance(each, wanted, covariance))
        if best is quantities:
            return distance(quantities, wanted, covariance)
        quantities = best


def assert_allowed(found: WholeContracts, drawn: Problem) -> None:
    wanted, covariance, caps, costs, budgets = drawn
    assert found.quantities.dtype == np.int64
    assert (found.quantities >= 0).all()
    assert (found.quantities <= caps).all()
    assert (costs @ found.quantities <= budgets).all()
    assert found.distance == pytest.approx(distance(found.quantities, wanted, covariance), rel=1e-9)


@given(SEEDS, st.integers(1, 6), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_it_is_the_nearest_of_all_allowed_points(seed: int, lanes: int, budgets: int) -> None:
    drawn = problem(seed, lanes, budgets=budgets)
    found = whole_contracts(*drawn)
    assert_allowed(found, drawn)
    assert found.exact
    assert found.distance == pytest.approx(exhaustive(*drawn), rel=1e-9)


@pytest.mark.uncompiled
def test_the_interpreted_search_finds_the_same() -> None:
    for seed in range(12):
        drawn = problem(seed, 3, budgets=seed % 3, cap=3)
        assert whole_contracts(*drawn).distance == pytest.approx(exhaustive(*drawn), rel=1e-9)


def test_adding_one_after_the_other_misses_it() -> None:
    """A greedy allocation is more than 5 % off in a tenth of all draws, the search in none."""
    draws = [problem(seed, 2 + seed % 5, budgets=seed % 3) for seed in range(100)]
    nearest = np.array([exhaustive(*each) for each in draws])
    assert (np.array([by_adding(*each) for each in draws]) > 1.05 * nearest).mean() > 0.1
    assert (np.array([whole_contracts(*each).distance for each in draws]) <= nearest * (1 + 1e-9)).all()


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_lanes_does_not_matter(seed: int) -> None:
    wanted, covariance, caps, costs, budgets = problem(seed, 7, budgets=2, cap=9)
    order = np.random.default_rng(seed).permutation(7)
    here = whole_contracts(wanted, covariance, caps, costs, budgets)
    there = whole_contracts(
        wanted[order], covariance[np.ix_(order, order)], caps[order], costs[:, order], budgets
    )
    assert here.exact
    assert there.distance == pytest.approx(here.distance, rel=1e-9)


def test_a_multiplier_that_is_wrong_costs_time_and_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound holds for any prices >= 0: half of the right ones give the same contracts."""
    right = whole._relaxed

    def halved(*given: Any) -> tuple[Floats, float, Floats]:
        x, matrix, caps, takes, limits = given
        prices = right(*given)[2] / 2
        sides, bounds = np.vstack([np.eye(x.size), takes]), np.concatenate([caps, limits])
        centre = x - np.linalg.solve(matrix, sides.T @ prices) / 2
        return centre, distance(centre, x, matrix) ** 2 + float(prices @ (sides @ centre - bounds)), prices

    draws = [problem(seed, 5, budgets=2, room=0.7) for seed in range(40)]
    found = [whole_contracts(*each).distance for each in draws]
    monkeypatch.setattr(whole, "_relaxed", halved)
    np.testing.assert_allclose([whole_contracts(*each).distance for each in draws], found, rtol=1e-9)


def test_a_search_that_is_ended_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = problem(3, MOST_LANES, budgets=2, cap=9, room=0.4)
    nearest = whole_contracts(*drawn)
    assert nearest.exact
    monkeypatch.setattr(whole, "MOST_NODES", 5)
    ended = whole_contracts(*drawn)
    assert_allowed(ended, drawn)
    assert not ended.exact
    assert ended.distance >= nearest.distance


def test_many_lanes_are_moved_one_and_two_at_a_time() -> None:
    """Above 12 lanes nothing is promised but that no move of one or two contracts is nearer."""
    for seed in range(5):
        drawn = problem(seed, MOST_LANES + 3, budgets=1)
        wanted, covariance, caps, costs, budgets = drawn
        found = whole_contracts(*drawn)
        assert_allowed(found, drawn)
        assert not found.exact
        assert found.distance <= by_adding(*drawn) * (1 + 1e-9)
        units = np.eye(wanted.size, dtype=np.int64)
        steps = [*units, *-units]
        for move in steps + [one + two for one, two in itertools.combinations(steps, 2)]:
            moved = found.quantities + move
            if (moved >= 0).all() and (moved <= caps).all() and (costs @ moved <= budgets).all():
                assert distance(moved, wanted, covariance) >= found.distance * (1 - 1e-9)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"wanted": [1.0, -1.0]}, ConfigError, r"units \[1.0, -1.0\]: must be finite and not negative"),
        ({"most": [1.0, 1.5]}, ConfigError, "caps .* must be whole numbers"),
        ({"most": [1.0]}, DataError, r"caps \(1,\): need"),
        ({"covariance": [[1.0, 1.0], [1.0, 1.0]]}, DataError, "not positive definite; shrink it first"),
        ({"costs": [[1.0, 1.0]], "budgets": [1.0, 2.0]}, DataError, r"costs \(1, 2\) for 2 budgets"),
        ({"costs": [[1.0, np.nan]], "budgets": [1.0]}, ConfigError, "costs .*nan.* must be finite"),
        ({"costs": [[1.0, 1.0]], "budgets": [-1.0]}, ConfigError, r"budgets \[-1.0\]: must be finite"),
    ],
)
def test_what_is_no_problem_is_refused(change: dict[str, Any], error: type[Exception], said: str) -> None:
    given = {"wanted": [1.0, 1.0], "covariance": [[1.0, 0.0], [0.0, 1.0]], "most": [3.0, 3.0]}
    with pytest.raises(error, match=said):
        whole_contracts(**{**given, **change})
