"""`MLQuantAgent`: the models of a session, asked of the zoo: before each fold, and whole for a winner."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from lockstep.identity import cache_root
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.models.model_column import remember
from lockstep.models.store import ModelStore, column_id
from research.agents.database import AgentBook
from research.agents.evaluation import TrainingEvaluator
from research.agents.plan import SessionPlan
from research.agents.proposal import KnownModel
from research.agents.specs import AgentSpec
from research.ledger.ledger import Ledger
from research.zoo.bundling import build_of
from research.zoo.learning import LearningBars
from research.zoo.model_spec import ModelSpec
from research.zoo.zoo import ModelZoo


def models_of_zoo(symbol: str, book: AgentBook, store: ModelStore | None = None) -> tuple[KnownModel, ...]:
    """Return the newest version of every model of the zoo on a symbol that may be used, by name.

    With what strategies of all sessions came to that read any version of it.
    """
    found = []
    store = store or ModelStore()
    for name, model in sorted(store.manifest().instruments.get(symbol, {}).items()):
        usable = {
            version: each
            for version, each in model.versions.items()
            if each.of_zoo and each.status != "retired"
        }
        if not usable:
            continue
        version = max(usable, key=lambda each: int(each[1:]))
        entry = usable[version]
        used = [each for each in book.search_by_model(f"model:{symbol}_{name}@") if each.trial.measures]
        sharpes = [each.trial.measures.sharpe for each in used if each.trial.measures is not None]
        known = [each for each in sharpes if not math.isnan(each)]
        best = max(used, key=lambda each: each.trial.fitness, default=None)
        found.append(
            KnownModel(
                name=name,
                version=version,
                column=column_id(symbol, version, entry.sha256, name=name),
                spec=build_of(entry.record).spec,
                note=entry.supersedes_reason or "",
                used_by=len(used),
                mean_sharpe=math.fsum(known) / len(known) if known else math.nan,
                best="" if best is None else best.name,
            )
        )
    return tuple(found)


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
