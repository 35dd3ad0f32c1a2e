"""Rounding is not variance, and a year is the calendar's: in all measures, the sweep's among them."""

from __future__ import annotations

import math
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep import metrics
from lockstep.errors import DataError
from lockstep.metrics.arrays import Floats
from lockstep.metrics.sums import summary_of_sums
from research.paper.bands import Sessions
from research.paper.bands import statistics as banded
from research.statistics.sharpe import SharpeSample, probabilistic_sharpe
from research.sweep.account import (
    DOWNSIDE,
    DRAWDOWN,
    EQUITY,
    GAINS,
    LOSSES,
    MEASURES,
    SUM_1,
    SUM_2,
    SUM_3,
    SUM_4,
    sums_of,
)

CAPITAL = 100_000.0
SPREAD_RATIOS = ("sharpe", "sharpe_session", "sortino", "skew", "kurtosis")


def weekdays(first: date, last: date) -> Any:
    days = [first + timedelta(days=each) for each in range((last - first).days + 1)]
    return np.array([day for day in days if day.weekday() < 5], dtype="datetime64[D]")


def measured(equity: Floats, session: Any = None, **changes: Any) -> dict[str, float | int]:
    arguments: dict[str, Any] = {
        "equity": equity,
        "session": np.arange(equity.size) if session is None else session,
        "trade_pnl": np.diff(equity),
        "trade_bars_held": np.ones(equity.size - 1),
        "position": np.ones(equity.size),
        "traded_notional": 1e6,
        "capital": CAPITAL,
    }
    return metrics.summary(**{**arguments, **changes})


def swept(equity: Floats) -> dict[str, float]:
    """The sweep's measures of the same curve, from sums in the order of the sessions."""
    returns = np.diff(equity, prepend=CAPITAL) / CAPITAL
    raw = np.zeros((1, MEASURES))
    for place, order in ((SUM_1, 1), (SUM_2, 2), (SUM_3, 3), (SUM_4, 4)):
        raw[0, place] = np.cumsum(returns**order)[-1]
    raw[0, DOWNSIDE] = (np.minimum(returns, 0.0) ** 2).sum()
    raw[0, EQUITY], raw[0, DRAWDOWN] = equity[-1], 0.0
    pnl = np.diff(equity)
    raw[0, GAINS], raw[0, LOSSES] = pnl[pnl > 0].sum(), -pnl[pnl < 0].sum()
    found = summary_of_sums(
        sums_of(raw), scale=metrics.annual(returns.size), bars=returns.size, capital=CAPITAL
    )
    return {name: float(values[0]) for name, values in found.items()}


@given(
    cents=st.integers(1, 5_000_000),
    count=st.integers(2, 400),
    start=st.sampled_from([CAPITAL, 0.1 + CAPITAL, 12_345_678.9]),
)
def test_equal_gains_through_an_equity_curve_have_no_spread(cents: int, count: int, start: float) -> None:
    equity = start + cents / 100 * np.arange(1, count + 1)
    # The first return is start - CAPITAL and differs unless they are equal.
    curve = equity if start == CAPITAL else np.concatenate(([start], equity))
    if start == CAPITAL:
        for source in (measured(curve), swept(curve)):
            assert all(math.isnan(source[name]) for name in SPREAD_RATIOS), source
    returns = np.diff(curve) / CAPITAL
    resolution = metrics.resolution(curve, CAPITAL)
    assert math.isnan(metrics.sharpe(returns, 252, resolution))
    assert np.isnan(metrics.rolling_sharpe(returns, 2, 252, resolution)).all()


def test_equal_gains_do_leave_a_spread_in_the_last_bits() -> None:
    """Negative control: without the tolerance the ratio would be finite."""
    equity = CAPITAL + 12.3 * np.arange(1, 251)
    returns = np.diff(equity, prepend=CAPITAL) / CAPITAL
    assert np.ptp(returns) > 0
    assert returns.mean() / returns.std(ddof=1) > 1e8


@pytest.mark.parametrize("factor", [1.0, -1.0])
def test_equal_compounding_returns_have_no_spread(factor: float) -> None:
    curve = 100.0 * np.cumprod(np.full(300, 1.0 + factor * 0.001))
    returns = np.diff(curve) / curve[:-1]
    assert np.ptp(returns) > 0
    for measure in (metrics.sharpe, metrics.skew, metrics.kurtosis):
        assert math.isnan(measure(returns))
    assert math.isnan(SharpeSample.of(returns).ratio)
    assert math.isnan(probabilistic_sharpe(SharpeSample.of(returns)))


def test_an_account_that_only_rounds_earns_no_ratio() -> None:
    equity = np.tile([CAPITAL, CAPITAL + 2e-11, CAPITAL - 1e-11, CAPITAL], 60)
    assert np.ptp(equity) > 0
    for source in (measured(equity), swept(equity)):
        assert all(math.isnan(source[name]) for name in (*SPREAD_RATIOS, "calmar")), source


