"""Evolution over a space: what it visits follows from seed and scores alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from lockstep.strategy.families.ibs import IbsConfig
from research.experiments.evolution import Walk, evolve
from research.experiments.variants import VariantSpace

VALUES = {
    "max_bars": tuple(range(1, 21)),
    "entry.high": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    "exit.low": (0.5, 0.6, 0.7, 0.8, 0.9),
    "capital": (100_000.0,),
}
SPACE = VariantSpace(base=IbsConfig(name="x"), values=VALUES)


def height(number: int) -> float:
    """One hill: longest holds and late exits, whatever the entry."""
    places = SPACE.places(number)
    return places["max_bars"] + 2.0 * places["exit.low"] - 0.1 * (places["entry.high"] - 3) ** 2


def climb(numbers: Sequence[int]) -> Mapping[int, float]:
    return {number: height(number) for number in numbers}


def walk(*, generations: int = 12, children: int = 10, seed: int = 3, scores: object = climb) -> Walk:
    return evolve(SPACE, generations=generations, children=children, seed=seed, scores=scores)  # type: ignore[arg-type]


def test_numbers_and_places_are_one() -> None:
    assert [SPACE.number(SPACE.places(number)) for number in range(SPACE.size)] == list(range(SPACE.size))


def test_it_climbs_where_a_draw_does_not() -> None:
    found = walk()
    assert found.best is not None
    assert found.score == height(found.best) == max(map(height, found.visited))
    highest = max(map(height, range(SPACE.size)))
    drawn = max(map(height, SPACE.sample(120, 3)))
    assert found.score > highest - 1.5 > drawn - 1.5
    assert len(found.visited) == len(set(found.visited)) == 120


def test_children_differ_from_the_best_so_far_in_one_or_two_paths() -> None:
    known: dict[int, float] = {}
    changes = set()

    def scores(numbers: Sequence[int]) -> Mapping[int, float]:
        if known:
            parent = min(known, key=lambda number: (-known[number], number))
            for number in numbers:
                pairs = zip(SPACE.places(parent).items(), SPACE.places(number).items(), strict=True)
                changes.add(sum(one != other for one, other in pairs))
        known.update(climb(numbers))
        return climb(numbers)

    walk(generations=6, scores=scores)
    assert changes == {1, 2}


def test_equal_seeds_give_equal_walks() -> None:
    assert walk() == walk() != walk(seed=4)


def test_what_is_undefined_is_nobodys_parent() -> None:
    def scores(numbers: Sequence[int]) -> Mapping[int, float]:
        return {each: math.nan if each % 2 else height(each) for each in numbers if each % 3}

    found = walk(scores=scores)
    assert found.best is not None
    assert found.best % 2 == 0 != found.best % 3
    nothing = walk(scores=lambda numbers: dict.fromkeys(numbers, math.nan))
    assert nothing.best is None
    assert math.isnan(nothing.score)
    assert len(set(nothing.visited)) == 120


@pytest.mark.parametrize("children", [7, 600, 1_000])
def test_it_ends_with_the_space(children: int) -> None:
    found = walk(generations=200, children=children)
    assert sorted(found.visited) == list(range(SPACE.size))
    assert found.score == max(map(height, range(SPACE.size)))


def test_a_space_of_one() -> None:
    alone = VariantSpace(base=IbsConfig(name="x"), values={"max_bars": (3,)})
    found = evolve(alone, generations=5, children=4, seed=1, scores=lambda _: {0: 1.0})
    assert found == Walk(visited=(0,), best=0, score=1.0)
