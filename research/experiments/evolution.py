"""A search that learns: generations of children of the best variant so far.

The first generation is drawn at random. Every child of a later one is the best so far with one or two of its
paths at another value. All that is visited is evaluated, counted and stored as in any search; but each child
was chosen because of the results before it, so that a number of trials says nothing: it is adaptive, and is
judged by its null replay (`replay.py`) or by forward evidence.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice

from research.experiments.variants import VariantSpace

Scores = Callable[[Sequence[int]], Mapping[int, float]]

# How often a child may turn out to be known already, before the neighbourhood counts as visited.
_ATTEMPTS = 20
_MOST_CHANGES = 2


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What an evolution visited, in order, and the best of it: None and nan where nothing has a score."""

    visited: tuple[int, ...]
    best: int | None
    score: float


def evolve(space: VariantSpace, *, generations: int, children: int, seed: int, scores: Scores) -> Walk:
    """Search a space by mutation of the best so far; equal seeds and scores give equal walks.

    scores   numbers of variants -> the objective of each, larger is better; NaN or nothing where it is
             undefined

    It ends early where the whole space was visited.
    """
    draw, known = random.Random(seed), dict.fromkeys(space.sample(children, seed), math.nan)
    brood = list(known)
    for generation in range(generations):
        if generation:
            brood = _brood(space, _best(known), known, min(children, space.size - len(known)), draw)
        if not brood:
            break
        known |= dict.fromkeys(brood, math.nan) | dict(scores(brood))
    best = _best(known)
    return Walk(visited=tuple(known), best=best, score=math.nan if best is None else known[best])


def _best(known: Mapping[int, float]) -> int | None:
    """Return the variant with the highest score, of equal ones the lowest number."""
    defined = [(-score, number) for number, score in known.items() if not math.isnan(score)]
    return min(defined)[1] if defined else None


def _brood(
    space: VariantSpace, best: int | None, known: Collection[int], size: int, draw: random.Random
) -> list[int]:
    """Return `size` variants that nobody visited: children of the best, others where there are no more."""
    found: dict[int, None] = {}
    for _ in range(_ATTEMPTS * size if best is not None else 0):
        if len(found) == size:
            break
        assert best is not None
        child = _child(space, best, draw)
        if child not in known:
            found[child] = None
    for _ in range(_ATTEMPTS * size):
        if len(found) == size:
            break
        other = draw.randrange(space.size)
        if other not in known:
            found[other] = None
    rest = (each for each in count() if each not in known and each not in found)
    return [*found, *islice(rest, size - len(found))]


def _child(space: VariantSpace, parent: int, draw: random.Random) -> int:
    """Return the parent with one or two paths at another value."""
    places = space.places(parent)
    free = [path for path, values in space.values.items() if len(values) > 1]
    for path in draw.sample(free, min(draw.randint(1, _MOST_CHANGES), len(free))):
        other = draw.randrange(len(space.values[path]) - 1)
        places[path] = other + (other >= places[path])
    return space.number(places)
