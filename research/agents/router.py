"""Which kind of strategy is proposed next, and who proposes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lockstep.errors import AgentError
from research.agents.proposal import Proposal, ResearchContext, Researcher, StrategyKind, Trial

KINDS: tuple[StrategyKind, ...] = ("technical", "hybrid", "ml")

_CHOICE = 1


@dataclass(frozen=True, kw_only=True)
class StrategyAgent:
    """Proposes strategies of one kind: a researcher that is asked for no other."""

    kind: StrategyKind
    researcher: Researcher

    def propose(self, context: ResearchContext) -> Proposal:
        """Return the researcher's next proposal; errors as of `Researcher.propose`."""
        return self.researcher.propose(replace(context, kind=self.kind))


@dataclass(frozen=True, kw_only=True)
class AgentRouter:
    """Decides which kind is next.

    kinds    how many strategies of each kind a session makes at least; a kind that is not there is not made
    screen   how many proposals come first, technical ones where they are allowed: the researcher's screen

    After the screen come the kinds that are owed, in turn, then those that earn: each kind is drawn by the
    chance that it is the best (Thompson 1933), by how often its trials had a positive fitness.

    >>> AgentRouter(kinds={"technical": 10, "ml": 10}).owed([])
    {'technical': 10, 'ml': 10}
    """

    kinds: Mapping[StrategyKind, int]
    screen: int = 0

    def require(self, strategies: int) -> None:
        """Raise AgentError where so many strategies are too few for the screen and the kinds."""
        if strategies < 1:
            raise AgentError(f"{strategies} strategies: a session tries at least 1; give --strategies 100")
        if not self.kinds:
            raise AgentError(f"no kind of strategy: give --kinds with one of {', '.join(KINDS)}")
        first = self._first
        others = sum(count for kind, count in self.kinds.items() if kind != first)
        least = max(self.screen, self.kinds[first]) + others
        if strategies < least:
            parts = [f"{self.screen} of the researcher's screen"] if self.screen > self.kinds[first] else []
            parts += [
                f"{count} {kind}"
                for kind, count in self.kinds.items()
                if count and (kind != first or not parts)
            ]
            raise AgentError(
                f"{strategies} strategies: {' and '.join(parts)} are {least} by themselves; give at least "
                "as many, fewer kinds, or another researcher"
            )

    def owed(self, trials: Sequence[Trial]) -> dict[StrategyKind, int]:
        """Return how many strategies of each kind are still to be made; what was refused is none."""
        made = dict.fromkeys(self.kinds, 0)
        for each in trials:
            if each.status != "refused" and each.proposal.kind in made:
                made[each.proposal.kind] += 1
        return {kind: max(0, least - made[kind]) for kind, least in self.kinds.items()}

    def next_kind(self, trials: Sequence[Trial], *, seed: int) -> StrategyKind:
        """Return the kind of the next proposal: a pure function of the trials and the seed."""
        number = len(trials) + 1
        if number <= self.screen:
            return self._first
        owed = self.owed(trials)
        most = max(owed, key=lambda kind: owed[kind])
        if owed[most]:
            return most
        random = np.random.default_rng((seed, number, _CHOICE))
        drawn = {kind: random.beta(*self._record(trials, kind)) for kind in self.kinds}
        return max(drawn, key=lambda kind: drawn[kind])

    @property
    def _first(self) -> StrategyKind:
        return "technical" if "technical" in self.kinds else next(iter(self.kinds))

    def _record(self, trials: Sequence[Trial], kind: StrategyKind) -> tuple[float, float]:
        """Return one more than the trials of a kind that earned, and than those that did not."""
        own = [each for each in trials if each.proposal.kind == kind]
        earned = sum(each.fitness > 0.0 for each in own)
        return 1.0 + earned, 1.0 + len(own) - earned
