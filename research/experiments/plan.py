"""`Plan`: everything that decides what an experiment evaluates; what `resume` reads back."""

from __future__ import annotations

import functools
from typing import Any, Literal

from pydantic import ConfigDict

from lockstep.settings import Settings
from lockstep.strategy.family import AnyStrategy
from research.experiments.grid import SelectBy
from research.experiments.variants import VariantSpace
from research.splits.ranges import Split, TrainTestWindow, windows
from research.statistics.gate import GateLimits

Kind = Literal["grid", "random"]


class Plan(Settings):
    """A search, complete: equal plans over equal code and data give equal experiments.

    strategy      the base configuration, whose values hold where no parameter says otherwise
    sample, seed  number of combinations drawn at random, and the seed of the draw; None for all
    walk_forward  train/test/step spans; None for the one window of `split`
    data_dir, source   where bars come from, as for the backtest runner
    """

    model_config = ConfigDict(ignored_types=(functools.cached_property,))

    name: str
    strategy: AnyStrategy
    symbols: tuple[str, ...]
    parameters: dict[str, tuple[Any, ...]]
    split: Split
    sample: int | None = None
    seed: int = 0
    walk_forward: str | None = None
    anchored: bool = False
    select_by: SelectBy = "sharpe"
    top: int = 5
    limits: GateLimits = GateLimits()
    data_dir: str | None = None
    source: str | None = None

    @property
    def kind(self) -> Kind:
        """Grid or random search."""
        return "grid" if self.sample is None else "random"

    @functools.cached_property
    def space(self) -> VariantSpace:
        """All combinations."""
        return VariantSpace(base=self.strategy, values=self.parameters)

    @functools.cached_property
    def numbers(self) -> range | list[int]:
        """The combinations that this search evaluates, rising."""
        if self.sample is None:
            return range(self.space.size)
        return self.space.sample(self.sample, self.seed)

    @functools.cached_property
    def windows(self) -> tuple[TrainTestWindow, ...]:
        """The pairs of training and test ranges."""
        return windows(self.split, self.walk_forward, anchored=self.anchored)

    @property
    def runs(self) -> int:
        """The number of runs: combinations x symbols x windows."""
        return len(self.numbers) * len(self.symbols) * len(self.windows)
