"""What a researcher makes of a context: drafts of the trials so far, and what they came to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lockstep.errors import NoProposal
from research.agents.proposal import CatalogueEntry, ResearchContext, StrategyKind, Trial
from research.agents.researchers.drafts import MOST_TESTS, Draft, EntryTest, Idea, Ladders, drawn
from research.agents.researchers.models import MODEL, ModelMenu, menu_of

BEAM = 8
_ATTEMPTS = 30
_RANDOM_TESTS = (0.4, 0.4, 0.2)
_FOURTH = 4


class Tried(NamedTuple):
    """A draft that was measured.

    sharpe, error   mean of the folds' Sharpe ratios and its standard error; fitness: -inf for none
    trades          in the fourth best fold: what decides whether there are enough
    """

    number: int
    draft: Draft
    move: str
    parents: tuple[int, ...]
    sharpe: float
    error: float
    fitness: float
    trades: int


class _Read(NamedTuple):
    """A trial as a draft, with the draft's key, and what came of it if that was measured."""

    draft: Draft
    kind: StrategyKind
    key: tuple[object, ...]
    tried: Tried | None


# Trials are read once, and not at every proposal again; by their identity, since they never change.
_reads: dict[int, tuple[Trial, Ladders, _Read | None]] = {}
_MOST_READS = 4096


def _read(trial: Trial, ladders: Ladders) -> _Read | None:
    known = _reads.get(id(trial))
    if known is not None and known[0] is trial and known[1] is ladders:
        return known[2]
    if len(_reads) >= _MOST_READS:
        _reads.clear()
    draft = ladders.read(trial.proposal.spec)
    found = None
    if draft is not None:
        tried = _tried(trial, draft)
        found = _Read(draft, kind_of(draft), draft.key, tried)
    _reads[id(trial)] = (trial, ladders, found)
    return found


def _tried(trial: Trial, draft: Draft) -> Tried | None:
    measures = trial.measures
    if measures is None or trial.status != "evaluated":
        return None
    ratios = [0.0 if math.isnan(each.sharpe) else each.sharpe for each in measures.folds]
    counts = sorted((each.trades for each in measures.folds), reverse=True)
    return Tried(
        trial.number, draft, trial.proposal.move, trial.proposal.parents, measures.sharpe, _error(ratios),
        trial.fitness, counts[min(_FOURTH, len(counts)) - 1],
    )  # fmt: skip


_ladders: list[tuple[tuple[CatalogueEntry, ...], ModelMenu, Ladders]] = []


def _ladders_of(catalogue: tuple[CatalogueEntry, ...], menu: ModelMenu) -> Ladders:
    """Return the ladders of a catalogue, kept for as long as a few others were not asked for."""
    for known, models, ladders in _ladders:
        if known is catalogue and models == menu:
            return ladders
    ladders = Ladders.of(catalogue, menu.answers)
    _ladders[:] = [(catalogue, menu, ladders), *_ladders[:7]]
    return ladders


