"""The null replay keeps its size on whole searches, where a count of trials does not, and finds an edge."""

from __future__ import annotations

import math

import pytest
from scipy.stats import binom

from simulation.replays import EDGE, SIZE, night, rates

SMALL = {"replays": 19, "smaller": 4}


def bound(nights: int) -> int:
    return int(binom.ppf(0.999, nights, SIZE))


@pytest.mark.parametrize(("kind", "nights"), [("random", 8), ("evolution", 6)])
def test_the_size_of_a_replay(kind: str, nights: int) -> None:
    assert rates(kind, nights, **SMALL)["replay"] <= bound(nights)


def test_counting_the_trials_of_an_evolution_is_no_test() -> None:
    """Negative control: the test that is right for a declared search, asked about one that learns."""
    assert rates("evolution", 20, replays=0)["plain"] > bound(20)


@pytest.mark.parametrize("kind", ["random", "evolution"])
def test_an_edge_is_found(kind: str) -> None:
    assert night(kind, 1, edge=EDGE, **SMALL).replayed == 1 / 20


def test_without_replays_nothing_is_said() -> None:
    assert math.isnan(night("random", 1, replays=0, smaller=20).replayed)