def test_a_small_true_spread_is_kept() -> None:
    """A cent up or down on 100,000 is a result; so is one part in a million of a steady gain."""
    for moves in (np.tile([0.01, -0.02, 0.03], 80), 100.0 + np.tile([0.0, 0.001], 120)):
        equity = CAPITAL + np.cumsum(moves)
        exact = [Fraction(float(move)).limit_denominator(100_000) for move in moves]
        mean = sum(exact) / len(exact)
        variance = sum((each - mean) ** 2 for each in exact) / (len(exact) - 1)
        expected = float(mean) / math.sqrt(variance)
        assert measured(equity)["sharpe_session"] == pytest.approx(expected, rel=1e-5)
        assert swept(equity)["sharpe_session"] == pytest.approx(expected, rel=1e-3)


def test_growth_of_a_session_or_two_may_be_more_than_a_float_holds() -> None:
    equity = np.array([1e8])
    assert math.isnan(measured(equity)["cagr"])
    assert math.isnan(swept(equity)["cagr"])


def test_losses_that_are_rounding_give_no_profit_factor() -> None:
    pnl = np.array([100.0, 250.0, -3e-12])
    assert math.isnan(metrics.profit_factor(pnl))
    assert math.isnan(metrics.payoff_ratio(pnl))
    assert metrics.profit_factor(np.array([100.0, -0.01])) == pytest.approx(10_000)


def test_paper_bands_of_equal_gains_have_no_sharpe_ratio() -> None:
    pnl = np.diff(CAPITAL + 12.3 * np.arange(251))
    sessions = Sessions(
        dates=np.datetime64("2020-01-01") + np.arange(250),
        pnl=pnl,
        closed=np.ones(250, dtype=np.int64),
        won=np.ones(250, dtype=np.int64),
        capital=CAPITAL,
        per_year=252.0,
    )
    assert np.ptp(pnl) > 0
    assert np.isnan(banded(sessions)["sharpe"]).all()


def test_two_missing_years_are_time_that_passed() -> None:
    """Two years of rows within four of the calendar: growth 2, so 2 ** (1/4) - 1 = 18.9 % a year."""
    days = weekdays(date(2018, 1, 2), date(2021, 12, 31))
    whole = days[(days < np.datetime64("2019-01-01")) | (days >= np.datetime64("2021-01-01"))]
    equity = CAPITAL + np.cumsum(np.tile([300.0, -100.0], whole.size // 2 + 1)[: whole.size])
    equity = np.append(equity[:-1], 2 * CAPITAL)
    found = measured(equity, whole)
    years = (date(2021, 12, 31) - date(2018, 1, 2)).days / 365.25 + 1 / 252
    assert found["cagr"] == pytest.approx(2 ** (1 / years) - 1, rel=1e-12)
    assert found["annual_return"] == pytest.approx(1 / years, rel=1e-12)
    assert found["turnover"] == pytest.approx(10 / years, rel=1e-12)
    assert found["sharpe"] == pytest.approx(found["sharpe_session"] * math.sqrt(whole.size / years))
    by_rows = measured(equity, whole.astype(np.int64))
    assert by_rows["cagr"] > 0.39


def test_ordinary_years_keep_the_usual_factor() -> None:
    days = weekdays(date(2015, 1, 1), date(2019, 12, 31))
    holidays = days[np.random.default_rng(3).permutation(days.size)[: 9 * 5]]
    days = np.setdiff1d(days, holidays)
    scale = metrics.time_scale(days, days.size, 252.0)
    assert scale.is_regular
    assert scale.periods_per_year == 252.0
    assert scale.years == pytest.approx(5.0, abs=0.01)
    for count in (1, 2, 5, 20, 60):
        assert metrics.time_scale(days[:count], count, 252.0).is_regular


def test_a_market_without_weekends_declared_as_one_with_them_is_seen() -> None:
    days = np.datetime64("2018-01-01") + np.arange(3 * 365)
    scale = metrics.time_scale(days, days.size, 252.0)
    assert not scale.is_regular
    assert scale.periods_per_year == pytest.approx(365.25, rel=0.01)
    assert metrics.time_scale(days, days.size, 365.0).is_regular


def test_years_of_nothing_and_of_falling_dates() -> None:
    assert metrics.calendar_years(np.array([], dtype="datetime64[D]")) == 0.0
    assert metrics.calendar_years(np.array(["2020-01-01"], dtype="datetime64[D]")) == pytest.approx(1 / 252)
    with pytest.raises(DataError, match="must not fall"):
        metrics.calendar_years(np.array(["2020-01-02", "2020-01-01"], dtype="datetime64[D]"))
