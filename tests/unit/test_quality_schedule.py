"""Bars against the schedule: what is missing, odd or cut out, and nothing where bars are whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lockstep.market.bars import Bars
from lockstep.market.quality import assess
from lockstep.market.quality.finding import Finding, counted, listed, runs, stretches
from lockstep.market.sessions import Session
from lockstep.market.timeframe import DAILY, Timeframe
from support.markets import BOOK, CME, GRAINS, HOURLY, MINUTE, NEW_YORK, NYSE, ONE_MINUTE, random_bars, utc

BARE = Session(CME.template.model_copy(update={"exceptions": ()}))


def taken(bars: Bars, keep: NDArray[np.bool_]) -> Bars:
    return replace(bars, end=bars.end[keep], **{name: each[keep] for name, each in bars.columns().items()})


def intraday(session: Session, first: str, last: str, timeframe: Timeframe = HOURLY) -> Bars:
    """Return every scheduled bar of a session."""
    days = session.days(session.scheduled_dates(np.datetime64(first), np.datetime64(last)))
    inside = np.concatenate(
        [np.arange(start + MINUTE, stop + 1, MINUTE) for day in days for start, stop in day.spans]
    )
    end = np.unique(session.bucket_end(inside, timeframe, closed="right"))
    return raised(random_bars(end, timeframe))


def raised(bars: Bars) -> Bars:
    """Return bars so far above zero that no walk of theirs comes near it."""
    return replace(bars, **{name: getattr(bars, name) + 2_000 for name in ("open", "high", "low", "close")})


def of(bars: Bars, session: Session, kind: str) -> Finding:
    (finding,) = assess(bars, session).of_kind(kind)
    return finding


def at(text: str) -> int:
    return utc(text, NEW_YORK)


@pytest.mark.parametrize("session", [CME, NYSE, GRAINS], ids=repr)
@pytest.mark.parametrize("timeframe", ["1min", "15min", "1h"])
def test_whole_bars_have_no_findings(session: Session, timeframe: str) -> None:
    bars = intraday(session, "2019-11-18", "2020-01-17", Timeframe.parse(timeframe))
    assert [each.sentence for each in assess(bars, session).findings] == []


# ---- days


def test_a_long_hole_is_a_stretch_and_single_days_are_named() -> None:
    days = NYSE.scheduled_dates(np.datetime64("2015-01-01"), np.datetime64("2018-12-31"))
    keep = np.ones(days.size, dtype=bool)
    keep[300:514] = keep[700] = False
    bars = raised(random_bars(NYSE.nominal_close(days[keep]), DAILY))
    finding = of(bars, NYSE, "missing_session")
    assert finding.sentence == (
        f"215 scheduled sessions of XNYS without a bar: from {days[300]} to {days[513]} (214), {days[700]}"
    )
    assert (finding.count, finding.severity) == (215, "warning")
    closes = NYSE.nominal_close(days[[299, 514, 699, 701]]).tolist()
    assert finding.spans == ((closes[0], closes[1]), (closes[2], closes[3]))


def test_short_holiday_sessions_are_a_trait_of_daily_files_and_a_gap_in_others() -> None:
    days = CME.scheduled_dates(np.datetime64("2024-01-02"), np.datetime64("2024-07-31"))
    holidays = ["2024-01-15", "2024-02-19", "2024-05-27", "2024-06-19", "2024-07-04"]
    keep = ~np.isin(days, np.array(holidays, dtype="M8[D]"))
    daily = of(random_bars(CME.nominal_close(days[keep]), DAILY), CME, "missing_session")
    assert (daily.severity, daily.count, daily.spans) == ("note", 5, ())
    hours = intraday(CME, "2024-01-02", "2024-02-29")
    hours = taken(hours, CME.dates(hours.end) != np.datetime64("2024-01-15"))
    assert of(hours, CME, "missing_session").severity == "warning"


def test_days_that_no_calendar_has() -> None:
    """A weekday may be the calendar's fault, a Saturday is the vendor's."""
    days = CME.scheduled_dates(np.datetime64("2012-03-01"), np.datetime64("2012-05-31"))
    friday = np.sort(np.append(days, np.datetime64("2012-04-06")))
    found = of(random_bars(CME.nominal_close(friday), DAILY), CME, "unknown_session")
    assert (found.where, found.severity) == ("2012-04-06", "note")
    saturday = np.sort(np.append(days, np.datetime64("2012-04-14")))
    found = of(random_bars(CME.nominal_close(saturday), DAILY), CME, "unknown_session")
    assert (found.where, found.severity) == ("2012-04-14", "warning")
    assert found.sentence.endswith("are they real?")


# ---- hours


def test_the_dates_at_which_a_wrong_calendar_and_the_bars_disagree_are_named() -> None:
    """What exchange_calendars alone would say of two years of ES."""
    bars = intraday(CME, "2023-01-03", "2024-12-31", Timeframe.parse("15min"))
    early, outside = of(bars, BARE, "early_end"), of(bars, BARE, "outside")
    for said in (
        "2023-06-19 (scheduled 17:00, last bar 13:00)", "2023-07-03 (scheduled 17:00, last bar 13:15)",
        "2024-06-19 (scheduled 17:00, last bar 13:00)", "2024-07-03 (scheduled 17:00, last bar 13:15)",
    ):  # fmt: skip
        assert said in early.sentence
    assert (early.count, early.spans[0]) == (4, (at("2023-06-19 13:00"), at("2023-06-19 17:00")))
    assert "2023-11-24 (scheduled 13:00, last bar 13:15)" in outside.sentence
    assert outside.severity == "note"
    assert assess(bars, CME).findings == ()


def test_a_session_that_begins_late() -> None:
    bars = intraday(NYSE, "2024-03-01", "2024-04-30")
    late = bars.end > at("2024-03-12 11:00")
    bars = taken(bars, late | (NYSE.dates(bars.end) != np.datetime64("2024-03-12")))
    finding = of(bars, NYSE, "late_start")
    expected = (
        "1 session beginning after the scheduled open: 2024-03-12 (scheduled 09:30, first bar from 11:00)"
    )
    assert finding.sentence == expected


def test_quiet_edges_of_a_thin_market_are_not_odd_hours() -> None:
    """Minutes without a trade are not recorded: the last bar is often some minutes early."""
    bars = intraday(CME, "2024-03-04", "2024-04-26", ONE_MINUTE)
    keep = np.random.default_rng(2).random(len(bars)) > 0.3
    assert [each.sentence for each in assess(taken(bars, keep), CME).findings] == []


def test_a_file_of_other_hours_is_said_once() -> None:
    report = assess(intraday(NYSE, "2024-03-04", "2024-04-26"), CME)
    assert {each.kind: each.where for each in report.findings} == {"early_end": "all", "late_start": "all"}
    assert all("declare one of its own" in each.sentence for each in report.findings)


def test_bars_outside_the_session() -> None:
    bars = random_bars(np.array([at("2024-01-04 16:00"), at("2024-01-06 12:00")]), ONE_MINUTE)
    finding = of(bars, CME, "outside")
    assert (finding.count, finding.where, finding.severity) == (1, "2024-01-08", "warning")


# ---- holes


def test_hours_that_are_cut_out_are_all_counted() -> None:
    bars = intraday(CME, "2023-01-03", "2023-12-29")
    keep = np.ones(len(bars), dtype=bool)
    rows = np.random.default_rng(4).choice(np.arange(40, len(bars) - 40), 636, replace=False)
    keep[rows] = False
    report = assess(taken(bars, keep), CME)
    (holes,) = report.of_kind("hole")
    inside = int(holes.sentence.split("within sessions, ")[1].split(" bar")[0])
    edges = sum(each.count for kind in ("early_end", "late_start") for each in report.of_kind(kind))
    assert 500 < inside < 636
    # An hour at an edge is one of a session that begins late or ends early; two in a row are one.
    assert 636 - 30 <= inside + edges <= 636
    assert len(holes.spans) == holes.count


@pytest.mark.parametrize(("minutes", "found"), [(29, False), (30, True), (300, True)])
def test_half_an_hour_of_minutes_is_a_hole(minutes: int, found: bool) -> None:
    bars = intraday(CME, "2024-03-04", "2024-03-15", ONE_MINUTE)
    first = int(np.searchsorted(bars.end, at("2024-03-06 10:01")))
    keep = np.ones(len(bars), dtype=bool)
    keep[first : first + minutes] = False
    holes = assess(taken(bars, keep), CME).of_kind("hole")
    assert bool(holes) == found
    if holes:
        stop = at("2024-03-06 10:01") + minutes * MINUTE
        assert holes[0].spans == ((at("2024-03-06 10:00"), stop),)
        assert f"({minutes} bars)" in holes[0].sentence


def test_hours_in_which_hardly_anybody_trades_are_no_hole() -> None:
    bars = intraday(CME, "2024-03-11", "2024-04-26", ONE_MINUTE)
    clock = (bars.end - at("2024-03-10 18:00")) % (24 * 60 * MINUTE) // MINUTE
    night = (clock > 120) & (clock < 480)
    keep = ~night | (np.random.default_rng(3).random(len(bars)) < 0.05)
    assert assess(taken(bars, keep), CME).of_kind("hole") == ()


def test_a_pause_is_no_hole_and_a_hole_beside_it_is() -> None:
    bars = intraday(GRAINS, "2024-03-04", "2024-04-26", ONE_MINUTE)
    assert assess(bars, GRAINS).findings == ()
    day = GRAINS.dates(bars.end) == np.datetime64("2024-03-06")
    cut = day & (bars.end > at("2024-03-06 08:00")) & (bars.end <= at("2024-03-06 10:00"))
    (hole,) = assess(taken(bars, ~cut), GRAINS).of_kind("hole")
    assert "1 hole within sessions, 75 bars in all" in hole.sentence, "45 before the pause and 30 after it"


def test_every_market_of_the_shipped_file_is_whole_on_its_own_schedule() -> None:
    for name in ("METALS", "ENERGY", "CURRENCIES", "TREASURIES", "MINI_GRAINS", "BITCOIN", "CRYPTO"):
        session = BOOK.session_named(name)
        assert assess(intraday(session, "2023-11-20", "2023-12-05"), session).findings == (), name


# ---- sentences


def test_words() -> None:
    assert (counted(1, "hole"), counted(1204, "hole")) == ("1 hole", "1,204 holes")
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert runs([1, 2, 3, 7, 9, 10]) == [(1, 3), (7, 7), (9, 10)]
    assert runs([]) == []
    assert stretches([1, 4, 5, 6, 9], str) == "from 4 to 6 (3), 1, 9"
