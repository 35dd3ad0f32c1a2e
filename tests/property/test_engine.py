"""The engine against a second, slow one, and what must hold for any bars and any configuration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.market.bars import Bars
from lockstep.strategy import matching
from research.backtest.result import BacktestResult
from support.oracle import Oracle
from support.scenarios import ES, backtest, daily_bars

pytestmark = pytest.mark.uncompiled

TICK = 0.25

Ticks = list[tuple[int, int, int, int]]


@st.composite
def tick_bars(draw: st.DrawFn, *, least: int = 5, most: int = 40, level: int = 400) -> Ticks:
    """Bars in whole ticks: gaps, zero ranges, and (for a low level) negative prices occur."""
    steps = st.tuples(st.integers(-12, 12), st.integers(0, 8), st.integers(0, 8), st.floats(0, 1))
    bars: Ticks = []
    close = level
    for gap, up, down, where in draw(st.lists(steps, min_size=least, max_size=most)):
        opened = close + gap
        low, high = opened - down, opened + up
        close = low + round(where * (high - low))
        bars.append((opened, high, low, close))
    return bars


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    cut = draw(st.sampled_from([0.1, 0.2, 0.25, 0.4]))
    percent = st.one_of(st.none(), st.sampled_from([0.25, 0.5, 1.0, 1.3, 2.0, 3.7]))
    return {
        "direction": draw(st.sampled_from(["long", "short", "both"])),
        "entry": (0.0, cut),
        "exit": (draw(st.sampled_from([0.5, 0.75, 0.8])), 1.0),
        "short_entry": (1.0 - cut, 1.0),
        "short_exit": (0.0, draw(st.sampled_from([0.2, 0.5]))),
        "max_bars": draw(st.integers(1, 6)),
        "stop": draw(percent),
        "target": draw(percent),
    }


def to_bars(ticks: Ticks) -> Bars:
    return daily_bars((np.array(ticks) * TICK).tolist())


def run(ticks: Ticks, config: dict[str, Any]) -> BacktestResult:
    levels = {name: {"percent": config[name]} for name in ("stop", "target") if config[name] is not None}
    rest = {name: value for name, value in config.items() if name not in ("stop", "target")}
    return backtest(to_bars(ticks), **rest, **levels)


def engine_trades(result: BacktestResult) -> list[tuple[object, ...]]:
    number = {int(end): row for row, end in enumerate(result.bars.end)}
    return [
        (
            np.sign(trade.quantity),
            number[trade.entry_stamp],
            trade.entry_price,
            number.get(trade.exit_stamp),
            None if np.isnan(trade.exit_price) else trade.exit_price,
            trade.exit_reason,
        )
        for trade in result.records.trades
    ]


def oracle_trades(ticks: Ticks, config: dict[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            trade.side,
            trade.entry_bar,
            trade.entry * TICK,
            trade.exit_bar,
            None if trade.exit is None else trade.exit * TICK,
            trade.reason,
        )
        for trade in Oracle(ticks, config).run()
    ]


@settings(max_examples=60, deadline=None)
@given(ticks=st.one_of(tick_bars(), tick_bars(level=4)), config=configs())
def test_engine_equals_the_slow_oracle(ticks: Ticks, config: dict[str, Any]) -> None:
    assert engine_trades(run(ticks, config)) == oracle_trades(ticks, config)


def test_the_comparison_can_fail() -> None:
    """Negative control: the same bars under another stop give other trades."""
    ticks = [(400, 404, 400, 400), (400, 402, 390, 399), (399, 401, 398, 400), (400, 402, 399, 401)]
    config = {"direction": "long", "entry": (0.0, 0.2), "exit": (0.8, 1.0), "short_entry": (0.8, 1.0),
              "short_exit": (0.0, 0.2), "max_bars": 3, "stop": 1.0, "target": None}  # fmt: skip
    assert engine_trades(run(ticks, config)) == oracle_trades(ticks, config)
    assert engine_trades(run(ticks, config)) != oracle_trades(ticks, {**config, "stop": None})


@settings(max_examples=40, deadline=None)
@given(ticks=tick_bars(), config=configs())
def test_invariants(ticks: Ticks, config: dict[str, Any]) -> None:
    result = run(ticks, config)
    assert_positions_change_through_flat(result)
    assert_one_working_stop_while_open(result, config)
    assert_records_agree(result)
    assert len(result.decisions) == len(result.bars)
    assert result.reasons["count"].sum() == len(result.bars)


def assert_positions_change_through_flat(result: BacktestResult) -> None:
    sides = np.sign(result.equity["position"].to_numpy())
    assert not np.any(sides[1:] * sides[:-1] < 0)


def assert_one_working_stop_while_open(result: BacktestResult, config: dict[str, Any]) -> None:
    """PARITY 28: an open position with a configured stop always has exactly one working stop."""
    working: set[int] = set()
    orders = result.orders.sort_values("stamp", kind="stable")
    for end, position in zip(result.equity.index, result.equity["position"], strict=True):
        for order in orders[(orders["stamp"] == end) & (orders["intent"] == "stop")].itertuples():
            if order.status == "accepted":
                working.add(order.reference)
            else:
                working.discard(order.reference)
        expected = 1 if position and config["stop"] is not None else 0
        assert len(working) == expected, end


def assert_records_agree(result: BacktestResult) -> None:
    """The last equity is the capital plus all net results plus the open trade's."""
    closed = result.trades[result.trades["status"] == "closed"]
    expected = result.config.capital + closed["net_pnl"].sum()
    for trade in result.trades[result.trades["status"] == "open"].itertuples():
        move = (result.bars.close[-1] - trade.entry_price) * trade.side
        expected += move * trade.quantity * ES.multiplier - trade.commission
    assert result.equity["equity"].iloc[-1] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    price=st.integers(-4000, 4000),
    offset=st.floats(0.01, 0.99),
    tick=st.sampled_from([0.25, 0.1, 0.01, 0.005, 0.00005, 0.0000005, 1.0, 5.0]),
)
def test_levels_are_on_the_tick_grid(price: int, offset: float, tick: float) -> None:
    below = matching.on_grid((price + offset) * tick, tick, -1.0)
    above = matching.on_grid((price + offset) * tick, tick, 1.0)
    assert below / tick == pytest.approx(price, abs=1e-7)
    assert above / tick == pytest.approx(price + 1, abs=1e-7)
    assert matching.on_grid(below, tick, 1.0) == below
    assert matching.on_grid(above, tick, -1.0) == above
