from __future__ import annotations

import numpy as np
import pytest

from lockstep.compiled import python_source
from lockstep.errors import CalendarError, ConfigError
from lockstep.market import session_kernels
from lockstep.market.sessions import CALENDAR_COLUMNS, Session, SessionTemplate
from lockstep.market.timeframe import DAILY, Timeframe
from support.markets import CME, CRYPTO, FIFTEEN, GRAINS, HOURLY, MINUTE, NEW_YORK, NYSE, local, stamps, utc

pytestmark = pytest.mark.uncompiled


def texts(dates: object) -> list[str]:
    return np.asarray(dates).astype(str).tolist()


def test_the_date_rolls_at_the_nominal_close() -> None:
    end = stamps(["2024-01-04 16:59", "2024-01-04 17:00", "2024-01-04 17:01", "2024-01-05 17:00"])
    assert texts(CME.dates(end)) == ["2024-01-04", "2024-01-04", "2024-01-05", "2024-01-05"]


def test_the_weekend_belongs_to_monday() -> None:
    end = stamps(["2024-01-05 17:01", "2024-01-06 12:00", "2024-01-07 18:01", "2024-01-08 17:00"])
    assert texts(CME.dates(end)) == ["2024-01-08"] * 4
    assert CME.in_session(end, FIFTEEN).tolist() == [False, False, True, True]


def test_bars_after_an_early_close_count_towards_their_day_and_are_flagged() -> None:
    end = stamps(["2018-11-23 13:00", "2018-11-23 14:00", "2018-11-23 16:00", "2018-11-23 16:01"])
    assert texts(NYSE.dates(end)) == ["2018-11-23"] * 3 + ["2018-11-26"]
    assert NYSE.in_session(end, HOURLY).tolist() == [True, False, False, False]


def test_the_open_itself_is_outside_and_the_close_inside() -> None:
    end = stamps(["2024-01-04 09:30", "2024-01-04 09:31", "2024-01-04 16:00"])
    assert NYSE.in_session(end, FIFTEEN).tolist() == [False, True, True]


