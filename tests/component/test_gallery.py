"""The gallery: ten shipped specs, each checked, backtested with pinned trade counts, and told in the docs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lockstep import backtest
from lockstep.market.aggregator import aggregate
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.family import load_strategy
from research.backtest.result import BacktestResult
from research.backtest.run import context_keys, run_backtest
from support.markets import HOURLY, random_bars

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "configs/strategies"
BOOK = load_instruments()

# Trades over all the bars that come with Lockstep: COMP from 1999, SPX from 2008, to 2018.
TRADES = {
    ("rsi_2", "COMP"): 124,
    ("donchian_breakout", "COMP"): 55,
    ("ma_cross", "COMP"): 32,
    ("volatility_compression", "COMP"): 113,
    ("turn_of_the_month", "COMP"): 239,
    ("pair_spread", "SPX"): 101,
    ("ibs_spec", "COMP"): 737,
    ("momentum_pullback", "COMP"): 132,
    ("volume_climax", "COMP"): 293,
}
HOURLY_SPEC = "ibs_hourly_spec"
NAMES = (*(name for name, _ in TRADES), HOURLY_SPEC)


def spec(name: str) -> RulesConfig:
    found = load_strategy(FOLDER / f"{name}.yaml")
    assert isinstance(found, RulesConfig)
    return found


@cache
def drawn_hours() -> History:
    """Return two years of drawn hourly bars of ES in its sessions, and their days."""
    market = BOOK.markets["ES"]
    days = market.session.scheduled_dates(np.datetime64("2016-01-04"), np.datetime64("2017-12-29"))
    ends = np.concatenate(
        [np.arange(each.open, each.close, HOURLY.nanoseconds) for each in market.session.days(days)]
    )
    hours = random_bars(ends + HOURLY.nanoseconds, HOURLY)
    # Far from zero: a random walk that gets there has no volatility.
    prices = {name: getattr(hours, name) + 1000.0 for name in ("open", "high", "low", "close")}
    hours = replace(hours, **prices)
    daily = aggregate(hours, DAILY, market.session)
    return History(bars={SeriesKey("ES", HOURLY): hours, SeriesKey("ES", DAILY): daily}, markets=BOOK.markets)


def same_trades(one: BacktestResult, other: BacktestResult) -> None:
    pd.testing.assert_frame_equal(one.trades, other.trades, check_exact=True)
    pd.testing.assert_frame_equal(one.equity, other.equity, check_exact=True)


@pytest.mark.no_cover
@pytest.mark.parametrize(("name", "symbol"), TRADES, ids=lambda text: text)
def test_it_trades_as_it_did(name: str, symbol: str) -> None:
    result = backtest(name, symbol)
    assert result.metrics["trades"] == TRADES[name, symbol] > 0


def test_the_hourly_spec_trades_drawn_hours_as_its_family_does() -> None:
    history, span = drawn_hours(), DateRange.of("2017-09-01", "2017-12-29")
    result = run_backtest(spec(HOURLY_SPEC), history, "ES", span=span)
    assert result.metrics["trades"] == 49
    same_trades(result, run_backtest(load_strategy(FOLDER / "ibs_hourly.yaml"), history, "ES", span=span))


def test_the_baseline_as_a_spec_trades_as_the_baseline() -> None:
    same_trades(backtest("ibs_spec", "COMP"), backtest("ibs_baseline", "COMP"))


def test_another_threshold_trades_otherwise() -> None:
    other = spec("ibs_spec").replaced(long_entry={"id": "ibs", "between": [0, 0.21]})
    with pytest.raises(AssertionError):
        same_trades(backtest(other, "COMP"), backtest("ibs_baseline", "COMP"))


def test_the_hourly_spec_on_real_hours(shared_data: Path) -> None:
    config, span = spec(HOURLY_SPEC), DateRange.of("2012-01-03", "2013-12-31")
    history = load_history(
        "SPY", shared_data / "equity_hourly", timeframe=Timeframe.parse("1h"), end=span.end,
        context=context_keys(config, BOOK.markets, "SPY"),
    )  # fmt: skip
    result = run_backtest(config, history, "SPY", span=span)
    assert result.metrics["trades"] == 289
    same_trades(result, run_backtest(load_strategy(FOLDER / "ibs_hourly.yaml"), history, "SPY", span=span))


def test_the_pair_of_two_futures(shared_data: Path) -> None:
    config = spec("pair_spread")
    history = load_history(
        "ES", shared_data / "futures_daily", context=context_keys(config, BOOK.markets, "ES")
    )
    assert run_backtest(config, history, "ES").metrics["trades"] == 64


@pytest.mark.parametrize("name", NAMES)
def test_it_says_where_it_is_from_and_what_to_expect(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    for word in ("Source", "Idea", "Expect"):
        assert any(line.startswith(f"# {word}: ") for line in lines), word
    assert spec(name).name == name


def test_the_gallery_is_told_in_the_docs() -> None:
    page = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    assert len(NAMES) == 10
    for name in NAMES:
        assert f"../configs/strategies/{name}.yaml" in page
    for (name, symbol), trades in TRADES.items():
        assert f"| `{name}` | {symbol} |" in page
        assert f"| {trades} |" in page
