"""Who may see what: the sealed hold-out, the outer walk-forward, the inner purged combinations.

Inner cross-validation of one set of parameters: the splits of a step side by side, each on one thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import joblib
import numpy as np

from lockstep.errors import DataError, TrainingError
from lockstep.metrics import Floats, Integers
from research.splits.labels import Labels
from research.splits.purged import CombinatorialPurgedCV
from research.splits.walk_forward import DAY
from research.sweep.cluster import scheduler_at
from research.training.config import ModelSettings, Selection, TrainingConfig
from research.training.dataset import Dataset
from research.training.estimators import Parameters
from research.training.pipeline import (
    Samples,
    can_answer,
    fit_pipeline,
    forest_answers,
    probabilities,
    require_both_classes,
)
from research.training.selection import selected_columns
from research.training.stopping import Hopeless, Stopped, first_check, never, spread
from research.training.threshold import SCORES

# With fewer samples in a group of the inner combinations a score says nothing.
LEAST_PER_GROUP = 10

Window = tuple[Integers, Integers]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scheme:
    """Rows of the dataset, int64, rising.

    development   before the hold-out; labels, and the embargo after them, end before it begins
    hold_out      the sealed end
    windows       (train, test) of the outer walk-forward over the development part
    """

    development: Integers
    hold_out: Integers
    windows: tuple[Window, ...]


def embargo_of(config: TrainingConfig) -> int:
    """Return the embargo in nanoseconds."""
    return round(config.validation.embargo_days * DAY)


def divide(config: TrainingConfig, dataset: Dataset) -> Scheme:
    """Return the scheme of a training run.

    TrainingError, saying how many samples there are and what would do, where some part has too few, where
    the hold-out leaves nothing before it or holds nothing, and where test windows overlap.
    """
    development, hold_out = _sealed(config, dataset)
    _require_enough(config, development.size, f"development part {_dates(dataset, development)}")
    windows = tuple(_outer(config, dataset, development))
    for number, (train, _) in enumerate(windows):
        _require_enough(config, train.size, f"window {number}, training {_dates(dataset, train)}")
    return Scheme(development=development, hold_out=hold_out, windows=windows)


def inner(config: TrainingConfig, labels: Labels) -> CombinatorialPurgedCV:
    """Return the inner cross-validation of some training samples."""
    settings = config.validation
    return CombinatorialPurgedCV(
        settings.groups,
        settings.test_groups,
        start=labels.start,
        end=labels.end,
        embargo=embargo_of(config),
    )


def inner_splits(config: TrainingConfig, dataset: Dataset, what: str) -> list[Window]:
    """Return (train, test) of the inner splits of a training set; TrainingError where one has one class."""
    cross_validation = inner(config, dataset.labels)
    try:
        splits = list(cross_validation.split())
    except DataError as error:
        raise TrainingError(f"{what}: {error}") from error
    for number, (train, test) in enumerate(splits):
        require_both_classes(dataset.target[train], f"{what}, inner split {number}, training")
        if config.search.objective != "log_loss":
            require_both_classes(dataset.target[test], f"{what}, inner split {number}, test")
    return splits


def _sealed(config: TrainingConfig, dataset: Dataset) -> tuple[Integers, Integers]:
    first, last = int(dataset.decision[0]), int(dataset.decision[-1])
    settings = config.hold_out
    if settings.start is not None:
        start = int(np.datetime64(settings.start, "ns").astype(np.int64))
    else:
        start = int(last - (settings.share or 0.0) * (last - first)) // DAY * DAY
    found = f"signals exist from {_day(first)} to {_day(last)}"
    if start <= first:
        raise TrainingError(
            f"{config.symbol}: hold-out from {_day(start)} overlaps all of the training: {found}; "
            "let it start later"
        )
    if start > last:
        raise TrainingError(f"{config.symbol}: hold-out from {_day(start)} is empty: {found}; start earlier")
    known = dataset.exit + embargo_of(config) < start
    return np.flatnonzero((dataset.decision < start) & known), np.flatnonzero(dataset.decision >= start)


def _outer(config: TrainingConfig, dataset: Dataset, development: Integers) -> list[Window]:
    forward = config.validation.outer.on(dataset.decision[development], dataset.exit[development])
    try:
        found = [(development[train], development[test]) for train, test in forward.split()]
    except DataError as error:
        raise TrainingError(
            f"{config.symbol}: {error}; there are {development.size} samples before the hold-out"
        ) from error
    for (_, earlier), (_, later) in pairwise(found):
        if later[0] <= earlier[-1]:
            raise TrainingError(
                f"{config.symbol}: walk-forward {forward}: test windows overlap, so that their trades would "
                "count twice; step by at least the test span"
            )
    return found


def _require_enough(config: TrainingConfig, count: int, what: str) -> None:
    groups = config.validation.groups
    need = groups * LEAST_PER_GROUP
    if count >= need:
        return
    possible = count // LEAST_PER_GROUP
    fewer = f"take {possible} groups, " if possible > config.validation.test_groups + 1 else ""
    longer = math.ceil(10 * need / max(count, 1)) / 10
    raise TrainingError(
        f"{config.symbol}: {what}: {count} samples for {groups} groups of at least {LEAST_PER_GROUP}: {need} "
        f"would do; {fewer}make the training span {longer:g} times as long, widen the entry, or name "
        "features that need fewer bars before the first vector"
    )


def _dates(dataset: Dataset, rows: Integers) -> str:
    if not rows.size:
        return "(empty)"
    return f"{_day(int(dataset.decision[rows[0]]))} to {_day(int(dataset.decision[rows[-1]]))}"


def _day(stamp: int) -> str:
    return str(np.datetime64(stamp, "ns").astype("datetime64[D]"))


@dataclass(frozen=True)
class FoldRunner:
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
def fold_workers(jobs: int, cluster: str | None = None) -> Iterator[FoldRunner]:
    """Yield what runs joblib's delayed calls in `jobs` processes (-1: one per core), in order.

    cluster   address of a Dask scheduler, whose workers run them instead: all of them, whatever `jobs` says

    Every call computes on one thread from values that it is sent, so that neither number nor place of the
    workers changes anything. A call whose worker dies is run again by another one.
    """
    if jobs == 0 or jobs < -1:
        raise TrainingError(f"jobs {jobs}: give the number of processes, or -1 for one per core")
    if cluster is not None:
        with scheduler_at(cluster) as scheduler:
            yield FoldRunner(lambda calls: list(scheduler.run(calls)), scheduler.count)
        return
    with joblib.Parallel(
        n_jobs=jobs, backend="loky", batch_size=1, pre_dispatch="all", max_nbytes=None
    ) as parallel:
        yield FoldRunner(parallel, joblib.effective_n_jobs(jobs))


def with_columns(
    splits: Sequence[tuple[Integers, Integers]],
    selection: Selection,
    samples: Samples,
    run: FoldRunner,
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
    model: ModelSettings,
    parameters: Parameters,
    objective: str,
    samples: Samples,
    folds: Sequence[Fold],
    run: FoldRunner,
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
            joblib.delayed(answers_of)(
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


def answers_of(
    model: ModelSettings,
    parameters: Parameters,
    train: Samples,
    tested: Floats,
    columns: tuple[int, ...],
    seed: int,
    embargo: int,
) -> Floats:
    """Fit on some samples and return the chances of others, `tested` (m, k), float64 (m,).

    The bits are those of `fit_pipeline`; forests are grown and not kept, in a fraction of the time.
    """
    if model.family == "random_forest" and model.calibration == "none" and can_answer(parameters):
        kept = list(columns)
        return forest_answers(
            parameters, train.features[:, kept], train.target, train.weight, tested[:, kept], seed=seed
        )
    return probabilities(fit_pipeline(model, parameters, train, columns, seed=seed, embargo=embargo), tested)
