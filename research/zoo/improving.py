"""The loop of the worker: proposes changes to a model and scores them, on bars that end before the tail.

A proposal is a pure function of the seed, its number, the champion and the best spec so far. It changes one
thing: features, parameters, the estimator (architecture), an ensemble, or the label that is learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import ValidationError
from scipy.stats import rankdata

from lockstep.features.invariance import scale_sensitive
from research.training.estimators import ESTIMATORS
from research.zoo.fitting import OutOfFold, out_of_fold
from research.zoo.labels import LABELS
from research.zoo.learning import LearningBars
from research.zoo.model_spec import ModelSpec
from research.zoo.release import PairedTest

Random = np.random.Generator

MOST_FEATURES = 24
LEAST_KNOWN = 0.8
_TRIES = 50
_LEAST_WEIGHT = 0.01
_DIGITS = 3
_MEMBERS = (2, 4, 8)
# Small enough for a step of a second; the worker's search starts from them.
START: Mapping[str, Mapping[str, Any]] = {
    "hist_gradient_boosting": {"max_iter": 60, "max_depth": 3, "learning_rate": 0.1},
    "random_forest": {"n_estimators": 60, "min_samples_leaf": 20, "max_features": 0.5},
    "logistic": {"C": 0.1},
    "lightgbm": {"n_estimators": 60, "num_leaves": 8, "learning_rate": 0.1},
    "xgboost": {"n_estimators": 60, "max_depth": 3, "learning_rate": 0.1},
}
_FACTORS: Mapping[str, tuple[float, float, float]] = {
    "max_iter": (2.0, 10, 400),
    "max_depth": (1.5, 1, 12),
    "learning_rate": (2.0, 0.01, 0.3),
    "min_samples_leaf": (2.0, 5, 200),
    "n_estimators": (2.0, 10, 400),
    "num_leaves": (2.0, 3, 64),
    "C": (10.0, 1e-5, 100.0),
}


@dataclass(frozen=True, kw_only=True)
class ModelProposal:
    """A spec that may be better, the move that made it, and what it changes, in words."""

    spec: ModelSpec
    move: str
    change: str


Catalogue = Mapping[str, float]
Change = tuple[dict[str, Any], str]
Move = Callable[[ModelSpec, Random, Catalogue], Change | None]


def _features(base: ModelSpec, random: Random, catalogue: Catalogue) -> Change | None:
    """Add, swap or drop a feature; one that follows the label more closely is added more often."""
    others = [each for each in catalogue if each not in base.features]
    kept = list(base.features)
    kind = random.choice(["add", "add", "swap", "drop"])
    added: list[str] = []
    dropped: list[str] = []
    if kind != "add" and len(kept) > 1:
        dropped = [kept.pop(int(random.integers(len(kept))))]
    if kind != "drop" and others and len(kept) < MOST_FEATURES:
        weights = np.array([_LEAST_WEIGHT + catalogue[each] ** 2 for each in others])
        added = [str(random.choice(others, p=weights / weights.sum()))]
    if not added and not dropped:
        return None
    words = [f"with {each}" for each in added] + [f"without {each}" for each in dropped]
    return {"features": tuple(sorted([*kept, *added]))}, " and ".join(words)


def _parameters(base: ModelSpec, random: Random, _: Catalogue) -> Change | None:
    given = {**START.get(base.estimator, {}), **base.parameters}
    names = sorted(name for name in given if name in _FACTORS)
    if not names:
        return None
    name = str(random.choice(names))
    factor, low, high = _FACTORS[name]
    value, before = given[name], given[name]
    if not isinstance(value, int | float):
        return None
    moved = min(max(value * (factor if random.random() < 0.5 else 1.0 / factor), low), high)
    changed = round(moved) if isinstance(value, int) else float(f"{moved:.{_DIGITS}g}")
    return {"parameters": {**given, name: changed}}, f"{name} {before} to {changed}"


def _architecture(known: Sequence[str]) -> Move:
    def move(base: ModelSpec, random: Random, _: Catalogue) -> Change | None:
        others = [each for each in known if each != base.estimator]
        if not others:
            return None
        chosen = str(random.choice(others))
        changes = {"estimator": chosen, "parameters": dict(START[chosen]), "members": 1}
        return changes, f"{chosen} in place of {base.estimator}"

    return move


def _ensemble(base: ModelSpec, random: Random, _: Catalogue) -> Change | None:
    parameters = dict(base.parameters)
    if not ESTIMATORS[base.estimator].drawn(parameters):
        part = {"hist_gradient_boosting": "max_features", "logistic": ""}.get(
            base.estimator, "colsample_bytree"
        )
        if not part:
            return None
        parameters[part] = 0.5
    members = int(random.choice([each for each in _MEMBERS if each != base.members]))
    return {"parameters": parameters, "members": members}, f"the mean of {members} that differ by seed"


def _label(base: ModelSpec, _: Random, __: Catalogue) -> Change | None:
    (other,) = [each for each in LABELS[base.task] if each != base.label]
    return {"label": other}, f"learned from the {other or 'usual'} label"


@dataclass(frozen=True, kw_only=True, eq=False)
class ImprovementLoop:
    """Proposes and scores on bars that end before the tail: it holds no others.

    bars         before the tail; estimators: that it may choose from
    catalogue    feature ids that it may add, with how closely each follows the label, 0 to 1
    """

    bars: LearningBars
    seed: int
    estimators: tuple[str, ...]
    catalogue: Catalogue
    _scored: dict[str, OutOfFold] = field(default_factory=dict, repr=False)

    @property
    def moves(self) -> Mapping[str, tuple[float, Move]]:
        """By name, how often a move is made, and the move."""
        return {
            "features": (0.5, _features),
            "parameters": (0.2, _parameters),
            "architecture": (0.12, _architecture(self.estimators)),
            "ensemble": (0.1, _ensemble),
            "label": (0.08, _label),
        }

    def propose(self, number: int, base: ModelSpec, tried: set[str]) -> ModelProposal | None:
        """Return the `number`-th proposal, a change of `base` whose hash is not among those tried.

        None where fifty draws find none.
        """
        random = np.random.default_rng((self.seed, number))
        names = list(self.moves)
        shares = np.array([self.moves[name][0] for name in names])
        for _ in range(_TRIES):
            name = names[int(random.choice(len(names), p=shares / shares.sum()))]
            found = self.moves[name][1](base, random, self.catalogue)
            if found is None:
                continue
            changes, words = found
            try:
                spec = ModelSpec.model_validate(base.model_dump() | changes)
            except ValidationError:
                continue
            if spec.digest not in tried:
                return ModelProposal(spec=spec, move=name, change=words)
        return None

    def scored(self, spec: ModelSpec) -> OutOfFold:
        """Return the losses out of fold of a spec; TrainingError where it cannot be fitted."""
        if spec.digest not in self._scored:
            self._scored[spec.digest] = out_of_fold(self.bars, spec)
        return self._scored[spec.digest]

    def compared(self, spec: ModelSpec, other: ModelSpec) -> tuple[PairedTest, PairedTest]:
        """Test a spec against another out of fold: on all bars that both answer, and on the newer half.

        Markets change: what was better long ago only is not what the tail will show.
        """
        one, two = self.scored(spec), self.scored(other)
        both = np.intersect1d(one.row, two.row)
        at, there = np.searchsorted(one.row, both), np.searchsorted(two.row, both)
        loss, against, middle = one.loss[at], two.loss[there], both.size // 2
        return (
            PairedTest.of(loss, against, spec.horizon),
            PairedTest.of(loss[middle:], against[middle:], spec.horizon),
        )


def catalogue_of(bars: LearningBars, ids: Sequence[str], spec: ModelSpec) -> Catalogue:
    """Return the ids that a model may learn from, with how closely each follows the label of a spec.

    Left out are those that are known on less than 80 % of these bars, that never change, or that are in
    points, whose worth was another one long ago. The closeness is the absolute rank correlation.
    """
    found, judged = {}, bars.labels(spec).judged[bars.first :]
    for each in sorted({*ids} - {*scale_sensitive(ids, bars.registry)}):
        values = bars.matrix([each])[bars.first :, 0]
        both = np.isfinite(values) & np.isfinite(judged)
        if both.mean() >= LEAST_KNOWN and np.ptp(values[both]) > 0.0:
            ranks = rankdata(values[both]), rankdata(judged[both])
            found[each] = abs(float(np.corrcoef(*ranks)[0, 1]))
    return found
