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
from research.training.stopping import Hopeless, Stopped, first_check, never, spread


@dataclass(frozen=True)
class Run:
    """Runs joblib's delayed calls, in order, `workers` at a time."""

    parallel: Callable[[Iterable[Any]], Sequence[Any]]
    workers: int = 1

    def __call__(self, calls: Iterable[Any]) -> Sequence[Any]:
        """Return what the calls return."""
        return self.parallel(calls)


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
    ) as parallel:
        yield Run(parallel, joblib.effective_n_jobs(jobs))


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
    hopeless: Hopeless = never,
) -> Scored | Stopped:
    """Fit on every fold, answer its test samples, and score them.

    hopeless   is asked after each fold, in the order of `evaluation_order`; what it stops does not depend on
               the number of workers, and folds that they evaluated beyond that are dropped
    """
    answers: dict[int, Floats] = {}
    scores: list[float] = []
    for part in _parts(evaluation_order(folds, len(samples)), hopeless, run.workers):
        tasks = (
            joblib.delayed(_answers)(
                model, parameters, samples.rows(folds[each].train), samples.features[folds[each].test],
                folds[each].columns, seed, embargo,
            )
            for each in part
        )  # fmt: skip
        for number, answer in zip(part, run(tasks), strict=True):
            test = folds[number].test
            answers[number] = answer
            scores.append(SCORES[objective](samples.target[test], answer, samples.weight[test]))
            if hopeless(np.array(scores)):
                return Stopped(scores=np.array(scores))
    split_scores, total, count = np.empty(len(folds)), np.zeros(len(samples)), np.zeros(len(samples))
    split_scores[list(answers)] = scores
    for number, fold in enumerate(folds):
        total[fold.test] += answers[number]
        count[fold.test] += 1
    return Scored(split_scores=split_scores, probabilities=total / count)


def evaluation_order(folds: Sequence[Fold], samples: int) -> list[int]:
    """Return the order in which `cross_validate` evaluates folds."""
    return spread([fold.test for fold in folds], samples)


def _parts(order: Sequence[int], hopeless: Hopeless, workers: int) -> Iterator[Sequence[int]]:
    """Yield which folds run side by side: at first as many as a step has at least, then one per worker."""
    if hopeless is never:
        yield order
        return
    first = -(-first_check(len(order)) // workers) * workers
    yield order[:first]
    for start in range(first, len(order), workers):
        yield order[start : start + workers]


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
