from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from lockstep.errors import CalendarError
from lockstep.market.schedule import (
    CLOSE,
    DATE,
    NOMINAL_CLOSE,
    NOMINAL_OPEN,
    OFFSET,
    OPEN,
    SINCE,
    build_schedule,
    to_utc,
    utc_offsets,
)
from lockstep.market.session_template import SessionTemplate
from support.markets import NEW_YORK, utc

CME = SessionTemplate(name="CME", calendar="CMES", timezone=NEW_YORK, open="18:00", close="17:00")


def equity(calendar: str) -> SessionTemplate:
    return SessionTemplate(name="X", calendar=calendar, timezone=NEW_YORK, open="09:30", close="16:00")


def test_the_calendar_is_cut_to_the_template_and_early_closes_stay() -> None:
    stamp = utc("2018-11-22 10:00")
    schedule = build_schedule(CME, (stamp, stamp))
    days = schedule.table[DATE].astype("M8[D]").astype(str).tolist()
    row = schedule.table[:, days.index("2018-11-22")]
    assert row[OPEN] == row[NOMINAL_OPEN] == utc("2018-11-21 18:00", NEW_YORK)
    assert row[CLOSE] == utc("2018-11-22 13:00", NEW_YORK)
    assert row[NOMINAL_CLOSE] == utc("2018-11-22 17:00", NEW_YORK)
    following = schedule.table[:, days.index("2018-11-26")]
    assert following[CLOSE] == following[NOMINAL_CLOSE] == utc("2018-11-26 17:00", NEW_YORK)


def test_it_reaches_back_further_than_the_default_of_the_calendar_library() -> None:
    stamp = utc("1998-01-02 15:00")
    schedule = build_schedule(equity("XNYS"), (stamp, stamp))
    assert str(schedule.table[DATE][0].astype("M8[D]")) == "1997-01-02"


@pytest.mark.parametrize(
    ("calendar", "stamp"),
    [("NOPE", utc("2020-01-01")), ("XNYS", utc("1678-01-01")), ("XKRX", utc("1950-06-01"))],
)
def test_what_the_calendar_cannot_supply_is_a_calendar_error(calendar: str, stamp: int) -> None:
    with pytest.raises(CalendarError):
        build_schedule(equity(calendar), (stamp, stamp))


def test_offsets_change_at_the_second_of_the_change() -> None:
    offsets = utc_offsets(NEW_YORK, date(2024, 1, 1), date(2024, 12, 31))
    assert offsets[SINCE, 1:].tolist() == [utc("2024-03-10 07:00"), utc("2024-11-03 06:00")]
    assert (offsets[OFFSET] / 3.6e12).tolist() == [-5.0, -4.0, -5.0]


@pytest.mark.parametrize("clock", ["00:30", "03:30", "09:30", "17:00", "18:00", "23:59"])
def test_wall_clock_to_utc_agrees_with_zoneinfo_on_both_changes(clock: str) -> None:
    offsets = utc_offsets(NEW_YORK, date(2024, 1, 1), date(2024, 12, 31))
    days = ["2024-03-09", "2024-03-10", "2024-03-11", "2024-11-02", "2024-11-03", "2024-11-04"]
    texts = [f"{day} {clock}" for day in days]
    wall = np.array([np.datetime64(text, "ns") for text in texts]).astype(np.int64)
    expected = [datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(NEW_YORK)) for text in texts]
    assert to_utc(wall, offsets).tolist() == [int(moment.timestamp()) * 10**9 for moment in expected]
