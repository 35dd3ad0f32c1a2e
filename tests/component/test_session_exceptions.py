"""Days on which the calendar is wrong, hours by date, pauses: as the exchange traded."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lockstep.errors import ConfigError
from lockstep.market.aggregator import Aggregator, aggregate
from lockstep.market.bars import Stamps
from lockstep.market.config import load_instruments, shipped_config
from lockstep.market.exception_lists import read_lists
from lockstep.market.history import SeriesKey
from lockstep.market.open_hours import is_open, next_open, open_time
from lockstep.market.sessions import Session, SessionDay, SessionTemplate
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.market.timetable import Timetable
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.decision import MINUTE as CLOCK_MINUTE
from support.markets import (
    BOOK,
    CME,
    FIFTEEN,
    GRAINS,
    HOURLY,
    MINUTE,
    NEW_YORK,
    local,
    random_bars,
    stamps,
    utc,
)

THIRTY = Timeframe.parse("30min")
SYMBOLS = {
    "CME": ("ES", "NQ", "MES"), "METALS": ("GC", "SI", "MGC"), "ENERGY": ("CL", "NG", "MCL"),
    "CURRENCIES": ("6E", "6J", "M6E"), "TREASURIES": ("ZN", "ZB"), "GRAINS": ("ZC", "ZW"),
    "MINI_GRAINS": ("XC",), "BITCOIN": ("MBT",),
}  # fmt: skip


def session_of(name: str) -> Session:
    return BOOK.session_named(name)


def at(text: str) -> int:
    return utc(text, NEW_YORK)


def close_of(session: Session, day: str) -> str:
    """Return the wall clock at which the market closes on a day, or `closed`."""
    found = session.days(np.array([day], dtype="M8[D]"))
    return local(np.array([found[0].close]))[0][-5:] if found else "closed"


def open_of(session: Session, day: str) -> str:
    (found,) = session.days(np.array([day], dtype="M8[D]"))
    return local(np.array([found.open]))[0][5:]


@pytest.mark.parametrize(
    ("day", "index", "metals", "currencies", "treasuries", "grains"),
    [
        ("2024-03-06", "17:00", "17:00", "17:00", "17:00", "14:20"),
        # Juneteenth, on all weekdays that it has fallen on
        ("2021-06-18", "17:00", "17:00", "17:00", "17:00", "14:20"),
        ("2022-06-20", "13:00", "14:30", "17:00", "13:00", "closed"),
        ("2023-06-19", "13:00", "14:30", "17:00", "13:00", "closed"),
        ("2024-06-19", "13:00", "14:30", "17:00", "13:00", "closed"),
        ("2025-06-19", "13:00", "14:30", "17:00", "13:00", "closed"),
        ("2026-06-19", "13:00", "13:00", "13:00", "13:00", "closed"),
        # the third of July
        ("2018-07-03", "13:15", "17:00", "17:00", "17:00", "13:05"),
        ("2023-07-03", "13:15", "17:00", "17:00", "17:00", "13:05"),
        ("2024-07-03", "13:15", "17:00", "17:00", "17:00", "13:05"),
        ("2025-07-03", "13:15", "17:00", "17:00", "17:00", "14:20"),
        ("2025-07-04", "13:00", "13:00", "13:00", "13:00", "closed"),
        # Good Friday, with and without a payroll report
        ("2015-04-03", "09:15", "closed", "11:15", "11:15", "closed"),
        ("2021-04-02", "09:15", "closed", "11:15", "11:15", "closed"),
        ("2023-04-07", "09:15", "closed", "11:15", "11:15", "closed"),
        ("2026-04-03", "09:15", "closed", "11:15", "11:15", "closed"),
        ("2024-03-29", "closed", "closed", "closed", "closed", "closed"),
        # days of mourning
        ("2018-12-05", "09:30", "17:00", "17:00", "17:00", "14:20"),
        ("2025-01-09", "09:30", "17:00", "17:00", "17:00", "14:20"),
        # Monday holidays before and after 2022, Thanksgiving, Christmas
        ("2021-02-15", "13:00", "13:00", "13:00", "13:00", "closed"),
        ("2024-01-15", "13:00", "14:30", "17:00", "13:00", "closed"),
        ("2027-05-31", "13:00", "14:30", "17:00", "13:00", "closed"),
        ("2024-11-28", "13:00", "14:30", "17:00", "13:00", "closed"),
        ("2019-11-29", "13:15", "13:45", "13:15", "13:15", "13:05"),
        ("2025-11-28", "13:15", "14:45", "14:45", "13:15", "13:05"),
        ("2025-12-24", "13:15", "13:45", "13:45", "13:15", "13:05"),
        ("2025-12-25", "closed", "closed", "closed", "closed", "closed"),
    ],
)
def test_the_close_of_every_market(
    day: str, index: str, metals: str, currencies: str, treasuries: str, grains: str
) -> None:
    expected = {
        "CME": index, "METALS": metals, "ENERGY": metals, "CURRENCIES": currencies,
        "TREASURIES": treasuries, "GRAINS": grains,
    }  # fmt: skip
    assert {name: close_of(session_of(name), day) for name in expected} == expected


def test_instruments_trade_in_the_session_of_their_market() -> None:
    assert {name: tuple(s for s in group if BOOK.instrument(s).session == name)
            for name, group in SYMBOLS.items()} == SYMBOLS  # fmt: skip


def test_all_futures_complete_a_daily_bar_at_one_moment() -> None:
    """Pairs and context are joined by the end of bars: it must not differ between markets, nor years."""
    days = np.arange("2010-01-01", "2028-01-01", dtype="M8[D]")
    expected = CME.nominal_close(days)
    assert {text[-5:] for text in local(expected[::50])} == {"17:00"}
    for name in ("METALS", "ENERGY", "CURRENCIES", "TREASURIES", "GRAINS", "MINI_GRAINS", "BITCOIN"):
        assert (session_of(name).nominal_close(days) == expected).all(), name


# ---- the days themselves


def test_the_morning_of_a_day_of_mourning_is_a_session_of_its_own() -> None:
    end = stamps(["2025-01-08 19:00", "2025-01-09 09:00", "2025-01-09 20:00", "2025-01-10 10:00"])
    assert CME.dates(end).astype(str).tolist() == ["2025-01-09"] * 2 + ["2025-01-10"] * 2
    daily = aggregate(random_bars(end, HOURLY), DAILY, CME)
    assert CME.dates(daily.end, DAILY).astype(str).tolist() == ["2025-01-09"]
    assert CME.in_session(stamps(["2025-01-09 09:30", "2025-01-09 09:31"]), FIFTEEN).tolist() == [True, False]


def test_an_early_close_moves_the_auto_close_and_ends_buckets() -> None:
    end = stamps(["2023-06-19 11:00", "2023-06-19 12:00", "2023-06-19 13:00"])
    assert CME.auto_close(end, HOURLY, "16:00").tolist() == [False, True, True]
    assert CME.bucket_end(stamps(["2018-07-03 13:05"]), HOURLY, closed="right") == at("2018-07-03 13:15")
    usual = stamps(["2023-06-20 13:00"])
    assert CME.auto_close(usual, HOURLY, "16:00").tolist() == [False]


@pytest.mark.parametrize("name", ["CME", "METALS", "CURRENCIES", "TREASURIES", "GRAINS", "BITCOIN"])
@pytest.mark.parametrize("timeframe", [FIFTEEN, HOURLY], ids=str)
def test_nobody_holds_over_the_night_of_an_exception(name: str, timeframe: Timeframe) -> None:
    """On every listed date the auto-close is decided while a scheduled bar is left to fill it in."""
    session = session_of(name)
    dates = np.array([each.date for each in session.template.exceptions if not each.closed], dtype="M8[D]")
    for day in session.days(dates[dates >= np.datetime64("2015-01-01")]):
        minutes = np.concatenate([np.arange(a + MINUTE, b + 1, MINUTE) for a, b in day.spans])
        end = np.unique(session.bucket_end(minutes, timeframe, closed="right"))
        due = session.auto_close(end, timeframe, "14:15" if name == "GRAINS" else "16:45")
        assert end[-1] == day.close
        assert int(due.argmax()) == end.size - 2 or day.close > at(f"{np.datetime64(day.date, 'D')} 14:00")
        assert due[-2:].all()


def test_a_corrected_close_may_be_later_than_the_calendars() -> None:
    """Currencies traded through Martin Luther King Day 2024, as the bars of that day show."""
    end = stamps(["2024-01-15 16:45"])
    assert session_of("CURRENCIES").in_session(end, FIFTEEN).tolist() == [True]
    assert CME.in_session(end, FIFTEEN).tolist() == [False]


def test_sessions_that_are_added_and_taken_away_count_as_trading_days() -> None:
    day = CME.nominal_close(np.array(["2018-12-06"], dtype="M8[D]"))
    assert CME.columns(day, DAILY)["trading_day_of_month"].tolist() == [4.0]
    after = GRAINS.nominal_close(np.array(["2024-01-16"], dtype="M8[D]"))
    assert CME.columns(after, DAILY)["trading_day_of_month"].tolist() == [11.0]
    assert GRAINS.columns(after, DAILY)["trading_day_of_month"].tolist() == [10.0]


def test_a_daily_bar_of_grains_is_measured_by_their_hours() -> None:
    end = GRAINS.nominal_close(np.array(["2024-03-06", "2019-11-29"], dtype="M8[D]"))
    columns = GRAINS.columns(end, DAILY)
    assert columns["session_minutes"].tolist() == [18 * 60 + 20, 3 * 60 + 35]
    assert columns["minute_of_session"].tolist() == [18 * 60 + 20, 4 * 60 + 50]
    assert columns["in_session"].tolist() == [1.0, 1.0]


# ---- a pause, hours by date


def test_grains_rest_in_the_morning_and_after_their_close() -> None:
    clocks = {"08:45": True, "08:50": False, "09:30": False, "09:31": True, "14:20": True,
              "14:21": False, "15:30": False}  # fmt: skip
    end = stamps([f"2024-03-06 {clock}" for clock in clocks])
    one = Timeframe.parse("1min")
    assert GRAINS.in_session(end, one).tolist() == list(clocks.values())
    assert GRAINS.columns(end, one)["in_session"].tolist() == list(clocks.values())
    assert GRAINS.in_session(stamps(["2024-03-05 20:00", "2024-03-05 20:01"]), one).tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "timeframe", "left", "right"),
    [
        ("08:30", "1h", "08:45", "08:45"),
        ("08:45", "1h", "09:00", "08:45"),
        ("08:50", "1h", "09:00", "09:00"),
        ("09:30", "1h", "10:00", "10:00"),
        ("14:10", "1h", "14:20", "14:20"),
        ("08:10", "4h", "12:00", "12:00"),  # lasts beyond the pause: not cut
        ("08:40", "15min", "08:45", "08:45"),
    ],
)
def test_a_pause_ends_the_buckets_that_would_end_in_it(
    text: str, timeframe: str, left: str, right: str
) -> None:
    stamp, frame = stamps([f"2024-03-06 {text}"]), Timeframe.parse(timeframe)
    found = [local(GRAINS.bucket_end(stamp, frame, closed=side))[0][-5:] for side in ("left", "right")]  # type: ignore[arg-type]
    assert found == [left, right]


def test_a_bar_that_begins_before_the_pause_and_ends_in_it_holds_trading() -> None:
    """A vendor's hour that is stamped 09:00 has the minutes to 08:45."""
    end = stamps(["2024-03-06 09:00"])
    assert GRAINS.in_session(end, HOURLY).tolist() == [True]
    assert GRAINS.in_session(end, FIFTEEN).tolist() == [False]


