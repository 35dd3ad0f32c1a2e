"""Search steps and outcomes of training runs as files: plain values and arrays, of which nothing is run.

Like bundles they are joblib files that are read as data (`lockstep.models.pickling`); what is in them is
checked for type and shape, since whoever may write a run's folder need not be who reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from lockstep.errors import LockstepError, TrainingError
from lockstep.models.document import plain
from lockstep.models.nodes import pipeline_node, pipeline_of
from lockstep.models.pickling import pickled, unpickled
from research.training.config import TrainingConfig
from research.training.dataset import Dataset
from research.training.outcome import OuterWindow, SearchStep, TrainingOutcome
from research.training.search import SearchAttempt
from research.training.stopping import Stopped

SCHEMA = 2
_ATTEMPT, _OUTCOME = "lockstep search step", "lockstep training outcome"
_FAULTS = (LockstepError, AttributeError, LookupError, TypeError, ValueError)
_NUMBER = (int, float)
_STEP: Mapping[str, Any] = {
    "number": int, "parameters": dict, "score": _NUMBER, "split_scores": "f8", "threshold": _NUMBER,
    "probabilities": "f8", "seconds": _NUMBER,
}  # fmt: skip
_WINDOW: Mapping[str, Any] = {
    "number": int, "train": "i8", "test": "i8", "parameters": dict, "threshold": _NUMBER,
    "probabilities": "f8",
}  # fmt: skip
_DATASET: Mapping[str, Any] = {
    "symbol": str, "features": "f8 2", "target": "i8", "row": "i8", "decision": "i8", "entry": "i8",
    "exit": "i8", "side": "f8", "net_pnl": "f8", "net_return": "f8", "taken": "b1", "weight": "f8",
    "hashes": dict, "unfinished": int,
}  # fmt: skip
_RUN: Mapping[str, Any] = {
    "development": "i8", "hold_out": "i8", "parameters": dict, "threshold": _NUMBER, "seed": int,
    "failed": int,
}  # fmt: skip
# Fields that outcomes of earlier versions do not have.
_LATER: Mapping[str, Any] = {"stopped": int}
_LATER_DEFAULTS: Mapping[str, Any] = {"stopped": 0}
Read = TypeVar("Read")


def attempt_bytes(attempt: SearchAttempt) -> bytes:
    """Return the content of a step's file."""
    step, stopped = (None if each is None else _fields(each) for each in (attempt.step, attempt.stopped))
    found = {
        "parameters": plain(attempt.parameters),
        "error": attempt.error,
        "step": step,
        "stopped": stopped,
    }
    return pickled({"format": _ATTEMPT, "schema": SCHEMA, **found})


def attempt_of(content: bytes, what: str) -> SearchAttempt:
    """Return the attempt in the bytes of its file; TrainingError where it is damaged or of another schema."""

    def read(document: Mapping[str, Any]) -> SearchAttempt:
        own = _typed(document, {"parameters": dict, "error": str})
        step, stopped = document["step"], document.get("stopped")
        return SearchAttempt(
            **own,
            step=None if step is None else SearchStep(**_typed(step, _STEP)),
            stopped=None if stopped is None else Stopped(**_typed(stopped, {"scores": "f8"})),
        )

    return _read(content, what, _ATTEMPT, read)


def outcome_bytes(outcome: TrainingOutcome) -> bytes:
    """Return the content of an outcome's file; UnfitBundle where a bundle could not hold its pipeline."""
    windows = [{**_fields(each), "steps": list(map(_fields, each.steps))} for each in outcome.windows]
    return pickled({
        "format": _OUTCOME,
        "schema": SCHEMA,
        "config": outcome.config.model_dump(mode="json"),
        "dataset": _fields(outcome.dataset),
        "windows": windows,
        "steps": list(map(_fields, outcome.steps)),
        "selected": list(outcome.selected),
        "pipeline": pipeline_node(outcome.pipeline),
        **{name: plain(getattr(outcome, name)) for name in (*_RUN, *_LATER)},
    })  # fmt: skip


def outcome_of(content: bytes, what: str) -> TrainingOutcome:
    """Return the outcome in the bytes of its file; TrainingError where it is damaged or of another schema."""

    def read(document: Mapping[str, Any]) -> TrainingOutcome:
        dataset = _dataset_of(document["dataset"])
        found = TrainingOutcome(
            **_typed(document, _RUN),
            **_typed({**_LATER_DEFAULTS, **document}, _LATER),
            config=TrainingConfig.recorded(document["config"], where="config"),
            dataset=dataset,
            windows=tuple(map(_window_of, document["windows"])),
            steps=_steps_of(document["steps"]),
            selected=_texts(document["selected"]),
            pipeline=pipeline_of(document["pipeline"], "pipeline"),
        )
        for rows in (found.development, found.hold_out, *(each.train for each in found.windows),
                     *(each.test for each in found.windows)):  # fmt: skip
            if ((rows < 0) | (rows >= len(dataset))).any():
                raise ValueError(f"rows beyond the {len(dataset)} samples")
        return found

    return _read(content, what, _OUTCOME, read)


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as plain values; other dataclasses in it are left to the caller."""
    return {each.name: plain(getattr(value, each.name)) for each in fields(value) if each.name != "steps"}


def _read(content: bytes, what: str, form: str, read: Callable[[Mapping[str, Any]], Read]) -> Read:
    try:
        document = unpickled(content, what)
        if (
            not isinstance(document, dict)
            or document.get("format") != form
            or document.get("schema") != SCHEMA
        ):
            raise ValueError(f"no {form} of schema {SCHEMA}")
        return read(document)
    except _FAULTS as error:
        reason = " ".join(str(error).split()).removeprefix(f"{what}: ").partition(";")[0][:300]
        raise TrainingError(f"{what}: damaged, or written by another Lockstep ({reason})") from error


def _typed(document: Any, types: Mapping[str, Any]) -> dict[str, Any]:
    """Return some fields of a document; ValueError where one is of another type or shape."""
    found = {name: document[name] for name in types}
    for name, expected in types.items():
        value = found[name]
        if isinstance(expected, str):
            dtype, _, dimensions = expected.partition(" ")
            fits = (
                isinstance(value, np.ndarray) and value.dtype == dtype and value.ndim == int(dimensions or 1)
            )
        else:
            fits = type(value) in (expected if isinstance(expected, tuple) else (expected,))
        if not fits:
            raise ValueError(f"{name} is of another type")
    return found


def _dataset_of(document: Any) -> Dataset:
    found = Dataset(**_typed(document, _DATASET), feature_ids=_texts(document["feature_ids"]))
    columns = [getattr(found, name) for name, kind in _DATASET.items() if kind in ("i8", "f8", "b1")]
    shape = (len(found), len(found.feature_ids))
    if found.features.shape != shape or any(each.shape != found.target.shape for each in columns):
        raise ValueError("the dataset's columns are of different lengths")
    return found


def _steps_of(documents: Any) -> tuple[SearchStep, ...]:
    return tuple(SearchStep(**_typed(each, _STEP)) for each in documents)


def _window_of(document: Any) -> OuterWindow:
    own = _typed(document, _WINDOW)
    return OuterWindow(**own, steps=_steps_of(document["steps"]), selected=_texts(document["selected"]))


def _texts(values: Any) -> tuple[str, ...]:
    if type(values) is not list or not all(type(each) is str for each in values):
        raise ValueError("names must be a list of text")
    return tuple(values)
