"""`MLQuantAgent`: the models of a session, asked of the zoo: before each fold, and whole for a winner."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from lockstep.identity import cache_root
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.models.model_column import remember
from lockstep.models.store import ModelStore
from research.agents.evaluation import TrainingEvaluator
from research.agents.plan import SessionPlan
from research.agents.specs import AgentSpec
from research.ledger.ledger import Ledger
from research.zoo.learning import LearningBars
from research.zoo.model_spec import ModelSpec
from research.zoo.zoo import ModelZoo


@dataclass(frozen=True, kw_only=True)
class MLQuantAgent:
    """Asks for the models of a session.

    history     bars of the training; evaluator: whose folds the models come before
    store       of the desk, for what a winner reads; the folds' versions are in a folder of the session
    """

    plan: SessionPlan
    history: History
    evaluator: TrainingEvaluator
    ledger: Ledger
    store: ModelStore

    def get_or_create_model(self, spec: ModelSpec, fold: int | None = None) -> str:
        """Return the column of the version that was trained before a fold, on the whole training for None.

        TrainingError where it cannot be trained; VerbRefused where the version was retired.
        """
        train, store = self.plan.train, self.store
        if fold is not None:
            before = self.evaluator.folds.dates(fold).start - timedelta(days=1)
            train, store = DateRange(start=train.start, end=before), ModelStore(self.folder)
        bars = LearningBars.of(self.history, SeriesKey(self.plan.settings.symbol, self.plan.timeframe), train)
        zoo = ModelZoo(store=store, ledger=self.ledger, by="agents")
        found = zoo.get_or_create_model(
            spec, bars, measured=fold is None, data_dir=self.plan.settings.data_dir,
            source=self.plan.settings.source,
        )  # fmt: skip
        remember(store.folder)
        return found.column

    def freeze(self, spec: AgentSpec) -> dict[str, str]:
        """Return, by stand-in, the versions that a winner is frozen with, in the desk's store."""
        return {stand_in: self.get_or_create_model(model) for stand_in, model in spec.models.items()}

    @property
    def folder(self) -> Path:
        """Of the versions that only the folds of this session read."""
        return cache_root() / "agents" / self.plan.key[:16]
