"""An unfitted classifier, and a regressor, of every kind that a bundle may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from lockstep.models.estimators import ColumnSelector, SeedEnsembleClassifier, SeedEnsembleRegressor


def _lightgbm(kind: str = "LGBMClassifier") -> Any:
    import lightgbm

    settings = {"deterministic": True, "force_row_wise": True, "verbose": -1}
    return getattr(lightgbm, kind)(n_estimators=5, n_jobs=1, random_state=1, **settings)


def _xgboost(kind: str = "XGBClassifier") -> Any:
    import xgboost

    return getattr(xgboost, kind)(n_estimators=5, n_jobs=1, random_state=1, tree_method="hist")


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

# Members of an ensemble that numpy's mean would add in another order than one after the other.
SEEDS = (1, 2, 3, 4, 5, 6, 7, 8)

ENSEMBLES: Mapping[str, Callable[[], Any]] = {
    "forests": lambda: SeedEnsembleClassifier(RandomForestClassifier(3, max_depth=5), SEEDS),
    "logistics": lambda: SeedEnsembleClassifier(LogisticRegression(), (1, 2)),
    "boosted": lambda: SeedEnsembleClassifier(_xgboost(), (1, 2)),
}

REGRESSORS: Mapping[str, Callable[[], Any]] = {
    "random_forest": lambda: RandomForestRegressor(5, random_state=1),
    "chosen_forest": lambda: Pipeline([
        ("columns", ColumnSelector((3, 1))), ("model", RandomForestRegressor(5, random_state=1)),
    ]),
    "hist_gradient_boosting": lambda: HistGradientBoostingRegressor(max_iter=5, random_state=1),
    "ridge": lambda: Pipeline([("scale", StandardScaler()), ("model", Ridge(alpha=2.0))]),
    "lightgbm": lambda: _lightgbm("LGBMRegressor"),
    "xgboost": lambda: _xgboost("XGBRegressor"),
    "forests": lambda: SeedEnsembleRegressor(RandomForestRegressor(3, max_depth=5), SEEDS),
    "histograms": lambda: SeedEnsembleRegressor(
        HistGradientBoostingRegressor(max_iter=3, max_features=0.5), SEEDS
    ),
    "boosted": lambda: SeedEnsembleRegressor(_lightgbm("LGBMRegressor"), (1, 2)),
}  # fmt: skip
