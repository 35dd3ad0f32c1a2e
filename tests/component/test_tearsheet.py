"""The tear sheet: same report, same bytes; nothing loaded from outside; the numbers that were put in."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from lockstep import metrics
from lockstep.errors import DataError
from research.report import (
    ReportData,
    captions,
    figures_account,
    figures_rolling,
    figures_signal,
    figures_trades,
    sections,
    tables,
    tearsheet,
    theme,
    write_tearsheet,
)
from research.report import page as written
from research.report.data import floats
from research.report.figures_trades import FIRST_VIEW_BARS
from research.report.measures import GROUPS
from research.report.tables import bar_texts, times_of
from research.report.thinning import POINT_LIMIT, thin, thinning_note
from support.reports import CAPITAL, Page, full, page, report

HOSTILE = """</script><script>alert("x")</script><img src='http://evil.example/x'>&"""


def with_open_trade(data: ReportData) -> ReportData:
    changed = data.trades.copy()
    row = changed.index[-1]
    changed.loc[row, "exit_end"] = pd.NaT
    changed.loc[row, ["exit_price"]] = np.nan
    changed["exit_reason"] = changed["exit_reason"].astype(object)
    changed.loc[row, "exit_reason"] = None
    changed.loc[row, "status"] = "open"
    return replace(data, trades=changed)


def measure(data: ReportData, name: str) -> float:
    value = data.metrics[name]
    assert value is not None
    return float(value)


def test_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write_tearsheet(report(), tmp_path / "a" / "tearsheet.html")
    second = write_tearsheet(report(), tmp_path / "b.html")
    assert first == tmp_path / "a" / "tearsheet.html"
    assert first.read_bytes() == second.read_bytes()
    assert sorted(item.name for item in tmp_path.rglob("*") if item.is_file()) == ["b.html", "tearsheet.html"]


def test_one_changed_trade_changes_the_page() -> None:
    before = report()
    changed = before.trades.copy()
    changed.loc[3, "net_pnl"] += 0.01
    assert tearsheet.tearsheet_html(replace(before, trades=changed)) != tearsheet.tearsheet_html(before)


def test_page_loads_nothing_and_holds_plotly_once() -> None:
    seen = page(report())
    assert seen.loads == []
    assert not {"link", "iframe", "img"} & set(seen.tags)
    own = tearsheet.tearsheet_html(report()).replace(get_plotlyjs(), "")
    assert len(own) < 300_000
    assert "://" not in own
    assert "url(" not in own


def test_loader_of_outside_files_would_be_noticed() -> None:
    assert Page('<script src="https://cdn.example/p.js"></script>').loads == [
        ("script", "https://cdn.example/p.js")
    ]


def test_all_figures_are_there_with_fixed_names() -> None:
    names = [
        "equity", "months", "rolling", "sortino", "volatility", "beta", "regimes", "leverage", "turnover",
        "costs", "distribution", "excursions", "trades", "deciles", "reasons",
    ]  # fmt: skip
    assert list(page(full()).figures) == names


def test_header_and_key_figures() -> None:
    text = page(report()).text
    measured = report().metrics
    for expected in (
        "Index proxy for NQ: not tradable as is",
        "2019-11-01 to 2020-08-26",
        "$100,000 notional capital",
        written.usd(measured["net_profit"]),
        written.ratio(measured["sharpe"]),
        "commission $50, slippage $200",
        "$250",
        "c0de" * 16,
        "direction: long",
        "An index cannot be traded.",
    ):
        assert expected in text
    assert "proxy for" not in page(report(proxy_of=None)).text


def test_every_measure_is_printed_with_a_name() -> None:
    named = {measure.key for _, group in GROUPS for measure in group}
    assert named == set(report().metrics)
    extra = page(report(metrics={"deflated_sharpe": 0.91, "sharpe": None}))
    assert "deflated sharpe" in extra.text
    assert "0.9100" in extra.text


def test_every_colour_has_a_dark_counterpart() -> None:
    text = tearsheet.tearsheet_html(full())
    figures = "".join(re.findall(r'<script type="application/json".*?</script>', text, flags=re.S))
    for colour in set(re.findall(r"#[0-9a-f]{6}\b", figures)):
        assert colour in theme.DARK, colour
    for colour in set(re.findall(r"rgba\(\d+,\d+,\d+,", figures)) - {"rgba(0,0,0,"}:
        assert colour in theme.DARK, colour
    assert "#123456" not in theme.DARK
    assert "prefers-color-scheme: dark" in text


def test_hostile_texts_are_inert() -> None:
    changed = report().trades.assign(exit_reason=HOSTILE, trade_id=HOSTILE)
    hostile = report(
        title=HOSTILE, symbol=HOSTILE, instrument_name=HOSTILE, proxy_of=HOSTILE, config_yaml=HOSTILE,
        trades=changed, notes=[HOSTILE], provenance={HOSTILE: HOSTILE},
        reasons=pd.DataFrame([(HOSTILE, "no_trade", 1)], columns=["reason", "kind", "count"]),
        metrics={HOSTILE: 1.0},
    )  # fmt: skip
    seen, harmless = page(hostile), page(report())
    assert seen.loads == []
    assert "img" not in seen.tags
    assert seen.tags.count("script") == harmless.tags.count("script")
    assert HOSTILE in seen.text
    for figure in seen.figures.values():
        assert "<img" not in json.dumps(figure)


def test_equity_figure_holds_the_curve_and_its_drawdown() -> None:
    data = report()
    beside, equity, under = figures_account.equity_and_drawdown(data).data
    assert beside.name == "COMP bought and held"
    close = floats(data.equity, "close")
    assert list(beside.y) == pytest.approx(CAPITAL * close / close[0], abs=0.006)
    values = floats(data.equity, "equity")
    assert list(equity.y) == values.round(2).tolist()
    assert list(equity.x) == [str(day) for day in data.session_dates]
    assert min(under.y) == pytest.approx(-measure(data, "max_drawdown"), abs=0.005)


def test_deepest_drawdown_is_shaded_from_its_peak() -> None:
    values = np.array([CAPITAL, 104_000.0, 101_000.0, 103_000.0, 105_000.0, 104_000.0])
    small = report(bars=6, closed=0)
    data = replace(small, equity=small.equity.assign(equity=values))
    drawn = figures_account.equity_and_drawdown(data)
    band = next(shape for shape in drawn.layout.shapes if shape.type == "rect")
    assert (band.x0, band.x1) == ("2019-11-02", "2019-11-05")
    assert "−$3,000 (2.9% of peak)" in drawn.layout.annotations[0].text
    lost = replace(small, equity=small.equity.assign(equity=values[::-1]))
    assert "not recovered" in figures_account.equity_and_drawdown(lost).layout.annotations[0].text


def test_trades_lie_where_they_were_filled() -> None:
    data = with_open_trade(report())
    traces = {trace.name: trace for trace in figures_trades.trades_on_price(data).data}
    longs = data.trades[data.trades["side"] == 1]
    assert list(traces["Long entry"].y) == longs["entry_price"].tolist()
    assert list(traces["Long entry"].x) == [f"{at:%Y-%m-%d}" for at in longs["entry_end"]]
    assert len(traces["Short entry"].x) == 7
    gains = data.closed[data.closed["net_pnl"] > 0]
    assert list(traces["Exit with gain"].y) == gains["exit_price"].tolist()
    assert len(traces["Exit with gain"].y) + len(traces["Exit with loss"].y) == len(data.closed) == 19
    assert "Exit IBS" in traces["Exit with gain"].customdata[0]
    assert "net $137.25 after 2 bars" in traces["Exit with gain"].customdata[0]
    assert traces["Close"].y[0] == data.equity["close"].iloc[0]


def test_price_view_starts_with_the_last_bars_and_fits_them() -> None:
    layout = figures_trades.trades_on_price(report()).layout
    close = report().equity["close"].to_numpy()[-250:]
    assert layout.xaxis.range == ("2019-12-21", "2020-08-26")
    assert layout.yaxis.range[0] < close.min() < close.max() < layout.yaxis.range[1]
    assert figures_trades.trades_on_price(report(bars=110)).layout.yaxis.range is None


def test_histogram_counts_every_trade_and_splits_at_zero() -> None:
    drawn = figures_trades.pnl_distribution(report())
    assert drawn is not None
    loss, gain = drawn.data
    pnl = floats(report().trades, "net_pnl")
    assert sum(loss.y) == (pnl < 0).sum()
    assert sum(gain.y) == (pnl >= 0).sum()


@pytest.mark.parametrize(
    "values", [[5.0], [-3.0, -3.0], [0.0], [1.0, 1e6, -1e6], [1e-9, 2e-9], list(range(-50, 90))]
)
def test_histogram_edges_cover_everything(values: list[float]) -> None:
    width, edges = figures_trades.histogram_edges(np.array(values, dtype=np.float64))
    assert edges[0] <= min(values) <= max(values) < edges[-1] + width * 1e-9
    assert 1 <= len(edges) - 1 <= 130
    assert np.histogram(values, edges)[0].sum() == len(values)
    assert np.abs(edges / width - np.round(edges / width)).max() < 1e-6


def test_costs_add_up_and_wait_for_the_exit() -> None:
    data = with_open_trade(report())
    drawn = figures_account.costs_paid(data)
    assert drawn is not None
    commission, slippage = drawn.data
    assert commission.y[-1] == 50.0
    assert slippage.y[-1] == 200.0
    assert commission.x[1] == f"{data.trades['exit_end'].iloc[0]:%Y-%m-%d}"
    assert commission.x[-2] == "2020-08-26"


def test_rolling_sharpe_ends_with_the_last_half_year() -> None:
    data = report()
    returns = floats(data.sessions, "return")
    drawn = figures_rolling.rolling_sharpe(data)
    assert drawn is not None
    assert figures_rolling.windows(data) == (182, 364)
    assert [trace.name for trace in drawn.data] == ["6 months"]
    assert drawn.data[0].y[-1] == pytest.approx(metrics.sharpe(returns[-182:], 365), abs=1e-4)
    assert figures_rolling.rolling_sharpe(report(bars=181)) is None
    whole = figures_rolling.rolling_sharpe(report(bars=800))
    assert whole is not None
    assert [trace.name for trace in whole.data] == ["6 months", "12 months"]


def test_months_add_up_to_years_and_to_the_total() -> None:
    data = report()
    grid = tables.monthly_returns(data)
    rows = tables.yearly(data)
    assert list(grid.index) == [2019, 2020] == [row.year for row in rows]
    assert np.isnan(grid.loc[2019, 10])
    assert np.nansum(grid.to_numpy()) == pytest.approx(data.metrics["total_return"])
    assert [np.nansum(row) for row in grid.to_numpy()] == pytest.approx([row.annual_return for row in rows])
    assert sum(row.trades for row in rows) == 20
    assert rows[0].trades == 12
    assert max(row.max_drawdown for row in rows) <= measure(data, "max_drawdown")
    assert sections.months(data).count('<td style="background') == 10


def test_exit_reasons_by_hand() -> None:
    first = tables.exits(report())[0]
    mine = [137.25 * (k - 8) for k in range(20) if k % 3 == 0]
    assert (first.reason, first.count, first.share) == ("exit_ibs", 7, 0.35)
    assert first.total_pnl == pytest.approx(sum(mine))
    assert first.mean_pnl == pytest.approx(sum(mine) / 7)
    assert first.win_rate == pytest.approx(4 / 7)


def test_deciles_take_the_move_after_the_bar() -> None:
    """Close rises 10 % after a bar of IBS 0.05 and falls 10 % after one of 0.95."""
    low = np.tile([True, False], 20)
    close = 100.0 * np.cumprod(np.concatenate(([1.0], np.where(low, 1.1, 0.9)[:-1])))
    small = report(bars=40, closed=0)
    data = replace(
        small,
        equity=small.equity.assign(close=close),
        features=pd.DataFrame({"ibs": np.where(low, 0.05, 0.95)}, index=small.equity.index),
    )
    found = tables.signal_deciles(data)
    assert found.mean[0] == pytest.approx(0.1)
    assert found.mean[9] == pytest.approx(-0.1)
    assert found.count.tolist() == [20, *[0] * 8, 19]
    assert found.half_width[0] == pytest.approx(0.0, abs=1e-12)
    drawn = figures_signal.next_move_by_signal(data)
    assert drawn is not None
    assert drawn.data[0].y[0] == pytest.approx(10.0)
    shifted = replace(data, features=data.features.shift(1))
    assert tables.signal_deciles(shifted).mean[0] == pytest.approx(-0.1)


def test_deciles_on_edges_in_points_and_without_ibs() -> None:
    data = report(bars=4, closed=0)
    edges = replace(
        data,
        equity=data.equity.assign(close=[-1.0, 1.0, 4.0, 8.0]),
        features=pd.DataFrame({"ibs": [4.3 - 4.0, 1.0, np.nan, 0.5]}, index=data.equity.index),
    )
    found = tables.signal_deciles(edges)
    assert 4.3 - 4.0 < 0.3
    assert not found.in_percent
    assert (found.mean[3], found.mean[9], found.overall) == (2.0, 3.0, 2.5)
    assert np.isnan(found.half_width[3])
    assert "2.500 points" in captions.deciles(edges)
    unknown = replace(data, features=data.features.iloc[:0])
    assert figures_signal.next_move_by_signal(unknown) is None


def test_a_signal_without_a_range_has_bins_of_as_many_bars() -> None:
    """Another family's signal: no fixed range, its own name in figure and caption."""
    data = report(bars=101, closed=0)
    spread = np.linspace(-3.0, 7.0, 101)[::-1]
    follows = replace(data, features=pd.DataFrame({"spread_10_50": spread}, index=data.equity.index))
    found = tables.signal_deciles(follows)
    assert found.signal == "spread_10_50"
    assert (found.edges[0], found.edges[-1]) == (-2.9, 7.0)
    assert found.count.tolist() == [10.0] * 10
    drawn = figures_signal.next_move_by_signal(follows)
    assert drawn is not None
    assert len(set(drawn.data[0].x)) == 10
    assert "tenths of all bars by spread_10_50" in captions.deciles(follows)
    few = replace(follows, features=follows.features.round(-1) * 0.0 + 5.0)
    assert tables.signal_deciles(few).count.tolist() == [100.0]


