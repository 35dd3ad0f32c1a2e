"""Nested training: a search in every outer window, the final search, the model. Pure but for its helpers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.floats import require_exact
from lockstep.metrics import Integers
from research.training.config import TrainingConfig
from research.training.dataset import Dataset
from research.training.estimators import Parameters
from research.training.outcome import OuterWindow, SearchStep, TrainingOutcome
from research.training.pipeline import fit_pipeline, probabilities
from research.training.scheme import (
    Fold,
    FoldRunner,
    cross_validate,
    divide,
    embargo_of,
    evaluation_order,
    fold_workers,
    inner_splits,
    with_columns,
)
from research.training.search import Diary, SearchAttempt, SearchListener, bayesian_search
from research.training.selection import selected_columns
from research.training.stopping import Hopeless, MedianRule, Stopped
from research.training.threshold import choose_threshold

FINAL = "final"


def train(
    config: TrainingConfig,
    dataset: Dataset,
    *,
    seed: int = 0,
    jobs: int = 1,
    cluster: str | None = None,
    diary: Diary | None = None,
    listener: SearchListener | None = None,
) -> TrainingOutcome:
    """Search, select and fit; the hold-out's rows are set aside and never read.

    seed   of everything that draws; the same inputs and seed give the same outcome bit for bit (but for the
           seconds of the steps), whatever `jobs`, the number of processes, and `cluster`, the address of a
           Dask scheduler whose workers take their place

    TrainingError where there are too few samples, one class only, or every step of a search fails;
    FloatModeError where the processor does not compute as every other run does.
    """
    require_exact()
    scheme = divide(config, dataset)
    counting = _Counting(listener or SearchListener())
    steps = config.search.window_trials or config.search.trials
    counting.begin(len(scheme.windows) * steps + config.search.trials)
    with fold_workers(jobs, cluster) as run:
        trainer = _Trainer(config, dataset, seed, run, diary or Diary(), counting)
        windows = tuple(
            trainer.window(number, train, test) for number, (train, test) in enumerate(scheme.windows)
        )
        final = trainer.fitted(FINAL, scheme.development, config.search.trials)
    return TrainingOutcome(
        config=config,
        dataset=dataset,
        development=scheme.development,
        hold_out=scheme.hold_out,
        windows=windows,
        steps=final.steps,
        parameters=final.best.parameters,
        threshold=final.best.threshold,
        selected=final.selected,
        pipeline=final.pipeline,
        seed=seed,
        failed=counting.failed,
        stopped=counting.stopped,
    )


def window_name(number: int) -> str:
    """Return the name of the search in an outer window."""
    return f"window-{number}"


def search_seed(seed: int, number: int) -> int:
    """Return the seed of a search: windows draw different points."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0] >> 1)


class _Counting(SearchListener):
    """Passes on what it hears and counts steps that failed or were stopped."""

    def __init__(self, listener: SearchListener) -> None:
        self._listener = listener
        self.failed = 0
        self.stopped = 0

    def begin(self, steps: int) -> None:
        self._listener.begin(steps)

    def stepped(self, search: str, attempt: SearchAttempt, best: float) -> None:
        self.failed += attempt.failed
        self.stopped += attempt.stopped is not None
        self._listener.stepped(search, attempt, best)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fitted:
    """A finished search and the model that was fitted with its best step."""

    steps: tuple[SearchStep, ...]
    best: SearchStep
    selected: tuple[str, ...]
    pipeline: Any


@dataclass(frozen=True)
class _Trainer:
    """Searches and fits on any rows of one dataset."""

    config: TrainingConfig
    dataset: Dataset
    seed: int
    run: FoldRunner
    diary: Diary
    listener: SearchListener

    def window(self, number: int, train: Integers, test: Integers) -> OuterWindow:
        """Search and fit on `train`, then ask the model once about `test`."""
        trials = self.config.search.window_trials or self.config.search.trials
        fitted = self.fitted(window_name(number), train, trials, number=number + 1)
        return OuterWindow(
            number=number,
            train=train,
            test=test,
            steps=fitted.steps,
            parameters=fitted.best.parameters,
            threshold=fitted.best.threshold,
            selected=fitted.selected,
            probabilities=probabilities(fitted.pipeline, self.dataset.features[test]),
        )

    def fitted(self, name: str, rows: Integers, trials: int, number: int = 0) -> _Fitted:
        """Search on some rows, and fit the best parameters on all of them."""
        config, known = self.config, self.dataset.subset(rows)
        embargo = embargo_of(config)
        folds = self._folds(name, known)
        steps = bayesian_search(
            name,
            config.model.searched,
            config.search,
            lambda step, parameters, hopeless: self._step(step, parameters, known, folds, hopeless),
            trials=trials,
            seed=search_seed(self.seed, number),
            diary=self.diary,
            listener=self.listener,
            rule=self._rule(folds, len(known)),
        )
        best = best_of(steps)
        columns = selected_columns(
            config.model.feature_selection, known.samples, seed=self.seed, embargo=embargo
        )
        pipeline = fit_pipeline(
            config.model, best.parameters, known.samples, columns, seed=self.seed, embargo=embargo
        )
        selected = tuple(known.feature_ids[column] for column in columns)
        return _Fitted(steps=steps, best=best, selected=selected, pipeline=pipeline)

    def _folds(self, name: str, known: Dataset) -> list[Fold]:
        config = self.config
        return with_columns(
            inner_splits(config, known, f"{config.symbol}, {name}"),
            config.model.feature_selection,
            known.samples,
            self.run,
            seed=self.seed,
            embargo=embargo_of(config),
        )

    def _rule(self, folds: Sequence[Fold], samples: int) -> MedianRule | None:
        stops = self.config.search.stop == "median"
        return MedianRule(evaluation_order(folds, samples)) if stops else None

    def _step(
        self,
        number: int,
        parameters: Parameters,
        known: Dataset,
        folds: Sequence[Fold],
        hopeless: Hopeless,
    ) -> SearchStep | Stopped:
        begun = time.perf_counter()
        config = self.config
        scored = cross_validate(
            config.model,
            parameters,
            config.search.objective,
            known.samples,
            folds,
            self.run,
            seed=self.seed,
            embargo=embargo_of(config),
            hopeless=hopeless,
        )
        if isinstance(scored, Stopped):
            return scored
        return SearchStep(
            number=number,
            parameters=parameters,
            score=float(scored.split_scores.mean()),
            split_scores=scored.split_scores,
            threshold=choose_threshold(config.threshold, known, scored.probabilities),
            probabilities=scored.probabilities,
            seconds=time.perf_counter() - begun,
        )


def best_of(steps: Sequence[SearchStep]) -> SearchStep:
    """Return the step with the highest score, the earliest of equals."""
    return max(steps, key=lambda step: (step.score, -step.number))
