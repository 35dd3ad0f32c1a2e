"""A plan over drawn bars, its lanes and streams: what the optimiser is given, without a store."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from lockstep.market.dates import DateRange
from research.optimise.lanes import LaneStream
from research.optimise.optimise import OptimisedPortfolio, OptimiserDesign, optimise
from research.optimise.plan import PortfolioPlan
from research.optimise.streams import PortfolioStreams
from support import portfolios
from support.portfolios import BOOK, World

DESIGN = OptimiserDesign(
    folder=Path("configs"), plan_folder=Path("configs/training"), limit_sets=40, resamples=100, orders=6
)


_DRAWN: dict[str, World] = {}


def plan_world(**changes: Any) -> World:
    """Return two lanes of a fixed size and two that size themselves, over more than two years."""
    key = repr(changes)
    if key not in _DRAWN:
        drawn = {each: ("1d", 640) for each in ("CL", "ES", "GC", "SPY")}
        _DRAWN[key] = portfolios.world(2, drawn, **changes)
    return _DRAWN[key]


def plan_of(given: World, **changes: Any) -> PortfolioPlan:
    content: dict[str, Any] = {
        "capital": 20_000_000.0,
        "day": "CME",
        "lanes": [{"symbol": each, "strategy": "drawn.yaml"} for each in given.symbols],
        "groups": {"us_equity": {"symbols": ["ES", "SPY"]}},
        "target_volatility": 0.1,
        "drawdown": {"at": 0.4},
    }
    return PortfolioPlan.model_validate(content | changes)


def lanes_of(given: World, dates: DateRange | None = None) -> dict[str, LaneStream]:
    return {
        symbol: LaneStream(
            symbol=symbol.partition("#")[0],
            family=symbol.partition("#")[0],
            strategy=given.configs[symbol],
            history=given.history,
            veto=None,
            answers=None,
            dates=dates or DateRange.of("2019-02-01", "2021-06-30"),
            seen="drawn",
            source={"strategy": given.configs[symbol].config_hash, "bars": {symbol: "drawn"}},
        )
        for symbol in given.symbols
    }


def renamed(lane: LaneStream, symbol: str) -> LaneStream:
    """Return a member of an ensemble as a lane by itself, its size that of a lane."""
    return replace(lane, symbol=symbol)


@functools.cache
def streams() -> PortfolioStreams:
    return PortfolioStreams.of(plan_of(plan_world()), lanes_of(plan_world()), BOOK)


@functools.cache
def optimised() -> OptimisedPortfolio:
    """Return a portfolio of which at least one limit binds now and then."""
    plan = plan_of(plan_world(), limits={"max_positions": 2})
    return optimise(plan, PortfolioStreams.of(plan, lanes_of(plan_world()), BOOK), DESIGN)


class Asked:
    """A trial of the stand-in: suggests uniformly."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random

    def suggest_float(self, name: str, low: float, high: float) -> float:
        return float(self.random.uniform(low, high))

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))


class Study:
    """The part of an optuna study that is used; tells what it was told."""

    told: list[list[float]]

    def __init__(self, directions: list[str], sampler: Any) -> None:
        assert directions == ["maximize", "minimize", "maximize"]
        self.random, self.told = np.random.default_rng(sampler.seed), []
        STUDIES.append(self)

    def ask(self) -> Asked:
        return Asked(self.random)

    def tell(self, asked: Asked, values: list[float]) -> None:
        self.told.append(values)


STUDIES: list[Study] = []


def optuna_stand_in() -> ModuleType:
    """Return what is used of optuna, without its samplers."""
    module: Any = ModuleType("optuna")
    module.create_study = Study
    module.samplers = SimpleNamespace(NSGAIISampler=lambda seed: SimpleNamespace(seed=seed))
    module.logging = SimpleNamespace(set_verbosity=lambda level: None, WARNING=30)
    return module
