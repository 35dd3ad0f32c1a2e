"""Sessions of agents in worlds with nothing to find, and with a planted edge; in full in a soak."""

from __future__ import annotations

import pytest

from research.agents.researchers.screen import ScreenResearcher
from simulation.agent_sessions import RESEARCHERS, STRATEGIES, bound, cases, hits, noise
from simulation.agent_worlds import LEAST_TRADES, Edge, PlantedWorld

SESSIONS, WORLDS = 60, 10
# Half of them remember for more than a month.
FEW = (
    "rsi_2", "ibs", "ret_5", "zscore_20", "donchian_position_20", "momentum_z_10_60", "close_sma_atr_200_14",
    "sma_slope_atr_50_5_14",
)  # fmt: skip


@pytest.mark.no_cover
def test_noise_is_promoted_within_the_bound() -> None:
    """The control: a positive fitness, which is no gate, promotes most of them."""
    few = ScreenResearcher(features=6)
    found = noise(SESSIONS, researcher=few, strategies=18, sessions=1_200, offered=FEW)
    assert found["promoted"] <= bound(SESSIONS) == 9
    assert found["positive"] > 3 * bound(SESSIONS)


@pytest.mark.no_cover
def test_a_strong_edge_is_found() -> None:
    """The control: a session that draws as many specs at random finds it less often."""
    found = {"screen": 0, "random": 0}
    for number, case in enumerate(cases(WORLDS, size=0.9, sessions=2_520)):
        for name in found:
            found[name] += hits(case, RESEARCHERS[name], strategies=STRATEGIES, seed=number)[0]
    assert found["screen"] >= 0.8 * WORLDS
    assert found["screen"] > found["random"]


def test_an_edge_is_where_it_was_planted() -> None:
    edge = Edge(where=(("ibs", False, 0.2),), sign=1, size=1.0)
    quiet, world = PlantedWorld.of(3, sessions=1_200), PlantedWorld.of(3, edge=edge, sessions=1_200)
    for config in world.oracles():
        (with_edge,), (without,) = (each.evaluator.evaluate([config]) for each in (world, quiet))
        assert with_edge.sharpe > 1.5
        assert with_edge.sharpe > without.sharpe + 1.0
        assert min(each.trades for each in with_edge.folds) > LEAST_TRADES // 2
    again = world.again(4)
    assert again.levels == world.levels
    assert again.history != world.history
