"""Where a session measures: on training bars, with versions of models that were trained before each fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lockstep.errors import AgentError
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.sessions import Dates
from lockstep.strategy.families.rules import RulesConfig
from research.agents.evaluation import TrainingEvaluator
from research.agents.plan import SessionPlan
from research.agents.proposal import TrialMeasures
from research.agents.specs import AgentSpec, with_versions
from research.experiments.evaluation import data_hash
from research.zoo.model_spec import ModelSpec

Version = Callable[[ModelSpec, int], str]
"""Gives the column of the version of a model that was trained before a fold, numbered from 0."""


@dataclass(frozen=True, kw_only=True)
class TrainingBench:
    """Measures specs, those without models in one run, those with models fold by fold.

    version   trains, or finds, a version of a model; without it specs that read models fail
    """

    evaluator: TrainingEvaluator
    version: Version | None = None
    _columns: dict[tuple[str, int], str] = field(default_factory=dict)

    def behaviour(self, spec: AgentSpec) -> str:
        """Return the hash of what a spec does on the training bars."""
        if not spec.models:
            return self.evaluator.behaviour(spec.config)
        return self.evaluator.behaviour_by_fold(self._by_fold(spec))

    def measures(self, spec: AgentSpec) -> TrialMeasures:
        """Return what the training bars say about a spec."""
        if not spec.models:
            (found,) = self.evaluator.evaluate([spec.config])
            return found
        return self.evaluator.evaluate_by_fold(self._by_fold(spec))

    def versions(self, spec: AgentSpec) -> Mapping[str, str]:
        """Return, by stand-in, the version that the last fold read."""
        last = len(self.evaluator.folds) - 1
        return {each: self._column(each, model, last) for each, model in spec.models.items()}

    def _by_fold(self, spec: AgentSpec) -> list[RulesConfig]:
        return [
            with_versions(
                spec.config, {each: self._column(each, model, fold) for each, model in spec.models.items()}
            )
            for fold in range(len(self.evaluator.folds))
        ]

    def _column(self, stand_in: str, model: ModelSpec, fold: int) -> str:
        if (stand_in, fold) not in self._columns:
            if self.version is None:
                raise AgentError(f"{stand_in}: this session trains no models")
            self._columns[stand_in, fold] = self.version(model, fold)
        return self._columns[stand_in, fold]


def training_history(plan: SessionPlan, book: InstrumentBook | None = None) -> History:
    """Return the bars of a session's training, none later.

    AgentError where they are not those that it was begun on.
    """
    settings = plan.settings
    history = load_history(
        settings.symbol,
        None if settings.data_dir is None else Path(settings.data_dir),
        timeframe=plan.timeframe,
        start=settings.start,
        end=plan.train.end,
        book=book or load_instruments(),
        source=settings.source,
    )
    found = data_hash(history, settings.symbol)
    if found != plan.bars:
        raise AgentError(
            f"bars of {settings.symbol} up to {plan.train.end}: are {found[:12]}, and the session was begun "
            f"on {plan.bars[:12]}; restore them, or begin another session"
        )
    return history


def training_days(plan: SessionPlan, history: History) -> Dates:
    """Return the sessions of a training range, datetime64[D] (S,), rising."""
    symbol = plan.settings.symbol
    bars, market = history.series(SeriesKey(symbol, plan.timeframe)), history.markets[symbol]
    dates = market.session.dates(bars.end, bars.timeframe)
    return np.unique(dates[plan.train.rows(dates, bars.source)])


def evaluator_of(plan: SessionPlan, history: History) -> TrainingEvaluator:
    """Return what measures the specs of a session."""
    terms = RulesConfig.model_construct(
        name="terms", timeframe=plan.settings.terms.timeframe, max_age=plan.settings.terms.max_age
    )
    return TrainingEvaluator(
        history, plan.settings.symbol, plan.train, terms=terms, least_trades=plan.settings.least_trades
    )
