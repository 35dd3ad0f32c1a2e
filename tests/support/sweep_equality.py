"""Sweep and Backtrader side by side: the same fills, the same equity at every bar, the same measures."""

from __future__ import annotations

from typing import Any

import pytest

from lockstep.market.history import History
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.decision import NAMES
from lockstep.strategy.matching import NO_FILL, STOP_FILL
from lockstep.strategy.records import STOP, TARGET
from research.backtest.run import run_backtest
from research.sweep import kernels as k
from research.sweep.run import sweep, trace


def backtrader_fills(result: Any) -> list[tuple[object, ...]]:
    row = {int(end): number for number, end in enumerate(result.bars.end)}
    return [
        (row[order.stamp], order.quantity, order.price, row[order.decision], order.reason)
        for order in result.records.orders
        if order.status == "completed"
    ]


def sweep_fills(fills: Any) -> list[tuple[object, ...]]:
    entry = 0
    found = []
    for fill in fills:
        kind = int(fill[k.FILL_KIND])
        decision = int(fill[k.FILL_DECISION])
        if kind == NO_FILL:
            reason = NAMES[int(fill[k.FILL_CODE])]
        else:
            reason, decision = (STOP if kind == STOP_FILL else TARGET), entry
        if reason.startswith("enter"):
            entry = decision
        found.append((int(fill[k.FILL_BAR]), fill[k.FILL_QUANTITY], fill[k.FILL_PRICE], decision, reason))
    return found


def assert_equal(config: StrategyConfig, history: History, symbol: str) -> int:
    backtest = run_backtest(config, history, symbol)
    traced = trace(config, history, symbol)
    assert sweep_fills(traced.fills) == backtrader_fills(backtest)
    equity = backtest.equity["equity"].to_numpy()
    assert traced.equity.tobytes() == equity.tobytes()
    swept = sweep([config], history, symbol, jobs=1)
    assert swept.metrics["net_profit"][0] == equity[-1] - config.capital
    for name, values in swept.metrics.items():
        assert values[0] == pytest.approx(backtest.metrics[name], rel=1e-7, abs=1e-9, nan_ok=True), name
    return len(backtest.trades)
