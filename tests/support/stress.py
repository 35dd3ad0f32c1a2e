"""Worlds of `support.portfolios` under stress: gaps in one pass, and the same as whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lockstep.market.bars import Floats
from lockstep.market.dates import DateRange
from lockstep.portfolio.config import PortfolioConfig
from research.backtest.portfolio import PortfolioMember
from research.backtest.portfolio_engine import PortfolioRun
from research.stress.changes import Stressed, StressWorld
from research.stress.gaps import GapGround
from research.stress.scenarios import GapScenario
from support.portfolio_parity import ground_of, run_of
from support.portfolios import World

GAPS = (GapScenario(shock=-0.2), GapScenario(shock=-0.7), GapScenario(shock=0.3))


def stress_world(given: World) -> StressWorld:
    members = {
        symbol: PortfolioMember(strategy=config, history=given.history, veto=given.vetoes.get(symbol))
        for symbol, config in given.configs.items()
    }
    return StressWorld(members=members, span=DateRange())


def gap_ground(given: World, gaps: Sequence[GapScenario] = GAPS) -> GapGround:
    return GapGround.of(stress_world(given), ground_of(given), gaps)


def stressed_run(given: World, config: PortfolioConfig, stressed: Stressed) -> PortfolioRun:
    """Return the run of a world whose lanes share one history, changed."""
    (history, *_) = (each.history for each in stressed.members.values())
    return run_of(replace(given, history=history), config)


def deepest_fall(capital: float, equity: Floats) -> float:
    highest = np.maximum.accumulate(np.concatenate([[capital], equity]))[1:]
    return float(np.max(highest - equity))