def test_interval_of_deciles_is_196_standard_errors() -> None:
    data = report()
    close = floats(data.equity, "close")
    moves = (np.diff(close) / close[:-1])[:30]
    expected = 1.959963984540054 * np.std(moves, ddof=1) / np.sqrt(30)
    assert tables.signal_deciles(data).half_width[0] == pytest.approx(expected)


def test_reasons_are_ordered_readable_and_complete() -> None:
    assert tables.non_trade_reasons(report()) == [("cold_window", 252), ("filter:rsi_2", 40)]
    drawn = figures_signal.reasons_for_no_trade(report())
    assert drawn is not None
    assert list(drawn.data[0].x) == [252, 40]
    assert list(drawn.data[0].customdata) == ["Cold window", "Filter:rsi_2"]
    many = pd.DataFrame(
        [(f"r{k:02}" + "x" * 60, "no_trade", k) for k in range(1, 31)], columns=["reason", "kind", "count"]
    )
    rows = tables.non_trade_reasons(report(reasons=many))
    assert len(rows) == 14
    assert sum(number for _, number in rows) == many["count"].sum()
    assert rows[-1] == ("17 rarer reasons", sum(range(1, 18)))
    longest = figures_signal.reasons_for_no_trade(report(reasons=many))
    assert longest is not None
    assert longest.layout.yaxis.ticktext[0].endswith("… ")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ibs_not_in_range", "IBS not in range"),
        ("cold atr_pctile_14_252", "Cold atr_pctile_14_252"),
        ("filter: rsi_2", "Filter: rsi_2"),
        ("", ""),
    ],
)
def test_reason_codes_become_words_and_ids_stay(code: str, words: str) -> None:
    assert tables.readable(code) == words


