"""Bayesian optimisation of a model's parameters, step by step, so that it can be interrupted and resumed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from skopt import Optimizer
from threadpoolctl import threadpool_limits

from lockstep.errors import TrainingError
from lockstep.settings import shown
from research.training.config import SearchSettings
from research.training.estimators import Parameters, Space, decoded, rounded
from research.training.outcome import SearchStep
from research.training.stopping import Hopeless, MedianRule, Stopped, never

_SURROGATES = {"gp": "GP", "forest": "ET"}
# What a failed step is worth to the surrogate while nothing has succeeded: a log loss worse than chance.
_NO_WORSE_KNOWN = 1.0
# What numerical trouble in an estimator raises; anything else is a mistake of the program.
_TROUBLE = (ValueError, FloatingPointError, np.linalg.LinAlgError)


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchAttempt:
    """One step as it is kept: what was tried, and either the step, where it was stopped, or why it failed."""

    parameters: Parameters
    step: SearchStep | None
    error: str = ""
    stopped: Stopped | None = None

    @property
    def failed(self) -> bool:
        """Whether it ended in numerical trouble."""
        return self.step is None and self.stopped is None


class Diary:
    """Remembers steps and counts trials; this one forgets. See `steps.py` for one that does not."""

    def recall(self, search: str, number: int) -> SearchAttempt | None:
        """Return an attempt that an earlier process finished, or None."""
        return None

    def keep(self, search: str, number: int, attempt: SearchAttempt) -> None:
        """Count and store a finished attempt."""


class SearchListener:
    """Hears how training goes on; this one does not care."""

    def note(self, text: str) -> None:
        """Hear what whoever began the training has to know, in one line."""

    def begin(self, steps: int) -> None:
        """Hear how many steps there will be in all searches."""

    def stepped(self, search: str, attempt: SearchAttempt, best: float) -> None:
        """Hear of a finished step, and of the best score of its search so far."""


Trial = Callable[[int, Parameters, Hopeless], SearchStep | Stopped]


def bayesian_search(
    name: str,
    space: Space,
    settings: SearchSettings,
    trial: Trial,
    *,
    trials: int,
    seed: int,
    diary: Diary,
    listener: SearchListener,
    rule: MedianRule | None = None,
) -> tuple[SearchStep, ...]:
    """Return the completed steps of a search, in order.

    name    of the search, for the diary
    trial   evaluates one set of parameters, unless it is hopeless; it must depend on its arguments only
    rule    says what is hopeless; None: every step is carried to its end

    Points that the diary knows are not evaluated again, and the surrogate is told of them all the same: a
    resumed search goes on exactly where it was. A step that fails for numerical reasons is kept as failed.
    TrainingError where every step failed.
    """
    optimizer = _optimizer(space, settings, trials, seed)
    steps: list[SearchStep] = []
    worst, error = _NO_WORSE_KNOWN, ""
    for number in range(trials):
        with _known_noise():
            point = rounded(space, optimizer.ask())
        attempt = _attempt(name, number, decoded(space, point), trial, rule, diary)
        if attempt.step is not None:
            steps.append(attempt.step)
        error = error or attempt.error
        cost = _cost(attempt, rule, worst)
        worst = max(worst, cost)
        listener.stepped(name, attempt, max((step.score for step in steps), default=-math.inf))
        if number + 1 < trials:
            with _known_noise():
                optimizer.tell(point, cost)
    if not steps:
        raise TrainingError(f"search {name}: all {trials} steps failed, the first with: {error}")
    return tuple(steps)


def _optimizer(space: Space, settings: SearchSettings, trials: int, seed: int) -> Any:
    return Optimizer(
        [dimension.for_search() for dimension in space.values()],
        base_estimator=_SURROGATES[settings.surrogate],
        n_initial_points=min(settings.initial, trials),
        initial_point_generator="random",
        acq_func="EI",
        acq_optimizer="sampling",
        random_state=seed,
        n_jobs=1,
    )


def _cost(attempt: SearchAttempt, rule: MedianRule | None, worst: float) -> float:
    """Return what the surrogate is told of an attempt, and tell the rule of a completed step."""
    if attempt.step is not None:
        if rule is not None:
            rule.complete(attempt.step.split_scores)
        return -attempt.step.score
    if attempt.stopped is not None and rule is not None:
        return -rule.estimate(attempt.stopped)
    return worst


def _attempt(
    name: str, number: int, parameters: Parameters, trial: Trial, rule: MedianRule | None, diary: Diary
) -> SearchAttempt:
    known = diary.recall(name, number)
    if known is not None:
        if known.parameters != parameters:
            raise TrainingError(
                f"search {name}, step {number}: was {shown(known.parameters)}, would be {shown(parameters)}; "
                "the stored steps are of another run: train without --resume"
            )
        return known
    try:
        found = trial(number, parameters, never if rule is None else rule.hopeless)
        if isinstance(found, Stopped):
            attempt = SearchAttempt(parameters=parameters, step=None, stopped=found)
        else:
            attempt = SearchAttempt(parameters=parameters, step=found)
    except _TROUBLE as error:
        reason = " ".join(str(error).split())
        attempt = SearchAttempt(parameters=parameters, step=None, error=f"{type(error).__name__}: {reason}")
    diary.keep(name, number, attempt)
    return attempt


@contextmanager
def _known_noise() -> Iterator[None]:
    """Compute the surrogate on one thread, without what it says about hard fits and repeated points."""
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The objective has been evaluated", UserWarning)
        yield
