from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lockstep.errors import BadBars
from lockstep.market.bars import Bars
from lockstep.market.reading.files import Loaded, read_bars, read_ticks
from lockstep.market.sessions import Session
from lockstep.market.source import Source
from support.markets import (
    BOOK,
    CME,
    DAILY_HEADER,
    DAILY_ROWS,
    NEW_YORK,
    NYSE,
    local,
    utc,
    write_daily,
)

FUTURES_DAILY = BOOK.sources["futures_daily"]


def intraday(**changes: Any) -> Source:
    values = {"name": "s", "folder": "s", "timeframe": "1h", "stamp": "open", "session": "NYSE"}
    return Source(**(values | {"adjustment": "none", "timezone": NEW_YORK} | changes))


def daily(path: Path, *, quarantine: bool = False) -> Loaded[Bars]:
    return read_bars(path, symbol="ES", source=FUTURES_DAILY, session=CME, quarantine=quarantine)


def hourly(folder: Path, stamps: list[str], source: Source, session: Session = NYSE) -> Bars:
    path = folder / "SPY_bt.csv"
    rows = [f"{stamp},1,2,0.5,1.5,10" for stamp in stamps]
    path.write_text("\n".join(("datetime,open,high,low,close,volume", *rows)))
    return read_bars(path, symbol="SPY", source=source, session=session).data


def test_a_daily_bar_is_complete_at_the_close_of_its_date(tmp_path: Path) -> None:
    loaded = daily(write_daily(tmp_path, *DAILY_ROWS))
    bars = loaded.data
    assert local(bars.end) == [f"2018-12-{day} 17:00" for day in ("03", "04", "06", "07")]
    assert bars.high.tolist() == [102.0, 103.0, 104.0, 105.0]
    assert (loaded.rows, loaded.rejected, loaded.rejected_path) == (4, (), None)


def test_columns_in_any_case_and_order_without_open_interest(tmp_path: Path) -> None:
    rows = ("7,9,8,10,2018-12-03,x,1000",)
    path = write_daily(tmp_path, *rows, header="LOW,Close,open,High,DateTime,note,VOLUME")
    bars = daily(path).data
    assert [column.tolist() for column in bars.columns().values()] == [[8.0], [10.0], [7.0], [9.0], [1000.0]]


def test_csv_gzip_and_parquet_hold_the_same_bars(tmp_path: Path) -> None:
    path = write_daily(tmp_path, *DAILY_ROWS)
    zipped, columnar = path.with_suffix(".csv.gz"), path.with_suffix(".parquet")
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    pd.read_csv(path, parse_dates=["datetime"]).to_parquet(columnar)
    hashes = {daily(one).data.content_hash for one in (path, zipped, columnar)}
    assert len(hashes) == 1


def test_negative_prices_and_zero_range_bars_load(tmp_path: Path) -> None:
    path = write_daily(
        tmp_path, "2020-04-20,17.73,17.85,-40.32,-37.63,247947,0", "2020-04-21,-14,-14,-14,-14,0,0"
    )
    assert daily(path).data.close.tolist() == [-37.63, -14.0]


def test_a_date_that_the_calendar_does_not_know_loads(tmp_path: Path) -> None:
    path = write_daily(tmp_path, "2012-04-05,1,1,1,1,1,0", "2012-04-06,1,1,1,1,1,0", "2012-04-09,1,1,1,1,1,0")
    assert local(daily(path).data.end) == [f"2012-04-{day} 17:00" for day in ("05", "06", "09")]


# ---- bad input

