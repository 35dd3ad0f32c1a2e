"""Drawdowns of shuffled trades."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from research.statistics import trade_order
from research.statistics.trade_order import shuffled_trades


def slow_drawdown(trades: tuple[float, ...]) -> float:
    account = high = worst = 0.0
    for pnl in trades:
        account += pnl
        high = max(high, account)
        worst = max(worst, high - account)
    return worst


def test_the_distribution_is_that_of_all_orders() -> None:
    trades = (5.0, -3.0, 2.0, -4.0, 1.0)
    every = [slow_drawdown(order) for order in itertools.permutations(trades)]
    found = shuffled_trades(trades, runs=20_000)
    assert found.drawdown == slow_drawdown(trades) == 5.0
    assert found.drawdowns.mean() == pytest.approx(np.mean(every), abs=0.05)
    assert found.worse == pytest.approx(np.mean(np.array(every) > 5.0), abs=0.02)
    assert set(found.drawdowns) == set(every)
    np.testing.assert_array_equal(found.profits, 1.0)


def test_with_replacement_the_profit_varies_too() -> None:
    trades = np.random.default_rng(0).normal(10.0, 100.0, 50)
    found = shuffled_trades(trades, runs=5000, replace=True)
    assert found.profits.mean() == pytest.approx(trades.sum(), abs=4 * 700 / np.sqrt(5000))
    assert found.profits.std() == pytest.approx(trades.std() * np.sqrt(50), rel=0.05)
    assert found.drawdown_quantile(0.5) < found.drawdown_quantile(0.95) <= found.drawdowns[-1]


def test_a_sorted_history_is_the_worst_and_an_alternating_one_the_best() -> None:
    losses_last = np.repeat([10.0, -9.0], 20)
    assert shuffled_trades(losses_last, runs=500).worse == 0.0
    assert shuffled_trades(np.tile([10.0, -9.0], 20), runs=500).worse > 0.95


def test_rounding_is_no_deeper_decline() -> None:
    trades = np.array([-0.3, -0.2, -0.1])
    assert shuffled_trades(trades, runs=200).worse == 0.0


def test_a_loss_at_once_is_a_drawdown_and_gains_are_none() -> None:
    assert shuffled_trades([-7.0], runs=3).drawdowns.tolist() == [7.0, 7.0, 7.0]
    assert shuffled_trades([1.0, 2.0], runs=3).drawdown == 0.0


def test_seeds_and_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    trades = np.random.default_rng(1).normal(size=30)
    first = shuffled_trades(trades, runs=100, seed=4)
    np.testing.assert_array_equal(first.drawdowns, shuffled_trades(trades, runs=100, seed=4).drawdowns)
    assert not np.array_equal(first.drawdowns, shuffled_trades(trades, runs=100, seed=5).drawdowns)
    monkeypatch.setattr(trade_order, "_CELLS", 210)
    np.testing.assert_array_equal(first.drawdowns, shuffled_trades(trades, runs=100, seed=4).drawdowns)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DataError, match="0 rows"):
        shuffled_trades([])
    with pytest.raises(ConfigError, match="runs 0"):
        shuffled_trades([1.0], runs=0)
    with pytest.raises(ConfigError, match="level 2"):
        shuffled_trades([1.0], runs=1).drawdown_quantile(2)