@pytest.mark.parametrize(
    ("cut_off", "timeframe", "expected"),
    [("09:00", FIFTEEN, "08:45"), ("08:50", HOURLY, "08:45"), ("09:30", HOURLY, "08:45"),
     ("08:40", FIFTEEN, "08:30"), ("09:45", FIFTEEN, "09:45"), ("14:00", HOURLY, "14:00"),
     ("14:20", HOURLY, "14:00")],
)  # fmt: skip
def test_an_auto_close_in_the_pause_is_decided_before_it(
    cut_off: str, timeframe: Timeframe, expected: str
) -> None:
    minutes = np.arange(at("2024-03-05 20:01"), at("2024-03-06 14:20") + 1, MINUTE)
    minutes = minutes[GRAINS.in_session(minutes, Timeframe.parse("1min"))]
    end = np.unique(GRAINS.bucket_end(minutes, timeframe, closed="right"))
    due = GRAINS.auto_close(end, timeframe, cut_off)
    assert local(end[due])[0][-5:] == expected


def test_the_older_hours_of_equity_index() -> None:
    one = Timeframe.parse("1min")
    days = {"2015-09-18": [True, False, True, True], "2015-09-21": [True, False, True, False],
            "2021-06-25": [True, False, True, False], "2021-06-28": [True, True, True, False]}  # fmt: skip
    for day, expected in days.items():
        end = stamps([f"{day} {clock}" for clock in ("16:15", "16:20", "16:45", "17:10")])
        assert CME.in_session(end, one).tolist() == expected, day
    late = stamps(["2015-09-17 17:10", "2015-09-21 17:10"])
    assert CME.dates(late).astype(str).tolist() == ["2015-09-17", "2015-09-22"]


