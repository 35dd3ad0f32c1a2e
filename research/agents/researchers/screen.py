"""Screen, then combine: the default researcher.

Each of 24 features is tried low and high, long; a loss after costs says that the short side may gain. What
did best makes up a beam of eight. Each further proposal changes one of them by one move: combine it with
another test, shift a constant, swap a test, drop one, turn it to the other side. Which member and which move
is drawn by the chance that it is the best (Thompson 1933): members by the mean and the error of their folds,
moves by how often they have improved on a parent. One proposal in ten is drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from research.agents.evaluation import QUANTILES
from research.agents.proposal import CatalogueEntry, Proposal, ResearchContext, StrategyKind
from research.agents.researchers.board import BEAM, Board, Tried, kind_of, with_test, without
from research.agents.researchers.drafts import Draft, EntryTest, Idea, neighbours
from research.agents.researchers.models import by_turns
from research.agents.researchers.upgrades import upgrade_of
from research.agents.specs import MODEL_FAMILY

FEATURES = 24
HOLD = 2
RANDOM = 0.1

_STREAM = 3
_MOVES = ("combine", "shift", "swap", "drop")
# A test that joins others is wider than on the screen: the shares of rarely, sometimes and half of the bars.
_SHARES, _WIDER, _WIDEST = (2, 3, 4), (0.25, 0.35, 0.4), 6
# What is not known of a test: no gain, and an error of a Sharpe ratio of this size.
_UNKNOWN = 0.4
# Of a Sharpe ratio, what a spec on the screen loses to costs: the other side loses it as well.
_COSTS = 0.1
# How often a kind with models begins from a technical draft, once it has members of its own.
_FRESH = 0.35


@dataclass(frozen=True)
class ScreenResearcher:
    """Screen, then combine.

    features   how many are screened; a session needs twice as many proposals at least

    >>> ScreenResearcher().least
    48
    """

    name: ClassVar[str] = "screen"

    features: int = FEATURES

    @property
    def least(self) -> int:
        """Its whole screen."""
        return 2 * self.features

    def propose(self, context: ResearchContext) -> Proposal:
        """Return the next proposal; NoProposal where nothing new is found."""
        if context.kind != "technical" and (known := upgrade_of(context)) is not None:
            return known
        board = Board.of(context)
        return self._idea(board).proposal(board.ladders, context.kind)

    def _idea(self, board: Board) -> Idea:
        kind = board.context.kind
        if kind == "technical":
            screened = _screened(board, self.features)
            if screened is not None:
                return screened
        if board.random.random() < RANDOM:
            return board.at_random(kind, "one proposal in ten looks elsewhere")
        return _improved(board, kind)


_orders: list[tuple[tuple[CatalogueEntry, ...], int, tuple[str, ...]]] = []


def screened_ids(catalogue: tuple[CatalogueEntry, ...], seed: int) -> tuple[str, ...]:
    """Return the order of a screen: features of all families in turn, drawn by the session's seed."""
    for known, other, ids in _orders:
        if known is catalogue and other == seed:
            return ids
    ids = tuple(by_turns(catalogue, np.random.default_rng((seed, _STREAM))))
    _orders[:] = [(catalogue, seed, ids), *_orders[:7]]
    return ids


