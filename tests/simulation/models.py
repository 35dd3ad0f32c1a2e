"""Small models with a real forest and a real veto: every version that a simulated desk may know."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from lockstep.features.feature_registry import default_registry
from lockstep.live.traded import TradedModel
from lockstep.market.history import History, SeriesKey
from lockstep.models.bundle import Bundle
from lockstep.models.golden import GoldenVectors
from lockstep.strategy.families.ibs import IbsConfig

BROKEN = "broken"
"""The version that no store can load."""

LONGEST = 8
"""Bars that fill every window of the recipes but `hungry`."""

_CALM: Mapping[str, Any] = {
    "direction": "long",
    "entry": [0.0, 0.35],
    "exit": [0.65, 1.0],
    "stop": {"percent": 0.8},
}
_BOTH: Mapping[str, Any] = {
    **_CALM,
    "direction": "both",
    "short_entry": [0.65, 1.0],
    "short_exit": [0.0, 0.35],
}


class Recipe(NamedTuple):
    """A strategy, what its veto reads, and the veto's threshold."""

    rules: Mapping[str, Any]
    reads: tuple[str, ...] = ("ibs", "ret_1")
    threshold: float = 0.0


RECIPES: Mapping[str, Recipe] = {
    "calm": Recipe(_CALM),
    "both": Recipe(_BOTH),
    "picky": Recipe(_BOTH, threshold=0.5),
    "timed": Recipe({**_BOTH, "max_bars": 2, "target": {"percent": 0.6}}),
    "paired": Recipe({**_BOTH, "filters": [{"feature": "pair_ret_1", "min": -0.5, "max": 0.5}]}),
    "sized": Recipe(
        {**_BOTH, "size": {"kind": "volatility", "target": 1.5, "feature": "realised_vol_5_252"}}
    ),
    "ten": Recipe({**_BOTH, "size": {"kind": "fixed", "contracts": 10}}),
    "hungry": Recipe(_BOTH, reads=("ibs", "zscore_60")),
}
"""Every version by its name. `paired` needs an instrument with a pair; `hungry` more bars than are kept."""

PAIRED = frozenset({"paired"})


def digest(symbol: str, timeframe: str, name: str) -> str:
    """Return what stands for the SHA-256 of a version's file; no two versions share it."""
    return f"{symbol}-{timeframe}-{name}"


@functools.cache
def model(symbol: str, timeframe: str, name: str) -> TradedModel:
    """Return a version as the desk trades it."""
    recipe = RECIPES[name]
    config = IbsConfig.model_validate({"name": name, "timeframe": timeframe, **recipe.rules})
    registry = default_registry()
    bundle = Bundle(
        symbol=symbol,
        pipeline=_pipeline(len(recipe.reads), list(RECIPES).index(name)),
        feature_ids=recipe.reads,
        fingerprints={each: registry.fingerprint(each) for each in recipe.reads},
        strategy={
            "family": "IbsConfig",
            "config": config.model_dump(mode="json"),
            "config_hash": config.config_hash,
        },
        threshold=recipe.threshold,
        training={},
        metrics={},
        golden=_no_golden(config, symbol, len(recipe.reads)),
        sha256=digest(symbol, timeframe, name),
        version=name,
    )
    return TradedModel.of(bundle)


@functools.cache
def _pipeline(width: int, seed: int) -> Pipeline:
    random = np.random.default_rng(seed)
    features, target = random.normal(size=(60, width)), random.integers(0, 2, 60)
    forest = RandomForestClassifier(n_estimators=4, max_depth=3, random_state=seed, n_jobs=1)
    return Pipeline([("model", forest)]).fit(features, target)


def _no_golden(config: IbsConfig, symbol: str, width: int) -> GoldenVectors:
    """Return none: they are looked at where a bundle is read from a file, which the simulation does not."""
    return GoldenVectors(
        base=SeriesKey(symbol, config.bars),
        max_age=config.max_age.limits,
        history=History(bars={}, markets={}),
        stamps=np.empty(0, dtype=np.int64),
        vectors=np.empty((0, width)),
        answers=np.empty(0),
        canonical={},
        arithmetic="",
    )
