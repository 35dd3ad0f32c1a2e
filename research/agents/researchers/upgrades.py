"""Upgrades: a strategy of an earlier session again, with the version of its model that came out since."""

from __future__ import annotations

from dataclasses import replace

from research.agents.proposal import Proposal, ResearchContext


def upgrade_of(context: ResearchContext) -> Proposal | None:
    """Return the fittest earlier strategy of the kind whose model has a newer version that it did not read.

    None where there is none left. Each is tried once a session.
    """
    newest = {each.name: each.spec for each in context.models}
    done = {each.proposal.from_id for each in context.trials if each.proposal.move == "upgrade"}
    for trial in sorted(context.earlier, key=lambda each: (-each.fitness, each.id)):
        read = trial.proposal.models
        newer = {
            alias: newest[spec.name]
            for alias, spec in read.items()
            if spec.name in newest and newest[spec.name].digest != spec.digest
        }
        if newer and trial.id not in done and trial.proposal.kind == context.kind:
            names = ", ".join(sorted({each.name for each in newer.values()}))
            return replace(
                trial.proposal,
                models={**read, **newer},
                move="upgrade",
                parents=(),
                from_id=trial.id,
                change=f"reads the newest version of {names}",
                rationale=f"proposal {trial.id} did well in an earlier session; {names} has improved since",
            )
    return None
