"""What a model answers: which task, in which form, how many bars ahead.

A *veto* belongs to a strategy and says which of its entries are sent. A model *of the zoo* belongs to none:
it answers on every bar, and specs read what it answers as a column. Nothing trades it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from lockstep.errors import UnfitBundle

Task = Literal["veto", "direction", "return", "volatility", "regime"]
"""What the labels are: of a veto, whether a trade wins; of others, what the next `horizon` bars do."""
Output = Literal["probability", "value", "state"]
"""Column 1 of `predict_proba`; what `predict` gives; 1.0 where that probability is at least .5, else 0.0."""

TRADED: Task = "veto"
PROBABILITY: Output = "probability"
VALUE: Output = "value"
STATE: Output = "state"
NOT_TRADED = "a model of the zoo is a column of specs; nothing trades it"
LABEL_RANGE = "label_range"
MOST_BARS = 250

_OUTPUTS: Mapping[str, tuple[Output, ...]] = {
    "veto": (PROBABILITY,),
    "direction": (PROBABILITY, STATE),
    "return": (VALUE,),
    "volatility": (VALUE,),
    "regime": (STATE, PROBABILITY),
}


def answers_with_value(task: Task) -> bool:
    """Whether a task answers with a value, so that a regressor is fitted and not a classifier.

    >>> [each for each in ("direction", "return", "volatility", "regime") if answers_with_value(each)]
    ['return', 'volatility']
    """
    return _OUTPUTS[task] == (VALUE,)


def described(task: Task, output: Output, horizon: int) -> str:
    """Return what a model answers, in a few words.

    >>> described("volatility", "value", 5)
    'volatility, value in 5 bars'
    """
    return task if task == TRADED else f"{task}, {output} in {horizon} bar{'s' if horizon > 1 else ''}"


def require_question(task: str, output: str, horizon: int, what: str) -> None:
    """Raise UnfitBundle where no model answers this task in this form, so many bars ahead."""
    if task not in _OUTPUTS or output not in get_args(Output):
        raise UnfitBundle(
            f"{what}: task {task!r} with output {output!r}: must be one of {', '.join(_OUTPUTS)}, with one "
            f"of {', '.join(get_args(Output))}"
        )
    if output not in _OUTPUTS[task]:
        raise UnfitBundle(
            f"{what}: task {task} answers with a {' or a '.join(_OUTPUTS[task])}, not with a {output}; give "
            "another output"
        )
    if task == TRADED and horizon != 0:
        raise UnfitBundle(f"{what}: horizon {horizon}: a veto looks as far as its trades; leave it at 0")
    if task != TRADED and not 1 <= horizon <= MOST_BARS:
        raise UnfitBundle(f"{what}: horizon {horizon}: task {task} looks 1 to {MOST_BARS} bars ahead")


def require_answering(pipeline: Any, output: Output, what: str) -> None:
    """Raise UnfitBundle where a pipeline is a classifier and a value is asked for, or the other way round."""
    named = type(pipeline.steps[-1][1] if getattr(pipeline, "steps", None) else pipeline).__name__
    if output == VALUE and (hasattr(pipeline, "predict_proba") or not hasattr(pipeline, "predict")):
        raise UnfitBundle(f"{what}: a value is what a regressor predicts, {named} is none; fit a regressor")
    if output != VALUE and not hasattr(pipeline, "predict_proba"):
        raise UnfitBundle(f"{what}: a {output} needs `predict_proba`, {named} has none; fit a classifier")


def label_range(training: Mapping[str, Any], what: str) -> tuple[float, float]:
    """Return the smallest and the largest label that a model of values was fitted on; UnfitBundle without."""
    found = training.get(LABEL_RANGE)
    pair = found if isinstance(found, list | tuple) and len(found) == 2 else (np.nan, np.nan)
    numbers = all(type(each) in (int, float, np.float64) for each in pair)
    if not numbers or not np.isfinite(pair).all() or not pair[0] < pair[1]:
        raise UnfitBundle(
            f"{what}: training has no {LABEL_RANGE} of two finite numbers, the first below the second; give "
            "the smallest and the largest label that it was fitted on"
        )
    return float(pair[0]), float(pair[1])


def answer_range(output: Output, training: Mapping[str, Any], what: str) -> tuple[float, float]:
    """Return the inclusive range of a model's answers: of its labels for a value, else 0 to 1."""
    return label_range(training, what) if output == VALUE else (0.0, 1.0)
