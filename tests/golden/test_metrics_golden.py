"""Performance measures against published values, and against slow, obvious implementations.

BACON is the 24-month portfolio of Bacon (2008), Practical Portfolio Performance Measurement and
Attribution, 2nd ed., in percent. The values beside it are printed in that book, and repeated in the
vignette "Performance Attribution from Bacon" of the R package PerformanceAnalytics.

SORTINO is the worked example of Rollinger and Hoffman (2013), Sortino: A 'Sharper' Ratio, Red Rock
Capital: eight annual returns in percent, target 0.
"""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import numpy as np
import pytest

from lockstep import metrics

BACON = np.array([
    0.3, 2.6, 1.1, -1.0, 1.5, 2.5, 1.6, 6.7, -1.4, 4.0, -0.5, 8.1,
    4.0, -3.7, -6.1, 1.7, -4.9, -2.2, 7.0, 5.8, -6.5, 2.4, -0.5, -0.9,
]) / 100  # fmt: skip
SORTINO = np.array([17.0, 15.0, 23.0, -5.0, 12.0, 9.0, 13.0, -4.0]) / 100


def test_bacon_downside_deviation_at_half_a_percent() -> None:
    assert round(metrics.downside_deviation(BACON, 0.005), 4) == 0.0255


def test_bacon_kappa_of_order_two_is_the_sortino_ratio() -> None:
    assert round(metrics.sortino(BACON, target=0.005), 3) == 0.157


def test_bacon_kurtosis_is_not_the_excess() -> None:
    assert round(metrics.kurtosis(BACON), 2) == 2.43


def test_bacon_sample_skewness_follows_from_the_population_one() -> None:
    n = BACON.size
    sample = metrics.skew(BACON) * n**2 / ((n - 1) * (n - 2)) * ((n - 1) / n) ** 1.5
    assert round(sample, 2) == -0.09


def test_bacon_gain_loss_ratio_is_the_profit_factor() -> None:
    # Bernardo and Ledoit (2000): expected gain over expected loss.
    assert round(metrics.profit_factor(BACON), 2) == 1.78


def test_rollinger_hoffman_sortino_ratio() -> None:
    assert round(metrics.downside_deviation(SORTINO), 5) == 0.02264
    assert round(metrics.sortino(SORTINO), 3) == 4.417


def test_sharpe_of_certified_mean_and_deviation() -> None:
    # NIST Statistical Reference Datasets, NumAcc1: certified mean 10000002, standard deviation 1, exactly.
    assert metrics.sharpe(np.array([10000001.0, 10000003.0, 10000002.0])) == 10000002.0


def test_sharpe_against_exact_arithmetic() -> None:
    exact = [Fraction(str(value)) for value in BACON]
    mean = sum(exact) / len(exact)
    variance = sum((value - mean) ** 2 for value in exact) / (len(exact) - 1)
    assert metrics.sharpe(BACON) == pytest.approx(float(mean) / math.sqrt(variance), rel=1e-13)
    assert metrics.sharpe(BACON, 12) == pytest.approx(float(mean) / math.sqrt(variance / 12), rel=1e-13)


def test_moments_against_exact_arithmetic() -> None:
    exact = [Fraction(str(value)) for value in BACON]
    mean = sum(exact) / len(exact)
    second, third, fourth = (
        float(sum((x - mean) ** order for x in exact) / len(exact)) for order in (2, 3, 4)
    )
    assert metrics.skew(BACON) == pytest.approx(third / second**1.5, rel=1e-12)
    assert metrics.kurtosis(BACON) == pytest.approx(fourth / second**2, rel=1e-12)


def test_cagr_that_doubles_in_six_years() -> None:
    # The rule of 72 worked exactly: 100 grows to 200 in 6 years at 2 ** (1/6) - 1 = 12.2462 % a year.
    curve = np.linspace(100.0, 200.0, 6 * 252 + 1)
    assert metrics.cagr(curve, 252) == pytest.approx(0.122462048309373, rel=1e-13)


def test_value_at_risk_and_shortfall_of_one_to_a_hundred() -> None:
    # The five worst of -50 ... 49 are -50 ... -46: VaR 95 is 46 and the mean beyond it 48.
    returns = np.random.default_rng(1).permutation(np.arange(-50.0, 50.0))
    assert metrics.value_at_risk(returns, 0.05) == 46.0
    assert metrics.expected_shortfall(returns, 0.05) == 48.0
    assert metrics.value_at_risk(returns, 0.01) == 50.0
    assert metrics.expected_shortfall(returns, 0.01) == 50.0


def test_trade_measures_by_hand() -> None:
    pnl = np.array([300.0, -100.0, 0.0, 500.0, -300.0])
    assert metrics.win_rate(pnl) == 0.4
    assert metrics.profit_factor(pnl) == 2.0
    assert metrics.expectancy(pnl) == 80.0
    assert metrics.average_win(pnl) == 400.0
    assert metrics.average_loss(pnl) == -200.0


def test_whole_run_by_hand() -> None:
    """Four sessions of two bars on 1,000 USD: session equity 1100, 1000, 1050, 1200."""
    measured = metrics.performance(
        equity=np.array([1050.0, 1100.0, 900.0, 1000.0, 1000.0, 1050.0, 1150.0, 1200.0]),
        session=np.repeat(np.array([10, 11, 14, 15]), 2),
        trade_pnl=np.array([100.0, -100.0, 200.0]),
        trade_bars_held=np.array([2.0, 2.0, 5.0]),
        position=np.array([1.0, 0, 1, 0, -1, -1, -1, 0]),
        traded_notional=6000.0,
        capital=1000.0,
        sessions_per_year=4.0,
    )
    returns = [0.1, -0.1, 0.05, 0.15]
    deviation = statistics.stdev(returns)
    assert (measured.bars, measured.sessions, measured.trades) == (8, 4, 3)
    assert measured.net_profit == 200.0
    assert measured.total_return == pytest.approx(0.2)
    assert measured.cagr == pytest.approx(0.2)
    assert measured.annual_return == pytest.approx(0.2)
    assert measured.volatility == pytest.approx(2 * deviation)
    assert measured.sharpe_session == pytest.approx(0.05 / deviation)
    assert measured.sharpe == pytest.approx(0.1 / deviation)
    assert measured.sortino == pytest.approx(0.05 / 0.05 * 2)
    # Deepest within the second session, 1100 to 900; the high of the first session is passed in the fourth.
    assert measured.max_drawdown == 200.0
    assert measured.max_drawdown_fraction == pytest.approx(200 / 1100)
    assert measured.calmar == pytest.approx(0.2 / (200 / 1100))
    assert measured.max_drawdown_sessions == measured.longest_drawdown_sessions == 3
    assert measured.var_95 == measured.cvar_99 == pytest.approx(0.1)
    assert measured.best_session == pytest.approx(0.15)
    assert measured.worst_session == pytest.approx(-0.1)
    assert measured.exposure == 5 / 8
    assert measured.average_bars_held == 3.0
    assert measured.payoff_ratio == 1.5
    assert measured.turnover == 6.0
