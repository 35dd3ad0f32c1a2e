"""A spec becomes a pipeline, and is judged on bars that its pipeline has not seen.

Losses are squared errors of a value and log losses, in nats, of a chance; a state is judged by its chance.
Every loss is of the task's usual label, whatever a spec learned from. Beside it stands the loss of a
constant: the mean of the usual labels that were learned from.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from threadpoolctl import ThreadpoolController

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
        with _one_thread(), warnings.catch_warnings():
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


def _one_thread() -> Any:
    return _controller().limit(limits=1)


@functools.cache
def _controller() -> ThreadpoolController:
    """Return what limits the libraries of this process, looked up once: it reads all that was loaded.

    Those that are loaded later, of gradient boosting, are told to use one thread when they are made.
    """
    return ThreadpoolController()


def asked(task: Task, pipeline: Any, features: Floats) -> Floats:
    """Return what a pipeline answers to features (n, k) without NaN, float64 (n,): a value, or a chance."""
    with _one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return answers(pipeline, VALUE if answers_with_value(task) else PROBABILITY, features)


def losses(task: Task, pipeline: Any, features: Floats, judged: Floats) -> Floats:
    """Return the loss of each row, float64 (n,), features (n, k) and usual labels (n,) without NaN."""
    return losses_of(task, asked(task, pipeline, features), judged)


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
    """Answers and losses on n bars that came after those that were learned from.

    row        int64 (n,): positions of the bars, rising
    answer     float64 (n,): a value, or a chance; judged: the usual labels
    loss       float64 (n,); constant: those of the mean label
    """

    row: Rows
    answer: Floats
    judged: Floats
    loss: Floats
    constant: Floats

    @classmethod
    def joined(cls, parts: Sequence[OutOfFold]) -> OutOfFold:
        """Return several, one after the other."""
        return cls(**{
            each.name: np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)
        })  # fmt: skip


def out_of_fold(bars: LearningBars, spec: ModelSpec, samples: LabelledBars | None = None) -> OutOfFold:
    """Judge a spec by walking forward: the last 60 % of the samples in 5 parts, each after what was learned.

    Between them lies the horizon: no label that was learned from reaches into the part. TrainingError where
    there are too few bars.
    """
    samples = bars.samples(spec) if samples is None else samples
    parts = []
    for learned, part in folds(samples, spec.horizon):
        pipeline = fit(spec, samples, learned)
        parts.append(judged_on(spec, pipeline, samples, learned, part))
    return OutOfFold.joined(parts)


def folds(samples: LabelledBars, horizon: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield the positions of samples that are learned from and asked for, fold by fold.

    A label that is learned from ends before the first bar that is asked for.
    """
    n = samples.row.size
    edges = np.linspace(round(n * _FIRST_SHARE), n, FOLDS + 1).astype(np.int64)
    for start, stop in itertools.pairwise(edges.tolist()):
        if stop > start:
            yield ended_before(samples, horizon, int(samples.row[start])), np.arange(start, stop)


def ended_before(samples: LabelledBars, horizon: int, row: int) -> Rows:
    """Return the positions of the samples whose labels end before the bar at position `row`."""
    return np.flatnonzero(samples.row + horizon < row)


def judged_on(spec: ModelSpec, pipeline: Any, samples: LabelledBars, learned: Rows, part: Rows) -> OutOfFold:
    """Return what a pipeline answers to a part of the samples, and its losses, by positions in the samples.

    learned   what it was fitted on: its mean label is the constant
    """
    mean = float(samples.judged[learned].mean())
    judged = samples.judged[part]
    answer = asked(spec.task, pipeline, samples.features[part])
    return OutOfFold(
        row=samples.row[part],
        answer=answer,
        judged=judged,
        loss=losses_of(spec.task, answer, judged),
        constant=losses_of(spec.task, np.full(part.size, mean), judged),
    )
