"""A session but for its records: propose, refuse or recognise, evaluate, review; then the next proposal.

The session that is journaled and its null replay, which is not, go through the same steps here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from lockstep.errors import LockstepError, NoProposal
from research.agents.archive import open_niches
from research.agents.critic import may_win, review
from research.agents.proposal import (
    CatalogueEntry,
    KnownModel,
    Proposal,
    ResearchContext,
    Researcher,
    Trial,
    TrialMeasures,
)
from research.agents.router import AgentRouter, StrategyAgent
from research.agents.specs import AgentSpec, SpecGround, niche_of, spec_of

_LONGEST = 500
_MOST_OPEN = 20


class Bench(Protocol):
    """Where specs are measured, on training bars."""

    def behaviour(self, spec: AgentSpec) -> str:
        """Return the hash of what a spec does; a LockstepError where it cannot be computed."""

    def measures(self, spec: AgentSpec) -> TrialMeasures:
        """Return its measures; a LockstepError where it cannot be evaluated."""

    def versions(self, spec: AgentSpec) -> Mapping[str, str]:
        """Return, by stand-in, the column of the version that each model has after the last fold."""


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """A trial of an earlier session on the same bars, by the same code."""

    session: int
    number: int
    measures: TrialMeasures
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """What does not change while a session goes on.

    earlier     the best trials of earlier sessions; models: of the zoo
    meanings, behaviours   of earlier sessions, by the hash of what a spec means, and of what it does
    """

    researcher: Researcher
    router: AgentRouter
    ground: SpecGround
    bench: Bench
    strategies: int
    seed: int = 0
    goal: str = ""
    catalogue: tuple[CatalogueEntry, ...] = ()
    answers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    earlier: tuple[Trial, ...] = ()
    meanings: Mapping[str, Remembered] = field(default_factory=dict)
    behaviours: Mapping[str, Remembered] = field(default_factory=dict)

    @property
    def models(self) -> tuple[KnownModel, ...]:
        """Models that a spec may name by their column."""
        return tuple(self.ground.models)

    def context(self, trials: Sequence[Trial]) -> ResearchContext:
        """Return what the researcher is told after these trials."""
        return ResearchContext(
            goal=self.goal,
            number=len(trials) + 1,
            left=self.strategies - len(trials),
            seed=self.seed,
            kind=self.router.next_kind(trials, seed=self.seed),
            kinds=self.router.owed(trials),
            catalogue=self.catalogue,
            answers=self.answers,
            trials=tuple(trials),
            earlier=self.earlier,
            open=open_niches(trials, self.catalogue, most=_MOST_OPEN),
            models=self.models,
        )

    def propose(self, trials: Sequence[Trial]) -> Proposal:
        """Return the next proposal; one without a spec, with the reason, where the researcher has none.

        BudgetSpent where it may ask for no more.
        """
        context = self.context(trials)
        agent = StrategyAgent(kind=context.kind, researcher=self.researcher)
        try:
            return agent.propose(context)
        except NoProposal as error:
            return Proposal(spec={}, kind=context.kind, move="none", rationale=one_line(error))

    def run(self) -> Explored:
        """Make all trials in memory."""
        walk = Explored(self)
        while len(walk.trials) < self.strategies:
            walk.take(walk.judged(len(walk.trials) + 1, walk.propose()))
        return walk


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A trial with what names it: the hash of its meaning, and of what it does; empty where unknown."""

    trial: Trial
    meaning: str = ""
    behaviour: str = ""