@pytest.mark.parametrize("timeframe", ["1d", "1h"])
def test_report_without_trades(timeframe: str) -> None:
    data = report(closed=0, timeframe=timeframe, reasons=report().reasons.iloc[:0], notes=[])
    seen = page(data)
    assert list(seen.figures) == ["equity", "trades", "deciles"]
    assert "Before you read the numbers" not in seen.text
    for sentence in ("No trade was closed in this run.", "No trade, no costs.", "No bar was turned down."):
        assert sentence in seen.text


@pytest.mark.parametrize("bars", [1, 2, 6])
def test_report_with_few_bars(bars: int) -> None:
    assert "this run has" in page(report(bars=bars, closed=bars // 6)).text


def test_report_with_one_trade_still_open() -> None:
    seen = page(with_open_trade(report(closed=1)))
    assert "1 open" in seen.text
    assert "distribution" not in seen.figures
    assert "costs" in seen.figures


def test_intraday_bars_are_thinned_without_losing_the_deepest_point() -> None:
    data = report(bars=20_000, closed=3_000, timeframe="1h", per_session=7)
    text = tearsheet.tearsheet_html(data)
    seen = Page(text)
    _, equity, under = seen.figures["equity"]["data"]
    assert len(equity["y"]) <= 6_000
    assert min(under["y"]) == pytest.approx(-measure(data, "max_drawdown"), abs=0.005)
    assert equity["y"][-1] == pytest.approx(data.equity["equity"].iloc[-1], abs=0.005)
    assert equity["x"][0] == "2019-11-01 21:00"
    close = seen.figures["trades"]["data"][0]["y"]
    assert len(close) <= 6_250
    assert close[-250:] == data.equity["close"].tolist()[-250:]
    assert "Drawn from 20,000 bars in 1,500 stretches" in seen.text
    assert "of 3,000 trades are drawn" in seen.text
    assert "Next-bar return by IBS decile" in seen.text
    assert len(text.replace(get_plotlyjs(), "")) < 1_500_000


def test_thinning_keeps_ends_and_extremes_and_says_so() -> None:
    values = np.zeros(1_000)
    values[[137, 731]] = (5.0, -7.0)
    kept = thin(values, 100)
    assert kept.size <= 100
    assert {0, 137, 731, 999} <= set(kept.tolist())
    assert thin(values[:100], 100).tolist() == list(range(100))
    assert thinning_note(100, 100) == ""
    assert "25 stretches" in thinning_note(101, 100)
    assert 137 not in np.arange(0, 1_000, 10)


def _long() -> ReportData:
    """Return 4,000 sessions of three bars each, with leverage and trades of both sides."""
    data = report(bars=12_000, closed=2_000, timeframe="1h", per_session=3)
    position = np.random.default_rng(2).choice([-1.0, 0.0, 2.0], len(data.equity))
    trades = data.trades.assign(mae=120.0, mfe=np.abs(floats(data.trades, "net_pnl")))
    equity = data.equity.assign(position=position, close=np.exp(data.equity["close"] / 3_000.0))
    return replace(data, equity=equity, trades=trades, multiplier=20.0)


def _longest(data: ReportData) -> dict[str, int]:
    """Return the number of points of the longest line of each figure of the page."""
    figures = page(data).figures
    return {name: max(len(trace["y"]) for trace in found["data"]) for name, found in figures.items()}


@pytest.mark.no_cover
def test_every_line_of_a_long_run_has_a_few_thousand_points(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _long()
    lines = _longest(data)
    assert max(lines.values()) <= POINT_LIMIT + FIRST_VIEW_BARS
    for module in (figures_account, figures_rolling, figures_trades):
        monkeypatch.setattr(module, "thin", lambda values, *_: np.arange(values.size))
    whole = {name for name, points in _longest(data).items() if points > lines[name]}
    assert whole == {"equity", "trades", "leverage", "costs", "rolling", "sortino", "volatility", "beta"}


def test_times_outside_the_bars_are_written_as_they_are() -> None:
    data = report(bars=5, closed=0)
    stamps = pd.Series([data.equity.index[2], pd.NaT, pd.Timestamp("2018-01-02 03:04", tz="UTC")])
    assert times_of(data, stamps) == ["2019-11-03", None, "2018-01-02 03:04"]
    assert bar_texts(report(bars=2, closed=0, timeframe="1h")).tolist() == [
        "2019-11-01 21:00",
        "2019-11-02 21:00",
    ]


def test_numbers_are_written_for_readers() -> None:
    minus = "\N{MINUS SIGN}"
    assert written.usd(-12345.4) == f"{minus}$12,345"
    assert written.usd(-0.4) == "$0"
    assert written.usd(1.005, 2) == "$1.00"
    assert written.percent(-0.1234) == f"{minus}12.3%"
    assert written.ratio(float("inf")) == written.count(None) == written.percent(float("nan")) == "–"
    assert written.price(0.0000005) == "5e-07"
    assert written.price(4321.25) == "4,321.25"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capital": 0.0}, "capital 0.0: must be positive"),
        ({"features": pd.DataFrame()}, "features: has no column"),
        ({"trades": pd.DataFrame({"trade_id": []})}, "trades: no column side"),
        ({"equity": report(bars=2, closed=0).equity.iloc[:0]}, "no bars"),
        ({"equity": report(bars=2, closed=0).equity.tz_localize(None)}, "must be bar ends in UTC"),
    ],
)
def test_unusable_reports_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        report(**changes)


def test_figures_carry_no_random_names() -> None:
    own = tearsheet.tearsheet_html(report()).replace(get_plotlyjs(), "")
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}", own)
