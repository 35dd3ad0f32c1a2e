"""Fractal pivots and supply zones on bars drawn by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lockstep.features import oscillator_kernels as pivots
from support.interpreted import interpreted

Runner = Callable[[Callable[..., Any]], Callable[..., Any]]

HIGH = np.array([1.0, 3.0, 9.0, 4.0, 2.0, 5.0, 5.0, 3.0])


@pytest.fixture(params=["compiled", "python"])
def run(request: pytest.FixtureRequest) -> Runner:
    return interpreted if request.param == "python" else lambda function: function


def test_a_pivot_stands_out_on_both_sides(run: Runner) -> None:
    assert [bool(run(pivots.is_pivot_high)(HIGH, i, 2)) for i in range(2, 6)] == [True, False, False, False]
    assert [bool(run(pivots.is_pivot_low)(-HIGH, i, 2)) for i in range(2, 6)] == [True, False, False, False]


def test_a_tie_is_no_pivot(run: Runner) -> None:
    for at in (5, 6):
        assert not run(pivots.is_pivot_high)(HIGH, at, 1)
        assert not run(pivots.is_pivot_low)(-HIGH, at, 1)


def test_a_zone_lies_from_the_body_to_the_high(run: Runner) -> None:
    """Body top 7 at the pivot high 9, close now 2: five points up."""
    open_, close = np.full(8, 1.0), np.full(8, 1.5)
    open_[2], close[-1] = 7.0, 2.0
    assert run(pivots.overhead_supply)(open_, HIGH, close, 2) == 5.0


def test_within_the_zone_the_distance_is_zero(run: Runner) -> None:
    open_, close = np.full(8, 1.0), np.full(8, 1.5)
    open_[2], close[-1] = 1.0, 2.0
    assert run(pivots.overhead_supply)(open_, HIGH, close, 2) == 0.0


def test_a_later_close_above_it_uses_a_zone_up(run: Runner) -> None:
    open_, close = np.full(8, 1.0), np.full(8, 1.5)
    close[4] = 9.5
    assert run(pivots.overhead_supply)(open_, HIGH, close, 2) == -1.0


def test_the_nearer_of_two_zones_counts(run: Runner) -> None:
    high = np.array([1.0, 9.0, 3.0, 2.0, 6.0, 2.0, 2.0])
    open_, close = np.full(7, 1.0), np.full(7, 1.0)
    open_[1], open_[4] = 8.0, 4.0
    assert run(pivots.overhead_supply)(open_, high, close, 1) == 3.0


@pytest.mark.parametrize("wing", [1, 2, 3])
def test_a_pivot_is_known_only_wing_bars_later(run: Runner, wing: int) -> None:
    high = np.array([1.0, 1.1, 1.2, 9.0, 1.2, 1.1, 1.0])
    open_, close = np.full(7, 0.5), np.full(7, 0.5)
    for n in range(2 * wing + 1, 8):
        known = run(pivots.overhead_supply)(open_[:n], high[:n], close[:n], wing) >= 0.0
        assert known is bool(n - 1 - 3 >= wing)
