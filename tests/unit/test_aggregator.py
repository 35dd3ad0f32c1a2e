from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lockstep.errors import BadBars, ConfigError
from lockstep.market.aggregator import Aggregator, aggregate
from lockstep.market.bars import Bars
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import DAILY, Timeframe
from support.markets import (
    CME,
    FIFTEEN,
    HOURLY,
    NEW_YORK,
    NYSE,
    ONE_MINUTE,
    local,
    minutes,
    random_bars,
    stamps,
    utc,
)

pytestmark = pytest.mark.uncompiled


def bars_at(texts: list[str], symbol: str = "ES", timeframe: Timeframe = ONE_MINUTE) -> Bars:
    return random_bars(stamps(texts), timeframe, symbol=symbol)


def test_a_longer_bar_by_hand() -> None:
    minute = Bars(
        symbol="ES",
        timeframe=ONE_MINUTE,
        end=stamps(["2024-01-04 10:01", "2024-01-04 10:02", "2024-01-04 10:15"]),
        open=np.array([5.0, 6.0, 4.0]),
        high=np.array([7.0, 6.5, 4.5]),
        low=np.array([4.5, 5.5, -1.0]),
        close=np.array([6.0, 6.0, 0.5]),
        volume=np.array([1.5, 2.0, 0.25]),
    )
    made = aggregate(minute, FIFTEEN, CME)
    assert local(made.end) == ["2024-01-04 10:15"]
    assert [column.tolist() for column in made.columns().values()] == [[5.0], [7.0], [-1.0], [0.5], [3.75]]
    assert (made.symbol, made.timeframe) == ("ES", FIFTEEN)


def test_a_bar_on_the_boundary_completes_it_at_once() -> None:
    aggregator = Aggregator("ES", FIFTEEN, CME)
    assert len(aggregator.push(bars_at(["2024-01-04 10:01", "2024-01-04 10:14"]))) == 0
    assert local(aggregator.push(bars_at(["2024-01-04 10:15"])).end) == ["2024-01-04 10:15"]
    assert len(aggregator.advance(utc("2024-01-04 10:15", NEW_YORK))) == 0


def test_a_later_bar_completes_the_one_before() -> None:
    aggregator = Aggregator("ES", FIFTEEN, CME)
    aggregator.push(bars_at(["2024-01-04 10:01"]))
    assert local(aggregator.push(bars_at(["2024-01-04 10:31"])).end) == ["2024-01-04 10:15"]


def test_the_clock_completes_a_bar_and_not_before_its_end() -> None:
    aggregator = Aggregator("SPY", DAILY, NYSE)
    aggregator.push(bars_at(["2018-11-23 13:00"], symbol="SPY"))
    close = utc("2018-11-23 16:00", NEW_YORK)
    assert len(aggregator.advance(close - 1)) == 0
    assert aggregator.advance(close).end.tolist() == [close]
    assert len(aggregator.advance(close + 1)) == 0


def test_a_tick_on_the_boundary_opens_the_next_bar() -> None:
    ticks = Ticks(
        symbol="ES",
        stamp=stamps(["2024-01-04 10:14", "2024-01-04 10:15", "2024-01-04 10:15", "2024-01-04 10:30"]),
        price=np.array([1.0, 2.0, 3.0, 9.0]),
        volume=np.array([1.0, 1.0, 1.0, 1.0]),
    )
    made = aggregate(ticks, FIFTEEN, CME)
    assert local(made.end) == ["2024-01-04 10:15", "2024-01-04 10:30"]
    assert made.open.tolist() == [1.0, 2.0]
    assert made.close.tolist() == [1.0, 3.0]


def test_the_last_unfinished_bar_is_not_returned() -> None:
    made = aggregate(random_bars(minutes("2024-01-04 18:01", "2024-01-05 16:59"), ONE_MINUTE), HOURLY, CME)
    assert local(made.end)[-1] == "2024-01-05 16:00"


def test_bars_outside_the_session_count_towards_the_next_date() -> None:
    end = ["2024-01-05 17:00", "2024-01-06 12:00", "2024-01-08 10:00", "2024-01-08 17:00"]
    made = aggregate(bars_at(end), DAILY, CME)
    assert local(made.end) == ["2024-01-05 17:00", "2024-01-08 17:00"]


@pytest.mark.parametrize(
    ("base", "wanted"), [("1h", "1h"), ("1h", "15min"), ("1h", "90min"), ("1d", "1h"), ("1d", "1d")]
)
def test_only_longer_multiples_are_made(base: str, wanted: str) -> None:
    bars = bars_at(["2024-01-04 17:00"], timeframe=Timeframe.parse(base))
    with pytest.raises(ConfigError, match="multiple"):
        aggregate(bars, Timeframe.parse(wanted), CME)


def test_another_symbol_is_refused() -> None:
    with pytest.raises(ConfigError, match="NQ"):
        Aggregator("ES", HOURLY, CME).push(bars_at(["2024-01-04 10:01"], symbol="NQ"))


def test_going_back_in_time_is_refused_and_nothing_is_taken() -> None:
    aggregator = Aggregator("ES", FIFTEEN, CME)
    aggregator.push(bars_at(["2024-01-04 10:02"]))
    for text in ("2024-01-04 10:01", "2024-01-04 10:02"):
        with pytest.raises(BadBars, match="follow"):
            aggregator.push(bars_at([text]))
    later = bars_at(["2024-01-04 10:15"])
    assert len(aggregator.push(later)) == 1


def test_late_data_is_not_merged_into_a_bar_that_was_returned() -> None:
    aggregator = Aggregator("ES", FIFTEEN, CME)
    aggregator.push(bars_at(["2024-01-04 10:01"]))
    assert len(aggregator.advance(utc("2024-01-04 10:15", NEW_YORK))) == 1
    with pytest.raises(BadBars, match="already returned"):
        aggregator.push(bars_at(["2024-01-04 10:14"]))


def test_nothing_pushed_is_nothing_returned() -> None:
    aggregator = Aggregator("ES", HOURLY, CME)
    empty = bars_at(["2024-01-04 10:01"]).rows(0, 0)
    assert len(aggregator.push(empty)) == 0
    assert len(aggregator.advance(utc("2030-01-01"))) == 0


def test_two_steps_make_the_same_prices_as_one() -> None:
    minute = random_bars(minutes("2024-01-03 18:01", "2024-01-04 17:00"), ONE_MINUTE)
    minute = replace(minute, volume=np.round(minute.volume))
    direct = aggregate(minute, DAILY, CME)
    stepwise = aggregate(aggregate(minute, FIFTEEN, CME), DAILY, CME)
    assert direct.content_hash == stepwise.content_hash