@dataclass(frozen=True, kw_only=True)
class Board:
    """The trials of a context as drafts; `random` is that of the proposal."""

    context: ResearchContext
    ladders: Ladders
    menu: ModelMenu
    random: np.random.Generator

    @classmethod
    def of(cls, context: ResearchContext) -> Board:
        """Read the trials of a context."""
        menu = menu_of(context)
        return cls(
            context=context, ladders=_ladders_of(context.catalogue, menu), menu=menu, random=context.random
        )

    @cached_property
    def _read(self) -> list[_Read]:
        found = (_read(each, self.ladders) for each in self.context.trials)
        return [each for each in found if each is not None]

    @cached_property
    def known(self) -> frozenset[tuple[object, ...]]:
        """Drafts that were proposed, whatever came of them."""
        return frozenset(each.key for each in self._read)

    @cached_property
    def tried(self) -> tuple[Tried, ...]:
        """All that was measured, oldest first; what repeats another trial is not among it."""
        return tuple(each.tried for each in self._read if each.tried is not None)

    def of_kind(self, kind: StrategyKind) -> list[Tried]:
        """Return what was measured of a kind."""
        return [each.tried for each in self._read if each.tried is not None and each.kind == kind]

    def beam(self, kind: StrategyKind, size: int = BEAM) -> list[Tried]:
        """Return the fittest of a kind, the fittest first; of equal ones the older."""
        able = [each for each in self.of_kind(kind) if each.fitness > -math.inf]
        return sorted(able, key=lambda each: (-each.fitness, each.number))[:size]

    def sampled(self, values: Sequence[tuple[float, float]]) -> int:
        """Return the place of the highest of draws from normal laws, each of a mean and an error."""
        mean, error = np.array(values).T
        return int((mean + error * self.random.standard_normal(mean.size)).argmax())

    @cached_property
    def fewest(self) -> int:
        """The fewest trades, in the fourth best fold, with which something had a fitness; else 1."""
        return min((each.trades for each in self.tried if each.fitness > -math.inf), default=1)

    def features(self) -> list[str]:
        """Return the ids of the catalogue."""
        return [each.id for each in self.context.catalogue]

    def ids(self, kind: StrategyKind) -> list[str]:
        """Return the ids that a kind may read."""
        models = list(self.menu.answers)
        return {"technical": self.features(), "hybrid": self.features() + models, "ml": models}[kind]

    def at_random(self, kind: StrategyKind, because: str = "nothing that was tried suggests it") -> Idea:
        """Return a draft of a kind that is drawn evenly and that nobody proposed; NoProposal for none."""

        def draw() -> Draft:
            count = 1 + int(self.random.choice(3, p=_RANDOM_TESTS))
            if kind != "hybrid":
                return drawn(self.ladders, self.ids(kind), self.random, tests=count)
            found = drawn(self.ladders, self.features(), self.random, tests=min(count, MOST_TESTS - 1))
            return found._replace(tests=(*found.tests, self.model_test()))

        return self.idea(self.new(draw, kind), move="random", because=because)

    def model_test(self) -> EntryTest:
        """Return a test of a model's answer: one that was trained already, three times of four."""
        trained = [each for each in self.menu.answers if each in self._trained]
        names = trained if trained and self.random.random() < 0.75 else list(self.menu.answers)
        if not names:
            raise NoProposal("no model can be asked for: the catalogue has no features for one")
        name = names[int(self.random.integers(len(names)))]
        steps = len(self.ladders.steps[name])
        make = self.ladders.high if self.random.random() < 0.5 else self.ladders.low
        return make(name, int(self.random.integers(0, max(1, steps // 2 + 1))))

    @cached_property
    def _trained(self) -> frozenset[str]:
        ids = (each for read in self._read for each in read.draft.ids)
        return frozenset(each for each in ids if each.startswith(MODEL))

    def new(self, draw: Callable[[], Draft | None], kind: StrategyKind) -> Draft:
        """Return the first draft of a kind that nobody proposed; NoProposal after some attempts."""
        for _ in range(_ATTEMPTS):
            found = draw()
            if found is not None and found.key not in self.known and kind_of(found) == kind:
                return found
        raise NoProposal(f"nothing new was found in {_ATTEMPTS} attempts: the catalogue is small")

    def idea(
        self, draft: Draft, *, move: str, because: str = "", change: str = "", parents: Sequence[Tried] = ()
    ) -> Idea:
        """Return a draft with where it comes from."""
        return Idea(
            draft=draft, move=move, change=change, because=because,
            parents=tuple(each.number for each in parents), models=self.menu.models,
        )  # fmt: skip


def kind_of(draft: Draft) -> StrategyKind:
    """Return the kind of a draft, by what it reads."""
    models = sum(each.startswith(MODEL) for each in draft.ids)
    return "technical" if not models else "ml" if models == len(draft.tests) else "hybrid"


def with_test(draft: Draft, test: EntryTest) -> Draft | None:
    """Return a draft with one more test; None where it reads that id already, or has enough tests."""
    if test.id in draft.ids or len(draft.tests) >= MOST_TESTS:
        return None
    return draft._replace(tests=(*draft.tests, test))


def without(draft: Draft) -> Iterator[tuple[Draft, EntryTest]]:
    """Yield what is left of a draft without each of its tests."""
    for number, test in enumerate(draft.tests):
        if len(draft.tests) > 1:
            yield draft._replace(tests=(*draft.tests[:number], *draft.tests[number + 1 :])), test


def _error(ratios: Sequence[float]) -> float:
    mean = math.fsum(ratios) / len(ratios)
    squares = math.fsum((each - mean) ** 2 for each in ratios)
    return math.sqrt(squares / max(1, len(ratios) - 1) / len(ratios))
