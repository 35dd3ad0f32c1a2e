"""Researchers and benches for tests of sessions: simple, quick, and each with one habit."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockstep.identity import json_digest
from lockstep.strategy.specs.conditions import comparisons
from research.agents.proposal import FoldMeasures, Proposal, ResearchContext, TrialMeasures
from research.agents.specs import AgentSpec
from research.zoo.model_spec import ModelSpec

IDS = {"rsi_2": 100.0, "ibs": 1.0, "volume_pctile_20": 1.0, "atr_pctile_14_252": 1.0}
CALM = ModelSpec(task="volatility", features=("ibs", "range_atr_14"), parameters={"max_iter": 5})


@dataclass(frozen=True, kw_only=True)
class Dice:
    """Draws a threshold on one of four features, the same one again at every `again`-th proposal."""

    name: str = "dice"
    least: int = 0
    again: int = 0

    def propose(self, context: ResearchContext) -> Proposal:
        """Return a proposal of the kind that is asked for."""
        if self.again and context.number % self.again == 0 and context.trials:
            return context.trials[0].proposal
        random = context.random
        name = str(random.choice(sorted(IDS)))
        bound = float(f"{IDS[name] * random.uniform(0.2, 0.8):.2g}")
        entry: dict[str, Any] = {"id": name, str(random.choice(["below", "above"])): bound}
        model = {"id": "model:calm", "below": float(f"{random.uniform(-6.0, -3.0):.2g}")}
        models = {} if context.kind == "technical" else {"calm": CALM}
        entry = {"technical": entry, "hybrid": {"all": [entry, model]}, "ml": model}[context.kind]
        return Proposal(
            spec={"long_entry": entry, "max_bars": int(random.integers(1, 4))},
            models=models,
            kind=context.kind,
            move="random",
            rationale=f"drawn after {len(context.trials)} trials",
            parents=(len(context.trials),) if context.trials else (),
        )


@dataclass(frozen=True, kw_only=True)
class Cutter(Dice):
    """Draws; before its fourth proposal it kills its process and the one that began it, once.

    mark   a file that says that it did
    """

    mark: str

    def propose(self, context: ResearchContext) -> Proposal:
        """Return a drawn proposal, unless nobody lives to see it."""
        if context.number == 4 and not Path(self.mark).exists():
            Path(self.mark).touch()
            for process in (os.getppid(), os.getpid()):
                os.kill(process, signal.SIGKILL)
        return super().propose(context)


def measures_of(fitness: float = 0.5, **changes: Any) -> TrialMeasures:
    """Return measures of six equal folds with some fitness."""
    fold = FoldMeasures(
        number=0, trades=40, sharpe=fitness, result=fitness / 1_000, cost_share=0.1, exposure=0.2, holding=2.0
    )  # fmt: skip
    folds = changes.pop("folds", (fold,) * 6)
    whole: dict[str, Any] = {
        "fitness": fitness, "sharpe": fitness, "folds": folds, "by_regime": {"bull": 0.5}, "largest": 0.05,
        "missing": 0.0, "behaviour": "",
    }  # fmt: skip
    return TrialMeasures(**{**whole, **changes})


@dataclass
class Counter:
    """A bench whose fitness is a hash of the spec; it counts what it evaluates.

    alike   constants are told apart by their first digit only, so that specs behave alike
    """

    alike: bool = False
    evaluated: list[str] = field(default_factory=list)

    def behaviour(self, spec: AgentSpec) -> str:
        """Return what a spec does."""
        if not self.alike:
            return spec.config.config_hash
        seen = [
            (each.id, each.relation, [f"{value:.0e}" for value in each.constants])
            for each in comparisons(spec.config.long_entry)
        ]
        return json_digest([seen, spec.config.max_bars])

    def measures(self, spec: AgentSpec) -> TrialMeasures:
        """Return measures that follow from the behaviour."""
        self.evaluated.append(spec.config.config_hash)
        behaviour = self.behaviour(spec)
        return measures_of(int(behaviour[:6], 16) / 2**24 - 0.5, behaviour=behaviour)

    def versions(self, spec: AgentSpec) -> Mapping[str, str]:
        """Return a version of each model."""
        return {each: f"{each.partition('#')[0]}@v1#0123456789ab" for each in spec.models}
