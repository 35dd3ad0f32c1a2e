from __future__ import annotations

import pytest
from pydantic import ValidationError

from lockstep.market.session_template import SessionTemplate, clock_minute, known_timezone
from support.markets import BOOK

CME = {"name": "CME", "calendar": "CMES", "timezone": "America/New_York", "open": "18:00", "close": "17:00"}


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
    ],
)
def test_a_wrong_template_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SessionTemplate.model_validate(CME | wrong)


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
