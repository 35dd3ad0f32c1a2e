"""Bar sets: complete, late, missing, repeated; time is what the test says it is."""

from __future__ import annotations

import pytest

from lockstep.errors import ConfigError
from lockstep.live.feeds.synchroniser import REMEMBERED, SECOND, Synchroniser
from lockstep.live.messages import Arrival, Irregularity
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import Timeframe
from lockstep.market.timetable import Timetable
from support.feeds import (
    COMP,
    DAY_SPY,
    GRACE,
    HOUR_SPY,
    PAIR,
    SPX,
    arrival,
    closes,
    drained,
    flat,
    kinds,
    released,
    timetable,
)
from support.markets import CME, NEW_YORK, NYSE, utc

MONDAY, TUESDAY, WEDNESDAY, THURSDAY = closes("2018-12-10", "2018-12-11", "2018-12-12", "2018-12-13")
KNOWN = {COMP: [(MONDAY, flat())], SPX: [(MONDAY, flat())]}


def pair(**overrides: object) -> Synchroniser:
    """A traded COMP with SPX beside it, whose windows end on Monday."""
    options = {"grace_ns": GRACE, "traded": frozenset({COMP}), "known": KNOWN, **overrides}
    return Synchroniser(PAIR, **options)  # type: ignore[arg-type]


def test_a_complete_set_goes_at_once() -> None:
    synchroniser = pair()
    synchroniser.offer(arrival(COMP, TUESDAY))
    assert synchroniser.release(TUESDAY) is None
    assert synchroniser.due(TUESDAY) == TUESDAY + GRACE
    synchroniser.offer(arrival(SPX, TUESDAY, delay=SECOND, price=50))
    assert synchroniser.due(TUESDAY + SECOND) == TUESDAY + SECOND
    (release,) = drained(synchroniser, TUESDAY + SECOND)
    assert (release.stamp, dict(release.bars)) == (TUESDAY, {COMP: flat(), SPX: flat(50)})
    assert (release.late, release.irregularities) == ((), ())
    assert synchroniser.due(TUESDAY + SECOND) is None


def test_the_grace_ends_and_the_pair_is_missing() -> None:
    synchroniser = pair()
    synchroniser.offer(arrival(COMP, TUESDAY, delay=SECOND))
    assert synchroniser.release(TUESDAY + GRACE) is None
    (release,) = drained(synchroniser, TUESDAY + SECOND + GRACE)
    assert set(release.bars) == {COMP}
    assert [(each.kind, each.key) for each in release.irregularities] == [("missing", SPX)]


def test_a_late_context_bar_comes_with_the_next_release() -> None:
    late = arrival(SPX, TUESDAY, delay=2 * GRACE)
    releases = released(
        pair(), [arrival(COMP, TUESDAY), late, arrival(COMP, WEDNESDAY), arrival(SPX, WEDNESDAY)]
    )
    assert [release.stamp for release in releases] == [TUESDAY, WEDNESDAY]
    assert set(releases[0].bars) == {COMP}
    assert releases[1].late == (late,)
    assert kinds(releases) == ["missing", "late"]


def test_late_bars_are_sorted_and_repeats_of_them_reported() -> None:
    arrivals = [
        arrival(COMP, TUESDAY),
        arrival(COMP, WEDNESDAY),
        arrival(SPX, WEDNESDAY, delay=2 * GRACE),
        arrival(SPX, TUESDAY, delay=2 * GRACE + WEDNESDAY - TUESDAY),
        arrival(SPX, TUESDAY, delay=3 * GRACE + WEDNESDAY - TUESDAY),
        arrival(COMP, THURSDAY),
        arrival(SPX, THURSDAY),
    ]
    last = released(pair(), arrivals)[-1]
    assert [each.end for each in last.late] == [TUESDAY, WEDNESDAY]
    assert [each.kind for each in last.irregularities] == ["late", "late", "duplicate"]


def test_a_late_traded_bar_is_never_delivered() -> None:
    releases = released(
        pair(), [arrival(SPX, TUESDAY), arrival(COMP, TUESDAY, delay=GRACE), arrival(SPX, WEDNESDAY)]
    )
    assert all(COMP not in release.bars and not release.late for release in releases)
    assert kinds(releases) == ["missing", "out_of_order", "missing"]


def test_a_context_bar_older_than_the_newest_delivered_is_never_delivered() -> None:
    synchroniser = pair()
    releases = released(
        synchroniser,
        [arrival(COMP, TUESDAY), arrival(COMP, WEDNESDAY), arrival(SPX, WEDNESDAY),
         arrival(SPX, TUESDAY, delay=WEDNESDAY - TUESDAY + SECOND), arrival(COMP, THURSDAY)],
    )  # fmt: skip
    assert "out_of_order" in kinds(releases)
    assert all(not release.late for release in releases)
    assert synchroniser.outcome(arrival(SPX, TUESDAY)) == "refused"