def _screened(board: Board, features: int) -> Idea | None:
    """Return the first test of the screen that was not proposed, None where all were."""
    done = sum(each.proposal.move == "screen" for each in board.context.trials)
    ids = screened_ids(board.context.catalogue, board.context.seed)[:features]
    for number in range(done, 2 * len(ids)):
        each = ids[number // 2]
        test = board.ladders.high(each) if number % 2 else board.ladders.low(each)
        draft = Draft("long", (test,), HOLD)
        if draft.key not in board.known:
            return board.idea(draft, move="screen", because="each feature is tried low and high")
    return None


def _beam(board: Board, kind: StrategyKind) -> list[tuple[Draft, Tried, float, float]]:
    """Return drafts with their trials, and what to expect of them: mean and error.

    What lost on one side is expected to gain on the other, less what costs took on both.
    """
    found = [(each.draft, each, each.sharpe, each.error) for each in board.beam(kind, len(board.tried))]
    for each in board.of_kind(kind):
        other = _turned(each.draft)
        if each.sharpe < 0.0 and other.key not in board.known and each.trades >= board.fewest:
            found.append((other, each, -each.sharpe - 2.0 * _COSTS, each.error))
    return sorted(found, key=lambda item: (item[3] - item[2], item[1].number))[:BEAM]


def _turned(draft: Draft) -> Draft:
    return draft._replace(side="short" if draft.side == "long" else "long")


def _improved(board: Board, kind: StrategyKind) -> Idea:
    """Return a member of the beam with one move."""
    beam = _beam(board, kind)
    if kind != "technical" and (not beam or board.random.random() < _FRESH):
        return _with_model(board, kind)
    if not beam:
        return board.at_random(kind, "nothing has a fitness yet")
    draft, parent, _, _ = beam[board.sampled([(mean, error) for _, _, mean, error in beam])]
    if draft is not parent.draft:
        return board.idea(
            draft, move="turn", parents=[parent], change=f"{draft.side} in place of {parent.draft.side}",
            because=f"#{parent.number} loses",
        )  # fmt: skip
    return _moved(board, kind, parent)


def _moved(board: Board, kind: StrategyKind, parent: Tried) -> Idea:
    """Return a parent with the move that is drawn; another one where that leads to nothing new."""
    counts = _record(board)
    chances = {each: board.random.beta(*counts[each]) for each in _MOVES}
    for move in sorted(_MOVES, key=lambda each: -chances[each]):
        for draft, change in _children(board, kind, parent, move):
            if draft.key not in board.known and kind_of(draft) == kind:
                return board.idea(draft, move=move, change=change, parents=[parent])
    return board.at_random(kind, "nothing is left to change about the best")


def _record(board: Board) -> Mapping[str, tuple[float, float]]:
    """Return for each move one more than the children that were fitter than their parent, and than others."""
    fitness = {each.number: each.fitness for each in board.tried}
    found = {each: [1.0, 1.0] for each in _MOVES}
    for each in board.tried:
        if each.move in found and each.parents:
            better = each.fitness > fitness.get(each.parents[0], float("inf"))
            found[each.move][0 if better else 1] += 1.0
    return {move: (won, lost) for move, (won, lost) in found.items()}


def _children(board: Board, kind: StrategyKind, parent: Tried, move: str) -> Iterator[tuple[Draft, str]]:
    """Yield what a move makes of a parent, in a random order, the likeliest first."""
    ladders, draft = board.ladders, parent.draft
    if move == "combine":
        for test in _partners(board, kind, draft):
            wide = _widened(board, parent, test)
            if wide is not None and (found := with_test(draft, wide)) is not None:
                yield found, f"and {ladders.words(wide)}"
    elif move == "shift":
        steps = neighbours(draft, ladders)
        order = board.random.permutation(len(steps)).tolist()
        # For how long an edge lasts says more than its exact place.
        yield from (
            steps[number] for number in sorted(order, key=lambda each: steps[each][0].hold == draft.hold)
        )
    elif move == "swap":
        number = int(board.random.integers(len(draft.tests)))
        rest = (*draft.tests[:number], *draft.tests[number + 1 :])
        for test in _partners(board, kind, draft):
            wide = _widened(board, parent, test) if rest else test
            if wide is not None:
                change = f"{ladders.words(wide)} in place of {draft.tests[number].id}"
                yield draft._replace(tests=(*rest, wide)), change
    else:
        left = list(without(draft))
        for number in board.random.permutation(len(left)).tolist():
            found, test = left[number]
            yield found, f"without {test.id}"


def _partners(board: Board, kind: StrategyKind, draft: Draft) -> list[EntryTest]:
    """Return tests of other ids, drawn by what each did alone on this side: the likeliest first."""
    sign = 1.0 if draft.side == "long" else -1.0
    known: dict[tuple[str, bool], tuple[float, float, EntryTest]] = {}
    for each in board.tried:
        if len(each.draft.tests) == 1 and each.draft.tests[0].id not in draft.ids:
            test = each.draft.tests[0]
            gain = each.sharpe * (sign if each.draft.side == "long" else -sign)
            known.setdefault((test.id, test.above), (gain, each.error, test))
    tests = [(gain, error, test) for gain, error, test in known.values()]
    if kind != "technical":
        tests += [(0.0, _UNKNOWN, board.model_test()) for _ in range(2)]
    if not tests:
        return []
    means, errors = (np.array(values) for values in zip(*((each[0], each[1]) for each in tests), strict=True))
    drawn = means + errors * board.random.standard_normal(means.size)
    return [tests[place][2] for place in np.argsort(-drawn).tolist()]


def _widened(board: Board, parent: Tried, test: EntryTest) -> EntryTest | None:
    """Return a partner's test, true on a share of the bars that leaves trades enough; None for none."""
    if board.ladders.families[test.id] == MODEL_FAMILY:
        return test
    share = int(board.random.choice(_SHARES, p=_WIDER))
    while share <= _WIDEST and parent.trades * QUANTILES[share] < board.fewest:
        share += 1
    if share > _WIDEST:
        return None
    return board.ladders.high(test.id, share) if test.above else board.ladders.low(test.id, share)


def _with_model(board: Board, kind: StrategyKind) -> Idea:
    """Return a technical draft of the beam with a model's answer as one more test, or a model alone."""
    technical = board.beam("technical")
    if kind == "ml" or not technical:
        return board.at_random(kind, "a model's answer is tried")
    parent = technical[board.sampled([(each.sharpe, each.error) for each in technical])]
    draft = board.new(lambda: with_test(parent.draft, board.model_test()), kind)
    return board.idea(
        draft, move="combine", parents=[parent], change=f"and {board.ladders.words(draft.tests[-1])}"
    )