def test_the_halt_of_index_futures_does_not_cut_the_hour_around_it() -> None:
    end = stamps(["2019-03-06 16:10", "2019-03-06 16:40"])
    assert local(CME.bucket_end(end, HOURLY, closed="right")) == ["2019-03-06 17:00"] * 2
    assert local(CME.bucket_end(end, THIRTY, closed="right")) == ["2019-03-06 16:15", "2019-03-06 17:00"]
    assert CME.in_session(stamps(["2019-03-06 17:00"]), HOURLY).tolist() == [True]


def test_daily_bars_of_the_older_hours_keep_their_end_and_measures() -> None:
    end = CME.nominal_close(np.array(["2014-03-05", "2024-03-06"], dtype="M8[D]"))
    columns = CME.columns(end, DAILY)
    assert columns["session_minutes"].tolist() == columns["minute_of_session"].tolist() == [1380.0] * 2


@pytest.mark.parametrize(
    ("session", "first", "last"),
    [
        (GRAINS, "2019-11-26", "2019-12-02"),
        (CME, "2015-09-16", "2015-09-22"),
        (CME, "2023-06-16", "2023-06-21"),
    ],
    ids=["grains", "older hours", "Juneteenth"],
)
def test_minutes_one_by_one_make_the_bars_of_the_file(session: Session, first: str, last: str) -> None:
    """Over a pause, a late open, other hours and an early close: live and research see the same bars."""
    days = session.days(session.scheduled_dates(np.datetime64(first), np.datetime64(last)))
    end = np.concatenate([np.arange(a + MINUTE, b + 1, MINUTE) for day in days for a, b in day.spans])
    bars = random_bars(end, Timeframe.parse("1min"))
    for timeframe in (FIFTEEN, THIRTY, HOURLY, DAILY):
        whole, maker = aggregate(bars, timeframe, session), Aggregator("ES", timeframe, session)
        pushed = [made for i in range(0, len(bars), 7) if len(made := maker.push(bars.rows(i, i + 7)))]
        for name in ("end", "open", "high", "low", "close", "volume"):
            one_by_one = np.concatenate([getattr(made, name) for made in pushed])
            assert one_by_one.tobytes() == getattr(whole, name).tobytes(), f"{timeframe} {name}"
        assert session.dates(whole.end, timeframe).tolist() == session.dates(whole.end).tolist()
        if timeframe != DAILY:
            assert session.in_session(whole.end, timeframe).all()
            assert np.isin(whole.end, ends_of(session, timeframe, days)).all()