def test_an_earlier_set_is_not_overtaken() -> None:
    synchroniser = pair(grace_ns=5 * 86_400 * SECOND)
    synchroniser.offer(arrival(COMP, TUESDAY))
    synchroniser.offer(arrival(COMP, WEDNESDAY))
    synchroniser.offer(arrival(SPX, WEDNESDAY))
    assert drained(synchroniser, WEDNESDAY) == []
    synchroniser.offer(arrival(SPX, TUESDAY, delay=WEDNESDAY - TUESDAY))
    assert [release.stamp for release in drained(synchroniser, WEDNESDAY)] == [TUESDAY, WEDNESDAY]


def test_a_stamp_that_is_outstanding_altogether_holds_the_next() -> None:
    synchroniser = pair()
    synchroniser.offer(arrival(COMP, WEDNESDAY))
    synchroniser.offer(arrival(SPX, WEDNESDAY))
    assert drained(synchroniser, WEDNESDAY) == []
    (release,) = drained(synchroniser, WEDNESDAY + GRACE)
    assert [(each.kind, each.key, each.detail[0]) for each in release.irregularities] == [
        ("gap", COMP, "1"),
        ("gap", SPX, "1"),
    ]


def test_without_known_bars_the_first_set_waits_for_the_grace() -> None:
    synchroniser = pair(known=None)
    synchroniser.offer(arrival(COMP, WEDNESDAY))
    synchroniser.offer(arrival(SPX, WEDNESDAY))
    synchroniser.offer(arrival(COMP, TUESDAY, delay=WEDNESDAY - TUESDAY))
    assert drained(synchroniser, WEDNESDAY) == []
    assert [each.stamp for each in drained(synchroniser, WEDNESDAY + GRACE)] == [TUESDAY, WEDNESDAY]


def test_repeats_and_corrections_of_waiting_and_released_bars() -> None:
    synchroniser = pair()
    first, other = arrival(COMP, TUESDAY), arrival(COMP, TUESDAY, price=7)
    for item in (first, first, other):
        synchroniser.offer(item)
    assert synchroniser.outcome(first) is None
    (release,) = released(synchroniser, [arrival(SPX, TUESDAY), other, first])
    assert release.bars[COMP] == flat()
    assert [each.kind for each in release.irregularities] == ["duplicate", "corrected"]
    assert [each.kind for each in synchroniser.take_reports()] == ["corrected", "duplicate"]
    assert synchroniser.counts == {"duplicate": 2, "corrected": 2}
    assert (synchroniser.outcome(first), synchroniser.outcome(other)) == ("released", "corrected")


def test_a_repeat_of_a_known_bar_is_told_from_a_correction() -> None:
    synchroniser = pair()
    synchroniser.offer(arrival(COMP, MONDAY))
    synchroniser.offer(arrival(COMP, MONDAY, price=7))
    assert [each.kind for each in synchroniser.take_reports()] == ["duplicate", "corrected"]


def test_negative_zero_is_zero() -> None:
    zero = Arrival(COMP, TUESDAY, (-0.0, 0.0, -0.0, -0.0, -0.0), TUESDAY, "test")
    (release,) = released(pair(), [zero])
    assert [str(value) for value in release.bars[COMP]] == ["0.0"] * 5


