"""When bars are scheduled: half-days, holidays, both grids, stretches that grow in both directions."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.market.history import SeriesKey
from lockstep.market.sessions import Session
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.market.timetable import Timetable, on_grid
from support.feeds import DAY_SPY, HOUR_SPY, closes
from support.markets import CME, CRYPTO, FIFTEEN, GRAINS, HOURLY, MINUTE, NEW_YORK, NYSE, ONE_MINUTE, utc

HALF_HOUR = Timeframe.parse("30min")
ES_DAY = SeriesKey("ES", DAILY)
TABLE = Timetable({HOUR_SPY: NYSE, DAY_SPY: NYSE, ES_DAY: CME})


def at(text: str) -> int:
    return utc(text, NEW_YORK)


def test_what_is_scheduled_on_a_full_day_and_a_half_day() -> None:
    assert TABLE.scheduled(at("2018-12-21 10:00")) == {HOUR_SPY}
    assert TABLE.scheduled(at("2018-12-21 16:00")) == {HOUR_SPY, DAY_SPY}
    assert TABLE.scheduled(at("2018-12-21 17:00")) == {ES_DAY}
    assert TABLE.scheduled(at("2018-12-24 13:00")) == {HOUR_SPY}
    assert TABLE.scheduled(at("2018-12-24 14:00")) == set()
    assert TABLE.scheduled(at("2018-12-24 16:00")) == {DAY_SPY}
    assert TABLE.scheduled(at("2018-12-25 16:00")) == set()


def test_what_lies_between() -> None:
    friday, wednesday = at("2018-12-21 16:00"), at("2018-12-26 10:00")
    assert TABLE.between(HOUR_SPY, friday, wednesday) == 4
    assert TABLE.between(DAY_SPY, friday, wednesday) == 1
    assert TABLE.between(HOUR_SPY, wednesday, friday) == 0
    assert TABLE.any_between(friday, at("2018-12-21 17:00") + 1)
    assert not TABLE.any_between(at("2018-12-21 17:00"), at("2018-12-24 10:00"))


def test_the_order_of_questions_does_not_matter() -> None:
    """Years are added before and behind what is known."""
    asked = [*closes("2010-03-01"), *closes("2018-03-01"), *closes("2002-03-01"), *closes("2014-03-03")]
    grown = Timetable({DAY_SPY: NYSE})
    assert [grown.scheduled(stamp) for stamp in asked] == [{DAY_SPY}] * 4
    first, last = asked[2], asked[1]
    fresh = Timetable({DAY_SPY: NYSE})
    assert grown.between(DAY_SPY, first, last) == fresh.between(DAY_SPY, first, last) > 4_000


@pytest.mark.parametrize("session", [NYSE, CME, CRYPTO, GRAINS], ids=["NYSE", "CME", "CRYPTO", "GRAINS"])
@pytest.mark.parametrize("timeframe", [FIFTEEN, HALF_HOUR, HOURLY, DAILY], ids=str)
def test_the_grid_is_that_of_the_aggregator(session: Session, timeframe: Timeframe) -> None:
    """Every minute of three weeks with a half-day, a holiday and a change to winter time."""
    for begin in ("2018-11-01 00:00", "2018-11-18 00:00"):
        minutes = at(begin) + MINUTE * np.arange(1, 8 * 24 * 60, dtype=np.int64)
        ends = session.bucket_end(minutes, timeframe, closed="right") == minutes
        if timeframe.is_session:
            scheduled = ends
        else:
            # What ends in a pause was cut where the pause began.
            scheduled = ends & session.in_session(minutes, ONE_MINUTE)
        key = SeriesKey("ES", timeframe)
        table = Timetable({key: session})
        found = [bool(table.scheduled(int(minute))) for minute in minutes]
        assert found == scheduled.tolist()


def test_bars_of_the_grid_that_are_not_scheduled() -> None:
    assert TABLE.on_grid(HOUR_SPY, at("2018-12-24 15:00"))
    assert TABLE.on_grid(DAY_SPY, at("2018-12-25 16:00"))
    assert not TABLE.on_grid(HOUR_SPY, at("2018-12-24 15:30"))
    assert not TABLE.on_grid(DAY_SPY, at("2018-12-25 13:00"))
    assert on_grid(NYSE, HOURLY, at("2018-12-23 15:00"))