def ends_of(session: Session, timeframe: Timeframe, days: list[SessionDay]) -> Stamps:
    """Return the scheduled ends that the live engine waits for."""
    key = SeriesKey("ES", timeframe)
    table, around = Timetable({key: session}), range(days[0].open, days[-1].close + 1, MINUTE)
    return np.array([moment for moment in around if key in table.scheduled(moment)])


# ---- late opens


def test_grains_open_late_after_a_closed_holiday() -> None:
    assert open_of(GRAINS, "2019-11-29") == "11-29 09:30"
    assert open_of(GRAINS, "2024-01-16") == "01-15 20:00", "a Monday holiday ends in the evening"
    end = stamps(["2019-11-28 21:00", "2019-11-29 09:45"])
    assert GRAINS.in_session(end, FIFTEEN).tolist() == [False, True]


def test_a_window_of_wall_clock_times_does_not_move_on_a_late_open() -> None:
    clock = SessionClock(GRAINS, FIFTEEN)
    late, usual = stamps(["2019-11-29 11:00", "2019-11-27 11:00"])
    assert (
        clock.at(int(late))[CLOCK_MINUTE] == clock.at(int(usual))[CLOCK_MINUTE] == GRAINS.minute_of("11:00")
    )
    columns = GRAINS.columns(np.array([late, usual]), FIFTEEN)
    assert columns["minute_of_session"].tolist() == [90.0, 15 * 60.0], "minutes since the open do"


