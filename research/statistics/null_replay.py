"""The null replay: a whole search run again where it can find nothing, to see what it finds there.

A search that learns from its own results cannot be judged by a number of trials: each trial was chosen
because of those before. What can be asked is what the same search, with the same seed, reports when its
decisions have nothing to do with the bars. There are two ways to make it so:

- The columns that decisions are made of are moved in a circle against the bars, by whole sessions (`Shift`).
  Bars, fills and stops stay real, and so does whatever the market gave to everybody: nothing is demeaned.
- The bars are drawn anew, and everything is computed from them again, see `null_bars.py`.

The p-value of the winner is the rank of the search's own objective among those of its replays (Dwass 1957;
Phipson and Smyth 2010 for why the real one counts among them).

The search must be a function of the replay alone: seeded, with every choice that was made by results inside
it. A grid that a person drew around an earlier winner is no such function, nor is a search that fits models
to labels that a shift does not reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lockstep.errors import ConfigError

Search = Callable[[int], float]

REPLAYS = 99
LEAST_REPLAYS = 19
LEAST_SHIFT = 252
"""Sessions between a decision and its bars, at least, either way round the circle."""


@dataclass(frozen=True, kw_only=True)
class NullReplay:
    """What a search found on the bars as they were, and where there is nothing to find.

    objective           of the real search
    draws, objectives   of each replay: what it was run with, such as a shift in sessions, and its objective,
                        -inf where it found nothing
    """

    objective: float
    draws: tuple[int, ...]
    objectives: tuple[float, ...]

    @property
    def p_value(self) -> float:
        """(1 + replays that did as well) / (1 + replays), in (0, 1]."""
        as_good = sum(each >= self.objective for each in self.objectives)
        return (1 + as_good) / (1 + len(self.objectives))


def require_replays(replays: int) -> None:
    """Raise ConfigError below 19 replays: a p-value could not reach 5 %."""
    if replays < LEAST_REPLAYS:
        raise ConfigError(
            f"{replays} replays: the smallest p-value would be {1 / (1 + max(replays, 0)):.0%}; "
            f"ask for {LEAST_REPLAYS} or more"
        )


def null_shifts(sessions: int, *, replays: int = REPLAYS, seed: int = 0) -> tuple[int, ...]:
    """Return different shifts of a circle of `sessions`, each at least 252 sessions either way.

    As many as are asked for, or as there are. ConfigError below 19.

    >>> len(null_shifts(1_006)), len(null_shifts(560))
    (99, 57)
    """
    require_replays(replays)
    there = sessions - 2 * LEAST_SHIFT + 1
    if there < LEAST_REPLAYS:
        raise ConfigError(
            f"{sessions:,} sessions: too few to move decisions by {LEAST_SHIFT} or more in {LEAST_REPLAYS} "
            f"ways; search over {2 * LEAST_SHIFT + LEAST_REPLAYS - 1:,} or more, or collect forward evidence"
        )
    drawn = np.random.default_rng(seed).choice(there, size=min(replays, there), replace=False)
    return tuple(int(each) for each in LEAST_SHIFT + drawn)


def null_replay(
    search: Search,
    draws: Sequence[int],
    *,
    jobs: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> NullReplay:
    """Run a search as it was, then once for each of `draws`, where there is nothing to find.

    search    draw -> the objective by which it reports its winner; 0 is the search itself, another number a
              shift in sessions, or one of the bars that are drawn. NaN where it found nothing
    jobs      threads; the search must not mind being called by several at once
    advance   called after each run, the real one too

    ConfigError where the real search found nothing.

    >>> null_replay(lambda shift: 1.0 if shift == 0 else shift / 1_000, range(300, 400)).p_value
    0.009900990099009901
    """

    def run(draw: int) -> float:
        found = search(draw)
        advance()
        return -math.inf if math.isnan(found) else found

    objective = run(0)
    if objective == -math.inf:
        raise ConfigError("null replay: the search itself found nothing, so there is nothing to compare")
    with ThreadPoolExecutor(jobs) as pool:
        objectives = tuple(pool.map(run, draws))
    return NullReplay(objective=objective, draws=tuple(draws), objectives=objectives)
