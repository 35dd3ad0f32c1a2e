"""Inner cross-validation of one set of parameters: the splits of a step side by side, each on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np

from lockstep.errors import TrainingError
from lockstep.metrics import Floats, Integers
from research.training.config import Model, Selection
from research.training.pipeline import Samples, fit_pipeline, probabilities
from research.training.quick_forest import can_answer, forest_answers
from research.training.scoring import SCORES
from research.training.selection import selected_columns
from research.training.space import Parameters

Run = Callable[[Iterable[Any]], Sequence[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold:
    """One inner split: rows of the training set, and the columns that its training samples chose."""

    train: Integers
    test: Integers
    columns: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """What one set of parameters did: `split_scores` (splits,), `probabilities` (n,), out of fold."""

    split_scores: Floats
    probabilities: Floats


@contextmanager
def fold_workers(jobs: int) -> Iterator[Run]:
    """Yield what runs joblib's delayed calls in `jobs` processes (-1: one per core), in order.

    Every call computes on one thread from values that it is sent, so that their number changes nothing.
    """
    if jobs == 0 or jobs < -1:
        raise TrainingError(f"jobs {jobs}: give the number of processes, or -1 for one per core")
    with joblib.Parallel(
        n_jobs=jobs, backend="loky", batch_size=1, pre_dispatch="all", max_nbytes=None
    ) as run:
        yield run


def with_columns(
    splits: Sequence[tuple[Integers, Integers]],
    selection: Selection,
    samples: Samples,
    run: Run,
    *,
    seed: int,
    embargo: int,
) -> list[Fold]:
    """Return the splits with the columns that the feature selection finds on each training part."""
    tasks = (
        joblib.delayed(selected_columns)(selection, samples.rows(train), seed=seed, embargo=embargo)
        for train, _ in splits
    )
    return [
        Fold(train=train, test=test, columns=columns)
        for (train, test), columns in zip(splits, run(tasks), strict=True)
    ]


def cross_validate(
    model: Model,
    parameters: Parameters,
    objective: str,
    samples: Samples,
    folds: Sequence[Fold],
    run: Run,
    *,
    seed: int,
    embargo: int,
) -> Scored:
    """Fit on every fold, answer its test samples, and score them."""
    tasks = (
        joblib.delayed(_answers)(
            model,
            parameters,
            samples.rows(fold.train),
            samples.features[fold.test],
            fold.columns,
            seed,
            embargo,
        )
        for fold in folds
    )
    answers = run(tasks)
    score = SCORES[objective]
    scores, total, count = np.empty(len(folds)), np.zeros(len(samples)), np.zeros(len(samples))
    for number, (fold, answer) in enumerate(zip(folds, answers, strict=True)):
        scores[number] = score(samples.target[fold.test], answer, samples.weight[fold.test])
        total[fold.test] += answer
        count[fold.test] += 1
    return Scored(split_scores=scores, probabilities=total / count)


def _answers(
    model: Model,
    parameters: Parameters,
    train: Samples,
    tested: Floats,
    columns: tuple[int, ...],
    seed: int,
    embargo: int,
) -> Floats:
    if model.family == "random_forest" and model.calibration == "none" and can_answer(parameters):
        kept = list(columns)
        return forest_answers(
            parameters, train.features[:, kept], train.target, train.weight, tested[:, kept], seed=seed
        )
    return probabilities(fit_pipeline(model, parameters, train, columns, seed=seed, embargo=embargo), tested)
