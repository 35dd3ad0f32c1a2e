"""Evolution: children of two of the fittest, each with a mutation or two; the first generation is drawn.

With `archive` the parents are elites of different niches, drawn evenly: MAP-Elites, which looks for many
different ideas rather than for one (Mouret and Clune 2015).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from research.agents.archive import elites
from research.agents.proposal import Proposal, ResearchContext, StrategyKind
from research.agents.researchers.board import Board, Tried, with_test, without
from research.agents.researchers.drafts import MOST_TESTS, Draft, EntryTest, Idea, drawn, neighbours
from research.agents.researchers.upgrades import upgrade_of

FOUNDERS = 20
POPULATION = 12
_TOURNAMENT = 3
_CROSSED = 0.4
_SECOND = 0.3


@dataclass(frozen=True)
class EvolveResearcher:
    """Evolution, or MAP-Elites with `archive`.

    >>> EvolveResearcher().least
    20
    """

    name: ClassVar[str] = "evolve"
    least: ClassVar[int] = FOUNDERS

    archive: bool = False

    def propose(self, context: ResearchContext) -> Proposal:
        """Return the next proposal; NoProposal where nothing new is found."""
        if context.kind != "technical" and (known := upgrade_of(context)) is not None:
            return known
        board = Board.of(context)
        return self._idea(board, context.kind).proposal(board.ladders, context.kind)

    def _idea(self, board: Board, kind: StrategyKind) -> Idea:
        of_kind = sum(each.proposal.kind == kind for each in board.context.trials)
        parents = self._parents(board, kind)
        if not parents or (kind == "technical" and of_kind < FOUNDERS):
            return board.at_random(kind, "a founder")
        chosen: list[Tried] = []

        def child() -> Draft | None:
            chosen[:] = [self._chosen(board, parents) for _ in range(1 + (board.random.random() < _CROSSED))]
            draft = chosen[0].draft
            if len(chosen) == 2:
                draft = _crossed(board, *(each.draft for each in chosen))
            for _ in range(1 + (board.random.random() < _SECOND)):
                draft = _mutated(board, kind, draft)
            return draft

        draft = board.new(child, kind)
        crossed = len({each.number for each in chosen}) == 2
        change = "of two parents, and mutated" if crossed else "mutated"
        return board.idea(draft, move="cross" if crossed else "mutate", parents=chosen, change=change)

    def _parents(self, board: Board, kind: StrategyKind) -> list[Tried]:
        if not self.archive:
            return board.beam(kind, POPULATION)
        best = {each.number for each in elites(board.context.trials).values()}
        return [each for each in board.of_kind(kind) if each.number in best]

    def _chosen(self, board: Board, parents: list[Tried]) -> Tried:
        """Return one parent: the best of three that are drawn, or any elite."""
        drawn_by = board.random.integers(len(parents), size=1 if self.archive else _TOURNAMENT)
        found = [parents[int(each)] for each in drawn_by]
        return max(found, key=lambda each: each.fitness)


def _crossed(board: Board, one: Draft, other: Draft) -> Draft:
    """Return the tests of both, each with an even chance and of one id one at most; the rest of the first."""
    tests: list[EntryTest] = []
    for each in (*one.tests, *other.tests):
        if each.id not in {known.id for known in tests} and board.random.random() < 0.5:
            tests.append(each)
    return one._replace(tests=tuple(tests[:MOST_TESTS]) or one.tests)


def _mutated(board: Board, kind: StrategyKind, draft: Draft) -> Draft:
    """Return a draft with one mutation: a step, another test, one more, one less, or the other side."""
    ids = board.ids(kind)

    def step(old: Draft) -> Draft | None:
        steps = neighbours(old, board.ladders)
        return steps[int(board.random.integers(len(steps)))][0]

    def more(old: Draft) -> Draft | None:
        return with_test(old, drawn(board.ladders, ids, board.random, tests=1).tests[0])

    def less(old: Draft) -> Draft | None:
        left = list(without(old))
        return left[int(board.random.integers(len(left)))][0] if left else None

    def other(old: Draft) -> Draft | None:
        left = list(without(old))
        kept = left[int(board.random.integers(len(left)))][0] if left else old._replace(tests=())
        return with_test(kept, drawn(board.ladders, ids, board.random, tests=1).tests[0])

    def turned(old: Draft) -> Draft | None:
        return old._replace(side="short" if old.side == "long" else "long")

    mutations: tuple[Callable[[Draft], Draft | None], ...] = (step, step, more, less, other, turned)
    return mutations[int(board.random.integers(len(mutations)))](draft) or draft