GOOD = arrival(COMP, TUESDAY)
BAD = {
    "not finite": (GOOD._replace(values=(float("nan"), 1.0, 1.0, 1.0, 1.0)), "must be a finite number"),
    "close above high": (GOOD._replace(values=(1.0, 1.0, 1.0, 2.0, 1.0)), "close must be <= high"),
    "four values": (GOOD._replace(values=(1.0, 1.0, 1.0, 1.0)), "4 values"),
    "unknown series": (arrival(SeriesKey("COMP", Timeframe.parse("1h")), TUESDAY), "is not expected"),
    "off the grid": (arrival(COMP, TUESDAY - 60 * SECOND), "off the grid"),
    "not complete": (arrival(COMP, TUESDAY, delay=-3_600 * SECOND), "after it was received"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_bar_is_reported_with_its_rule(name: str) -> None:
    bad, rule = BAD[name]
    synchroniser = pair()
    releases = released(synchroniser, [bad])
    assert releases == []
    (report,) = synchroniser.take_reports()
    assert report.kind == "bad"
    assert rule in report.detail
    assert synchroniser.outcome(bad) == "refused"


def test_a_bar_a_little_ahead_of_our_clock_is_taken() -> None:
    early = arrival(COMP, TUESDAY, delay=-SECOND)
    assert [each.stamp for each in released(pair(), [early])] == [TUESDAY]


def test_what_a_feed_reports_goes_with_the_next_release() -> None:
    report = Irregularity("bad", COMP, 0, None, "file:7: unreadable")
    (release,) = released(pair(), [report, arrival(COMP, TUESDAY), arrival(SPX, TUESDAY)])
    assert release.irregularities == (report,)


def test_a_clock_that_goes_back_changes_nothing() -> None:
    synchroniser = pair()
    synchroniser.offer(arrival(COMP, TUESDAY, delay=5 * SECOND))
    synchroniser.offer(arrival(SPX, TUESDAY, delay=-3 * SECOND))
    assert [each.stamp for each in drained(synchroniser, 0)] == [TUESDAY]


def test_bars_received_at_one_moment_count_together() -> None:
    """A bar outside the schedule is not late because another one of its moment was offered first."""
    hour = Timeframe.parse("1h")
    keys = {SeriesKey("ES", hour): CME, HOUR_SPY: NYSE}
    early = utc("2018-12-11 08:00", NEW_YORK)
    table = Timetable(keys)
    known = {key: [(early - 3_600 * SECOND, flat())] for key in keys}
    synchroniser = Synchroniser(table, grace_ns=GRACE, traded=frozenset(keys), known=known)
    synchroniser.offer(arrival(SeriesKey("ES", hour), early))
    synchroniser.offer(arrival(HOUR_SPY, early))
    (release,) = drained(synchroniser, early)
    assert set(release.bars) == set(keys)


def test_a_half_day_and_its_daily_bar() -> None:
    """Christmas Eve: the last hour ends at 13:00, the day at the nominal close, as a set of its own."""
    table = timetable([HOUR_SPY, DAY_SPY])
    hours = [utc(f"2018-12-24 {hour}:00", NEW_YORK) for hour in (10, 11, 12, 13)]
    (day,) = closes("2018-12-24")
    known = {HOUR_SPY: [(utc("2018-12-21 16:00", NEW_YORK), flat())]}
    synchroniser = Synchroniser(table, grace_ns=GRACE, traded=frozenset({HOUR_SPY}), known=known)
    for end in hours:
        synchroniser.offer(arrival(HOUR_SPY, end))
        assert [each.stamp for each in drained(synchroniser, end)] == [end]
    synchroniser.offer(arrival(DAY_SPY, day))
    (release,) = drained(synchroniser, day)
    assert set(release.bars) == {DAY_SPY}
    assert release.irregularities == ()


def test_the_last_hour_waits_for_the_day() -> None:
    table = timetable([HOUR_SPY, DAY_SPY])
    end = TUESDAY
    known = {HOUR_SPY: [(end - 3_600 * SECOND, flat())]}
    synchroniser = Synchroniser(table, grace_ns=GRACE, traded=frozenset({HOUR_SPY}), known=known)
    synchroniser.offer(arrival(HOUR_SPY, end))
    assert drained(synchroniser, end) == []
    synchroniser.offer(arrival(DAY_SPY, end))
    (release,) = drained(synchroniser, end)
    assert set(release.bars) == {HOUR_SPY, DAY_SPY}


def test_a_bar_of_an_unscheduled_day_is_released_after_the_grace() -> None:
    (sunday,) = closes("2018-12-09")
    synchroniser = pair(known=None)
    synchroniser.offer(arrival(COMP, sunday))
    assert drained(synchroniser, sunday) == []
    (release,) = drained(synchroniser, sunday + GRACE)
    assert [(each.kind, each.key) for each in release.irregularities] == [("outside", COMP)]


def test_memory_of_released_bars_is_bounded() -> None:
    hour = SeriesKey("ES", Timeframe.parse("1h"))
    synchroniser = Synchroniser(Timetable({hour: CME}), grace_ns=0, traded=frozenset({hour}))
    first = utc("2018-12-10 10:00", NEW_YORK)
    ends = [first + i * 3_600 * SECOND for i in range(REMEMBERED + 50)]
    assert len(released(synchroniser, [arrival(hour, end) for end in ends])) == len(ends)
    assert len(synchroniser._memory[hour]) == REMEMBERED
    synchroniser.offer(arrival(hour, first))
    assert [each.kind for each in synchroniser.take_reports()] == ["out_of_order"]


def test_a_closed_set_has_no_outcome_before_it_is_handed_out() -> None:
    synchroniser = pair()
    both = [arrival(COMP, TUESDAY), arrival(SPX, TUESDAY)]
    assert synchroniser.outcome(both[0]) is None, "not offered yet"
    for item in both:
        synchroniser.offer(item)
    synchroniser.offer(arrival(COMP, WEDNESDAY))
    assert synchroniser.due(WEDNESDAY) == WEDNESDAY
    assert [synchroniser.outcome(each) for each in both] == [None, None]
    assert synchroniser.release(WEDNESDAY) is not None
    assert [synchroniser.outcome(each) for each in both] == ["released", "released"]


def test_a_late_bar_has_no_outcome_before_the_next_release() -> None:
    synchroniser = pair()
    late = arrival(SPX, TUESDAY, delay=2 * GRACE)
    synchroniser.offer(arrival(COMP, TUESDAY))
    assert [each.stamp for each in drained(synchroniser, TUESDAY + GRACE)] == [TUESDAY]
    synchroniser.offer(late)
    assert synchroniser.outcome(late) is None
    synchroniser.offer(arrival(COMP, WEDNESDAY))
    synchroniser.offer(arrival(COMP, THURSDAY))
    assert synchroniser.outcome(late) is None
    assert synchroniser.release(THURSDAY) is not None
    assert synchroniser.outcome(late) == "released"


def test_contradictions_are_refused() -> None:
    with pytest.raises(ConfigError, match="must not be negative"):
        pair(grace_ns=-1)
    with pytest.raises(ConfigError, match="SPY:1h: not among the expected series"):
        pair(traded=frozenset({HOUR_SPY}))
