"""Measures of a track record against exact fractions, the standard library and numbers worked by hand."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep import metrics
from lockstep.errors import DataError
from lockstep.metrics.arrays import Floats

# Monthly returns in percent, of a portfolio and of its benchmark.
PORTFOLIO = [0.3, 2.6, 1.1, -0.9, 1.4, 2.4, 1.5, 6.6, -1.4, 3.9, -0.5, 8.1,
             4.0, -3.7, -6.1, 1.7, -4.9, -2.2, 7.0, 5.8, -6.5, 2.4, -0.5, -0.9]  # fmt: skip
BENCHMARK = [0.2, 2.5, 1.8, -1.1, 1.4, 1.8, 1.4, 6.5, -1.5, 4.2, -0.6, 8.3,
             3.9, -3.8, -6.2, 1.5, -4.8, -2.1, 6.0, 5.6, -6.7, 1.9, -0.3, 0.0]  # fmt: skip
RETURNS = np.array(PORTFOLIO) / 100
INDEX = np.array(BENCHMARK) / 100
moves = st.lists(st.integers(-900, 1_000), min_size=2, max_size=40)


def exact(values: list[float]) -> list[Fraction]:
    return [Fraction(str(value)) / 100 for value in values]


def test_beta_alpha_and_correlation_against_exact_fractions() -> None:
    one, other = exact(PORTFOLIO), exact(BENCHMARK)
    mean, index = sum(one) / len(one), sum(other) / len(other)
    covariance = sum((a - mean) * (b - index) for a, b in zip(one, other, strict=True))
    variance = sum((b - index) ** 2 for b in other)
    slope = covariance / variance
    found = metrics.relative(RETURNS, INDEX, 12)
    assert found.beta == pytest.approx(float(slope), rel=1e-12)
    assert found.alpha == pytest.approx(float((mean - slope * index) * 12), rel=1e-10)
    expected = float(covariance) / math.sqrt(float(variance * sum((a - mean) ** 2 for a in one)))
    assert found.correlation == pytest.approx(expected, rel=1e-12)


def test_beta_and_correlation_are_those_of_the_standard_library() -> None:
    line = statistics.linear_regression(INDEX.tolist(), RETURNS.tolist())
    assert metrics.beta(RETURNS, INDEX) == pytest.approx(line.slope, rel=1e-12)
    assert metrics.relative(RETURNS, INDEX).alpha == pytest.approx(line.intercept, abs=1e-15)
    found = statistics.correlation(RETURNS.tolist(), INDEX.tolist())
    assert metrics.correlation(RETURNS, INDEX) == pytest.approx(found, rel=1e-12)


def test_information_ratio_is_the_sharpe_ratio_of_the_excess() -> None:
    excess = [a - b for a, b in zip(exact(PORTFOLIO), exact(BENCHMARK), strict=True)]
    mean = sum(excess) / len(excess)
    deviation = math.sqrt(sum((each - mean) ** 2 for each in excess) / (len(excess) - 1))
    assert metrics.information_ratio(RETURNS, INDEX, 12) == pytest.approx(
        float(mean) / deviation * math.sqrt(12), rel=1e-9
    )
    assert metrics.relative(RETURNS, INDEX, 12).tracking_error == pytest.approx(deviation * math.sqrt(12))


def test_a_levered_benchmark_has_its_leverage_as_beta_and_no_alpha() -> None:
    found = metrics.relative(2.5 * INDEX, INDEX, 12)
    assert (found.beta, found.correlation) == (pytest.approx(2.5), pytest.approx(1.0))
    assert found.alpha == pytest.approx(0.0, abs=1e-15)
    against = metrics.relative(-INDEX, INDEX, 12)
    assert (against.beta, against.correlation) == (pytest.approx(-1.0), pytest.approx(-1.0))
    assert math.isnan(metrics.information_ratio(INDEX, INDEX))
    assert math.isnan(metrics.beta(RETURNS, np.full(24, 0.01)))
    with pytest.raises(DataError, match="need the same periods"):
        metrics.beta(RETURNS, INDEX[1:])


def test_rolling_measures_are_those_of_each_window() -> None:
    for window in (2, 6, 24):
        ends = range(window, 25)
        parts = [slice(end - window, end) for end in ends]
        for rolled, whole in (
            (metrics.rolling_volatility(RETURNS, window, 12), lambda x: metrics.volatility(x, 12)),
            (metrics.rolling_sortino(RETURNS, window, 12), lambda x: metrics.sortino(x, 12)),
        ):
            assert np.isnan(rolled[: window - 1]).all()
            assert rolled[window - 1 :].tolist() == pytest.approx(
                [whole(RETURNS[part]) for part in parts], nan_ok=True
            )
        beta = metrics.rolling_beta(RETURNS, INDEX, window)
        assert beta[window - 1 :].tolist() == [metrics.beta(RETURNS[part], INDEX[part]) for part in parts]
    assert np.isnan(metrics.rolling_volatility(RETURNS, 25)).all()


def test_omega_is_gains_over_losses() -> None:
    gains = sum(each for each in exact(PORTFOLIO) if each > 0)
    losses = -sum(each for each in exact(PORTFOLIO) if each < 0)
    assert metrics.omega(RETURNS) == pytest.approx(float(gains / losses), rel=1e-12)
    above = [each - Fraction(1, 100) for each in exact(PORTFOLIO)]
    expected = sum(each for each in above if each > 0) / -sum(each for each in above if each < 0)
    assert metrics.omega(RETURNS, 0.01) == pytest.approx(float(expected), rel=1e-12)
    assert math.isnan(metrics.omega(np.array([0.1, 0.2])))


def test_tail_ratio_by_hand() -> None:
    # 21 returns -5 ... 15 %: the 5 % quantile is the second smallest, the 95 % quantile the second greatest.
    returns = np.arange(-5.0, 16.0) / 100
    assert metrics.tail_ratio(returns) == pytest.approx(14 / 4)
    assert math.isnan(metrics.tail_ratio(np.concatenate((np.zeros(98), [0.1, -0.1]))))
    assert math.isnan(metrics.tail_ratio(returns + 1.0))


def test_ulcer_index_and_recovery_factor_by_hand() -> None:
    # High 120, then 25 % and 50 % below it: sqrt((0 + 0.25^2 + 0.5^2) / 3).
    curve = np.array([100.0, 120.0, 90.0, 60.0])
    assert metrics.ulcer_index(curve) == pytest.approx(math.sqrt((0.0625 + 0.25) / 3))
    assert metrics.recovery_factor(curve) == pytest.approx(-40 / 60)
    assert metrics.recovery_factor(np.array([100.0, 80.0, 130.0])) == pytest.approx(1.5)
    assert math.isnan(metrics.recovery_factor(np.array([100.0, 110.0])))
    assert metrics.ulcer_index(np.array([100.0, 110.0])) == 0.0


def slow_episodes(curve: Floats) -> list[tuple[float, int, int, int | None]]:
    """Walk along the curve: (depth, peak, trough, recovery) of each stretch below a high."""
    found: list[tuple[float, int, int, int | None]] = []
    peak = 0
    inside: list[int] = []
    for at in range(1, len(curve)):
        if curve[at] >= curve[peak]:
            if inside:
                trough = min(inside, key=lambda each: (curve[each], each))
                found.append((curve[peak] - curve[trough], peak, trough, at))
            peak, inside = at, []
        else:
            inside.append(at)
    if inside:
        trough = min(inside, key=lambda each: (curve[each], each))
        found.append((curve[peak] - curve[trough], peak, trough, None))
    return sorted(found, key=lambda each: (-each[0], each[2]))


@given(moves, st.integers(1, 12))
def test_deepest_drawdowns_agree_with_a_walk(changes: list[int], count: int) -> None:
    curve = 1_000_000.0 + np.cumsum(np.array([0, *changes], dtype=np.float64))
    found = metrics.deepest_drawdowns(curve, count)
    assert [(each.depth, each.peak, each.trough, each.recovery) for each in found] == slow_episodes(curve)[
        :count
    ]
    deepest = metrics.max_drawdown(curve)
    assert (found[0] if found else None) == deepest


def test_deepest_by_fraction_may_be_others_than_by_amount() -> None:
    curve = np.array([100.0, 50.0, 1000.0, 900.0, 2000.0])
    assert [each.depth for each in metrics.deepest_drawdowns(curve)] == [100.0, 50.0]
    assert [each.fraction for each in metrics.deepest_drawdowns(curve, by_fraction=True)] == [0.5, 0.1]
    assert metrics.deepest_drawdowns(np.array([100.0, 100.0 - 1e-12, 101.0])) == []


@given(st.lists(st.booleans(), max_size=30))
def test_longest_run_agrees_with_a_walk(hits: list[bool]) -> None:
    best = run = 0
    for hit in hits:
        run = run + 1 if hit else 0
        best = max(best, run)
    assert metrics.longest_run(np.array(hits, dtype=np.bool_)) == best


def test_compounded_measures_by_hand() -> None:
    """+50 %, -50 %, +20 %: the account grows to 0.9; returns are on the equity before."""
    measured = metrics.performance(
        equity=np.array([150.0, 75.0, 90.0]),
        session=np.array([1, 2, 3]),
        trade_pnl=np.array([]),
        trade_bars_held=np.array([]),
        position=np.zeros(3),
        traded_notional=0.0,
        capital=100.0,
        sessions_per_year=3.0,
        compounded=True,
    )
    returns = [0.5, -0.5, 0.2]
    assert measured.total_return == pytest.approx(-0.1)
    assert measured.annual_return == pytest.approx(0.2)
    assert measured.cagr == pytest.approx(-0.1)
    assert measured.sharpe == pytest.approx(
        statistics.mean(returns) / statistics.stdev(returns) * math.sqrt(3), rel=1e-12
    )
    assert (measured.best_session, measured.worst_session) == (pytest.approx(0.5), pytest.approx(-0.5))
    assert measured.max_drawdown_fraction == pytest.approx(0.5)
