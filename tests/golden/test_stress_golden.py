"""Gaps worked out by hand, and a crisis that everybody knows.

ES: 50 USD per point, tick 0.25, slippage 1 tick, 1.25 USD per contract and side. The strategy buys at the
open after an IBS of at most 0.2.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from lockstep.market.dates import DateRange
from lockstep.market.loader import load_bars
from lockstep.portfolio.config import PortfolioConfig
from lockstep.strategy.families.ibs import IbsConfig
from research.backtest.portfolio import PortfolioMember
from research.stress.changes import StressWorld
from research.stress.gaps import GapGround, GapScan
from research.stress.plan import default_plan
from research.stress.scenarios import GapScenario, ReplayScenario
from research.sweep.portfolio import PortfolioGround
from support.scenarios import CME, daily_bars, history_of

# IBS = (100.50 - 100) / 4 = 0.125: the next open, 101.00, is bought at 101.25.
SIGNAL = (100.0, 104.0, 100.0, 100.5)
QUIET = (101.0, 102.0, 100.0, 101.0)
# Before the gap of a fifth; on ticks: 81.60 -> 81.50, 84.00, 80.80 -> 80.75, 82.40 -> 82.50.
NEXT = (102.0, 105.0, 101.0, 103.0)
CAPITAL = 100_000.0


def scanned(shock: float, **strategy: object) -> GapScan:
    config = IbsConfig.model_validate({"name": "dip", "capital": CAPITAL, **strategy})
    history = history_of(daily_bars([SIGNAL, QUIET, NEXT, NEXT]))
    world = StressWorld(members={"ES": PortfolioMember(strategy=config, history=history)}, span=DateRange())
    ground = PortfolioGround.of({"ES": config}, {"ES": history}, CME)
    portfolio = PortfolioConfig.model_validate(
        {
            "name": "one",
            "capital": CAPITAL,
            "day": "CME",
            "lanes": [{"symbol": "ES", "strategy": "x.yaml", "units": 1}],
        }
    )
    return GapGround.of(world, ground, [GapScenario(shock=shock)]).scan(portfolio)


@pytest.mark.uncompiled
def test_a_stop_fills_at_the_open_behind_the_gap() -> None:
    # Stop: 101.25 - 2 % = 99.225, on the grid 99.00. The gap opens at 81.50: sold at 81.25.
    found = scanned(-0.2, stop={"percent": 2.0})
    # (81.25 - 101.25) x 50 - 2 x 1.25; at the stop it would have been (98.75 - 101.25) x 50 - 2.50 = -127.50.
    assert found.after[0, 2] - CAPITAL == -1_002.5
    # Before it, at the close of 101.00: -0.25 x 50 - 1.25.
    assert found.before[2] - CAPITAL == -13.75
    assert found.falls[0, 2] == 1_002.5
    assert found.is_open.tolist() == [False, False, True, True]


@pytest.mark.uncompiled
def test_without_a_stop_the_position_is_marked_at_the_close() -> None:
    # (82.50 - 101.25) x 50 - 1.25.
    assert scanned(-0.2).after[0, 2] - CAPITAL == -938.75


@pytest.mark.uncompiled
def test_a_rise_fills_a_target_at_the_open() -> None:
    # Target: 101.25 + 5 % = 106.3125, on the grid 106.50. The open of 122.40 -> 122.50 is better.
    found = scanned(0.2, target={"percent": 5.0})
    assert found.after[0, 2] - CAPITAL == (122.5 - 101.25) * 50.0 - 2.5
    assert found.losses[0, 2] < 0.0


def test_the_dot_com_replay_is_the_fall_of_the_nasdaq_by_78_percent() -> None:
    """5,048.62 on 2000-03-10 to 1,114.11 on 2002-10-09: -77.9 %, closes of the index."""
    replay = next(each for each in default_plan().scenarios if isinstance(each, ReplayScenario))
    bars = load_bars("COMP")
    days = bars.end.view("M8[ns]").astype("M8[D]")
    inside = (days >= np.datetime64(replay.start)) & (days <= np.datetime64(replay.end))
    closes = bars.close[inside]
    assert (replay.start, replay.end) == (date(2000, 3, 10), date(2002, 10, 9))
    assert round(100.0 * (closes[-1] / closes[0] - 1.0), 1) == -77.9
    assert (closes[0], closes[-1]) == (bars.close[inside].max(), bars.close[inside].min())
