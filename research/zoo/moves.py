"""Moves of the worker: each changes one thing of a model spec, and says so in words.

A move is named by what it does, `add a feature` or `max_iter up`, so that how often it helped can be counted.
Some change a feature, some take a parameter one notch up or down; those that go far change the estimator
(architecture), the number of members (ensemble) or the label that is learned from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from research.training.estimators import ESTIMATORS
from research.zoo.fitting import FOLDS
from research.zoo.labels import LABELS
from research.zoo.model_spec import ModelSpec

Random = np.random.Generator

MOST_FEATURES = 24
ADD, SWAP, DROP = "add a feature", "swap a feature", "drop a feature"
FEATURES, PARAMETERS, ARCHITECTURE, ENSEMBLE, LABEL = (
    "features", "parameters", "architecture", "ensemble", "label",
)  # fmt: skip

# Features that are drawn before another move gets its turn.
_TRIES = 8
_LEAST_WEIGHT = 1e-8
_DIGITS = 3
_MEMBERS = (2, 4, 8)
_ROWS = 2_000
# Small enough for a step of a second; the worker's search starts from them.
START: Mapping[str, Mapping[str, Any]] = {
    "hist_gradient_boosting": {"max_iter": 60, "max_depth": 3, "learning_rate": 0.1},
    "random_forest": {"n_estimators": 60, "min_samples_leaf": 20, "max_features": 0.5},
    "logistic": {"C": 0.1},
    "lightgbm": {"n_estimators": 60, "num_leaves": 8, "learning_rate": 0.1},
    "xgboost": {"n_estimators": 60, "max_depth": 3, "learning_rate": 0.1},
}
# By name, how far a notch is, and between which bounds.
_NOTCHES: Mapping[str, tuple[float, float, float]] = {
    "max_iter": (2.0, 10, 400),
    "max_depth": (1.5, 1, 12),
    "learning_rate": (2.0, 0.01, 0.3),
    "min_samples_leaf": (2.0, 5, 200),
    "n_estimators": (2.0, 10, 400),
    "num_leaves": (2.0, 3, 64),
    "C": (10.0, 1e-5, 100.0),
}
# CPU seconds of a tree, or a round, that is fitted on 2,000 rows; roughly, and rather too much.
_TREE_SECONDS: Mapping[str, float] = {
    "hist_gradient_boosting": 0.0008, "random_forest": 0.0025, "lightgbm": 0.0005, "xgboost": 0.0008,
}  # fmt: skip
_FIT_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True)
class ModelProposal:
    """A spec that may be better, the move that made it and its kind, and what it changes, in words."""

    spec: ModelSpec
    move: str
    kind: str
    change: str


def feature_moves() -> list[str]:
    """Return the moves that change a feature, by name."""
    return [ADD, SWAP, DROP]


def parameter_moves(base: ModelSpec) -> list[str]:
    """Return the moves that take a parameter of a spec one notch up or down, by name.

    >>> parameter_moves(ModelSpec(task="return", features=("ibs",), estimator="logistic"))
    ['C up', 'C down']
    """
    names = sorted(name for name in _given(base) if name in _NOTCHES)
    return [f"{name} {way}" for name in names for way in ("up", "down")]


def far_moves(base: ModelSpec, estimators: Sequence[str]) -> list[str]:
    """Return the moves that go far from a spec, by name; `estimators` may be chosen from."""
    others = [f"{ARCHITECTURE} {each}" for each in estimators if each != base.estimator]
    return [ENSEMBLE, LABEL, *others]


def changed(
    base: ModelSpec, move: str, random: Random, promise: Mapping[str, float]
) -> Iterator[ModelProposal]:
    """Yield what a move can make of a spec, the most promising first, specs that are no specs left out.

    promise   by feature that may be added, how much it knows of what the spec misses, 0 to 1
    """
    for kind, changes, words in _changes(base, move, random, promise):
        try:
            spec = ModelSpec.model_validate(base.model_dump() | changes)
        except ValidationError:
            continue
        yield ModelProposal(spec=spec, move=move, kind=kind, change=words)


def seconds(spec: ModelSpec, rows: int) -> float:
    """Return about how many CPU seconds it takes to score a spec out of fold, learning from up to `rows`.

    >>> forest = ModelSpec(
    ...     task="return", features=("ibs",), estimator="random_forest", parameters={"n_estimators": 400})
    >>> round(seconds(forest, 2_000))
    5
    """
    trees = spec.parameters.get("max_iter", spec.parameters.get("n_estimators", 100))
    each = _TREE_SECONDS.get(spec.estimator, 0.0) * (trees if isinstance(trees, int | float) else 100)
    return FOLDS * spec.members * (_FIT_SECONDS + each * rows / _ROWS)


def _given(base: ModelSpec) -> dict[str, Any]:
    return {**START.get(base.estimator, {}), **base.parameters}


def _changes(
    base: ModelSpec, move: str, random: Random, promise: Mapping[str, float]
) -> Iterator[tuple[str, dict[str, Any], str]]:
    if move in (ADD, SWAP, DROP):
        for changes, words in _features(base, move, random, promise):
            yield FEATURES, changes, words
    elif move == ENSEMBLE:
        yield from _ensembles(base, random)
    elif move == LABEL:
        (other,) = [each for each in LABELS[base.task] if each != base.label]
        yield LABEL, {"label": other}, f"learned from the {other or 'usual'} label"
    elif move.startswith(ARCHITECTURE):
        chosen = move.removeprefix(ARCHITECTURE).strip()
        changes = {"estimator": chosen, "parameters": dict(START[chosen]), "members": 1}
        yield ARCHITECTURE, changes, f"{chosen} in place of {base.estimator}"
    else:
        yield from _notch(base, move)


def _features(
    base: ModelSpec, move: str, random: Random, promise: Mapping[str, float]
) -> Iterator[tuple[dict[str, Any], str]]:
    dropped = [] if move == ADD else [str(each) for each in random.permutation(list(base.features))]
    if len(base.features) == 1:
        dropped = []
    if move == DROP:
        for each in dropped:
            kept = [other for other in base.features if other != each]
            yield {"features": tuple(sorted(kept))}, f"without {each}"
        return
    if (move == SWAP and not dropped) or (move == ADD and len(base.features) >= MOST_FEATURES):
        return
    for each in _promising(base, random, promise):
        without = dropped[:1]
        kept = [other for other in base.features if other not in without]
        words = " and ".join([f"with {each}", *(f"without {other}" for other in without)])
        yield {"features": tuple(sorted([*kept, each]))}, words


def _promising(base: ModelSpec, random: Random, promise: Mapping[str, float]) -> list[str]:
    """Return features that may be added, drawn by the eighth power of their promise."""
    others = [each for each in promise if each not in base.features]
    if not others:
        return []
    weights = np.array([_LEAST_WEIGHT + promise[each] ** 8 for each in others])
    size = min(_TRIES, len(others))
    return [str(each) for each in random.choice(others, size, replace=False, p=weights / weights.sum())]


def _notch(base: ModelSpec, move: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    name, _, way = move.rpartition(" ")
    given = _given(base)
    factor, low, high = _NOTCHES[name]
    value = given[name]
    if not isinstance(value, int | float):
        return
    moved = min(max(value * (factor if way == "up" else 1.0 / factor), low), high)
    found = round(moved) if isinstance(value, int) else float(f"{moved:.{_DIGITS}g}")
    if found != value:
        yield PARAMETERS, {"parameters": {**given, name: found}}, f"{name} {value} to {found}"


def _ensembles(base: ModelSpec, random: Random) -> Iterator[tuple[str, dict[str, Any], str]]:
    parameters = dict(base.parameters)
    if not ESTIMATORS[base.estimator].drawn(parameters):
        part = {"hist_gradient_boosting": "max_features", "logistic": ""}.get(
            base.estimator, "colsample_bytree"
        )
        if not part:
            return
        parameters[part] = 0.5
    for members in random.permutation([each for each in _MEMBERS if each != base.members]).tolist():
        words = f"the mean of {members} that differ by seed"
        yield ENSEMBLE, {"parameters": parameters, "members": members}, words
