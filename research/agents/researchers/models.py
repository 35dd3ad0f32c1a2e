"""Models that a researcher asks for: a small menu, the same all session long, so that few are trained.

Every model that a strategy reads is trained once before each fold. What a menu holds is drawn by the seed of
the session; what the zoo has already is on it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from research.agents.proposal import CatalogueEntry, ResearchContext
from research.agents.researchers.drafts import rounded
from research.zoo.model_spec import ModelSpec

MODEL = "model:"
FEATURES = 8
KNOWN = 4
"""Features of a model on the menu, and models of the zoo that are on it at most."""

_DIGITS = 4
_STREAM = 7
_TREES = {"max_iter": 40, "max_depth": 3, "learning_rate": 0.1}
_ASKED: tuple[dict[str, Any], ...] = (
    {"task": "direction", "horizon": 1, "estimator": "logistic"},
    {"task": "volatility", "horizon": 1, "estimator": "hist_gradient_boosting", "parameters": _TREES},
    {"task": "regime", "horizon": 5, "estimator": "hist_gradient_boosting", "parameters": _TREES},
    {"task": "direction", "horizon": 3, "estimator": "hist_gradient_boosting", "parameters": _TREES},
)
_PROBABILITIES = (0.4, 0.45, 0.48, 0.5, 0.52, 0.55, 0.6)
_STATES = (0.5,)


@dataclass(frozen=True, kw_only=True)
class ModelMenu:
    """Models by alias, and by `model:ALIAS` the constants that an answer is compared with, rising."""

    models: Mapping[str, ModelSpec] = field(default_factory=dict)
    answers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


_menus: list[tuple[tuple[CatalogueEntry, ...], Any, int, ModelMenu]] = []


_NOTHING = ModelMenu()


def menu_of(context: ResearchContext) -> ModelMenu:
    """Return the menu of a session: it depends on catalogue, seed and zoo, and not on the trials.

    A session of technical strategies has an empty one, and does without the libraries of all estimators.
    """
    if set(context.kinds) == {"technical"}:
        return _NOTHING
    for catalogue, models, seed, menu in _menus:
        if catalogue is context.catalogue and models == context.models and seed == context.seed:
            return menu
    menu = _menu(context)
    _menus[:] = [(context.catalogue, context.models, context.seed, menu), *_menus[:7]]
    return menu


def alias_of(spec: ModelSpec) -> str:
    """Return the name by which our researchers call a model: equal for equal specs."""
    return f"{spec.name}_{spec.digest[:_DIGITS]}"


def _menu(context: ResearchContext) -> ModelMenu:
    specs = [each.spec for each in context.models][:KNOWN]
    features = _features(context)
    if features:
        specs += [ModelSpec(features=features, **each) for each in _ASKED]
    models = {alias_of(each): each for each in specs if steps_of(each, context.answers)}
    steps = {f"{MODEL}{alias}": steps_of(each, context.answers) for alias, each in models.items()}
    return ModelMenu(models=models, answers=steps)


def steps_of(spec: ModelSpec, answers: Mapping[str, tuple[float, ...]]) -> tuple[float, ...]:
    """Return what the answers of a model are compared with, nothing where their range is unknown."""
    if spec.task == "direction":
        return _PROBABILITIES
    if spec.task == "regime":
        return _STATES
    return tuple(sorted({rounded(each) for each in answers.get(spec.name, ())}))


def _features(context: ResearchContext) -> tuple[str, ...]:
    """Return features from as many families as there are, drawn by the session's seed."""
    random = np.random.default_rng((context.seed, _STREAM))
    return tuple(sorted(by_turns(context.catalogue, random)[:FEATURES]))


def by_turns(catalogue: tuple[CatalogueEntry, ...], random: np.random.Generator) -> list[str]:
    """Return all ids, one of each family in turn: families and the ids of each in a random order."""
    families: dict[str, list[str]] = {}
    for place in random.permutation(len(catalogue)).tolist():
        families.setdefault(catalogue[place].family, []).append(catalogue[place].id)
    found = []
    while families:
        for family in list(families):
            found.append(families[family].pop())
            if not families[family]:
                del families[family]
    return found