BAD = {
    "text in a number": ("2018-12-10,abc,102,99,101,1000,5", "open 'abc'", "must be a number"),
    "thousands": ("2018-12-10,1_00,102,99,101,1000,5", "open '1_00'", "must be a number"),
    "nothing": ("2018-12-10,,102,99,101,1000,5", "open ''", "must be a number"),
    "NaN": ("2018-12-10,NaN,102,99,101,1000,5", "open 'NaN'", "must be a finite number"),
    "infinite": ("2018-12-10,100,inf,99,101,1000,5", "high 'inf'", "must be a finite number"),
    "high < low": ("2018-12-10,100,98,99,98,1000,5", "high '98' and low '99'", "high must be >= low"),
    "close above": (
        "2018-12-10,100,102,99,103,1000,5",
        "close '103' and high '102'",
        "close must be <= high",
    ),
    "close below": ("2018-12-10,100,102,99,98.9,1000,5", "close '98.9' and low '99'", "close must be >= low"),
    "open above": (
        "2018-12-10,102.5,102,99,100,1000,5",
        "open '102.5' and high '102'",
        "open must be <= high",
    ),
    "open below": ("2018-12-10,98,102,99,100,1000,5", "open '98' and low '99'", "open must be >= low"),
    "negative volume": ("2018-12-10,100,102,99,101,-1,5", "volume '-1'", "volume must be >= 0"),
    "duplicate": (
        "2018-12-07,100,102,99,101,1000,5",
        "datetime '2018-12-07' after '2018-12-07'",
        "duplicate or falling",
    ),
    "falling": (
        "2018-11-30,100,102,99,101,1000,5",
        "datetime '2018-11-30' after '2018-12-07'",
        "duplicate or falling",
    ),
    "no stamp": ("7 December,100,102,99,101,1000,5", "datetime '7 December'", "must be a stamp"),
    "a time of day": (
        "2018-12-10 10:00,100,102,99,101,1,5",
        "datetime '2018-12-10 10:00'",
        "wrong timeframe",
    ),
    "too few columns": ("2018-12-10,100,102", "3 columns", "expected 7 columns"),
    "too many columns": ("2018-12-10,1,2,3,4,5,6,7", "8 columns", "expected 7 columns"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_with_file_line_value_and_rule(tmp_path: Path, case: str) -> None:
    row, value, rule = BAD[case]
    path = write_daily(tmp_path, *DAILY_ROWS, "", row, "2018-12-31,1,2,0,1,1,1")
    with pytest.raises(BadBars) as caught:
        daily(path)
    assert (caught.value.source, caught.value.line, caught.value.value) == (str(path), 7, value)
    assert rule in caught.value.rule
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == [path.parent, path], "nothing is written"


@pytest.mark.parametrize("case", BAD)
def test_quarantine_keeps_the_good_rows_and_says_why_the_others_went(tmp_path: Path, case: str) -> None:
    row, value, rule = BAD[case]
    path = write_daily(tmp_path, *DAILY_ROWS, "", row, "2018-12-31,1,2,0,1,1,1")
    loaded = daily(path, quarantine=True)
    assert (len(loaded.data), loaded.rows, len(loaded.rejected)) == (5, 6, 1)
    assert loaded.rejected_path == path.with_name("ES_bt.csv.rejected.csv")
    header, rejected, *rest = loaded.rejected_path.read_text().splitlines()
    assert header == f"{DAILY_HEADER},reason"
    assert rejected.startswith(f'{row},"line 7: {value}: ')
    assert rule in rejected
    assert rest == []
    assert {one.name for one in path.parent.iterdir()} == {path.name, f"{path.name}.rejected.csv"}


def test_the_first_bad_line_is_named_whatever_rule_it_breaks(tmp_path: Path) -> None:
    path = write_daily(tmp_path, "2018-12-03,1,2", "2018-12-04,x,1,1,1,1,1", "2018-12-04,1,1,1,1,1,1")
    with pytest.raises(BadBars, match=r":2: 3 columns"):
        daily(path)


def test_a_row_behind_a_rejected_one_is_judged_by_the_good_ones(tmp_path: Path) -> None:
    path = write_daily(
        tmp_path,
        "2018-12-03,1,1,1,1,1,0",
        "2019-12-31,1,1,1,x,1,0",
        "2018-12-04,1,1,1,1,1,0",
        "2018-12-03,1,1,1,1,1,0",
        "2018-12-04,1,1,1,1,1,0",
        "2018-12-06,1,1,1,1,1,0",
    )
    loaded = daily(path, quarantine=True)
    assert local(loaded.data.end) == [f"2018-12-{day} 17:00" for day in ("03", "04", "06")]
    assert [fault.line for fault in loaded.rejected] == [3, 5, 6]


def test_nothing_is_quarantined_from_a_good_file(tmp_path: Path) -> None:
    path = write_daily(tmp_path, *DAILY_ROWS)
    assert daily(path, quarantine=True).rejected_path is None
    assert list(path.parent.iterdir()) == [path]


def test_quarantine_refuses_a_file_without_a_good_row(tmp_path: Path) -> None:
    path = write_daily(tmp_path, "2018-12-03,x,1,1,1,1,0")
    with pytest.raises(BadBars, match="must be a number"):
        daily(path, quarantine=True)
    assert list(path.parent.iterdir()) == [path]


def test_rejected_rows_of_parquet_show_their_values(tmp_path: Path) -> None:
    path = tmp_path / "ES_bt.parquet"
    frame = pd.DataFrame(
        {
            "datetime": ["2018-12-03", "2018-12-04"],
            "open": [1.0, np.nan],
            "high": 2.0,
            "low": 0.5,
            "close": 1.0,
        }
    ).assign(volume=1.0)
    frame.to_parquet(path)
    loaded = daily(path, quarantine=True)
    assert len(loaded.data) == 1
    assert loaded.rejected_path is not None
    assert "line 2: open None: must be a finite number" in loaded.rejected_path.read_text()


@pytest.mark.parametrize("name", ["open", "volume", "datetime"])
def test_a_missing_column_is_named(tmp_path: Path, name: str) -> None:
    header = ",".join(part for part in DAILY_HEADER.split(",") if part.lower() != name)
    with pytest.raises(BadBars, match=f":1: .*column {name} is missing"):
        daily(write_daily(tmp_path, "1,2,3,4,5,6", header=header))


# ---- timeframes


def test_bars_stamped_at_their_open_end_one_bar_later(tmp_path: Path) -> None:
    bars = hourly(tmp_path, ["2024-01-04 09:00", "2024-01-04 10:00", "2024-01-04 15:00"], intraday())
    assert local(bars.end) == ["2024-01-04 10:00", "2024-01-04 11:00", "2024-01-04 16:00"]


def test_the_first_bar_may_be_stamped_with_the_open_of_the_session(tmp_path: Path) -> None:
    assert (
        local(hourly(tmp_path, ["2024-01-04 09:30", "2024-01-04 10:00"], intraday()).end)[0][-5:] == "10:00"
    )


def test_the_last_bar_ends_at_the_close_of_the_session(tmp_path: Path) -> None:
    by_session = Session(NYSE.template.model_copy(update={"grid": "session"}))
    bars = hourly(
        tmp_path, ["2024-01-04 09:30", "2024-01-04 15:30", "2018-11-23 12:30"][:2], intraday(), by_session
    )
    assert local(bars.end) == ["2024-01-04 10:30", "2024-01-04 16:00"]
    half_day = hourly(tmp_path, ["2018-11-23 12:30"], intraday(), by_session)
    assert local(half_day.end) == ["2018-11-23 13:00"]
    closed = hourly(tmp_path, ["2018-11-23 12:30", "2018-11-23 13:00"], intraday(stamp="close"), by_session)
    assert local(closed.end) == ["2018-11-23 12:30", "2018-11-23 13:00"]


def test_open_stamped_bars_through_both_changes_of_daylight_saving(tmp_path: Path) -> None:
    source = intraday(session="CRYPTO")
    crypto = BOOK.session_named("CRYPTO")
    autumn = [f"2024-11-03 {hour}:00" for hour in ("00", "01", "01", "02")]
    assert hourly(tmp_path, autumn, source, crypto).end.tolist() == [
        utc(f"2024-11-03 {hour}:00") for hour in ("05", "06", "07", "08")
    ]
    spring = ["2024-03-10 01:00", "2024-03-10 03:00"]
    assert hourly(tmp_path, spring, source, crypto).end.tolist() == [
        utc("2024-03-10 07:00"),
        utc("2024-03-10 08:00"),
    ]
    with pytest.raises(BadBars, match=r":3: .*does not exist"):
        hourly(tmp_path, ["2024-03-10 01:00", "2024-03-10 02:00"], source, crypto)


@pytest.mark.parametrize("quarantine", [False, True])
@pytest.mark.parametrize(
    ("timeframe", "stamp", "stamps"),
    [
        ("1h", "close", [f"2024-01-04 10:{minute:02}" for minute in range(12)]),
        ("1h", "open", [f"2024-01-04 10:{minute:02}" for minute in range(12)]),
        ("1h", "close", [f"2024-01-{day:02}" for day in range(2, 31)]),
        ("1min", "close", [f"2024-01-{day:02} {hour}:00" for day in (3, 4) for hour in range(10, 16)]),
        ("1d", "session_date", [f"2024-01-04 {hour}:00" for hour in range(10, 16)]),
        ("1d", "session_date", [f"2024-{month:02}-02" for month in range(1, 13)]),
    ],
)
def test_a_file_of_another_timeframe_is_refused(
    tmp_path: Path, timeframe: str, stamp: str, stamps: list[str], quarantine: bool
) -> None:
    path = tmp_path / "SPY_bt.csv"
    path.write_text(
        "\n".join(("datetime,open,high,low,close,volume", *(f"{one},1,1,1,1,1" for one in stamps)))
    )
    source = intraday(timeframe=timeframe, stamp=stamp)
    with pytest.raises(BadBars, match="wrong timeframe"):
        read_bars(path, symbol="SPY", source=source, session=NYSE, quarantine=quarantine)
    assert list(tmp_path.iterdir()) == [path]


def test_a_single_stamp_off_the_grid_is_one_bad_row(tmp_path: Path) -> None:
    stamps = ["2024-01-04 10:00", "2024-01-04 10:07", "2024-01-04 11:00"]
    with pytest.raises(BadBars, match=r":3: .*wrong timeframe: 1h is declared"):
        hourly(tmp_path, stamps, intraday())
    path = tmp_path / "SPY_bt.csv"
    loaded = read_bars(path, symbol="SPY", source=intraday(), session=NYSE, quarantine=True)
    assert [fault.line for fault in loaded.rejected] == [3]


# ---- ticks

TICKS = intraday(timeframe="tick", stamp="trade")


def ticks(folder: Path, *rows: str, header: str = "datetime,price,volume") -> Path:
    path = folder / "ES_bt.csv"
    path.write_text("\n".join((header, *rows, "")))
    return path


def test_ticks_may_share_a_stamp(tmp_path: Path) -> None:
    path = ticks(
        tmp_path, "2024-01-04 10:00:00.1,5,1", "2024-01-04 10:00:00.1,6,0.5", header="Datetime,Last,Size"
    )
    loaded = read_ticks(path, symbol="ES", source=TICKS)
    assert loaded.data.price.tolist() == [5.0, 6.0]
    assert np.diff(loaded.data.stamp).tolist() == [0]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("2024-01-04 09:00,5,1", "must not fall"),
        ("2024-01-04 11:00,x,1", "price 'x': must be a number"),
        ("2024-01-04 11:00,nan,1", "price 'nan': must be a finite number"),
        ("2024-01-04 11:00,5,-1", "volume must be >= 0"),
    ],
)
def test_bad_ticks(tmp_path: Path, row: str, rule: str) -> None:
    path = ticks(tmp_path, "2024-01-04 10:00,5,1", row, "2024-01-04 12:00,5,1")
    with pytest.raises(BadBars, match=f":3: .*{rule}"):
        read_ticks(path, symbol="ES", source=TICKS)
    loaded = read_ticks(path, symbol="ES", source=TICKS, quarantine=True)
    assert (len(loaded.data), loaded.rows) == (2, 3)


# ---- writing
