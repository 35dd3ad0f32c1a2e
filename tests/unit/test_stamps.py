from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lockstep.market.reading.faults import Faults
from lockstep.market.reading.stamps import utc_stamps
from lockstep.market.source import Source
from lockstep.market.timeframe import DAILY, Timeframe
from support.markets import NEW_YORK, utc


def source(timezone: str | None = NEW_YORK, **changes: Any) -> Source:
    values = {"name": "s", "folder": "s", "timeframe": "1h", "stamp": "close", "session": "CME"}
    return Source(**(values | {"adjustment": "none", "timezone": timezone} | changes))


def read(values: Any, declared: Source) -> tuple[list[int], list[tuple[int, str]]]:
    column = pa.chunked_array([values])
    faults = Faults(len(column))
    stamps = utc_stamps(column, declared, faults)
    return stamps.tolist(), [(row, rule) for row, _, rule in faults.rows()]


def test_naive_stamps_are_read_in_the_declared_zone() -> None:
    texts = ["2024-01-04 10:00:00", "2024-07-04T10:00", "2024-07-04 10:00:00.5"]
    stamps, faults = read(texts, source())
    assert faults == []
    summer = utc("2024-07-04 14:00")
    assert stamps == [utc("2024-01-04 15:00"), summer, summer + 500_000_000]


def test_stamps_with_an_offset_are_taken_as_they_are_whatever_is_declared() -> None:
    texts = [
        "2024-01-04 10:00:00Z",
        "2024-01-04 05:00:00-0500",
        "2024-01-04T15:30:00+05:30",
        "2024-01-04 10:00+00",
    ]
    assert read(texts, source(None)) == ([utc("2024-01-04 10:00")] * 4, [])


def test_both_kinds_may_be_mixed() -> None:
    stamps, faults = read(["2024-01-04 10:00", "2024-01-04 16:00+00:00"], source())
    assert (stamps, faults) == ([utc("2024-01-04 15:00"), utc("2024-01-04 16:00")], [])


def test_naive_stamps_without_a_declared_zone_are_refused() -> None:
    _, faults = read(["2024-01-04 10:00Z", "2024-01-04 10:00"], source(None))
    assert [row for row, _ in faults] == [1]
    assert "declare" in faults[0][1]


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2024-13-01 10:00", "01/04/2024", "1704362400", "1500-01-01", "9999-01-01", "2024"],
)
def test_what_is_no_stamp_is_refused(text: str) -> None:
    _, faults = read(["2024-01-04 10:00", text], source())
    assert [row for row, _ in faults] == [1]


def test_an_empty_column_is_refused_row_by_row() -> None:
    assert [row for row, _ in read(pa.array([None, None], pa.string()), source())[1]] == [0, 1]


def test_a_declared_format_is_the_only_one() -> None:
    declared = source(timeframe="1d", stamp="session_date", stamp_format="%m/%d/%Y")
    stamps, faults = read(["1/4/1999", "12/31/2018", "2018-12-31"], declared)
    assert stamps[:2] == [utc("1999-01-04"), utc("2018-12-31")]
    assert [row for row, _ in faults] == [2]


def test_session_dates_have_no_time_and_no_offset() -> None:
    declared = source(timeframe="1d", stamp="session_date")
    stamps, faults = read(
        ["2024-01-04", "2024-01-05 00:00:00", "2024-01-08 10:00", "2024-01-09T00:00Z"], declared
    )
    assert stamps[:2] == [utc("2024-01-04"), utc("2024-01-05")]
    assert [(row, rule.rpartition(": ")[2]) for row, rule in faults] == [
        (2, "1d is declared, and a session date has no time of day"),
        (3, "this is not midnight in America/New_York"),
    ]
    assert declared.timeframe == DAILY


def test_typed_columns_of_parquet() -> None:
    aware = pa.array([utc("2024-01-04 10:00"), None], pa.timestamp("ns", "UTC"))
    assert read(aware, source(None))[0][0] == utc("2024-01-04 10:00")
    assert [row for row, _ in read(aware, source(None))[1]] == [1]
    naive = pa.array([np.datetime64("2024-01-04T10:00", "ms")], pa.timestamp("ms"))
    assert read(naive, source())[0] == [utc("2024-01-04 15:00")]
    dates = pa.array([date(2024, 1, 4)], pa.date32())
    assert read(dates, source(timeframe="1d", stamp="session_date"))[0] == [utc("2024-01-04")]


# ---- daylight saving


def test_the_hour_that_is_skipped_in_spring_does_not_exist() -> None:
    stamps, faults = read(["2024-03-10 01:59", "2024-03-10 02:30", "2024-03-10 03:00"], source())
    assert stamps[0::2] == [utc("2024-03-10 06:59"), utc("2024-03-10 07:00")]
    assert [(row, "does not exist" in rule) for row, rule in faults] == [(1, True)]


def test_the_order_of_the_file_tells_the_repeated_hour_of_autumn_apart() -> None:
    texts = ["00:30", "01:00", "01:30", "01:00", "01:30", "02:00"]
    stamps, faults = read([f"2024-11-03 {text}" for text in texts], source())
    assert faults == []
    assert stamps == [
        utc(f"2024-11-03 {text}") for text in ("04:30", "05:00", "05:30", "06:00", "06:30", "07:00")
    ]


