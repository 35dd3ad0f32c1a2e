"""Drawn specs in the sweep and in Backtrader: the same fills and the same equity at every bar."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from lockstep.strategy.families.rules import RulesConfig
from research.backtest.run import run_backtest
from research.sweep.run import sweep, trace
from support import specs
from support.specs import World

BARS = 1_000
COUNT = int(os.environ.get("LOCKSTEP_SPECS", "20"))
WORLDS = {"daily": specs.daily_world, "hourly": specs.hourly_world}


def difference(config: RulesConfig, world: World, profit: float) -> tuple[str, int]:
    """Return where sweep and Backtrader part, empty for nowhere, and how many orders were filled."""
    backtest = run_backtest(config, world.history, world.symbol, span=world.span)
    traced = trace(config, world.history, world.symbol, span=world.span)
    row = {int(end): number for number, end in enumerate(backtest.bars.end)}
    filled = [
        (row[order.stamp], order.quantity, order.price)
        for order in backtest.records.orders
        if order.status == "completed"
    ]
    equity = backtest.equity["equity"].to_numpy()
    if [(int(bar), quantity, price) for bar, _, quantity, price, *_ in traced.fills] != filled:
        return "fills", len(filled)
    if traced.equity.tobytes() != equity.tobytes():
        return "equity", len(filled)
    return "" if profit == equity[-1] - config.capital else "net profit", len(filled)


@pytest.mark.parametrize("name", WORLDS)
def test_drawn_specs_are_equal_to_backtrader(name: str) -> None:
    """All of them in one call: other ids, trees, stops, windows, sizes, ages and execution in each."""
    world = WORLDS[name](BARS)
    drawn = specs.specs(world, 1, COUNT)
    profits = sweep(drawn, world.history, world.symbol, span=world.span, jobs=1).metrics["net_profit"]
    found = [difference(each, world, profit) for each, profit in zip(drawn, profits.tolist(), strict=True)]
    parted = [each.to_yaml() + where for each, (where, _) in zip(drawn, found, strict=True) if where]
    assert not parted, parted[0]
    assert sum(fills > 20 for _, fills in found) > COUNT // 3


def test_the_comparison_can_fail() -> None:
    """Negative control: in other bars the same specs trade otherwise."""
    world = specs.daily_world(BARS)
    moved = {
        key: replace(bars, close=np.minimum(bars.close + 0.01, bars.high))
        for key, bars in world.history.bars.items()
    }
    other = replace(world, history=replace(world.history, bars=moved))
    drawn = specs.specs(world, 1, 5)
    profits = sweep(drawn, world.history, world.symbol, span=world.span, jobs=1).metrics["net_profit"]
    assert any(
        difference(each, other, profit)[0] for each, profit in zip(drawn, profits.tolist(), strict=True)
    )
