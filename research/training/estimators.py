"""The estimators behind one name each. All run on one thread, since several give other bits call by call."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from lockstep.errors import TrainingError
from research.training.space import Parameters

Make = Callable[[Parameters, int], Any]


def _random_forest(parameters: Parameters, seed: int) -> Any:
    return RandomForestClassifier(**parameters, n_jobs=1, random_state=seed)


def _hist_gradient_boosting(parameters: Parameters, seed: int) -> Any:
    return HistGradientBoostingClassifier(**parameters, early_stopping=False, random_state=seed)


def _logistic(parameters: Parameters, seed: int) -> Any:
    return LogisticRegression(**parameters, max_iter=1_000, random_state=seed)


def _lightgbm(parameters: Parameters, seed: int) -> Any:
    library = _boosting("lightgbm")
    return library.LGBMClassifier(
        **parameters, n_jobs=1, random_state=seed, deterministic=True, force_row_wise=True, verbose=-1
    )


def _xgboost(parameters: Parameters, seed: int) -> Any:
    return _boosting("xgboost").XGBClassifier(**parameters, n_jobs=1, random_state=seed, tree_method="hist")


def _boosting(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise TrainingError(
            f"model family {name}: it is not installed; run scripts/environment.sh requirements-dev.lock, "
            "or choose another"
        ) from error


ESTIMATORS: Mapping[str, Make] = {
    "random_forest": _random_forest,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "hist_gradient_boosting": _hist_gradient_boosting,
    "logistic": _logistic,
}
# Families whose answer depends on the scale of a column.
_SCALED = frozenset(("logistic",))


def make_estimator(family: str, parameters: Parameters, seed: int) -> Any:
    """Return an unfitted classifier; TrainingError, naming the extra, where its library is missing."""
    return ESTIMATORS[family](parameters, seed)


def preparation(family: str) -> list[tuple[str, Any]]:
    """Return the steps that come before the estimator and learn from the training samples."""
    return [("scale", StandardScaler())] if family in _SCALED else []