# ---- live


def test_an_order_in_the_pause_waits_for_its_end() -> None:
    paused, resumed = at("2024-03-06 09:00"), at("2024-03-06 09:30")
    assert [is_open(GRAINS, moment) for moment in (paused, resumed - 1, resumed)] == [False, False, True]
    assert is_open(GRAINS, at("2024-03-06 08:44"))
    assert not is_open(GRAINS, at("2024-03-06 08:45"))
    assert next_open(GRAINS, paused) == resumed
    assert next_open(GRAINS, at("2024-03-06 15:30")) == at("2024-03-06 20:00")
    assert open_time(GRAINS, at("2024-03-06 08:30"), at("2024-03-06 09:45")) == 30 * MINUTE


def test_a_shut_market_is_not_called_open() -> None:
    for day in ("2023-06-19", "2024-07-03", "2025-01-09"):
        assert [is_open(CME, at(f"{day} {clock}")) for clock in ("09:00", "14:00")] == [True, False], day
        assert next_open(CME, at(f"{day} 14:00")) == at(f"{day} 18:00")


def test_bars_are_awaited_only_while_the_market_trades() -> None:
    key = SeriesKey("ZC", FIFTEEN)
    timetable = Timetable({key: GRAINS, SeriesKey("ES", FIFTEEN): CME})
    expected = {"08:45": True, "09:00": False, "09:15": False, "09:30": False, "09:45": True, "14:15": True,
                "14:20": True, "14:30": False}  # fmt: skip
    found = {text: key in timetable.scheduled(at(f"2024-03-06 {text}")) for text in expected}
    assert found == expected
    # Silent after an early close: nothing is missing.
    juneteenth = at("2023-06-19 13:00")
    assert timetable.latest(SeriesKey("ES", FIFTEEN), juneteenth + 4 * 60 * MINUTE) == juneteenth


# ---- lists