def test_session_bars_are_always_in_session() -> None:
    """Good Friday of 2012 had a session that the calendar lacks: which sessions took place, the data say."""
    end = CME.nominal_close(np.array(["2012-04-05", "2012-04-06"], dtype="M8[D]"))
    assert CME.in_session(end, DAILY).tolist() == [True, True]
    assert CME.columns(end, DAILY)["in_session"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("session", [CME, NYSE, CRYPTO], ids=repr)
@pytest.mark.parametrize("change", ["2024-03-10", "2024-11-03"])
def test_wall_clock_stays_over_both_changes_of_daylight_saving(session: Session, change: str) -> None:
    day = np.datetime64(change)
    dates = session.scheduled_dates(day - np.timedelta64(4, "D"), day + np.timedelta64(4, "D"))
    close = session.nominal_close(dates)
    zone, template = session.template.timezone, session.template
    closes_at = "00:00" if template.close == "24:00" else template.close
    assert {text[-5:] for text in local(close, zone)} == {closes_at}
    assert {text[-5:] for text in local(session.scheduled_open(close), zone)} == {template.open}
    assert texts(session.dates(close)) == texts(dates)
    assert texts(session.dates(close + MINUTE)[:-1]) == texts(dates[1:])


def test_the_utc_offset_of_the_close_changes_with_daylight_saving() -> None:
    close = CME.nominal_close(
        np.array(["2024-03-08", "2024-03-11", "2024-11-01", "2024-11-04"], dtype="M8[D]")
    )
    assert [text[-5:] for text in local(close, "UTC")] == ["22:00", "21:00", "21:00", "22:00"]


def test_calendar_columns_of_an_intraday_bar() -> None:
    columns = CME.columns(stamps(["2024-01-31 10:45"]), FIFTEEN)
    assert tuple(columns) == CALENDAR_COLUMNS
    assert {name: float(values[0]) for name, values in columns.items()} == {
        "day_of_week": 2.0,
        "month": 1.0,
        "day_of_month": 31.0,
        "trading_day_of_month": 22.0,
        "trading_days_left_in_month": 0.0,
        "hour": 10.0,
        "minute_of_session": 16 * 60 + 45,
        "session_minutes": 23 * 60,
        "in_session": 1.0,
    }


def test_calendar_columns_belong_to_the_session_date_and_the_hour_to_the_wall_clock() -> None:
    columns = CME.columns(stamps(["2024-02-29 19:00"]), HOURLY)
    picked = {
        name: float(columns[name][0]) for name in ("month", "day_of_month", "hour", "minute_of_session")
    }
    assert picked == {"month": 3.0, "day_of_month": 1.0, "hour": 19.0, "minute_of_session": 60.0}


def test_half_days_are_shorter_and_bars_behind_them_outside() -> None:
    columns = NYSE.columns(stamps(["2018-11-23 13:00", "2018-11-23 14:00"]), HOURLY)
    assert columns["session_minutes"].tolist() == [210.0, 210.0]
    assert columns["minute_of_session"].tolist() == [210.0, 270.0]
    assert columns["in_session"].tolist() == [1.0, 0.0]


def test_session_bars_measure_to_the_nominal_close() -> None:
    end = NYSE.nominal_close(np.array(["2018-11-23", "2018-11-26"], dtype="M8[D]"))
    columns = NYSE.columns(end, DAILY)
    assert columns["minute_of_session"].tolist() == [390.0, 390.0]
    assert columns["session_minutes"].tolist() == [210.0, 390.0]
    assert columns["in_session"].tolist() == [1.0, 1.0]


def test_a_daily_bar_on_a_day_without_session_keeps_its_date() -> None:
    good_friday = np.array(["2012-04-06"], dtype="M8[D]")
    end = CME.nominal_close(good_friday)
    assert texts(CME.dates(end, DAILY)) == ["2012-04-06"]
    assert texts(CME.dates(end)) == ["2012-04-09"]
    columns = CME.columns(end, DAILY)
    shown = {name: float(values[0]) for name, values in columns.items()}
    assert (shown["day_of_week"], shown["day_of_month"]) == (4.0, 6.0)
    assert (shown["trading_day_of_month"], shown["trading_days_left_in_month"]) == (4.0, 16.0)
    assert (shown["session_minutes"], shown["minute_of_session"]) == (1380.0, 1380.0)


def test_the_trading_days_of_every_month_count_up_to_zero_left() -> None:
    dates = NYSE.scheduled_dates(np.datetime64("2016-01-01"), np.datetime64("2020-12-31"))
    columns = NYSE.columns(NYSE.nominal_close(dates), DAILY)
    months = dates.astype("M8[M]")
    for month in np.unique(months):
        inside = months == month
        count = int(inside.sum())
        assert columns["trading_day_of_month"][inside].tolist() == list(range(1, count + 1))
        assert columns["trading_days_left_in_month"][inside].tolist() == list(range(count - 1, -1, -1))


@pytest.mark.parametrize("session", [CME, NYSE, CRYPTO, GRAINS], ids=repr)
def test_one_bar_has_the_bits_of_the_whole_file(session: Session) -> None:
    end = stamps(
        [
            "2015-09-18 17:15",
            "2019-11-29 09:30",
            "2019-12-31 11:00",
            "2020-02-28 17:00",
            "2020-02-29 12:00",
            "2020-03-08 19:00",
        ]
    )
    for timeframe in (HOURLY, DAILY):
        matrix = np.stack(list(session.columns(end, timeframe).values()))
        for i, stamp in enumerate(end):
            assert session.column_row(int(stamp), timeframe).tobytes() == matrix[:, i].tobytes()


def test_a_session_grows_when_asked_for_other_years_and_answers_the_same() -> None:
    early, late = stamps(["1999-06-01 12:00"]), stamps(["2030-06-03 12:00"])
    grown = Session(NYSE.template)
    before = grown.columns(early, HOURLY)
    grown.columns(late, HOURLY)
    after = grown.columns(early, HOURLY)
    assert all(before[name].tobytes() == after[name].tobytes() for name in CALENDAR_COLUMNS)
    fresh = Session(NYSE.template).columns(late, HOURLY)
    assert all(fresh[name].tobytes() == grown.columns(late, HOURLY)[name].tobytes() for name in fresh)


def test_no_stamps_give_no_answers() -> None:
    nothing = np.empty(0, dtype=np.int64)
    fresh = Session(CRYPTO.template)
    assert fresh.dates(nothing).size == 0
    assert fresh.columns(nothing, HOURLY)["hour"].size == 0
    assert CME.bucket_end(nothing, HOURLY, closed="right").size == 0


def test_an_unknown_calendar_is_said_when_it_is_used() -> None:
    template = SessionTemplate(name="X", calendar="NOPE", timezone="UTC", open="00:00", close="24:00")
    with pytest.raises(CalendarError, match="NOPE"):
        Session(template).dates(stamps(["2024-01-04 12:00"]))


def test_the_open_of_the_calendar_counts_where_it_is_later_than_the_nominal_one() -> None:
    extended = Session(NYSE.template.model_copy(update={"open": "08:00"}))
    end = stamps(["2024-01-04 12:00"])
    assert local(extended.scheduled_open(end)) == ["2024-01-04 09:30"]
    assert extended.columns(end, HOURLY)["minute_of_session"].tolist() == [150.0]


# ---- buckets


def ends(session: Session, text: str, timeframe: Timeframe) -> tuple[str, str]:
    at = stamps([text])
    return tuple(  # type: ignore[return-value]
        local(session.bucket_end(at, timeframe, closed=side))[0][5:] for side in ("left", "right")
    )


@pytest.mark.parametrize(
    ("session", "text", "timeframe", "left", "right"),
    [
        (CME, "2024-01-04 18:00", "1h", "01-04 19:00", "01-04 18:00"),
        (CME, "2024-01-04 18:01", "1h", "01-04 19:00", "01-04 19:00"),
        (CME, "2024-01-04 16:59", "4h", "01-04 17:00", "01-04 17:00"),
        (CME, "2024-01-04 17:00", "4h", "01-04 18:00", "01-04 17:00"),
        (CME, "2024-01-04 17:00", "1d", "01-05 17:00", "01-04 17:00"),
        (CME, "2024-01-06 12:00", "1d", "01-08 17:00", "01-08 17:00"),
        (NYSE, "2024-01-04 09:00", "1h", "01-04 10:00", "01-04 09:00"),
        (NYSE, "2024-01-04 09:31", "1h", "01-04 10:00", "01-04 10:00"),
        (NYSE, "2024-01-04 15:30", "2h", "01-04 16:00", "01-04 16:00"),
        (NYSE, "2018-11-23 12:30", "2h", "11-23 13:00", "11-23 13:00"),
        (NYSE, "2018-11-23 13:00", "2h", "11-23 14:00", "11-23 13:00"),
    ],
)
def test_bucket_ends(session: Session, text: str, timeframe: str, left: str, right: str) -> None:
    assert ends(session, text, Timeframe.parse(timeframe)) == (left, right)


def test_a_session_grid_counts_from_the_open_where_a_clock_grid_counts_from_midnight() -> None:
    counted = Session(NYSE.template.model_copy(update={"grid": "session"}))
    assert ends(counted, "2024-01-04 09:31", HOURLY) == ("01-04 10:30", "01-04 10:30")
    assert ends(counted, "2024-01-04 15:45", HOURLY) == ("01-04 16:00", "01-04 16:00")


# ---- auto-close


def decided(session: Session, day: str, timeframe: Timeframe, cut_off: str) -> str:
    """Return the wall clock of the first bar of `day` that has to close."""
    close = session.nominal_close(np.array([day], dtype="M8[D]"))
    grid = np.arange(int(session.scheduled_open(close)[0]), int(close[0]) + 1, MINUTE)
    end = np.unique(session.bucket_end(grid[1:], timeframe, closed="right"))
    due = session.auto_close(end, timeframe, cut_off)
    assert due[int(due.argmax()) :].all(), "once due, due until the session ends"
    return local(end[due])[0][-5:]


@pytest.mark.parametrize(
    ("session", "day", "timeframe", "cut_off", "expected"),
    [
        (NYSE, "2024-01-04", "1h", "15:45", "15:00"),
        (NYSE, "2024-01-04", "1h", "15:00", "15:00"),
        (NYSE, "2024-01-04", "1h", "16:00", "15:00"),
        (NYSE, "2024-01-04", "15min", "15:45", "15:45"),
        (NYSE, "2018-11-23", "1h", "15:45", "12:00"),  # closes at 13:00: the last but one
        (NYSE, "2018-11-23", "15min", "15:45", "12:45"),
        (NYSE, "2018-11-23", "1h", "11:30", "11:00"),
        (CME, "2024-01-04", "1h", "16:45", "16:00"),
        (CME, "2024-01-04", "4h", "16:45", "14:00"),
        (CME, "2018-11-22", "1h", "16:45", "12:00"),
        (CME, "2024-01-04", "1h", "19:30", "19:00"),  # in the evening before
        (CRYPTO, "2024-01-04", "1h", "23:30", "18:00"),  # 23:00 UTC
        (NYSE, "2024-01-04", "1h", "09:45", "10:00"),  # no bar ends before it: all are late
    ],
)
def test_auto_close_begins_at(
    session: Session, day: str, timeframe: str, cut_off: str, expected: str
) -> None:
    assert decided(session, day, Timeframe.parse(timeframe), cut_off) == expected


def test_bars_behind_an_early_close_are_late_too() -> None:
    end = stamps(["2018-11-23 11:00", "2018-11-23 14:00", "2018-11-23 16:00"])
    assert NYSE.auto_close(end, HOURLY, "15:45").tolist() == [False, True, True]


def test_auto_close_needs_intraday_bars() -> None:
    with pytest.raises(ConfigError, match="intraday"):
        NYSE.auto_close(stamps(["2024-01-04 16:00"]), DAILY, "15:45")


@pytest.mark.parametrize(
    ("session", "clock", "minute"),
    [
        (NYSE, "09:30", 0),
        (NYSE, "16:00", 390),
        (CME, "18:00", 0),
        (CME, "03:00", 540),
        (CRYPTO, "24:00", 1440),
    ],
)
def test_minute_of_a_clock_time(session: Session, clock: str, minute: float) -> None:
    assert session.minute_of(clock) == minute


@pytest.mark.parametrize(
    ("session", "clock"), [(NYSE, "09:29"), (CME, "17:30"), (NYSE, "noon"), (NYSE, "16:01")]
)
def test_a_clock_time_outside_the_session_is_refused(session: Session, clock: str) -> None:
    with pytest.raises(ConfigError, match=clock):
        session.minute_of(clock)


# ---- kernels


def test_civil_dates_agree_with_numpy() -> None:
    civil_date = python_source(session_kernels.civil_date)
    days = np.arange("1896-01-01", "2105-01-01", np.timedelta64(3, "D"), dtype="M8[D]")
    for day in days[::7]:
        month_start = day.astype("M8[M]")
        length = int(
            ((month_start + np.timedelta64(1, "M")).astype("M8[D]") - month_start.astype("M8[D]")).astype(int)
        )
        expected = (
            int(month_start.astype(int)) % 12 + 1,
            int((day - month_start.astype("M8[D]")).astype(int)) + 1,
            length,
        )
        assert civil_date(int(day.astype(int))) == expected


def test_moments_and_bar_ends_on_a_close_belong_to_different_sessions() -> None:
    table = Session(CME.template)._covering(stamps(["2024-01-04 12:00"])).table
    close = utc("2024-01-04 17:00", NEW_YORK)
    as_end = python_source(session_kernels.session_of_end)(table, close)
    as_start = python_source(session_kernels.session_of_start)(table, close)
    assert as_start == as_end + 1