def test_hourly_bars_through_the_repeated_hour() -> None:
    texts = ["00:00", "01:00", "01:00", "02:00"]
    stamps, faults = read([f"2024-11-03 {text}" for text in texts], source())
    assert faults == []
    assert np.diff(stamps).tolist() == [3600 * 10**9] * 3


def test_an_hour_that_occurs_twice_and_stands_once_is_refused() -> None:
    _, faults = read(["2024-11-03 00:30", "2024-11-03 01:30", "2024-11-03 02:30"], source())
    assert [(row, "occurs twice" in rule) for row, rule in faults] == [(1, True)]


def test_every_autumn_is_looked_at_by_itself() -> None:
    texts = ["2023-11-05 01:00", "2023-11-05 01:00", "2024-11-03 01:00", "2024-11-03 01:00"]
    stamps, faults = read(texts, source())
    assert faults == []
    assert stamps == [
        utc("2023-11-05 05:00"),
        utc("2023-11-05 06:00"),
        utc("2024-11-03 05:00"),
        utc("2024-11-03 06:00"),
    ]


def test_the_timeframe_is_parsed() -> None:
    assert source(timeframe="15min").timeframe == Timeframe(15)


# ---- formats, epochs and orders


def test_an_offset_that_the_format_reads_counts_once() -> None:
    declared = source(stamp_format="%d.%m.%Y %H:%M GMT%z")
    texts = ["02.01.2024 09:30 GMT-0500", "02.07.2024 09:30 GMT-0400", "02.01.2024 09:30 GMT+0000"]
    stamps, faults = read(texts, declared)
    assert faults == []
    assert stamps == [utc("2024-01-02 14:30"), utc("2024-07-02 13:30"), utc("2024-01-02 09:30")]
    literal = source(None, stamp_format="%d.%m.%Y %H:%M %%z")
    assert [row for row, _ in read(["02.01.2024 09:30 %z"], literal)[1]] == [0], "a percent sign is no offset"


@pytest.mark.parametrize("form", ["%d.%m.%Y %H:%M:%S", "%Y%m%d %H%M%S", "%m/%d/%y %H:%M:%S"])
def test_long_columns_are_read_as_short_ones(form: str) -> None:
    """Dates and times of day are read once each where there are many: the same, stamp by stamp."""
    moments = pd.date_range("2024-02-27 22:00", periods=5_000, freq="7min")
    texts = [*moments.strftime(form), "31.02.2024 10:00:00", "x", ""]
    declared = source("UTC", stamp_format=form)
    long, long_faults = read(texts, declared)
    odd_width, odd_faults = read([*texts, "1" * 40], declared)
    pieces = [read(texts[i : i + 500], declared) for i in range(0, len(texts), 500)]
    assert long == [stamp for stamps, _ in pieces for stamp in stamps]
    assert odd_width[:-1] == long
    assert [row for row, _ in long_faults] == [row for row, _ in odd_faults][:-1] == [5_000, 5_001, 5_002]
    plain, faults = read(list(moments.strftime(form)), declared)
    assert (plain, faults) == (long[:5_000], [])


def test_counts_since_1970_are_exact() -> None:
    moment = utc("2024-01-02 14:30")
    for unit, factor in (("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1)):
        whole = [str(moment // factor), str(-moment // factor)]
        assert read(whole, source(None, epoch=unit)) == ([moment, -moment], [])
        assert read(pa.array([moment // factor]), source(None, epoch=unit)) == ([moment], [])
    assert read(["1704205800.123456789", "-0.000000001"], source(None, epoch="s"))[0] == [
        moment + 123_456_789,
        -1,
    ]
    assert read(["1704205800000.5"], source(None, epoch="ms"))[0] == [moment + 500_000]


@pytest.mark.parametrize(
    "text", ["", "x", "0x65941", "1e9", "9" * 19, "99999999999", "1 704", "-99999999999", "1."]
)
def test_what_is_no_count_since_1970_is_refused(text: str) -> None:
    _, faults = read(["1704205800", text], source(None, epoch="s"))
    assert [row for row, _ in faults] == [1]
    assert "s since 1970" in faults[0][1]


def test_dates_with_an_offset_are_midnight_in_the_declared_zone() -> None:
    declared = source(timeframe="1d", stamp="session_date")
    texts = ["2024-01-02 00:00:00-05:00", "2024-07-02T04:00:00Z", "2024-07-03", "2024-01-04 00:00:00-04:00"]
    stamps, faults = read(texts, declared)
    assert stamps[:3] == [utc("2024-01-02"), utc("2024-07-02"), utc("2024-07-03")]
    assert [(row, "not midnight in America/New_York" in rule) for row, rule in faults] == [(3, True)]
    _, unknown = read(texts[:1], source(None, timeframe="1d", stamp="session_date"))
    assert "declare what the stamps mean" in unknown[0][1]


def test_a_file_that_falls_has_its_second_hour_first() -> None:
    texts = ["02:00", "01:30", "01:00", "01:30", "01:00", "00:30"]
    stamps, faults = read([f"2024-11-03 {text}" for text in texts], source(order="any"))
    assert faults == []
    assert stamps == [
        utc(f"2024-11-03 {text}") for text in ("07:00", "06:30", "06:00", "05:30", "05:00", "04:30")
    ]
    mixed = ["01:00", "00:30", "01:30", "01:00", "02:00", "01:30"]
    _, faults = read([f"2024-11-03 {text}" for text in mixed], source(order="any"))
    assert {row for row, rule in faults if "occurs twice" in rule} == {0, 2, 3, 5}
