"""The median rule: a search step that is hopeless after a third of its splits is stopped.

Source: Golovin et al. (2017), Google Vizier: A Service for Black-Box Optimization, KDD, section 3.2.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.metrics import Floats, Integers

# How many steps must be complete before one is judged by them.
_LEAST_COMPLETE = 5

Hopeless = Callable[[Floats], bool]
"""Whether a step is stopped after these split scores, float64 (k,), in the order of evaluation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stopped:
    """A step that was not carried to its end.

    scores   float64 (k,), of the splits that were evaluated, in that order
    """

    scores: Floats


def never(scores: Floats) -> bool:
    """Carry every step to its end."""
    return False


class MedianRule:
    """Judges the steps of one search by those that were completed before.

    A step stops after k splits, a third of them or more, where its mean over them is below the median of the
    means that the completed steps had after as many. It depends on scores only: a search that is resumed
    stops the same steps.

    order   in which the splits are evaluated
    """

    def __init__(self, order: Sequence[int]) -> None:
        self._order = list(order)
        self._running: list[Floats] = []

    def complete(self, scores: Floats) -> None:
        """Take a completed step's scores, float64 (splits,), in the order of the splits."""
        self._running.append(np.cumsum(scores[self._order]) / np.arange(1, scores.size + 1))

    def hopeless(self, scores: Floats) -> bool:
        """Say whether a step with these scores so far, float64 (k,), stops; never at its last split."""
        done, splits = scores.size, len(self._order)
        if len(self._running) < _LEAST_COMPLETE or not first_check(splits) <= done < splits:
            return False
        return float(scores.mean()) < float(np.median([each[done - 1] for each in self._running]))

    def estimate(self, stopped: Stopped) -> float:
        """Return a score for the surrogate, one that does not flatter.

        The mean so far, moved by what the completed steps gained or lost from there to their ends, but no
        better than the median of the completed.
        """
        done = stopped.scores.size
        ends, then = (np.array([each[place] for each in self._running]) for place in (-1, done - 1))
        return min(float(stopped.scores.mean() + np.mean(ends - then)), float(np.median(ends)))


def first_check(splits: int) -> int:
    """Return after how many of `splits` a step is judged for the first time: a third of them."""
    return math.ceil(splits / 3)


def spread(tested: Sequence[Integers], samples: int) -> list[int]:
    """Return the order in which to evaluate splits, so that early ones cover all of history.

    tested   rows of the test part of each split; `samples` how many rows there are

    Purged combinations come sorted: the first third of them would all test the first group.
    """
    covered, order, left = np.zeros(samples), [], list(range(len(tested)))
    while left:
        chosen = min(left, key=lambda number: (float(covered[tested[number]].mean()), number))
        covered[tested[chosen]] += 1
        order.append(chosen)
        left.remove(chosen)
    return order