class Explored:
    """The trials of a session so far, and by what they are recognised."""

    def __init__(self, exploration: Exploration) -> None:
        self.exploration = exploration
        self.trials: list[Trial] = []
        self._meanings: dict[str, Trial] = {}
        self._behaviours: dict[str, Trial] = {}

    def propose(self) -> Proposal:
        """Return the next proposal."""
        return self.exploration.propose(self.trials)

    def read(self, proposal: Proposal) -> AgentSpec | str:
        """Return what a proposal means, or the line by which it is refused."""
        if proposal.move == "none" and not proposal.spec:
            return proposal.rationale or "no proposal"
        try:
            found = spec_of(proposal, self.exploration.ground)
        except LockstepError as error:
            return one_line(error)
        except RecursionError:
            return "proposal: nested without end; make it flatter"
        kinds = self.exploration.router.kinds
        if found.kind not in kinds:
            return f"proposal: is of the kind {found.kind}; this session makes {', '.join(kinds)} strategies"
        return found

    def judged(self, id: int, proposal: Proposal, read: AgentSpec | str | None = None) -> Judged:
        """Return what comes of a proposal.

        read   what `read` returned for it, where that is known
        """
        number, spec = len(self.trials) + 1, self.read(proposal) if read is None else read
        if isinstance(spec, str):
            trial = Trial(number=number, id=id, proposal=proposal, status="refused", findings=(spec,))
            return Judged(trial=trial)
        trial = Trial(
            number=number, id=id, proposal=replace(proposal, kind=spec.kind), status="evaluated"
        )  # fmt: skip
        meaning = spec.config.config_hash
        known = self._known(meaning, self._meanings, self.exploration.meanings)
        if known is not None:
            return Judged(trial=_repeats(trial, known, spec, "means the same as"), meaning=meaning)
        bench = self.exploration.bench
        try:
            behaviour = bench.behaviour(spec)
            known = self._known(behaviour, self._behaviours, self.exploration.behaviours)
            if known is not None:
                trial = _repeats(trial, known, spec, "does the same as")
                return Judged(trial=trial, meaning=meaning, behaviour=behaviour)
            measures = bench.measures(spec)
            versions = bench.versions(spec)
        except LockstepError as error:
            failed = replace(trial, status="failed", findings=(one_line(error),))
            return Judged(trial=failed, meaning=meaning)
        found = replace(
            trial,
            measures=measures,
            niche=niche_of(spec.config, measures),
            findings=tuple(each.text for each in review(measures)),
            versions=versions,
        )
        return Judged(trial=found, meaning=meaning, behaviour=behaviour)

    def take(self, judged: Judged) -> None:
        """Add a trial."""
        trial = judged.trial
        self.trials.append(trial)
        if judged.meaning:
            self._meanings.setdefault(judged.meaning, trial)
        if judged.behaviour:
            self._behaviours.setdefault(judged.behaviour, trial)

    @staticmethod
    def _known(
        name: str, own: Mapping[str, Trial], earlier: Mapping[str, Remembered]
    ) -> Trial | Remembered | None:
        return own.get(name) or earlier.get(name)


def winners(trials: Sequence[Trial], most: int = 1) -> tuple[Trial, ...]:
    """Return the best trials that may win, the best first; of equal ones the older."""
    able = [each for each in trials if may_win(each)]
    return tuple(sorted(able, key=lambda each: (-each.fitness, each.number))[:most])


def objective(trials: Sequence[Trial]) -> float:
    """Return by what a session reports its winner: its fitness, NaN where there is none."""
    best = winners(trials)
    return best[0].fitness if best else float("nan")


def one_line(error: Exception) -> str:
    """Return what an error says, on one line of at most 500 letters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _repeats(trial: Trial, known: Trial | Remembered, spec: AgentSpec, how: str) -> Trial:
    """Return a trial that was made before, with what came of it then."""
    if isinstance(known, Remembered):
        where, same = f"trial {known.number} of session {known.session}", None
    else:
        where, same = f"trial {known.number}", known.number
    measures = known.measures
    return replace(
        trial,
        status="repeated",
        measures=measures,
        niche=None if measures is None else niche_of(spec.config, measures),
        findings=(f"{how} {where}: counted, and not evaluated again",),
        same_as=same,
        versions=known.versions,
    )
