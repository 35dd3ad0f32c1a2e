"""An unfitted classifier of every kind that a bundle may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from lockstep.models.estimators import ColumnSelector


def _lightgbm() -> Any:
    import lightgbm

    settings = {"deterministic": True, "force_row_wise": True, "verbose": -1}
    return lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, random_state=1, **settings)


def _xgboost() -> Any:
    import xgboost

    return xgboost.XGBClassifier(n_estimators=5, n_jobs=1, random_state=1, tree_method="hist")


def _chain() -> Any:
    return Pipeline([
        ("columns", ColumnSelector((3, 1, 0))),
        ("vary", VarianceThreshold()),
        ("best", SelectKBest(f_classif, k=2)),
        ("limits", MinMaxScaler()),
        ("robust", RobustScaler()),
        ("nothing", "passthrough"),
        ("model", LogisticRegression(class_weight={0: 1.0, 1: 2.0})),
    ])  # fmt: skip


FAMILIES: Mapping[str, Callable[[], Any]] = {
    "random_forest": lambda: RandomForestClassifier(5, random_state=1),
    "extra_trees": lambda: ExtraTreesClassifier(5, random_state=1, max_depth=5),
    "gradient_boosting": lambda: GradientBoostingClassifier(n_estimators=4, random_state=1),
    "exponential": lambda: GradientBoostingClassifier(
        n_estimators=4, random_state=1, loss="exponential", init="zero"
    ),
    "hist_gradient_boosting": lambda: HistGradientBoostingClassifier(max_iter=5, random_state=1),
    "logistic": lambda: Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())]),
    "chain": _chain,
    "calibrated": lambda: CalibratedClassifierCV(
        RandomForestClassifier(5, random_state=1, max_depth=4), method="isotonic", cv=3, n_jobs=1
    ),
    "sigmoid": lambda: CalibratedClassifierCV(
        HistGradientBoostingClassifier(max_iter=3, random_state=1), method="sigmoid", cv=3, ensemble=False
    ),
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
}
