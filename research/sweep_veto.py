"""A model's veto in the sweep: its answers at every bar, computed before the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np

from lockstep.errors import ConfigError
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.bars import Floats
from lockstep.market.history import History, SeriesKey
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.lane import vector_ids
from lockstep.strategy.veto import Veto

Config = TypeVar("Config", bound=StrategyConfig)


@dataclass(frozen=True, kw_only=True)
class Chances:
    """What a model answers at each bar of a history.

    probability   float64 (n,), one per bar of the traded series, the whole history; NaN vetoes
    threshold     an entry needs at least this
    feature_ids   what the model reads: a vector in which one of them is missing is not traded
    """

    probability: Floats
    threshold: float
    feature_ids: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        veto: Veto,
        config: StrategyConfig,
        history: History,
        symbol: str,
        registry: FeatureRegistry | None = None,
    ) -> Self:
        """Ask the model of `veto` at every bar whose vector is complete; elsewhere NaN."""
        plan = (registry or default_registry()).plan(vector_ids(config, veto), SeriesKey(symbol, config.bars))
        matrix = BatchFeatures(plan, history, max_age=config.max_age.limits).matrix
        complete = ~np.isnan(matrix).any(axis=1)
        columns = [plan.ids.index(each) for each in veto.feature_ids]
        probability = np.full(len(matrix), np.nan)
        if complete.any():
            read = np.ascontiguousarray(matrix[complete][:, columns])
            probability[complete] = np.asarray(veto.model.predict_proba(read), dtype=np.float64)[:, 1]
        return cls(probability=probability, threshold=veto.threshold, feature_ids=veto.feature_ids)

    @classmethod
    def at(
        cls, rows: Sequence[int] | np.ndarray, values: Floats, *, bars: int, threshold: float,
        feature_ids: tuple[str, ...] = (),
    ) -> Self:  # fmt: skip
        """Take answers that are known at some `rows` of `bars` bars only, those of a model's test samples."""
        probability = np.full(bars, np.nan)
        probability[np.asarray(rows, dtype=np.int64)] = values
        return cls(probability=probability, threshold=threshold, feature_ids=feature_ids)

    def widened(self, config: Config) -> Config:
        """Return `config` with a vector that also holds what the model reads, as `ParityStrategy` has it."""
        return config.replaced(features=tuple(dict.fromkeys((*config.features, *self.feature_ids))))

    def over(self, rows: slice, bars: int) -> Floats:
        """Return the answers at the traded rows; ConfigError where they are of another history."""
        if self.probability.shape != (bars,):
            raise ConfigError(
                f"probabilities of shape {self.probability.shape} for {bars} bars: one per bar of the history"
            )
        return np.ascontiguousarray(self.probability[rows])
