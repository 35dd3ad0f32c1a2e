"""Tree-structured Parzen estimators: where good trials are frequent and others rare, look there.

Bergstra, Bardenet, Bengio and Kegl, Algorithms for Hyper-Parameter Optimization, NIPS 24 (2011). A draft is
its side, its hold, its stop, and tests that are taken as independent; the densities of the best quarter and
of the rest are shares of these, smoothed. Of some that are drawn from the density of the good, the one is
proposed that is most of a good one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np

from research.agents.proposal import Proposal, ResearchContext, StrategyKind
from research.agents.researchers.board import Board, Tried
from research.agents.researchers.drafts import HOLDS, STOPS, Draft, EntryTest, Idea
from research.agents.researchers.upgrades import upgrade_of

FOUNDERS = 20
_GOOD = 0.25
_CANDIDATES = 24
_PRIOR = 1.0


@dataclass(frozen=True)
class TpeResearcher:
    """A small TPE.

    >>> TpeResearcher().name
    'tpe'
    """

    name: ClassVar[str] = "tpe"
    least: ClassVar[int] = FOUNDERS

    def propose(self, context: ResearchContext) -> Proposal:
        """Return the next proposal; NoProposal where nothing new is found."""
        if context.kind != "technical" and (known := upgrade_of(context)) is not None:
            return known
        board = Board.of(context)
        return self._idea(board, context.kind).proposal(board.ladders, context.kind)

    def _idea(self, board: Board, kind: StrategyKind) -> Idea:
        tried = board.of_kind(kind)
        if len(tried) < (FOUNDERS if kind == "technical" else 4):
            return board.at_random(kind, "a founder")
        ranked = sorted(tried, key=lambda each: (-each.fitness, -each.sharpe, each.number))
        count = max(2, math.ceil(_GOOD * len(ranked)))
        good, rest = Density.of(ranked[:count], board, kind), Density.of(ranked[count:], board, kind)
        candidates = []
        for _ in range(_CANDIDATES):
            draft = board.new(lambda: good.drawn(board), kind)
            candidates.append((good.log(draft) - rest.log(draft), draft))
        _, draft = max(candidates, key=lambda each: each[0])
        return board.idea(
            draft, move="tpe", parents=ranked[:1], change=f"frequent among the best {count} of {len(ranked)}"
        )


@dataclass(frozen=True)
class Density:
    """Smoothed shares of what drafts are made of, by the name of the part."""

    shares: Mapping[str, Mapping[Any, float]]

    @cached_property
    def _sums(self) -> Mapping[str, tuple[list[Any], list[float]]]:
        """The values of each part, and their shares added up."""
        return {name: (list(each), list(accumulate(each.values()))) for name, each in self.shares.items()}

    @classmethod
    def of(cls, tried: Sequence[Tried], board: Board, kind: StrategyKind) -> Density:
        """Return that of some trials; every value that there is has a share."""
        values: dict[str, Sequence[Hashable]] = {
            "side": ("long", "short"),
            "hold": HOLDS,
            "stop": STOPS,
            "tests": (1, 2, 3),
            "test": [(each, above) for each in board.ids(kind) for above in (False, True)],
            "share": range(9),
        }
        counts = {name: Counter(_parts(tried, name, board)) for name in values}
        return cls(
            {
                name: {each: _PRIOR / len(every) + counts[name][each] for each in every}
                for name, every in values.items()
            }
        )

    def log(self, draft: Draft) -> float:
        """Return the logarithm of the density of a draft, but for what is equal for all."""
        found = 0.0
        for name, values in _draft_parts(draft):
            total = self._sums[name][1][-1]
            for each in values:
                found += math.log(self.shares[name].get(each, _PRIOR / 10) / total)
        return found

    def drawn(self, board: Board) -> Draft | None:
        """Return a draft that is drawn by the density, None where it reads an id twice."""
        count = self._one("tests", board.random)
        tests = []
        for _ in range(count):
            name, above = self._one("test", board.random)
            steps = len(board.ladders.steps[name])
            share = min(self._one("share", board.random), max(0, steps - 1 - (not above)))
            tests.append(board.ladders.high(name, share) if above else board.ladders.low(name, share))
        draft = Draft(
            self._one("side", board.random), tuple(tests), self._one("hold", board.random),
            self._one("stop", board.random),
        )  # fmt: skip
        return draft if len(set(draft.ids)) == len(draft.ids) else None

    def _one(self, name: str, random: np.random.Generator) -> Any:
        values, sums = self._sums[name]
        return values[min(bisect_right(sums, random.random() * sums[-1]), len(values) - 1)]


def _parts(tried: Sequence[Tried], name: str, board: Board) -> Iterator[Hashable]:
    for each in tried:
        for part, values in _draft_parts(each.draft):
            if part == name:
                yield from values


def _draft_parts(draft: Draft) -> Iterator[tuple[str, tuple[Hashable, ...]]]:
    yield "side", (draft.side,)
    yield "hold", (draft.hold,)
    yield "stop", (draft.stop,)
    yield "tests", (len(draft.tests),)
    yield "test", tuple((each.id, each.above) for each in draft.tests)
    yield "share", tuple(_share(each) for each in draft.tests)


def _share(test: EntryTest) -> int:
    """Return at how large a share of the bars a test is true, in steps of its ladder of nine."""
    return 8 - test.place if test.above else test.place
