"""A session on record: a proposal is a row before it is evaluated. Killed anywhere, it goes on from there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lockstep.errors import AgentError, BudgetSpent
from research.agents.database import FROZEN, AgentBook, Proposed, SessionRecord
from research.agents.loop import Exploration, Explored, Judged, objective, one_line, winners
from research.agents.proposal import Proposal, Trial
from research.agents.records import proposal_content, read_proposal
from research.agents.specs import AgentSpec, with_versions

MOST_WINNERS = 5

Hear = Callable[[Trial], None]
Freeze = Callable[[AgentSpec], dict[str, str]]


def deaf(trial: Trial) -> None:
    """No listener."""


@dataclass(frozen=True, kw_only=True)
class AgentSession:
    """One session of a database, with all that its steps need.

    freeze   gives, for a spec that won, the versions by stand-in that are trained on the whole range
    hear     is told of each trial when it is on record
    """

    book: AgentBook
    record: SessionRecord
    exploration: Exploration
    freeze: Freeze = field(default=lambda spec: {})
    hear: Hear = deaf

    def run(self) -> SessionRecord:
        """Make what is missing of the session, freeze its winners, and return its record."""
        if FROZEN in self.record.events:
            return self.record
        with self.book.ledger.database.held():
            return self._run()

    def _run(self) -> SessionRecord:
        walk, ended = Explored(self.exploration), ""
        done, waiting = self.book.proposals(self.record)
        for each in done:
            walk.take(each)
        # A proposal, what came of it and what was decided: written together with the next proposal.
        finished: tuple[Proposed, Judged, str] | None = None
        while True:
            if waiting is None:
                proposed: tuple[int, Proposal, AgentSpec | str] | None = None
                if len(walk.trials) < self.exploration.strategies:
                    try:
                        proposed = self._next(walk)
                    except BudgetSpent as error:
                        ended = one_line(error)
                if finished is not None or proposed is not None:
                    waiting = self.book.step(self.record, done=finished, proposed=proposed)
                if finished is not None:
                    self.hear(finished[1].trial)
                    finished = None
                if waiting is None:
                    break
            judged = walk.judged(waiting.id, waiting.proposal)
            finished = (waiting, judged, decided(judged.trial, walk.trials))
            walk.take(judged)
            waiting = None
        return self._freeze(walk, ended)

    def _next(self, walk: Explored) -> tuple[int, Proposal, AgentSpec | str]:
        """Return the next proposal as the database will give it back, and how it is read."""
        proposal = read_proposal(proposal_content(walk.propose()))
        return len(walk.trials) + 1, proposal, walk.read(proposal)

    def _freeze(self, walk: Explored, ended: str) -> SessionRecord:
        """Write the winners down, with the versions of their models; from here on nothing of it changes."""
        found = []
        for each in winners(walk.trials, MOST_WINNERS):
            spec = walk.read(each.proposal)
            if isinstance(spec, str):
                raise AgentError(f"session {self.record.id}: trial {each.number} is refused now: {spec}")
            found.append(self._frozen(each, spec))
        content: dict[str, Any] = {
            "winners": found,
            "objective": None if not found else objective(walk.trials),
            "trials": len(walk.trials),
            "ended": ended,
        }
        return self.book.happened(self.record, FROZEN, content)

    def _frozen(self, trial: Trial, spec: AgentSpec) -> dict[str, Any]:
        versions = self.freeze(spec) if spec.models else {}
        config = with_versions(spec.config, versions)
        return {
            "number": trial.number,
            "id": trial.id,
            "kind": spec.kind,
            "config": config.model_dump(mode="json"),
            "versions": versions,
        }


def decided(trial: Trial, before: list[Trial]) -> str:
    """Return what was decided about a trial, a sentence."""
    if trial.status != "evaluated":
        return f"{trial.status}: {trial.findings[0] if trial.findings else 'nothing is known of it'}"
    if trial not in winners([trial]):
        return f"left: {trial.findings[0] if trial.findings else 'it has no fitness'}"
    same = [each for each in before if each.niche == trial.niche and each in winners([each])]
    best = winners([*before, trial])[0]
    if best is trial:
        return f"leads: fitness {trial.fitness:.3f}, the best so far"
    elite = winners(same)
    if not elite or elite[0].fitness < trial.fitness:
        return f"kept: fitness {trial.fitness:.3f}, the best of its niche"
    return f"left: fitness {trial.fitness:.3f}, and trial {elite[0].number} of its niche has more"