def test_every_date_of_the_lists_is_one_on_which_the_calendar_is_wrong() -> None:
    """A row that says what the calendar says would hide what the list is for."""
    lists = read_lists(shipped_config("exceptions.csv"))
    used = {"CME": "equity_index", "METALS": "metals_energy", "ENERGY": "metals_energy",
            "CURRENCIES": "currencies", "TREASURIES": "treasuries", "GRAINS": "grains",
            "MINI_GRAINS": "grains", "BITCOIN": "bitcoin", "FX": "fx"}  # fmt: skip
    assert set(used.values()) == set(lists)
    for name, listed in used.items():
        bare = Session(BOOK.sessions[name].model_copy(update={"exceptions": ()}))
        days = np.array(sorted(lists[listed]), dtype="M8[D]")
        assert str(days[0])[:4] in ("2010", "2015", "2018")
        assert str(days[-1])[:4] == "2027"
        corrected, plain = (
            {each.date: each[:3] for each in session.days(days)} for session in (session_of(name), bare)
        )
        assert corrected.keys() | plain.keys() == set(days.astype(int).tolist())
        same = [day for day in days if corrected.get(int(day.astype(int))) == plain.get(int(day.astype(int)))]
        assert same == [], listed


def test_only_exceptions_of_sessions_in_use_are_in_the_digest() -> None:
    def changed(name: str) -> Any:
        sessions = dict(BOOK.sessions)
        sessions[name] = sessions[name].model_copy(update={"exceptions": sessions[name].exceptions[1:]})
        return BOOK.model_copy(update={"sessions": sessions})

    digest = BOOK.digest(["ES"], ["futures_daily"])
    assert changed("GRAINS").digest(["ES"], ["futures_daily"]) == digest
    assert changed("CME").digest(["ES"], ["futures_daily"]) != digest


def written(tmp_path: Path, exceptions: object) -> Path:
    content = yaml.safe_load(shipped_config("instruments.yml").read_text())
    content["sessions"]["CME"]["exceptions"] = exceptions
    path = tmp_path / "mine.yml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_own_exceptions_replace_those_of_the_list(tmp_path: Path) -> None:
    own = {"from": "equity_index", date(2026, 5, 4): {"closed": True}, date(2023, 6, 19): {"close": "12:00"}}
    session = load_instruments(written(tmp_path, own)).session("ES")
    found = [close_of(session, day) for day in ("2026-05-04", "2023-06-19", "2024-06-19")]
    assert found == ["closed", "12:00", "13:00"]


@pytest.mark.parametrize(
    ("exceptions", "said"),
    [
        ("equity_indx", "sessions.CME.exceptions 'equity_indx': no such list; did you mean 'equity_index'"),
        ({"from": "grain"}, "sessions.CME.exceptions 'grain': no such list; did you mean 'grains'"),
        ({"next friday": {"closed": True}}, "'next friday'"),
        ({date(2026, 5, 4): {"close": "17:30"}}, "2026-05-04: 18:00 to 17:30"),
    ],
)
def test_exceptions_that_say_nothing_are_refused(tmp_path: Path, exceptions: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_instruments(written(tmp_path, exceptions))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("date,open\n", "the header must be list,date,open,close,why"),
        ("list,date,open,close,why\nx,2024-13-01,,closed,\n", "2024-13-01"),
        ("list,date,open,close,why\nx,2024-01-01,closed\n", "write list,YYYY-MM-DD,open,close,why"),
        ("list,date,open,close,why\nx,2024-01-02,,closed,\nx,2024-01-02,,,\n", "x 2024-01-02: occurs twice"),
    ],
)
def test_a_broken_list_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "lists.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"lists\.csv") as caught:
        read_lists(path)
    assert said in str(caught.value)


def test_a_date_that_is_closed_in_no_calendar_year_is_harmless() -> None:
    template = SessionTemplate.model_validate(
        {**CME.template.model_dump(), "exceptions": {date(1999, 1, 4): {"closed": True}}}
    )
    assert Session(template).dates(stamps(["2024-03-06 12:00"])).astype(str).tolist() == ["2024-03-06"]
