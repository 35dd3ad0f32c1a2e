from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from lockstep.errors import CalendarError
from lockstep.live.risk.session_day import SessionDays
from lockstep.market import open_hours as market_hours
from lockstep.market.config import load_instruments
from lockstep.market.open_hours import is_open, next_open, open_time
from lockstep.market.sessions import SessionDay
from support.orders import HOUR

BOOK = load_instruments()
CME, NYSE, CRYPTO = (BOOK.session_named(name) for name in ("CME", "NYSE", "CRYPTO"))


def utc(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


@pytest.mark.parametrize(
    ("session", "moment", "expected"),
    [
        (CME, "2024-03-06T22:00", False),  # 17:00 in New York: the daily break begins
        (CME, "2024-03-06T22:30", False),
        (CME, "2024-03-06T23:00", True),
        (CME, "2024-03-06T21:59:59", True),
        (CME, "2024-03-09T12:00", False),  # Saturday
        (NYSE, "2024-03-06T14:30", True),
        (NYSE, "2024-03-06T14:29:59", False),
        (NYSE, "2024-03-06T21:00", False),
        (NYSE, "2024-07-03T17:00", False),  # a half-day closes at 13:00
        (NYSE, "2024-07-03T16:59", True),
        (NYSE, "2024-07-04T15:00", False),
        (CRYPTO, "2024-03-06T00:00", True),  # close of one session, open of the next
    ],
)
def test_whether_it_trades_and_when_next(session: object, moment: str, expected: bool) -> None:
    now = utc(moment)
    assert is_open(session, now) is expected  # type: ignore[arg-type]
    assert (next_open(session, now) == now) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("session", "moment", "opens"),
    [
        (CME, "2024-03-06T22:00", "2024-03-06T23:00"),
        (CME, "2024-03-08T22:00", "2024-03-10T22:00"),  # the weekend of the change to summer time
        (CME, "2024-11-01T21:00", "2024-11-03T23:00"),  # and back
        (NYSE, "2024-07-03T17:00", "2024-07-05T13:30"),  # half-day, then a holiday
        (NYSE, "2024-03-08T21:00", "2024-03-11T13:30"),
    ],
)
def test_an_order_of_a_closed_market_is_due_at_the_next_open(
    session: object, moment: str, opens: str
) -> None:
    assert next_open(session, utc(moment)) == utc(opens)  # type: ignore[arg-type]


def test_open_time_leaves_out_breaks_and_weekends() -> None:
    assert open_time(CME, utc("2024-03-06T21:00"), utc("2024-03-07T00:00")) == 2 * HOUR
    assert open_time(NYSE, utc("2024-03-08T20:30"), utc("2024-03-11T14:00")) == HOUR
    assert open_time(NYSE, utc("2024-03-09T00:00"), utc("2024-03-10T00:00")) == 0
    assert open_time(NYSE, utc("2024-07-03T16:00"), utc("2024-07-05T13:30")) == HOUR
    assert open_time(CRYPTO, utc("2024-03-06T00:00"), utc("2024-03-09T00:00")) == 72 * HOUR


def test_time_that_runs_backwards_is_no_open_time() -> None:
    assert open_time(CME, utc("2024-03-06T21:00"), utc("2024-03-06T20:00")) == 0


def test_open_time_is_counted_up_to_a_year() -> None:
    assert open_time(CRYPTO, utc("2020-01-01T00:00"), utc("2024-01-01T00:00")) == 366 * 24 * HOUR


def test_a_calendar_without_sessions_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = partial(SessionDay, 0, 0, 0, 0)
    monkeypatch.setattr(market_hours, "_session_at", lambda session, moment: empty(moment + 1))
    with pytest.raises(CalendarError, match="no open after stamp 5"):
        next_open(NYSE, 5)


@pytest.fixture
def days() -> SessionDays:
    return SessionDays({"ES": CME, "SPY": NYSE}, equity={"ES": 100.0, "SPY": 50.0})


def test_orders_are_counted_until_the_session_ends_not_until_midnight(days: SessionDays) -> None:
    assert days.orders("ES", utc("2024-03-06T20:00")) == 0
    days.ordered("ES", utc("2024-03-05T23:30"))  # 18:30 in New York: Wednesday's session
    days.ordered("ES", utc("2024-03-06T20:00"))
    assert days.orders("ES", utc("2024-03-06T21:59")) == 2
    assert days.orders("SPY", utc("2024-03-06T20:00")) == 0
    assert days.orders("ES", utc("2024-03-06T23:00")) == 0
    days.ordered("ES", utc("2024-03-06T23:00"))
    assert days.orders("ES", utc("2024-03-07T20:00")) == 1


def test_profit_is_counted_from_the_last_mark_of_the_previous_session(days: SessionDays) -> None:
    assert days.profit("ES", utc("2024-03-06T15:00")) == 0.0
    days.marked("ES", utc("2024-03-06T15:00"), 90.0)
    assert days.profit("ES", utc("2024-03-06T15:00")) == -10.0
    days.marked("ES", utc("2024-03-06T22:00"), 70.0)
    assert days.profit("ES", utc("2024-03-06T22:00")) == -30.0
    assert days.profit("ES", utc("2024-03-06T23:00")) == 0.0
    days.marked("ES", utc("2024-03-07T15:00"), 75.0)
    assert days.profit("ES", utc("2024-03-07T15:00")) == 5.0


def test_days_respect_both_changes_of_the_clock(days: SessionDays) -> None:
    for friday, reopened in (
        ("2024-03-08T22:00", "2024-03-10T22:00"),
        ("2024-11-01T21:00", "2024-11-03T23:00"),
    ):
        days.ordered("ES", utc(friday))
        assert days.orders("ES", utc(friday)) == 1
        assert days.orders("ES", utc(reopened)) == 0
        days.ordered("ES", utc(reopened))
        assert days.orders("ES", utc(reopened) + 20 * HOUR) == 1
