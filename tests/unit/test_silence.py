"""Series that fall silent: what no bar can tell, since none comes."""

from __future__ import annotations

from lockstep.live.feeds.inbox import Inbox
from lockstep.live.feeds.source import InboxSource, Known
from lockstep.live.feeds.synchroniser import SECOND, Synchroniser
from lockstep.live.messages import Irregularity
from lockstep.live.silence import Silence
from support.feeds import COMP, DAY_SPY, HOUR_SPY, ManualClock, arrival, closes, flat, timetable
from support.markets import NEW_YORK, utc

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
TABLE = timetable([HOUR_SPY, DAY_SPY])


def at(text: str) -> int:
    return utc(text, NEW_YORK)


def quiet(newest: str, *, since: str = "2018-12-17 12:00", allowed: int = 15 * MINUTE) -> Silence:
    """A desk that began to listen at `since`, whose newest hour is `newest`."""
    made = Silence(TABLE, allowed_ns=allowed)
    made.resume({HOUR_SPY: at(newest)}, at(since))
    return made


def told(found: tuple[Irregularity, ...]) -> list[tuple[str, int]]:
    return [(str(each.key), each.end) for each in found if each.kind == "silent"]


def test_a_bar_that_is_late_by_more_than_its_own_length_is_told_once() -> None:
    made = quiet("2018-12-18 12:00")
    assert made.overdue(at("2018-12-18 13:59")) == ()
    (report,) = made.overdue(at("2018-12-18 14:00"))
    assert told((report,)) == [("SPY:1h", at("2018-12-18 13:00"))]
    assert "no bar since 2018-12-18T17:00:00Z, the calendar has one at 2018-12-18T18:00:00Z" in report.detail
    assert made.overdue(at("2018-12-18 15:30")) == ()
    made.heard(arrival(HOUR_SPY, at("2018-12-18 15:00")))
    assert told(made.overdue(at("2018-12-18 17:30"))) == [("SPY:1h", at("2018-12-18 16:00"))]


def test_nights_weekends_holidays_and_known_early_closes_are_no_silence() -> None:
    for newest, morning in (
        ("2018-12-18 16:00", "2018-12-19 10:59"),
        ("2018-12-21 16:00", "2018-12-24 10:59"),
        ("2018-12-24 13:00", "2018-12-26 10:59"),  # Christmas Eve ends at 13:00
    ):
        assert quiet(newest).overdue(at(morning)) == ()
        assert quiet(newest).overdue(at(morning) + MINUTE) != ()


def test_an_early_close_that_the_calendar_does_not_know_is_told_on_that_day() -> None:
    """PARITY 40, live: an exchange that stopped at 13:00 sends nothing that could say so."""
    made = quiet("2018-12-18 13:00")
    assert told(made.overdue(at("2018-12-18 15:00"))) == [("SPY:1h", at("2018-12-18 14:00"))]


def test_an_evening_vendor_is_not_late_and_a_day_without_a_bar_is() -> None:
    (monday,) = closes("2018-12-17")
    made = Silence(TABLE, allowed_ns=15 * MINUTE)
    made.resume({DAY_SPY: monday}, at("2018-12-17 18:00"))
    assert made.overdue(at("2018-12-19 03:59")) == ()
    assert told(made.overdue(at("2018-12-19 04:00"))) == [("SPY:1d", monday + 24 * HOUR)]


def test_after_a_start_what_is_late_may_still_be_read() -> None:
    made = quiet("2018-12-14 16:00", since="2018-12-18 15:00")
    assert made.overdue(at("2018-12-18 15:59")) == ()
    assert made.overdue(at("2018-12-18 16:00")) != ()


def test_unknown_series_and_bars_from_the_future_are_not_heard() -> None:
    made = quiet("2018-12-18 12:00")
    made.heard(arrival(COMP, at("2018-12-18 13:00")))
    made.heard(arrival(HOUR_SPY, at("2018-12-28 13:00"), delay=-10 * 24 * HOUR))
    assert told(made.overdue(at("2018-12-18 14:00"))) == [("SPY:1h", at("2018-12-18 13:00"))]


def test_a_live_source_reports_it_and_a_replay_does_not() -> None:
    known = {HOUR_SPY: [(at("2018-12-18 12:00"), flat())]}

    def synchronise(known: Known) -> Synchroniser:
        return Synchroniser(TABLE, grace_ns=0, traded=frozenset({HOUR_SPY}), known=known)

    clock = ManualClock(at("2018-12-18 12:00"))
    for each, kinds in ((clock, ["silent"]), (None, [])):
        clock.now = at("2018-12-18 12:00")
        source = InboxSource([], synchronise, inbox=Inbox(), clock=each, silence=Silence(TABLE, allowed_ns=0))
        source.resume(known)
        clock.now = at("2018-12-18 14:00")
        assert [report.kind for report in source.reports()] == kinds
