"""The track record on the tear sheet: each table against arithmetic that does not share its code."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lockstep import metrics
from lockstep.errors import DataError
from research.backtest.result import _out_of_sample
from research.report import (
    captions,
    sections,
    sections_record,
    tearsheet,
    track_record,
    trade_tables,
    trust,
    write_tearsheet,
)
from research.report.data import Benchmark, ReportData, floats
from research.report.figures_account import equity_and_drawdown, leverage, turnover
from research.report.figures_trades import TRADE_LIMIT, shown_trades, trades_on_price
from research.report.tables import grouped_returns, yearly
from support.reports import CAPITAL, full, page, report


def days(count: int, first: str = "2017-01-02") -> Any:
    """Weekdays."""
    return pd.bdate_range(first, periods=count).to_numpy().astype("datetime64[D]")


def of_returns(returns: Any, dates: Any, **changes: Any) -> ReportData:
    """A daily report with these session returns on constant capital."""
    equity = CAPITAL * (1.0 + np.cumsum(returns))
    if changes.get("compounded"):
        equity = CAPITAL * np.cumprod(1.0 + np.asarray(returns))
    small = report(bars=2, closed=0)
    end = pd.DatetimeIndex(dates).tz_localize("UTC") + pd.Timedelta(hours=21)
    frame = pd.DataFrame(
        {"session_date": dates, "close": 100.0, "equity": equity, "position": 0.0, "cash": equity}, index=end
    )
    features = pd.DataFrame({"ibs": 0.5}, index=end)
    return replace(small, equity=frame, features=features, sessions_per_year=252.0, **changes)


def random_report(count: int = 900, **changes: Any) -> ReportData:
    returns = np.random.default_rng(11).normal(0.0004, 0.01, count)
    return of_returns(returns, days(count), **changes)


def test_caveats_come_before_the_first_number() -> None:
    text = tearsheet.tearsheet_html(report())
    assert text.index("An index cannot be traded.") < text.index('class="kpis"') < text.index('class="grid"')
    assert "Before you read the numbers" not in tearsheet.tearsheet_html(report(notes=[]))


def test_missing_years_are_said_first() -> None:
    whole = days(1_040)
    holed = whole[(whole < np.datetime64("2018-01-01")) | (whole >= np.datetime64("2020-01-01"))]
    returns = np.random.default_rng(2).normal(0.001, 0.01, holed.size)
    assert f"{holed.size:,} sessions in 4.0 years, fewer than" in sections.caveats(
        of_returns(returns, holed, notes=[])
    )
    assert sections.caveats(random_report(notes=[])) == ""


def test_benchmark_is_the_instrument_bought_and_held() -> None:
    data = report()
    pair = track_record.against(data)
    assert pair is not None
    close = floats(data.equity, "close")
    assert pair.benchmark == pytest.approx(np.diff(close) / close[:-1])
    assert pair.returns.tolist() == floats(data.sessions, "return")[1:].tolist()
    year = yearly(data)[1]
    ends = [close[data.session_dates <= np.datetime64(f"{each}-12-31")][-1] for each in (2019, 2020)]
    assert year.benchmark == pytest.approx(ends[1] / ends[0] - 1)
    priceless = replace(data, equity=data.equity.assign(close=-1.0))
    assert priceless.beside is None
    assert "Rolling beta" not in page(priceless).text


def test_benchmark_of_another_calendar_is_taken_as_of_each_date() -> None:
    given = Benchmark(
        name="Index",
        dates=np.array(["2020-01-01", "2020-01-03", "2020-01-06"], dtype="datetime64[D]"),
        level=np.array([100.0, 110.0, 99.0]),
    )
    asked = np.array(
        ["2019-12-31", "2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"], dtype="datetime64[D]"
    )
    assert given.at(asked.astype("datetime64[D]")).tolist() == pytest.approx(
        [math.nan, 100.0, 110.0, 99.0, math.nan], nan_ok=True
    )
    with pytest.raises(DataError, match="dates must rise"):
        Benchmark(name="Index", dates=given.dates[::-1], level=given.level)
    with pytest.raises(DataError, match="not positive"):
        Benchmark(name="Index", dates=given.dates, level=-given.level)


def test_against_itself_beta_is_one() -> None:
    data = random_report(compounded=True)
    mirror = Benchmark(name="Mirror", dates=data.dates, level=floats(data.sessions, "equity"))
    text = sections_record.benchmark(replace(data, benchmark=mirror))
    assert "<td>1.00</td>" in text
    pair = track_record.against(replace(data, benchmark=mirror))
    assert pair is not None
    assert metrics.beta(pair.returns, pair.benchmark) == pytest.approx(1.0)


def test_sharpe_interval_covers_the_truth_at_its_rate() -> None:
    """400 records of normal returns: 95 % intervals miss 20, within 5 deviations of a binomial."""
    random = np.random.default_rng(5)
    true, missed = 0.05, 0
    dates = days(500)
    base = of_returns(np.zeros(500), dates)
    for _ in range(400):
        returns = random.normal(true * 0.01, 0.01, 500)
        data = replace(base, equity=base.equity.assign(equity=CAPITAL * (1 + np.cumsum(returns))))
        found = trust.evidence(data)
        assert found is not None
        missed += not found.low <= true * math.sqrt(252) <= found.high
    assert abs(missed - 20) < 5 * math.sqrt(400 * 0.05 * 0.95)


def carried(phi: float, count: int = 1500) -> Any:
    """Returns without skill of which a share carries over to the next session."""
    shocks, out = np.random.default_rng(3).normal(0.0, 0.01, count), np.zeros(count)
    for session in range(1, count):
        out[session] = phi * out[session - 1] + shocks[session]
    return out


def test_autocorrelation_widens_the_error_and_independence_does_not() -> None:
    found = {phi: trust.evidence(of_returns(carried(phi), days(1500))) for phi in (0.0, 0.4)}
    plain, moving = found[0.0], found[0.4]
    assert plain is not None
    assert moving is not None
    assert plain.wider == pytest.approx(1.0, abs=0.15)
    # The deviation of the mean of an AR(1) is (1 + phi) / (1 - phi) of the independent one, squared.
    assert moving.wider == pytest.approx((1.4 / 0.6) ** 0.5, abs=0.25)
    assert abs(moving.over_blocks - 0.5) < abs(moving.above_zero - 0.5)
    assert "The same with autocorrelation" in sections_record.trust(of_returns(carried(0.4), days(1500)))


def of_positions(market: Any, position: Any) -> ReportData:
    """A report that holds `position` units of capital over each of the sessions, at close to close."""
    level = 100.0 * np.cumprod(1.0 + market)
    held = np.concatenate(([0.0], position[:-1]))
    data = of_returns(held * market, days(market.size), multiplier=1.0)
    contracts = position * CAPITAL / level
    return replace(data, equity=data.equity.assign(close=level, position=contracts))


def test_a_market_that_was_only_held_leaves_no_timing() -> None:
    market = np.random.default_rng(5).normal(0.002, 0.01, 1200)
    assert trust.timing(of_positions(market, np.ones(1200))) is None
    random = np.random.default_rng(6).integers(0, 2, 1200).astype(float)
    tossed = trust.timing(of_positions(market, random))
    assert tossed is not None
    assert tossed.held == pytest.approx(metrics.sharpe(market, 252.0), rel=0.02)
    assert tossed.exposure == pytest.approx(0.5, abs=0.05)
    # Against zero the coin is a wonder, against its own exposure it is a coin.
    drift = trust.evidence(of_positions(market, random))
    assert drift is not None
    assert drift.above_zero > 0.99
    assert tossed.above_zero < 0.95
    assert tossed.p_value > 0.05


def test_knowing_when_to_hold_is_timing() -> None:
    market = np.random.default_rng(7).normal(0.0, 0.01, 1200)
    known = np.concatenate((market[1:] > 0, [False])).astype(float)
    luck = np.random.default_rng(8).random(1200) < 0.8
    found = trust.timing(of_positions(market, np.where(luck, known, 1.0 - known)))
    assert found is not None
    assert found.sharpe > 2.0
    assert found.above_zero > 0.99
    assert found.p_value < 0.01


def test_timing_is_counted_in_points_where_prices_were_moved_at_rolls() -> None:
    market = np.random.default_rng(9).normal(0.0005, 0.01, 600)
    data = of_positions(market, np.random.default_rng(1).integers(0, 2, 600).astype(float))
    moved = replace(data, equity=data.equity.assign(close=data.equity["close"] - 99.0), in_points=True)
    fractions, points = trust.timing(data), trust.timing(replace(data, in_points=True))
    shifted = trust.timing(moved)
    assert fractions is not None
    assert points is not None
    assert shifted is not None
    assert shifted.sharpe == pytest.approx(points.sharpe)
    assert points.sharpe != pytest.approx(fractions.sharpe)
    assert trust.timing(replace(data, multiplier=None)) is None


def test_other_orders_of_the_trades_are_on_the_page() -> None:
    data = full()
    found = trust.orders(data)
    assert found is not None
    assert found.shuffled.drawdown == found.drawn.drawdown >= 0
    assert (found.shuffled.profits == found.shuffled.profits[0]).all() or np.ptp(
        found.shuffled.profits
    ) < 1e-6
    assert found.drawn.profit == pytest.approx(float(floats(data.closed, "net_pnl").sum()))
    text = tearsheet.tearsheet_html(data)
    assert "The same trades in another order" in text
    assert "Timing, or the market" in text
    assert trust.orders(report(closed=2)) is None


def test_very_many_trades_are_put_into_fewer_orders() -> None:
    assert trust.other_orders(np.ones(30_000)).shuffled.profits.size == 200
    assert trust.other_orders(np.ones(1_000)).shuffled.profits.size == 3_000


def test_evidence_deflates_by_the_number_of_trials() -> None:
    data = random_report()
    plain, alone = trust.evidence(data), trust.evidence(replace(data, trials=1.0))
    many = trust.evidence(replace(data, trials=500.0))
    assert plain is not None
    assert alone is not None
    assert many is not None
    assert many.chance is not None
    assert many.deflated is not None
    assert plain.deflated is None
    assert alone.deflated == pytest.approx(plain.above_zero)
    assert many.deflated < plain.above_zero
    # The best of 500 standard normal draws is expected at 3.04 (Harter 1961); here over 899 ^ 0.5 sessions.
    assert many.chance == pytest.approx(3.04 / 899**0.5 * 252**0.5, rel=0.01)
    assert plain.backtest is None
    assert many.backtest == pytest.approx((3.04 / many.sharpe) ** 2, rel=0.02)
    assert "Deflated Sharpe ratio" not in sections_record.trust(data)
    assert "Minimum backtest length" in sections_record.trust(replace(data, trials=500.0))
    assert "expected best of 500 variants" in sections_record.trust(replace(data, trials=500.0))


def test_trailing_returns_by_hand() -> None:
    data = random_report(900)
    last = data.dates[-1].astype(object)
    returns = pd.Series(floats(data.sessions, "return"), index=pd.DatetimeIndex(data.dates))
    found = {row.name: row for row in track_record.trailing(data)}
    assert list(found) == ["Month to date", "Quarter to date", "Year to date", "1 year", "3 years", "All"]
    assert found["Month to date"].total == pytest.approx(returns[f"{last:%Y-%m}"].sum())
    assert found["Year to date"].total == pytest.approx(returns[str(last.year)].sum())
    year = returns[returns.index > pd.Timestamp(last) - pd.DateOffset(years=1)]
    assert found["1 year"].total == pytest.approx(year.sum())
    assert found["3 years"].yearly == pytest.approx(found["3 years"].total / 3, rel=1e-3)
    assert found["All"].total == pytest.approx(returns.sum())
    curve = 1 + np.cumsum(np.concatenate(([0.0], year)))
    assert found["1 year"].drawdown == pytest.approx((np.maximum.accumulate(curve) - curve).max())
    assert np.isnan(found["Month to date"].yearly)


def test_compounded_returns_multiply() -> None:
    data = random_report(900, compounded=True)
    returns = pd.Series(floats(data.sessions, "return"), index=pd.DatetimeIndex(data.dates))
    months = grouped_returns(data, "M")[1]
    assert months[0] == pytest.approx((1 + returns["2017-01"]).prod() - 1)
    assert np.prod(1 + months) == pytest.approx(floats(data.sessions, "equity")[-1] / CAPITAL)
    assert yearly(data)[1].annual_return == pytest.approx((1 + returns["2018"]).prod() - 1)
    assert "Compounded within months" in captions.months(data)
    whole = track_record.trailing(data)[-1]
    assert whole.total == pytest.approx((1 + returns).prod() - 1)


def test_episodes_lie_within_the_report_and_are_in_order() -> None:
    starts = [date.fromisoformat(start) for _, start, _ in track_record.EPISODES]
    ends = [date.fromisoformat(stop) for _, _, stop in track_record.EPISODES]
    assert all(start < stop for start, stop in zip(starts, ends, strict=True))
    assert starts == sorted(starts)
    assert len({name for name, _, _ in track_record.EPISODES}) == len(track_record.EPISODES)
    dates = days(400, "2017-06-01")
    returns = np.where(dates == np.datetime64("2018-02-05"), -0.08, 0.0001)
    found = {row.name: row for row in track_record.episodes(of_returns(returns, dates))}
    assert list(found) == ["Volmageddon"]
    inside = ((dates > np.datetime64("2018-01-26")) & (dates <= np.datetime64("2018-02-08"))).sum()
    assert found["Volmageddon"].total == pytest.approx(-0.08 + 0.0001 * (inside - 1))


def test_ten_deepest_drawdowns_have_their_dates() -> None:
    dates = days(12, "2020-01-01")
    returns = np.array([0.02, -0.01, 0.01, 0.01, -0.03, 0.01, -0.02, 0.05, 0.0, -0.01, 0.0, 0.0])
    first, second, third = track_record.declines(of_returns(returns, dates))
    assert (first.peak, first.trough, first.recovered) == (dates[3], dates[6], dates[7])
    assert first.depth == pytest.approx(4_000)
    assert (first.days_down, first.days) == (3, 4)
    assert (second.peak, second.trough, second.recovered) == (dates[0], dates[1], dates[2])
    assert third.recovered is None
    assert (third.peak, third.days) == (dates[8], 3)
    assert "not yet" in sections_record.declines(of_returns(returns, dates))


def test_quantiles_and_runs_by_hand() -> None:
    dates = days(9, "2020-01-27")
    returns = np.array([0.01, 0.02, -0.01, 0.0, -0.02, 0.01, 0.01, 0.01, -0.03])
    data = of_returns(returns, dates)
    day, week = track_record.quantiles(data)[:2]
    assert day.values == pytest.approx(np.quantile(returns, track_record.SHARES))
    assert day.positive == pytest.approx(5 / 9)
    assert week.values[0] == pytest.approx(min(returns[:5].sum(), returns[5:].sum()), abs=1e-12)
    months, sessions = track_record.runs(data)
    assert (sessions.longest_won, sessions.longest_lost) == (3, 1)
    assert months.count == 2
    assert sessions.average_loss == pytest.approx(-0.02)


def test_out_of_sample_is_shaded_and_measured_apart() -> None:
    data = random_report(600)
    cut, last = data.dates[400], data.dates[-1]
    shaded = replace(data, out_of_sample=[(cut, last)])
    inside, outside = track_record.samples(shaded)
    returns = floats(data.sessions, "return")
    assert (inside.sessions, outside.sessions) == (400, 200)
    assert outside.sharpe == pytest.approx(metrics.sharpe(returns[400:], 252))
    assert inside.total + outside.total == pytest.approx(returns.sum())
    bands = [shape for shape in equity_and_drawdown(shaded).layout.shapes if shape.type == "rect"]
    assert (str(cut), str(last)) in [(band.x0, band.x1) for band in bands]
    assert track_record.samples(data) == []
    assert "out of sample" not in page(data).text.lower()


def test_twice_the_costs_are_paid_where_they_were_booked() -> None:
    data = report()
    once, twice = (row for row in trade_tables.dearer(data, (1.0, 2.0)))
    costs = (floats(data.trades, "commission") + floats(data.trades, "slippage_cost")).sum()
    assert (once.net_profit, once.sharpe) == (
        pytest.approx(data.metrics["net_profit"]),
        pytest.approx(data.metrics["sharpe"]),
    )
    assert twice.net_profit == pytest.approx(once.net_profit - costs)
    assert twice.paid == pytest.approx(2 * costs)
    equity = floats(data.equity, "equity").copy()
    for each in data.trades.itertuples():
        equity[data.equity.index >= each.exit_end] -= each.commission + each.slippage_cost
    curve = np.concatenate(([CAPITAL], equity))
    assert twice.max_drawdown == pytest.approx((np.maximum.accumulate(curve) - curve).max())
    assert twice.sharpe == pytest.approx(metrics.sharpe(np.diff(curve) / CAPITAL, 365))


def test_long_and_short_are_told_apart() -> None:
    data = full()
    long, short, both = trade_tables.sides(data)
    pnl, side = floats(data.closed, "net_pnl"), floats(data.closed, "side")
    assert (long.trades, short.trades, both.trades) == (13, 7, 20)
    assert long.net_profit == pytest.approx(pnl[side > 0].sum())
    assert short.profit_factor == pytest.approx(metrics.profit_factor(pnl[side < 0]))
    assert long.exposure + short.exposure == pytest.approx(both.exposure) == pytest.approx(40 / 800)


def test_leverage_is_the_notional_over_the_capital() -> None:
    data = full()
    held = trade_tables.leverage(data)
    assert held is not None
    position, close = floats(data.equity, "position"), floats(data.equity, "close")
    assert held == pytest.approx(position * close * 20 / CAPITAL)
    drawn = leverage(data)
    assert drawn is not None
    assert [trace.name for trace in drawn.data] == ["Long", "Short"]
    assert f"${np.abs(held).max() * CAPITAL:,.0f}" in captions.leverage(data)
    assert leverage(report()) is None
    traded = turnover(data)
    assert traded is not None
    legs = (data.trades["entry_price"] + data.trades["exit_price"]).sum() * 20 / CAPITAL
    assert sum(traded.data[0].y) == pytest.approx(legs, abs=0.01)


def test_trades_across_a_hole_are_ringed() -> None:
    data = report()
    marked = replace(data, trades=data.trades.assign(spans=["hole" if k == 4 else "" for k in range(20)]))
    ring = next(trace for trace in trades_on_price(marked).data if trace.name == "Doubtful")
    assert list(ring.y) == [data.trades["exit_price"].iloc[4]]
    assert ring.customdata[0] == "within this trade: hole"
    assert "Ringed" in captions.trades(marked)
    for unmarked in (data, replace(data, trades=data.trades.assign(spans=""))):
        assert all(trace.name != "Doubtful" for trace in trades_on_price(unmarked).data)


def test_many_trades_keep_the_best_the_worst_and_the_doubtful() -> None:
    data = report(bars=20_000, closed=3_900)
    result = np.random.default_rng(3).permutation(3_900).astype(np.float64)
    trades = data.trades.assign(net_pnl=result, spans=np.where(np.arange(3_900) == 1_234, "jump", ""))
    shown = shown_trades(replace(data, trades=trades))
    assert len(shown) <= TRADE_LIMIT
    assert {0.0, 3_899.0} <= set(shown["net_pnl"])
    assert "jump" in set(shown["spans"])
    assert shown.index.is_monotonic_increasing
    assert shown.index[-1] == trades.index[-1]


def test_shared_library_is_written_once_beside_many_pages(tmp_path: Path) -> None:
    first = write_tearsheet(report(), tmp_path / "a" / "tearsheet.html", shared_js=tmp_path)
    second = write_tearsheet(report(closed=3), tmp_path / "b.html", shared_js=tmp_path)
    libraries = list(tmp_path.glob("plotly-*.min.js"))
    assert len(libraries) == 1
    assert f'<script src="../{libraries[0].name}">' in first.read_text()
    assert f'<script src="{libraries[0].name}">' in second.read_text()
    assert first.stat().st_size < 400_000 < libraries[0].stat().st_size
    stamp = libraries[0].stat().st_mtime_ns
    write_tearsheet(report(), tmp_path / "c.html", shared_js=tmp_path)
    assert libraries[0].stat().st_mtime_ns == stamp


def test_sessions_after_the_fit_of_a_model_are_out_of_sample() -> None:
    dates = pd.Series(pd.DatetimeIndex(days(10, "2020-01-01")))
    model = {"fitted_on": ("2015-01-02", "2020-01-07")}
    assert _out_of_sample(model, dates) == [(np.datetime64("2020-01-08"), np.datetime64("2020-01-14"))]
    assert _out_of_sample({"fitted_on": ("2015-01-02", "2020-01-31")}, dates) == []
    assert _out_of_sample(None, dates) == _out_of_sample({"fitted_on": None}, dates) == []
