from __future__ import annotations

from datetime import date

import pytest
from pydantic import ValidationError

from lockstep.market.session_template import EarlierHours, SessionTemplate, clock_minute, known_timezone
from support.markets import BOOK

CME = {"name": "CME", "calendar": "CMES", "timezone": "America/New_York", "open": "18:00", "close": "17:00"}
DAY = date(2025, 1, 9)


def test_a_session_that_opens_in_the_evening_belongs_to_the_next_day() -> None:
    template = SessionTemplate.model_validate(CME)
    assert (template.open_minute, template.close_minute) == (-6 * 60, 17 * 60)


def test_an_open_at_the_close_is_a_day_of_24_hours() -> None:
    template = SessionTemplate.model_validate(CME | {"open": "17:00"})
    assert template.close_minute - template.open_minute == 24 * 60


def test_a_day_session() -> None:
    template = SessionTemplate.model_validate(CME | {"open": "00:00", "close": "24:00"})
    assert (template.open_minute, template.close_minute) == (0, 24 * 60)


@pytest.mark.parametrize(
    "wrong",
    [
        {"open": "25:00"},
        {"open": "9:30"},
        {"close": "24:01"},
        {"open": 1080},  # what YAML makes of a bare 18:00
        {"timezone": "America/Newyork"},
        {"timezone": ""},
        {"grid": "hourly"},
        {"colour": "red"},
        {"pause": "16:15"},
        {"pause": ["16:30", "16:15"]},
        {"pause": ["16:30", "17:15"]},  # 17:15 is not before the close, so of the evening before
        {"rolls": "16:45"},
        {"rolls": "18:15"},
        {"earlier": [{"until": "2015-09-18", "close": "18:30"}]},
        {"earlier": [{"until": "2015-09-18"}, {"until": "2015-09-18", "close": "16:00"}]},
        {"exceptions": {"2025-01-09": {"close": "09:30"}}},  # a text, not a date
        {"exceptions": {DAY: "09:30"}},
        {"exceptions": {DAY: {"close": "09:30", "closed": True}}},
        {"exceptions": {DAY: {"close": "17:15"}}},  # longer than the regular session
        {"exceptions": {DAY: {"open": "17:30"}}},
        {"exceptions": {DAY: {"shut": True}}},
        {"exceptions": [{"date": DAY, "closed": True}, {"date": DAY, "close": "09:30"}]},
    ],
)
def test_a_wrong_template_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SessionTemplate.model_validate(CME | wrong)


def test_earlier_hours_and_exceptions_are_in_order_and_fill_in_what_they_leave_out() -> None:
    template = SessionTemplate.model_validate(
        CME
        | {
            "earlier": [{"until": "2021-06-25", "pause": ["16:15", "16:30"]},
                        {"until": "2015-09-18", "close": "17:15"}],
            "exceptions": {date(2026, 4, 3): {"close": "09:15"}, DAY: {"open": "09:30"}},
        }
    )  # fmt: skip
    older, newer = template.earlier
    assert (template.hours(older), template.pause_minutes(older)) == ((-360, 1035), None)
    assert (template.hours(newer), template.pause_minutes(newer)) == ((-360, 1020), (975, 990))
    assert [each.date for each in template.exceptions] == [DAY, date(2026, 4, 3)]
    late, early = (
        EarlierHours(until=each.date, open=each.open, close=each.close) for each in template.exceptions
    )
    assert (template.hours(late), template.hours(early)) == ((570, 1020), (-360, 555))


def test_a_template_without_the_newer_fields_is_written_as_before() -> None:
    assert set(SessionTemplate.model_validate(CME).model_dump()) == {*CME, "grid"}


def test_clock_times() -> None:
    assert [clock_minute(text) for text in ("00:00", "09:30", "24:00")] == [0, 570, 1440]
    with pytest.raises(ValueError, match="quoted"):
        clock_minute("noon")


def test_time_zones() -> None:
    assert known_timezone("UTC") == "UTC"
    with pytest.raises(ValueError, match="IANA"):
        known_timezone("../etc")


def test_sessions_per_year() -> None:
    assert BOOK.sessions["CME"].sessions_per_year == BOOK.sessions["NYSE"].sessions_per_year == 252
    assert BOOK.sessions["CRYPTO"].sessions_per_year == 365
