"""Quarantined bars in the synchroniser: what waits, what goes without them, and what the operator decides."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from lockstep.errors import LiveError
from lockstep.live.events import Event
from lockstep.live.feeds.synchroniser import SECOND, Synchroniser
from lockstep.live.messages import Arrival, Irregularity, Release, Values
from lockstep.live.plausible import AGREE, Bands, Plausibility
from lockstep.live.quarantine import ACCEPT, REJECT, Quarantine, irregular
from lockstep.market.history import SeriesKey
from lockstep.market.timetable import Timetable
from support.events import an_event
from support.feeds import COMP, GRACE, PAIR, SPX, arrival, bar_sets, closes, drained, flat, kinds, released
from support.markets import NYSE

DAYS = closes(
    "2018-12-10", "2018-12-11", "2018-12-12", "2018-12-13", "2018-12-14", "2018-12-17", "2018-12-18"
)
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = DAYS[:5]
ALONE = Timetable({COMP: NYSE})


def known(*keys: SeriesKey) -> dict[SeriesKey, list[tuple[int, Values]]]:
    """Thirty calm bars that end on Monday: at 100 with a range of 2, so that the band is 80 to 120."""
    return {key: [(MONDAY - (29 - i) * 86_400 * SECOND, flat()) for i in range(30)] for key in keys}


def pair(**changes: object) -> Synchroniser:
    options = {"grace_ns": GRACE, "traded": frozenset({COMP}), "known": known(COMP, SPX)} | changes
    return Synchroniser(PAIR, bands=Bands(Plausibility()), **options)  # type: ignore[arg-type]


def alone() -> Synchroniser:
    return Synchroniser(
        ALONE, grace_ns=GRACE, traded=frozenset({COMP}), known=known(COMP), bands=Bands(Plausibility())
    )


def absurd(key: SeriesKey, end: int, *, delay: int = 0) -> Arrival:
    return arrival(key, end, delay=delay)._replace(values=(100.0, 1e308, 99.0, 100.0, 10.0))


def waiting(made: Synchroniser) -> list[tuple[SeriesKey, int]]:
    return [(bar.key, bar.end) for bar in made._quarantine.waiting]


def reports(releases: Iterable[Release], kind: str) -> list[Irregularity]:
    return [each for release in releases for each in release.irregularities if each.kind == kind]


def test_a_set_goes_without_a_quarantined_bar_when_its_grace_is_over() -> None:
    made = pair()
    made.offer(absurd(COMP, TUESDAY))
    assert made.due(TUESDAY) is None, "nothing waits"
    made.offer(arrival(SPX, TUESDAY, delay=SECOND))
    assert drained(made, TUESDAY + GRACE) == []
    (release,) = drained(made, TUESDAY + SECOND + GRACE)
    assert dict(release.bars) == {SPX: flat()}
    assert kinds([release]) == ["implausible", "missing"]
    (report,) = reports([release], "implausible")
    assert (report.key, report.end, report.values) == (COMP, TUESDAY, (100.0, 1e308, 99.0, 100.0, 10.0))
    assert "high 1e+308" in report.detail
    assert "the band is 80 to 120" in report.detail
    assert made.outcome(absurd(COMP, TUESDAY)) == "refused"


def test_the_right_bar_of_its_stamp_takes_its_place_while_the_set_waits() -> None:
    """What was refused as `corrected`, since the absurd values had come first."""
    made, right = pair(), arrival(COMP, TUESDAY, delay=SECOND)
    for item in (arrival(SPX, TUESDAY), absurd(COMP, TUESDAY), right):
        made.offer(item)
    (release,) = drained(made, TUESDAY + SECOND)
    assert dict(release.bars) == {COMP: flat(), SPX: flat()}
    assert kinds([release]) == ["implausible"]
    assert waiting(made) == []
    assert (made.outcome(right), made.outcome(absurd(COMP, TUESDAY))) == ("released", "corrected")


def test_the_right_bar_that_comes_after_its_set_is_late() -> None:
    """A traded one is out of order and recorded; one of the context enters the windows."""
    for key, other, kind in ((COMP, SPX, "out_of_order"), (SPX, COMP, "late")):
        releases = released(
            made := pair(),
            [absurd(key, TUESDAY), arrival(other, TUESDAY), arrival(key, TUESDAY, delay=2 * GRACE),
             arrival(COMP, WEDNESDAY), arrival(SPX, WEDNESDAY)],
        )  # fmt: skip
        assert kinds(releases) == ["implausible", "missing", kind]
        assert [(late.key, late.end) for late in releases[-1].late] == [(SPX, TUESDAY)] * (key == SPX)
        assert waiting(made) == []


def test_another_absurd_version_takes_the_place_of_the_first() -> None:
    made = pair()
    for item in (absurd(COMP, TUESDAY), absurd(COMP, TUESDAY), arrival(SPX, TUESDAY)):
        made.offer(item)
    drained(made, TUESDAY + GRACE)
    late = arrival(COMP, TUESDAY, delay=2 * GRACE, price=7.0)
    made.offer(late)
    assert [each.kind for each in made.take_reports()] == ["implausible"]
    ((key, end),) = waiting(made)
    assert made._quarantine.require_waiting(key, end).values == late.values
    assert made.counts == {"implausible": 2, "duplicate": 1, "missing": 1}


def test_without_others_nothing_is_released_and_the_next_bar_names_the_gap() -> None:
    made = alone()
    (release,) = released(made, [absurd(COMP, TUESDAY), arrival(COMP, WEDNESDAY)])
    assert (release.stamp, kinds([release])) == (WEDNESDAY, ["implausible", "gap"])
    assert waiting(made) == [], "a later bar was delivered: nothing is left to decide"


MOVED = 140.0


def test_bars_that_follow_a_market_that_moved_stay_in_the_quarantine_and_are_pointed_out() -> None:
    made = alone()
    bars = [arrival(COMP, end, price=MOVED + i) for i, end in enumerate(DAYS[1:])]
    assert released(made, bars) == []
    found = made.take_reports()
    assert [each.kind for each in found] == ["implausible"] * 6
    assert [f"3 bars in a row {AGREE}" in each.detail for each in found] == [False, False] + [True] * 4
    assert waiting(made) == [(COMP, end) for end in DAYS[1:]]


def test_a_spike_and_its_return_are_not_pointed_out() -> None:
    made = alone()
    prices = {TUESDAY: MOVED, WEDNESDAY: 7.0, THURSDAY: 1e6}
    for end, price in prices.items():
        made.offer(arrival(COMP, end, price=price))
    assert not any(AGREE in each.detail for each in made.take_reports())


def test_the_band_does_not_grow_while_bars_are_quarantined() -> None:
    """Or a wrong series would pass by itself after some weeks: without its bars the band reaches it."""
    made = alone()
    days = NYSE.nominal_close(NYSE.scheduled_dates("2018-12-11", "2019-03-01")).tolist()  # type: ignore[arg-type]
    assert released(made, [arrival(COMP, end, price=150.0) for end in days]) == []
    assert len(waiting(made)) == len(days)
    assert len(released(alone(), [arrival(COMP, days[-1], price=150.0)])) == 1


def test_an_accepted_bar_whose_set_is_open_is_decided_on_as_if_it_had_come() -> None:
    made = alone()
    assert released(made, [arrival(COMP, TUESDAY, price=MOVED)]) == []
    made.decide(COMP, TUESDAY, ACCEPT)
    (release,) = drained(made, TUESDAY + SECOND)
    assert (release.stamp, dict(release.bars), release.late) == (TUESDAY, {COMP: flat(MOVED)}, ())
    made.offer(arrival(COMP, WEDNESDAY, price=MOVED + 5))
    assert [each.stamp for each in drained(made, WEDNESDAY)] == [WEDNESDAY], "its close is the new reference"


def test_an_accepted_bar_whose_set_is_gone_enters_the_windows_with_the_next_release() -> None:
    made = pair()
    first = released(made, [absurd(SPX, MONDAY), arrival(COMP, TUESDAY, price=MOVED), arrival(SPX, TUESDAY)])
    assert [dict(each.bars) for each in first] == [{SPX: flat()}]
    made.decide(COMP, TUESDAY, ACCEPT)
    assert made.outcome(arrival(COMP, TUESDAY, price=MOVED)) is None, "not journaled yet"
    (release,) = released(made, [arrival(COMP, WEDNESDAY, price=MOVED), arrival(SPX, WEDNESDAY)])
    assert [(late.key, late.end, late.values, late.origin) for late in release.late] == [
        (COMP, TUESDAY, flat(MOVED), "operator")
    ]
    assert dict(release.bars) == {COMP: flat(MOVED), SPX: flat()}
    assert kinds([release]) == []


def test_later_quarantined_bars_follow_the_accepted_one_but_for_those_that_do_not() -> None:
    made = alone()
    for end, price in zip(DAYS[1:6], (MOVED, 141.0, 7.0, 142.0, 143.0), strict=True):
        made.offer(arrival(COMP, end, price=price))
    made.decide(COMP, DAYS[5], REJECT)
    made.decide(COMP, TUESDAY, ACCEPT)
    assert [(each.stamp, each.bars[COMP][3]) for each in drained(made)] == [
        (TUESDAY, MOVED), (WEDNESDAY, 141.0), (FRIDAY, 142.0),
    ]  # fmt: skip
    assert waiting(made) == []


def test_a_rejected_bar_does_nothing_and_its_repeat_is_known() -> None:
    made = alone()
    made.offer(absurd(COMP, TUESDAY))
    made.decide(COMP, TUESDAY, REJECT)
    assert (drained(made), waiting(made)) == ([], [])
    made.offer(absurd(COMP, TUESDAY, delay=SECOND))
    assert [each.kind for each in made.take_reports()] == ["implausible", "duplicate"]
    made.decide(COMP, WEDNESDAY, ACCEPT)  # nothing is there: a plausible one came meanwhile
    assert drained(made) == []


def test_a_bar_in_between_that_comes_later_changes_what_is_plausible() -> None:
    """Wednesday follows from Monday and not from Tuesday, which comes within the grace."""
    made = pair(grace_ns=5 * 86_400 * SECOND)
    delay = WEDNESDAY - TUESDAY
    wednesday = arrival(COMP, WEDNESDAY, price=81.5), arrival(SPX, WEDNESDAY)
    tuesday = arrival(COMP, TUESDAY, price=118.5, delay=delay), arrival(SPX, TUESDAY, delay=delay)
    for item in (*wednesday, *tuesday):
        made.offer(item)
    found = drained(made)
    assert [dict(each.bars) for each in found] == [{COMP: flat(118.5), SPX: flat()}, {SPX: flat()}]
    assert kinds(found) == ["implausible", "missing"]
    assert waiting(made) == [(COMP, WEDNESDAY)]


def test_context_is_judged_as_the_traded_series_is() -> None:
    releases = released(pair(), [absurd(SPX, TUESDAY), arrival(COMP, TUESDAY)])
    assert [dict(each.bars) for each in releases] == [{COMP: flat()}]
    assert kinds(releases) == ["implausible", "missing"]


# ---- what the journal tells of it


def reported(found: Irregularity) -> Event:
    return irregular(found)


def decided(bar: Arrival, decision: str) -> Event:
    content = {"key": str(bar.key), "end": bar.end, "values": list(bar.values), "decision": decision}
    return an_event("quarantine", content=content)


def test_the_journal_tells_what_waits() -> None:
    """Irregularities of sets and those between them, decisions and deliveries."""
    made, told = pair(), Quarantine()
    for each in (absurd(COMP, TUESDAY), absurd(SPX, TUESDAY), arrival(SPX, TUESDAY, delay=1)):
        made.offer(each)
    (first,) = drained(made, TUESDAY + GRACE + 1)
    told.released(first)
    made.offer(absurd(COMP, WEDNESDAY))
    for each in made.take_reports():
        told.happened(reported(each))
    assert list(told) == list(made._quarantine)
    assert [bar.end for bar in told] == [TUESDAY, WEDNESDAY]
    for end, decision in ((TUESDAY, REJECT), (WEDNESDAY, ACCEPT)):
        told.happened(decided(absurd(COMP, end), decision))
        made.decide(COMP, end, decision)
    assert list(told) == list(made._quarantine)
    restarted = Synchroniser(
        PAIR, grace_ns=GRACE, traded=frozenset({COMP}), bands=Bands(Plausibility()),
        known={COMP: known(COMP)[COMP], SPX: [*known(SPX)[SPX], (TUESDAY, flat())]},
    )  # fmt: skip
    restarted.restore(told, WEDNESDAY + SECOND)
    assert drained(restarted, WEDNESDAY + SECOND) == [], "others may still come within the grace"
    (release,) = drained(made)
    assert bar_sets(drained(restarted)) == bar_sets([release])
    assert release.bars == {COMP: absurd(COMP, WEDNESDAY).values}
    told.released(release)
    assert list(told) == []


def test_a_decision_is_about_a_bar_that_waits_and_about_its_values() -> None:
    told = Quarantine()
    told.note(Irregularity("implausible", COMP, TUESDAY, flat(7.0), ""))
    assert told.require_waiting(COMP, TUESDAY, flat(7.0)).end == TUESDAY
    with pytest.raises(LiveError, match=r"it was replaced by \(7\.0, .* look at it again"):
        told.require_waiting(COMP, TUESDAY, flat(8.0))
    with pytest.raises(LiveError, match="waiting are: COMP:1d 2018-12-11T21:00:00Z"):
        told.require_waiting(COMP, WEDNESDAY)
    told.decide(COMP, TUESDAY, REJECT)
    with pytest.raises(LiveError, match="was decided: reject; waiting are: none"):
        told.require_waiting(COMP, TUESDAY)


def test_memory_of_quarantined_bars_is_bounded() -> None:
    told = Quarantine()
    for end in range(5_000):
        told.note(Irregularity("implausible", COMP, end, flat(7.0), ""))
    assert len(list(told)) == 1_000
    assert told.first(COMP) == 4_000
    told.delivered(COMP, 4_999)
    assert (list(told), told.first(COMP)) == ([], None)


class TestDaysWithoutASession:
    """A daily bar of a Saturday: a vendor's mistake, or a market that opened all the same."""

    saturday = closes("2018-12-15")[0]
    spx_and_comp = (SPX, COMP)

    def offered(self, **changes: object) -> tuple[Synchroniser, list[Release]]:
        made = pair(**{"calendar": True, **changes})
        for key in self.spx_and_comp:
            made.offer(arrival(key, self.saturday))
        return made, drained(made, self.saturday + GRACE)

    def test_it_is_quarantined_and_another_series_goes_on(self) -> None:
        made, (release,) = self.offered()
        assert dict(release.bars) == {SPX: flat()}
        (report,) = reports([release], "implausible")
        assert report.key == COMP
        assert "no session of the calendar has it" in report.detail
        assert waiting(made) == [(COMP, self.saturday)]

    def test_accepted_in_time_it_is_released_like_any_other(self) -> None:
        made = pair(calendar=True, traded=frozenset({COMP}))
        made.offer(arrival(COMP, self.saturday))
        made.decide(COMP, self.saturday, ACCEPT)
        (release,) = drained(made, self.saturday + GRACE)
        assert dict(release.bars) == {COMP: flat()}

    def test_settled_bars_are_taken_as_they_are(self) -> None:
        _, (release,) = self.offered(calendar=False)
        assert set(release.bars) == {COMP, SPX}

    def test_the_bars_of_the_calendar_pass(self) -> None:
        made = pair(calendar=True)
        for key in self.spx_and_comp:
            made.offer(arrival(key, TUESDAY))
        assert [set(each.bars) for each in drained(made, TUESDAY)] == [{COMP, SPX}]
