"""`Plan`: everything that decides what an experiment evaluates; what `resume` reads back."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from lockstep.settings import Settings
from lockstep.strategy.family import AnyStrategy
from research.experiments.grid import SelectBy
from research.experiments.variants import VariantSpace
from research.splits.ranges import Split, TrainTestWindow, windows
from research.statistics.gate import GateLimits

Kind = Literal["grid", "random", "part", "evolution"]


class Plan(Settings):
    """A search, complete: equal plans over equal code and data give equal experiments.

    strategy      the base configuration, whose values hold where no parameter says otherwise
    sample, seed  number of combinations drawn at random, and the seed of the draw; None for all
    skip          of a search that walks through its space a part at a time: how many combinations came before
                  its `sample` in the order that `seed` gives; None for a draw of its own
    generations, children   of an evolution, None for any other search; picked: the combinations that it has
                  visited, in that order
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
    skip: Annotated[int, Field(ge=0)] | None = None
    generations: Annotated[int, Field(ge=1)] | None = None
    children: Annotated[int, Field(ge=1)] = 20
    picked: tuple[int, ...] = ()
    walk_forward: str | None = None
    anchored: bool = False
    select_by: SelectBy = "sharpe"
    top: int = 5
    limits: GateLimits = GateLimits()
    data_dir: str | None = None
    source: str | None = None

    @model_validator(mode="after")
    def _part_of_a_size(self) -> Self:
        if self.skip is not None and (self.sample is None or self.generations is not None):
            raise ValueError("skip: a part of a space needs a sample, and is no evolution")
        return self

    @property
    def whole(self) -> Plan:
        """The search of all combinations, of which this one is a part."""
        content = {name: getattr(self, name) for name in type(self).model_fields}
        return Plan(**{**content, "sample": None, "skip": None})

    @property
    def kind(self) -> Kind:
        """Grid or random search, a part of a space, or evolution."""
        if self.generations is not None:
            return "evolution"
        if self.skip is not None:
            return "part"
        return "grid" if self.sample is None else "random"

    @functools.cached_property
    def space(self) -> VariantSpace:
        """All combinations."""
        return VariantSpace(base=self.strategy, values=self.parameters)

    @functools.cached_property
    def numbers(self) -> range | list[int]:
        """The combinations that this search evaluates, rising; of an evolution, those that it has picked."""
        if self.generations is not None:
            return sorted(self.picked)
        if self.sample is None:
            return range(self.space.size)
        if self.skip is not None:
            return self.space.part(self.skip, self.sample, self.seed)
        return self.space.sample(self.sample, self.seed)

    @property
    def reachable(self) -> range | list[int]:
        """The combinations that this search may come to."""
        return self.numbers if self.generations is None else range(self.space.size)

    @property
    def variants(self) -> int:
        """How many combinations this search evaluates, at most."""
        if self.generations is None:
            return len(self.numbers)
        return min(self.space.size, self.generations * self.children)

    @functools.cached_property
    def windows(self) -> tuple[TrainTestWindow, ...]:
        """The pairs of training and test ranges."""
        return windows(self.split, self.walk_forward, anchored=self.anchored)

    @property
    def runs(self) -> int:
        """The number of runs: combinations x symbols x windows."""
        return self.variants * len(self.symbols) * len(self.windows)
