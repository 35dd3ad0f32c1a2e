"""A spec becomes a pipeline, and is judged on bars that its pipeline has not seen.

Losses are squared errors of a value and log losses, in nats, of a chance; a state is judged by its chance.
Every loss is of the task's usual label, whatever a spec learned from. Beside it stands the loss of a
constant: the mean of the usual labels that were learned from.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from lockstep.errors import TrainingError
from lockstep.market.bars import Floats
from lockstep.models.estimators import SeedEnsembleClassifier, SeedEnsembleRegressor
from lockstep.models.predictor import answers
from lockstep.models.tasks import PROBABILITY, VALUE, answers_with_value
from research.training.estimators import make_estimator, preparation
from research.zoo.learning import LabelledBars, LearningBars, Rows
from research.zoo.model_spec import ModelSpec, Task

FOLDS = 5
LEAST_SAMPLES = 200
_FIRST_SHARE = 0.4
_SEED = 1
_CLOSEST = 1e-6


def fit(spec: ModelSpec, samples: LabelledBars, rows: Rows | None = None) -> Pipeline:
    """Return a pipeline fitted on some samples (positions in them; None: all), on one thread.

    TrainingError where there are too few, all of one class or value, or the estimator refuses its parameters.
    """
    chosen = np.arange(samples.row.size) if rows is None else rows
    chosen = chosen[np.isfinite(samples.taught[chosen])]
    target = samples.taught[chosen]
    if chosen.size < LEAST_SAMPLES or np.unique(target).size < 2:
        raise TrainingError(
            f"{spec.name}: {chosen.size} bars to learn from, {np.unique(target).size} different labels; give "
            f"at least {LEAST_SAMPLES} bars of two"
        )
    if not answers_with_value(spec.task):
        target = target.astype(np.int64)
    pipeline = Pipeline([*preparation(spec.estimator), ("model", _estimator(spec))])
    try:
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipeline.fit(samples.features[chosen], target)
    except (TypeError, ValueError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:300]
        raise TrainingError(f"{spec.name}: {spec.estimator} cannot be fitted: {reason}") from error
    return pipeline


def _estimator(spec: ModelSpec) -> Any:
    one = make_estimator(spec.estimator, spec.parameters, _SEED, spec.task)
    if spec.members == 1:
        return one
    ensemble: Any = SeedEnsembleRegressor if answers_with_value(spec.task) else SeedEnsembleClassifier
    return ensemble(one, seeds=tuple(range(_SEED, _SEED + spec.members)))


def losses(task: Task, pipeline: Any, features: Floats, judged: Floats) -> Floats:
    """Return the loss of each row, float64 (n,), features (n, k) and usual labels (n,) without NaN."""
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = answers(pipeline, VALUE if answers_with_value(task) else PROBABILITY, features)
    return losses_of(task, found, judged)


def losses_of(task: Task, found: Floats, judged: Floats) -> Floats:
    """Return the loss of answers, likewise; chances are held 1e-6 away from 0 and 1.

    >>> losses_of("volatility", np.array([-4.0]), np.array([-4.5])).tolist()
    [0.25]
    """
    if answers_with_value(task):
        return (found - judged) ** 2
    safe = np.clip(found, _CLOSEST, 1.0 - _CLOSEST)
    return -np.log(np.where(judged == 1.0, safe, 1.0 - safe))


@dataclass(frozen=True, kw_only=True, eq=False)
class OutOfFold:
    """Losses on bars that came after those that were learned from.

    row        int64 (n,): positions of the bars, rising
    loss       float64 (n,); constant: those of the mean label
    """

    row: Rows
    loss: Floats
    constant: Floats


def out_of_fold(bars: LearningBars, spec: ModelSpec, samples: LabelledBars | None = None) -> OutOfFold:
    """Judge a spec by walking forward: the last 60 % of the samples in 5 parts, each after what was learned.

    Between them lies the horizon: no label that was learned from reaches into the part. TrainingError where
    there are too few bars.
    """
    samples = bars.samples(spec) if samples is None else samples
    parts = [_judged(spec, samples, learned, asked) for learned, asked in folds(samples, spec.horizon)]
    return OutOfFold(
        row=np.concatenate([each.row for each in parts]),
        loss=np.concatenate([each.loss for each in parts]),
        constant=np.concatenate([each.constant for each in parts]),
    )


def folds(samples: LabelledBars, horizon: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield the positions of samples that are learned from and asked for, fold by fold.

    A label that is learned from ends before the first bar that is asked for.
    """
    n = samples.row.size
    edges = np.linspace(round(n * _FIRST_SHARE), n, FOLDS + 1).astype(np.int64)
    for start, stop in itertools.pairwise(edges.tolist()):
        if stop > start:
            ended = np.flatnonzero(samples.row + horizon < samples.row[start])
            yield ended, np.arange(start, stop)


def _judged(spec: ModelSpec, samples: LabelledBars, learned: Rows, asked: Rows) -> OutOfFold:
    pipeline = fit(spec, samples, learned)
    return judged_on(spec, pipeline, samples, learned, samples.row[asked], asked, samples)


def judged_on(
    spec: ModelSpec,
    pipeline: Any,
    taught: LabelledBars,
    learned: Rows,
    row: Rows,
    asked: Rows,
    where: LabelledBars,
) -> OutOfFold:
    """Return the losses of a pipeline, and of the mean of what it learned from, at samples of `where`."""
    mean = float(taught.judged[learned].mean())
    judged = where.judged[asked]
    return OutOfFold(
        row=row,
        loss=losses(spec.task, pipeline, where.features[asked], judged),
        constant=losses_of(spec.task, np.full(asked.size, mean), judged),
    )
