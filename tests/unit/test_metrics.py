"""Rules of the performance measures: empty input, sign, shape, and slow oracles for drawdowns."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep import metrics
from lockstep.errors import DataError

EMPTY = np.array([], dtype=np.float64)
NO_SESSIONS = np.array([], dtype=np.int64)
ON_RETURNS = [
    metrics.sharpe,
    metrics.sortino,
    metrics.downside_deviation,
    metrics.skew,
    metrics.kurtosis,
    lambda returns: metrics.value_at_risk(returns, 0.05),
    lambda returns: metrics.expected_shortfall(returns, 0.05),
]
ON_TRADES = [
    metrics.profit_factor,
    metrics.win_rate,
    metrics.expectancy,
    metrics.average_win,
    metrics.average_loss,
    metrics.exposure,
]
cents = st.integers(min_value=-100_000, max_value=100_000)
curves = st.lists(cents, min_size=1, max_size=40).map(lambda values: np.array(values, dtype=np.float64))


def run(**changes: Any) -> dict[str, float | int]:
    arguments: dict[str, Any] = {
        "equity": np.array([101.0, 99.0, 103.0]),
        "session": np.array([1, 2, 3]),
        "trade_pnl": np.array([3.0]),
        "trade_bars_held": np.array([2.0]),
        "position": np.array([1.0, 1.0, 0.0]),
        "traded_notional": 200.0,
        "capital": 100.0,
    }
    return metrics.summary(**{**arguments, **changes})


@pytest.mark.parametrize("measure", ON_RETURNS + ON_TRADES)
@pytest.mark.parametrize(
    "values",
    [EMPTY, np.array([1.0, math.nan, -1.0]), np.array([1.0, math.inf, -1.0])],
    ids=["empty", "nan", "inf"],
)
def test_unusable_input_gives_nan(measure: Any, values: Any) -> None:
    assert math.isnan(measure(values))


@pytest.mark.parametrize("measure", [metrics.sharpe, metrics.skew, metrics.kurtosis])
@pytest.mark.parametrize("values", [np.full(300, 0.1), np.array([0.1])], ids=["equal", "one"])
def test_no_variance_gives_nan(measure: Any, values: Any) -> None:
    assert math.isnan(measure(values))


def test_equal_returns_would_not_give_nan_by_rounding_alone() -> None:
    assert np.std(np.full(300, 0.1), ddof=1) != 0


def test_nothing_lost_gives_nan_instead_of_infinity() -> None:
    gains = np.array([0.1, 0.2])
    assert math.isnan(metrics.sortino(gains))
    assert math.isnan(metrics.profit_factor(gains))
    assert math.isnan(metrics.average_loss(gains))
    assert metrics.profit_factor(-gains) == 0.0


def test_value_at_risk_of_pure_gains_is_negative() -> None:
    assert metrics.value_at_risk(np.array([0.01, 0.02]), 0.05) == -0.01
    assert math.copysign(1.0, metrics.value_at_risk(np.zeros(3), 0.05)) == 1.0


@given(st.integers(1, 500), st.sampled_from([0.05, 0.01]))
def test_tail_holds_the_exact_share(size: int, tail: float) -> None:
    returns = np.arange(size, dtype=np.float64)
    worst = max(1, -(-size // round(1 / tail)))
    assert metrics.value_at_risk(returns, tail) == -(worst - 1)


def test_tail_written_as_a_difference_is_the_same_tail() -> None:
    assert 100 * (1 - 0.95) > 5
    assert metrics.value_at_risk(np.arange(100.0), 1 - 0.95) == metrics.value_at_risk(np.arange(100.0), 0.05)


@given(st.lists(cents, min_size=1, max_size=60))
def test_shortfall_is_never_below_value_at_risk(values: list[int]) -> None:
    returns = np.array(values, dtype=np.float64)
    assert metrics.expected_shortfall(returns, 0.05) >= metrics.value_at_risk(returns, 0.05)


def slow_drawdown(curve: Any) -> tuple[float, int, int, int | None]:
    pairs = [(curve[i] - curve[j], i, j) for i in range(len(curve)) for j in range(i, len(curve))]
    depth = max(pair[0] for pair in pairs)
    trough = min(j for d, _, j in pairs if d == depth)
    peak = max(i for d, i, j in pairs if d == depth and j == trough)
    later = [k for k in range(trough, len(curve)) if curve[k] >= curve[peak]]
    return depth, peak, trough, later[0] if later else None


@given(curves)
def test_drawdown_agrees_with_every_pair_of_points(curve: Any) -> None:
    found = metrics.max_drawdown(curve)
    depth, peak, trough, recovery = slow_drawdown(curve)
    if depth <= 0:
        assert found is None
        return
    assert found is not None
    assert (found.depth, found.peak, found.trough, found.recovery) == (depth, peak, trough, recovery)
    assert found.length == (len(curve) - 1 if recovery is None else recovery) - peak
    assert metrics.drawdowns(curve).max() == depth


def slow_longest(curve: Any) -> int:
    longest = 0
    for peak in range(len(curve)):
        end = peak
        while end + 1 < len(curve) and curve[end + 1] < curve[peak]:
            end += 1
        if end > peak:
            longest = max(longest, min(end + 1, len(curve) - 1) - peak)
    return longest


@given(curves)
def test_longest_time_below_a_high_agrees_with_a_walk(curve: Any) -> None:
    assert metrics.longest_drawdown(curve) == slow_longest(curve)


def test_longest_drawdown_counts_what_the_clock_says() -> None:
    curve = np.array([10.0, 9.0, 8.0, 11.0])
    assert metrics.longest_drawdown(curve) == 3
    assert metrics.longest_drawdown(curve, np.array([0, 0, 1, 1])) == 1
    assert metrics.longest_drawdown(EMPTY) == 0


def test_drawdown_that_has_not_recovered() -> None:
    found = metrics.max_drawdown(np.array([100.0, 120.0, 120.0, 90.0, 95.0]))
    assert found == metrics.Drawdown(peak=2, trough=3, recovery=None, depth=30.0, fraction=0.25, length=2)
    assert metrics.drawdown_fractions(np.array([100.0, 75.0])).tolist() == [0.0, 0.25]


def test_drawdown_of_a_hole_in_the_curve_is_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        metrics.max_drawdown(np.array([1.0, math.nan]))


def test_cagr_rules() -> None:
    assert metrics.cagr(np.array([100.0, -50.0]), 252) == -1.0
    assert math.isnan(metrics.cagr(np.array([100.0]), 252))
    assert math.isnan(metrics.cagr(np.array([0.0, 100.0]), 252))
    assert math.isnan(metrics.cagr(np.array([1.0, 1e6]), 252))


def test_session_equity_takes_the_last_bar_of_each_session() -> None:
    equity = np.array([1.0, 2.0, 3.0, 4.0])
    assert metrics.session_equity(equity, np.array([7, 7, 9, 10])).tolist() == [2.0, 3.0, 4.0]
    assert metrics.session_equity(EMPTY, NO_SESSIONS).size == 0
    assert metrics.session_ordinals(np.array([7, 7, 9])).tolist() == [0, 0, 1]


def test_session_ids_must_not_fall_and_must_match() -> None:
    with pytest.raises(DataError, match="bar 2: session 1"):
        metrics.session_ordinals(np.array([2, 2, 1]))
    with pytest.raises(DataError, match="one id per bar"):
        metrics.session_equity(np.array([1.0]), np.array([1, 2]))


def test_bars_within_a_session_do_not_change_the_sharpe_ratio() -> None:
    coarse = run()
    fine = run(
        equity=np.array([100.5, 101.0, 100.0, 99.0, 101.0, 103.0]),
        session=np.repeat(np.array([1, 2, 3]), 2),
        position=np.ones(6),
    )
    assert fine["sharpe"] == coarse["sharpe"]
    per_bar = metrics.period_returns(np.array([100, 100.5, 101.0, 100.0, 99.0, 101.0, 103.0]), 100.0)
    assert metrics.sharpe(per_bar, 252) != coarse["sharpe"]


@given(st.lists(cents, min_size=1, max_size=30))
def test_returns_add_up_to_the_net_profit(changes: list[int]) -> None:
    curve = metrics.curve_from(1000.0, 1000.0 + np.cumsum(np.array(changes, dtype=np.float64)))
    assert math.fsum(metrics.period_returns(curve, 1000.0)) * 1000 == pytest.approx(sum(changes), abs=1e-6)


@given(st.floats(0.01, 100.0))
def test_ratios_do_not_depend_on_the_unit_of_money(scale: float) -> None:
    returns = np.array([0.01, -0.02, 0.03, -0.01])
    for ratio in (metrics.sharpe, metrics.sortino, metrics.skew, metrics.kurtosis, metrics.profit_factor):
        assert ratio(returns * scale) == pytest.approx(ratio(returns), rel=1e-9)


def test_rolling_sharpe_is_sharpe_of_each_window() -> None:
    returns = np.array([0.01, -0.02, 0.03, -0.01, 0.02])
    rolled = metrics.rolling_sharpe(returns, 3, 252)
    assert np.isnan(rolled[:2]).all()
    assert rolled[2:].tolist() == [metrics.sharpe(returns[i : i + 3], 252) for i in range(3)]
    assert np.isnan(metrics.rolling_sharpe(returns, 6)).all()


def test_summary_lists_every_measure_in_order() -> None:
    assert list(run()) == [field.name for field in fields(metrics.Performance)]


def test_summary_without_trades_or_bars() -> None:
    flat = run(
        equity=np.full(3, 100.0),
        trade_pnl=EMPTY,
        trade_bars_held=EMPTY,
        position=np.zeros(3),
        traded_notional=0.0,
    )
    assert (flat["trades"], flat["net_profit"], flat["max_drawdown"], flat["exposure"], flat["turnover"]) == (
        0,
        0,
        0,
        0,
        0,
    )
    assert all(math.isnan(flat[name]) for name in ("sharpe", "sortino", "calmar", "win_rate", "expectancy"))
    nothing = run(equity=EMPTY, session=NO_SESSIONS, position=EMPTY, trade_pnl=EMPTY, trade_bars_held=EMPTY)
    assert (nothing["bars"], nothing["net_profit"]) == (0, 0.0)
    assert all(
        math.isnan(nothing[name]) for name in ("cagr", "sharpe", "best_session", "exposure", "turnover")
    )


def test_first_session_counts_from_the_capital() -> None:
    assert run()["best_session"] == pytest.approx(0.04)
    assert run(capital=50.0)["best_session"] == pytest.approx(51 / 50)


def test_greatest_fraction_may_belong_to_another_drawdown_than_the_deepest() -> None:
    measured = run(equity=np.array([80.0, 200.0, 170.0]), session=np.array([1, 2, 3]), capital=100.0)
    assert measured["max_drawdown"] == 30.0
    assert measured["max_drawdown_fraction"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capital": 0.0}, "capital 0.0: must be positive"),
        ({"capital": math.nan}, "capital nan"),
        ({"position": np.ones(2)}, "one value per bar"),
        ({"equity": np.array([1.0, math.nan, 2.0])}, "finite"),
    ],
)
def test_unusable_runs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(**changes)


def test_module_loads_neither_pandas_nor_backtrader() -> None:
    code = "import sys, lockstep.metrics; sys.exit(bool({'pandas', 'backtrader'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
