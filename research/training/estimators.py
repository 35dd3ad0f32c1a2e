"""Every estimator that can be trained. To add one: a file with its `Estimator`, an import, and a line below.

All run on one thread, since several give other bits call by call.

What a search may vary: named dimensions and their scikit-optimize form.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

from pydantic import model_validator
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from skopt.space import Categorical, Integer, Real

from lockstep.errors import TrainingError
from lockstep.models.tasks import TRADED, Task, answers_with_value
from lockstep.plugs import Registry
from lockstep.settings import Settings, shown

Parameters = Mapping[str, Any]
Scalar = bool | int | float | str | None

_DIGITS = 4


class Dimension(Settings):
    """One parameter: whole numbers or reals between two bounds, both inclusive, or a choice.

    log       draw evenly on a logarithmic scale; both bounds positive
    or_none   with `integer`: beyond the upper bound there is one more value, none (no limit)
    """

    integer: tuple[int, int] | None = None
    real: tuple[float, float] | None = None
    choice: tuple[Scalar, ...] | None = None
    log: bool = False
    or_none: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(each is not None for each in (self.integer, self.real, self.choice)) != 1:
            raise ValueError("give one of integer, real and choice")
        if self.choice is not None and len(set(map(repr, self.choice))) != len(self.choice):
            raise ValueError(f"choice {shown(self.choice)}: a value is listed twice")
        if self.choice is not None and not self.choice:
            raise ValueError("choice: list at least one value")
        bounds = self.integer or self.real
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"bounds {shown(bounds)}: the first must be < the second; fix it with a choice")
        if self.log and (bounds is None or bounds[0] <= 0):
            raise ValueError("log needs bounds above 0")
        if self.or_none and self.integer is None:
            raise ValueError("or_none goes with integer")
        return self

    def for_search(self) -> Any:
        """Return the scikit-optimize dimension; see `decoded`."""
        prior = "log-uniform" if self.log else "uniform"
        if self.integer is not None:
            low, high = self.integer
            return Integer(low, high + self.or_none, prior=prior)
        if self.real is not None:
            return Real(*self.real, prior=prior)
        return Categorical(list(range(len(self.choice or ()))))

    def decoded(self, value: Any) -> Scalar:
        """Return the parameter that a point of the search stands for."""
        if self.integer is not None:
            return None if value > self.integer[1] else int(value)
        return float(value) if self.real is not None else (self.choice or ())[int(value)]

    def rounded(self, value: Any) -> Any:
        """Return a point with reals cut to four digits, so that what is printed is what was used."""
        if self.real is None:
            return int(value)
        digits = _DIGITS - 1 - math.floor(math.log10(abs(value))) if value else _DIGITS
        return min(max(round(float(value), digits), self.real[0]), self.real[1])


Space = Mapping[str, Dimension]


def rounded(space: Space, point: Sequence[Any]) -> list[Any]:
    """Return a point of the search as it is used and reported back."""
    return [each.rounded(value) for each, value in zip(space.values(), point, strict=True)]


def decoded(space: Space, point: Sequence[Any]) -> Parameters:
    """Return the parameters that a point stands for, by name."""
    return {name: each.decoded(value) for (name, each), value in zip(space.items(), point, strict=True)}


def space_of(**dimensions: dict[str, Any]) -> Space:
    """Return a space from the contents of its dimensions."""
    return {name: Dimension.model_validate(each) for name, each in dimensions.items()}


Make = Callable[[Parameters, int], Any]


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """A family of models that can be trained: `model.family` in a training configuration.

    make     returns an unfitted classifier from (parameters, seed): on one thread, and the same bits for the
             same seed. `fit` takes `sample_weight`; a bundle must be able to hold its class, see
             `models/kinds.py`
    value    returns its regressor likewise, for tasks that answer with a value; None: it has none
    space    what a search varies by default; the names are the classifier's own
    scaled   whether its answer depends on the scale of a column: then a scaler comes before it
    drawn    whether two seeds give two models, by the parameters: an ensemble by seed needs that
    """

    name: str
    make: Make
    value: Make | None = None
    space: Space
    scaled: bool = False
    drawn: Callable[[Parameters], bool] = lambda _: False


def _random_forest(parameters: Parameters, seed: int) -> Any:
    return RandomForestClassifier(**parameters, n_jobs=1, random_state=seed)


def _random_forest_of_values(parameters: Parameters, seed: int) -> Any:
    return RandomForestRegressor(**parameters, n_jobs=1, random_state=seed)


def _hist_gradient_boosting(parameters: Parameters, seed: int) -> Any:
    return HistGradientBoostingClassifier(**parameters, early_stopping=False, random_state=seed)


def _hist_gradient_boosting_of_values(parameters: Parameters, seed: int) -> Any:
    return HistGradientBoostingRegressor(**parameters, early_stopping=False, random_state=seed)


def _logistic(parameters: Parameters, seed: int) -> Any:
    return LogisticRegression(**parameters, max_iter=1_000, random_state=seed)


def _ridge(parameters: Parameters, seed: int) -> Any:
    """Return the regressor beside a logistic regression, under the same name of its penalty."""
    others = {name: value for name, value in parameters.items() if name != "C"}
    return Ridge(**others, alpha=1.0 / float(parameters.get("C", 1.0)), random_state=seed)


def _lightgbm(parameters: Parameters, seed: int) -> Any:
    return _boosting("lightgbm").LGBMClassifier(**_of_lightgbm(parameters, seed))


def _lightgbm_of_values(parameters: Parameters, seed: int) -> Any:
    return _boosting("lightgbm").LGBMRegressor(**_of_lightgbm(parameters, seed))


def _of_lightgbm(parameters: Parameters, seed: int) -> dict[str, Any]:
    own = {"n_jobs": 1, "random_state": seed, "deterministic": True, "force_row_wise": True, "verbose": -1}
    return {**parameters, **own}


def _xgboost(parameters: Parameters, seed: int) -> Any:
    return _boosting("xgboost").XGBClassifier(**parameters, n_jobs=1, random_state=seed, tree_method="hist")


def _xgboost_of_values(parameters: Parameters, seed: int) -> Any:
    return _boosting("xgboost").XGBRegressor(**parameters, n_jobs=1, random_state=seed, tree_method="hist")


def _below_one(*names: str) -> Callable[[Parameters], bool]:
    """Return whether one of these parameters says that each tree, or step, sees a part only."""

    def drawn(parameters: Parameters) -> bool:
        return any(isinstance(value := parameters.get(name), float) and value < 1.0 for name in names)

    return drawn


def _boosting(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise TrainingError(
            f"model family {name}: it is not installed; run scripts/environment.sh requirements-dev.lock, "
            "or choose another"
        ) from error


ESTIMATORS: Registry[Estimator] = Registry(
    "model family",
    (
        Estimator(
            name="random_forest",
            make=_random_forest,
            value=_random_forest_of_values,
            drawn=lambda _: True,
            space=space_of(
                n_estimators={"integer": (200, 1200)},
                max_depth={"integer": (2, 12), "or_none": True},
                min_samples_leaf={"integer": (10, 200), "log": True},
                max_features={"choice": ("sqrt", "log2", 0.3, 0.5)},
                max_samples={"real": (0.5, 1.0)},
                class_weight={"choice": (None, "balanced_subsample")},
            ),
        ),
        Estimator(
            name="lightgbm",
            make=_lightgbm,
            value=_lightgbm_of_values,
            drawn=_below_one("colsample_bytree"),
            space=space_of(
                n_estimators={"integer": (50, 600)},
                learning_rate={"real": (0.005, 0.2), "log": True},
                num_leaves={"integer": (4, 31)},
                min_child_samples={"integer": (10, 200), "log": True},
                colsample_bytree={"real": (0.3, 1.0)},
                reg_lambda={"real": (0.001, 100.0), "log": True},
            ),
        ),
        Estimator(
            name="xgboost",
            make=_xgboost,
            value=_xgboost_of_values,
            drawn=_below_one("subsample", "colsample_bytree"),
            space=space_of(
                n_estimators={"integer": (50, 600)},
                learning_rate={"real": (0.005, 0.2), "log": True},
                max_depth={"integer": (1, 6)},
                min_child_weight={"real": (1.0, 100.0), "log": True},
                colsample_bytree={"real": (0.3, 1.0)},
                reg_lambda={"real": (0.001, 100.0), "log": True},
            ),
        ),
        Estimator(
            name="hist_gradient_boosting",
            make=_hist_gradient_boosting,
            value=_hist_gradient_boosting_of_values,
            drawn=_below_one("max_features"),
            space=space_of(
                max_iter={"integer": (20, 400)},
                learning_rate={"real": (0.005, 0.2), "log": True},
                max_leaf_nodes={"integer": (3, 31)},
                min_samples_leaf={"integer": (10, 200), "log": True},
                l2_regularization={"real": (0.001, 100.0), "log": True},
            ),
        ),
        Estimator(
            name="logistic",
            make=_logistic,
            value=_ridge,
            scaled=True,
            space=space_of(
                C={"real": (0.0001, 10.0), "log": True},
                class_weight={"choice": (None, "balanced")},
            ),
        ),
    ),
    name=lambda estimator: estimator.name,
)


def make_estimator(family: str, parameters: Parameters, seed: int, task: Task = TRADED) -> Any:
    """Return an unfitted classifier, or a regressor for a task that answers with a value.

    TrainingError, naming the extra, where its library is missing, or where it knows a parameter not.

    >>> type(make_estimator("random_forest", {"n_estimators": 5}, 1, "volatility")).__name__
    'RandomForestRegressor'
    """
    estimator = ESTIMATORS[family]
    make = estimator.value if answers_with_value(task) else estimator.make
    if make is None:
        raise TrainingError(f"model family {family}: has no regressor, task {task} needs one; choose another")
    try:
        return make(parameters, seed)
    except (TypeError, ZeroDivisionError) as error:
        raise TrainingError(
            f"model family {family}: parameters {shown(dict(parameters))}: {error}; see its documentation"
        ) from error


def preparation(family: str) -> list[tuple[str, Any]]:
    """Return the steps that come before the estimator and learn from the training samples."""
    return [("scale", StandardScaler())] if ESTIMATORS[family].scaled else []
