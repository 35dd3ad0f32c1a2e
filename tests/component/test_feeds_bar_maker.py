"""Rows into bars, live: whole bars only, each once, late rows reported (PARITY 9, 11)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lockstep.errors import ConfigError
from lockstep.live.feeds import bar_maker
from lockstep.live.feeds.bar_maker import BarMaker, Made, Stream
from lockstep.live.feeds.inbox import Item
from lockstep.live.feeds.synchroniser import SECOND
from lockstep.live.messages import Arrival, Irregularity
from lockstep.market.aggregator import aggregate
from lockstep.market.bars import Bars
from lockstep.market.history import SeriesKey
from lockstep.market.sessions import Session
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import DAILY, Timeframe
from support.feeds import DAY_SPY, HOUR_SPY, QUARTER_6E, minute_ends, rows_of, series
from support.markets import CME, FIFTEEN, GRAINS, HOURLY, MINUTE, NEW_YORK, NYSE, ONE_MINUTE, utc

MINUTES_6E = SeriesKey("6E", ONE_MINUTE)
BEGIN = minute_ends("2018-12-11 10:01", 1)[0]


def stream(base: Timeframe | None = ONE_MINUTE, *frames: Timeframe, settle: int | None = None) -> Stream:
    return Stream(symbol="6E", base=base, timeframes=frames or (FIFTEEN,), session=CME, settle_ns=settle)


def maker(made: Stream | None = None, after: dict[SeriesKey, int] | None = None) -> BarMaker:
    return BarMaker(made or stream(), "test", after or {})


def push(into: BarMaker, bars: Bars) -> Made:
    return into.push(bars.end, bars.columns(), int(bars.end[-1]))


def minutes(count: int, first: str = "2018-12-11 10:01") -> Bars:
    return series(MINUTES_6E, minute_ends(first, count))


def ticks(stamps: Sequence[int]) -> Ticks:
    price = 1.0 + np.arange(len(stamps)) / 4
    return Ticks(symbol="6E", stamp=np.array(stamps), price=price, volume=np.ones(len(stamps)))


def ends(items: list[Item]) -> list[int]:
    return [item.end for item in items if isinstance(item, Arrival)]


def kinds(items: list[Item]) -> list[str]:
    return [item.kind for item in items if isinstance(item, Irregularity)]


def test_bars_of_the_base_pass_and_longer_ones_are_made_of_them() -> None:
    hours = [utc(f"2018-12-11 {hour}:00", NEW_YORK) for hour in range(10, 17)]
    both = Stream(symbol="SPY", base=HOURLY, timeframes=(DAILY, HOURLY), session=NYSE)
    bars = series(HOUR_SPY, hours)
    made = push(maker(both), bars)
    assert [item.key for item in made.items] == [HOUR_SPY] * 7 + [DAY_SPY]
    (day,) = (item for item in made.items if item.key == DAY_SPY)
    assert (day.end, day.values) == next(rows_of(aggregate(bars, DAILY, NYSE)))
    assert made.counts["held"] == 0


def test_the_running_bar_is_not_seen() -> None:
    into = maker()
    made = push(into, minutes(15).rows(0, 14))
    assert made.items == []
    assert made.counts["held"] == 14
    (item,) = push(into, minutes(15).rows(14, 15)).items
    assert (item.end, item.values) == next(rows_of(aggregate(minutes(15), FIFTEEN, CME)))


def test_a_first_bar_whose_beginning_was_not_seen_is_not_delivered() -> None:
    made = push(maker(), minutes(30).rows(3, 30))
    assert kinds(made.items) == ["bad"]
    assert "beginning of this bar was not seen" in made.items[0].detail  # type: ignore[union-attr]
    assert ends(made.items) == [BEGIN + 29 * MINUTE]


def test_a_day_begins_with_the_session() -> None:
    """The first hour of the NYSE is half an hour: the day is whole all the same; from 11:00 on it is not."""
    hours = series(HOUR_SPY, [utc(f"2018-12-11 {hour}:00", NEW_YORK) for hour in range(10, 17)])
    day = Stream(symbol="SPY", base=HOURLY, timeframes=(DAILY,), session=NYSE)
    assert kinds(push(maker(day), hours).items) == []
    assert kinds(push(maker(day), hours.rows(1, 7)).items) == ["bad"]


def test_rows_that_come_again_or_too_late_are_reported_and_not_merged() -> None:
    into, bars = maker(), minutes(30)
    whole = push(into, bars)
    again = push(into, bars.rows(4, 6))
    assert kinds(again.items) == ["duplicate", "duplicate"]
    changed = bars.rows(16, 17).columns() | {"volume": np.array([5e6])}
    other = into.push(bars.end[16:17], changed, int(bars.end[-1]))
    assert kinds(other.items) == ["out_of_order"]
    assert (again.counts["duplicate"], other.counts["out_of_order"]) == (2, 1)
    assert ends(whole.items) == aggregate(bars, FIFTEEN, CME).end.tolist()


def test_a_falling_row_inside_a_batch_is_left_out() -> None:
    bars = minutes(15)
    order = [0, 1, 3, 2, *range(4, 15)]
    made = maker().push(
        bars.end[order], {name: column[order] for name, column in bars.columns().items()}, int(bars.end[-1])
    )
    assert kinds(made.items) == ["out_of_order"]
    (item,) = (each for each in made.items if isinstance(each, Arrival))
    kept = [i for i in range(15) if i != 2]
    assert item.values[4] == bars.volume[kept].sum()


def test_the_clock_completes_a_bar_after_it_settled_and_later_rows_are_reported() -> None:
    into, bars = maker(stream(settle=2 * SECOND)), minutes(16)
    push(into, bars.rows(0, 14))
    end = int(bars.end[14])
    assert into.advance(end + 2 * SECOND - 1) == []
    assert ends(into.advance(end + 2 * SECOND)) == [end]
    assert kinds(push(into, bars.rows(14, 16)).items) == ["out_of_order"]
    assert ends(push(into, minutes(30).rows(16, 30)).items) == [end + 15 * MINUTE]


def test_without_settling_the_clock_does_nothing() -> None:
    into = maker()
    push(into, minutes(14))
    assert into.advance(2**62) == []


def test_ticks_make_bars_and_the_first_bar_is_never_whole() -> None:
    into = maker(stream(None, ONE_MINUTE, FIFTEEN))
    stamps = [BEGIN + i * 20 * SECOND for i in range(60)]
    data = ticks(stamps)
    made = into.push(data.stamp, {"price": data.price, "volume": data.volume}, stamps[-1])
    assert kinds(made.items) == ["bad", "bad"]
    expected = [aggregate(data, frame, CME).end.tolist()[1:] for frame in (ONE_MINUTE, FIFTEEN)]
    assert ends(made.items) == [*expected[0], *expected[1]]
    assert made.counts["held"] == 3
    stale = into.push(data.stamp[:1], {"price": data.price[:1], "volume": data.volume[:1]}, stamps[-1])
    assert kinds(stale.items) == ["out_of_order"]
    assert stale.items[0].key == MINUTES_6E


def test_what_was_journaled_is_made_and_left_out() -> None:
    bars = minutes(30)
    made = push(maker(after={QUARTER_6E: int(bars.end[14])}), bars.rows(2, 30))
    assert ends(made.items) == [int(bars.end[29])]
    assert kinds(made.items) == []
    passed = maker(stream(ONE_MINUTE, ONE_MINUTE, FIFTEEN), {MINUTES_6E: int(bars.end[27])})
    assert [each.end for each in push(passed, bars).items if each.key == MINUTES_6E] == bars.end[28:].tolist()


def test_memory_of_rows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bar_maker, "_REMEMBERED", 10)
    into, bars = maker(), minutes(15)
    push(into, bars)
    assert sorted(into._recent) == bars.end[5:].tolist()
    assert kinds(push(into, bars.rows(4, 6)).items) == ["out_of_order", "duplicate"]
    push(into, minutes(20).rows(15, 20))
    assert len(into._recent) == 10


def test_a_row_from_the_future_is_reported_and_does_not_shut_out_the_next() -> None:
    into, bars = maker(), minutes(15)
    far = into.push(bars.end[:1] + 86_400 * SECOND, bars.rows(0, 1).columns(), int(bars.end[0]))
    assert kinds(far.items) == ["bad"]
    assert "later than our clock" in far.items[0].detail  # type: ignore[union-attr]
    assert ends(push(into, bars).items) == [int(bars.end[-1])]


def test_no_rows_make_nothing() -> None:
    bars = minutes(1).rows(0, 0)
    assert maker().push(bars.end, bars.columns(), 0) == Made(
        [], maker().push(bars.end, bars.columns(), 0).counts
    )


def test_streams_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="not a longer multiple of 15min"):
        stream(FIFTEEN, Timeframe.parse("20min"))
    with pytest.raises(ConfigError, match="at least one timeframe"):
        Stream(symbol="6E", base=None, timeframes=(), session=CME)
    with pytest.raises(ConfigError, match="settle in 0 ns or more"):
        stream(settle=-1)
    assert (str(stream()), str(stream(None))) == ("6E:1min", "6E:tick")
    assert stream(ONE_MINUTE, DAILY, HOURLY, ONE_MINUTE).longer == (HOURLY, DAILY)


@pytest.mark.parametrize(
    ("session", "first", "frame", "whole"),
    [
        (GRAINS, "2024-03-06 09:31", HOURLY, True),  # the hour to 10:00 begins after the pause
        (GRAINS, "2024-03-06 09:32", HOURLY, False),
        (CME, "2019-03-06 16:31", HOURLY, False),  # the hour to 17:00 began before the halt
    ],
)
def test_a_bar_that_begins_with_the_end_of_a_pause_is_whole(
    session: Session, first: str, frame: Timeframe, whole: bool
) -> None:
    key = SeriesKey("ZC", ONE_MINUTE)
    into = BarMaker(Stream(symbol="ZC", base=ONE_MINUTE, timeframes=(frame,), session=session), "test", {})
    stop = utc("2024-03-06 10:00" if session is GRAINS else "2019-03-06 17:00", NEW_YORK)
    end = np.arange(utc(first, NEW_YORK), stop + 1, MINUTE)
    made = into.push(end, series(key, end.tolist()).columns(), int(end[-1]))
    assert (ends(made.items), kinds(made.items)) == (([stop], []) if whole else ([], ["bad"]))
