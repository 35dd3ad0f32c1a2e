"""Vendors' files: every layout holds the same three bars."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from lockstep.errors import BadBars
from lockstep.market.reading.layouts import PRESETS
from lockstep.market.source import Source
from support.markets import utc
from support.vendor_files import (
    CLOSE,
    DAYS,
    ENDS,
    HEADER,
    OPEN,
    ROWS,
    assert_holds,
    at,
    daily,
    lines,
    loaded,
    minutes,
    on,
    table,
    written,
)

MINUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "mt5": (
        table(
            "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
            tuple(f"2024.01.02\t16:{m}:00" for m in (30, 31, 32)),
            "\t",
            "{} {} {} {} {} 0 25",
        ),
        {"like": "mt5", "stamp": None, "timezone": "Europe/Helsinki"},
    ),
    "mt4": (table("", at("2024.01.02,{}")), {"like": "mt4", "stamp": None}),
    "ninjatrader": (
        table("", tuple(f"20240102 14{m}00" for m in (31, 32, 33)), ";"),
        {"like": "ninjatrader", "stamp": None, "timezone": None},
    ),
    "tradestation": (
        table(
            '"Date","Time","Open","High","Low","Close","Up","Down"',
            at("01/02/2024,{}", CLOSE),
            form="{} {} {} {} {} 0",
        ),
        {"like": "tradestation", "stamp": None},
    ),
    "sierra": (
        table(
            "Date, Time, Open, High, Low, Last, Volume, NumberOfTrades, BidVolume, AskVolume",
            at("2024/1/2, {}:00.0"),
            ", ",
            "{} {} {} {} {} 7 3 4",
        ),
        {"like": "sierra", "stamp": None},
    ),
    "databento": (
        table(
            "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol",
            at("2024-01-02T{}:00.000000000Z,33,1,17077"),
            form="{} {} {} {} {} ESH4",
        ),
        {"like": "databento", "stamp": None, "timezone": None},
    ),
    "databento_raw": (
        lines(
            "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume",
            *(
                f"{end - 60 * 10**9},33,1,17077,{','.join(str(round(v * 1e9)) for v in row[:4])},{row[4]:.0f}"
                for end, row in zip(ENDS, ROWS, strict=True)
            ),
        ),
        {"like": "databento_raw", "stamp": None, "timezone": None},
    ),
    "yahoo": (
        table(
            "Datetime,Open,High,Low,Close,Volume,Dividends,Stock Splits",
            at("2024-01-02 {}:00+00:00"),
            form="{} {} {} {} {} 0.0 0.0",
        ),
        {"like": "yahoo", "stamp": None},
    ),
    "kibot": (
        table("", tuple(f"01/02/2024,09:{m}" for m in (30, 31, 32))),
        {"like": "kibot", "stamp": None, "timezone": None},
    ),
    "firstrate": (
        table("", tuple(f"2024-01-02 09:{m}:00" for m in (30, 31, 32))),
        {"like": "firstrate", "stamp": None, "timezone": None},
    ),
    "firstrate with a header": (
        table("timestamp,open,high,low,close,volume", tuple(f"2024-01-02 09:{m}:00" for m in (30, 31, 32))),
        {"like": "firstrate", "stamp": None, "timezone": None, "header": True},
    ),
    "ib": (
        table(
            ",date,open,high,low,close,volume,average,barCount",
            tuple(f"{i},2024-01-02 09:3{i}:00-05:00" for i in range(3)),
            form="{} {} {} {} {} 4780.9 312",
        ),
        {"like": "ib", "stamp": None, "timezone": None},
    ),
    "stooq": (
        table(
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
            tuple(f"ES.F,1,20240102,14{m}00" for m in (30, 31, 32)),
            form="{} {} {} {} {} 0",
        ),
        {"like": "stooq"},
    ),
    "tradingview": (
        table("time,open,high,low,close,Volume", tuple(str(end // 10**9 - 60) for end in ENDS)),
        {"like": "tradingview", "stamp": None, "timezone": None},
    ),
    "binance": (
        table(
            "", tuple(str(end // 10**6 - 60_000) for end in ENDS), form="{} {} {} {} {} 1704205859999 1 2 3"
        ),
        {"like": "binance", "stamp": None, "timezone": None},
    ),
    "binance of 2025": (
        table("", tuple(str(end // 10**3 - 60_000_000) for end in ENDS)),
        {"like": "binance", "stamp": None, "timezone": None, "epoch": "us"},
    ),
    "dukascopy": (
        table("Gmt time,Open,High,Low,Close,Volume", at("02.01.2024 {}:00.000")),
        {"like": "dukascopy", "stamp": None, "timezone": None},
    ),
    "an offset in the format counts once": (
        table(HEADER, tuple(f"02.01.2024 09:{m}:00.000 GMT-0500" for m in (30, 31, 32))),
        {"stamp_format": "%d.%m.%Y %H:%M:%S.%f GMT%z", "timezone": "America/New_York"},
    ),
    "a date and a time": (
        table("Date,Time,Open,High,Low,Close,Volume", at("2024-01-02,{}")),
        {"columns": {"datetime": ["Date", "Time"]}},
    ),
    "seconds with fractions": (
        table(HEADER, tuple(f"{end // 10**9 - 60}.000" for end in ENDS)),
        {"epoch": "s"},
    ),
    "cents": (
        lines(
            HEADER,
            *(
                f"2024-01-02T{time}Z,{','.join(f'{v * 100:.0f}' for v in row[:4])},{row[4]:.0f}"
                for time, row in zip(OPEN, ROWS, strict=True)
            ),
        ),
        {"scale": 0.01},
    ),
    "one of two contracts": (
        lines(
            f"{HEADER},symbol",
            *(
                f"{stamp}Z,{','.join(map(str, row))},ESH4\n{stamp}Z,1,1,1,1,1,ESM4"
                for stamp, row in zip(at("2024-01-02 {}"), ROWS, strict=True)
            ),
        ),
        {"select": {"Symbol": "ESH4"}},
    ),
    "a contract that is knowingly ignored": (
        table(
            "ts_event,instrument_id,open,high,low,close,volume",
            tuple(f"2024-01-02T14:3{i}:00Z,{17077 + i}" for i in range(3)),
        ),
        {"like": "databento", "ignore": ["instrument_id"]},
    ),
}


@pytest.mark.parametrize("case", MINUTES)
def test_minutes_of_a_vendor(tmp_path: Path, case: str) -> None:
    text, declared = MINUTES[case]
    assert_holds(written(tmp_path, text), minutes(**declared))


@pytest.mark.parametrize("case", MINUTES)
def test_another_row_tells_if_it_is_read_otherwise(tmp_path: Path, case: str) -> None:
    """Negative control: the comparison notices one price."""
    text, declared = MINUTES[case]
    changed = (
        text.replace("4781.5", "4781.75")
        .replace("4781500000000", "4781750000000")
        .replace("478150", "478175")
    )
    assert changed != text
    with pytest.raises(AssertionError):
        assert_holds(written(tmp_path, changed), minutes(**declared))


DAILY: dict[str, tuple[str | bytes, dict[str, Any]]] = {
    "mt5": (
        table(
            "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
            on("%Y.%m.%d"),
            "\t",
            "{} {} {} {} {} 0 25",
        ),
        {"like": "mt5"},
    ),
    "ninjatrader": (table("", on("%Y%m%d"), ";"), {"like": "ninjatrader"}),
    "tradestation": (
        table(
            '"Date","Time","Open","High","Low","Close","Vol","OI"',
            on("%m/%d/%Y,16:00"),
            form="{} {} {} {} {} 9",
        ),
        {"like": "tradestation"},
    ),
    "sierra": (
        table("Date, Time, Open, High, Low, Last, Volume", on("%Y/%m/%d, 00:00:00"), ", "),
        {"like": "sierra"},
    ),
    "databento": (
        table("ts_event,open,high,low,close,volume", on("%Y-%m-%dT00:00:00Z")),
        {"like": "databento", "timezone": "UTC"},
    ),
    "yahoo, three header lines": (
        lines(
            "Price,Close,High,Low,Open,Volume",
            "Ticker,ES=F,ES=F,ES=F,ES=F,ES=F",
            "Date,,,,,",
            *(f"{day},{r[3]},{r[1]},{r[2]},{r[0]},{r[4]:.0f}" for day, r in zip(DAYS, ROWS, strict=True)),
        ),
        {"like": "yahoo"},
    ),
    "yahoo, both offsets of a year": (
        table(
            "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
            (*(f"{day} 00:00:00-05:00" for day in DAYS[:2]), f"{DAYS[2]} 00:00:00-04:00"),
            form="{} {} {} {} {} 0 0",
        ),
        {"like": "yahoo"},
    ),
    "kibot": (table("", on("%m/%d/%Y")), {"like": "kibot"}),
    "firstrate": (table("", DAYS), {"like": "firstrate"}),
    "stooq": (
        table(
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
            on("ES.F,D,%Y%m%d,000000"),
            form="{} {} {} {} {} 0",
        ),
        {"like": "stooq"},
    ),
    "investing, newest first": (
        "\ufeff"
        + lines(
            '"Date","Price","Open","High","Low","Vol.","Change %"',
            '"04/02/2024","4,783.00","4,782.25","4,783.50","4,781.75","1.82M","-1.16%"',
            '"01/03/2024","4,782.00","4,781.25","4,782.50","4,780.75","1.21K","0.02%"',
            '"01/02/2024","4,781.00","4,780.25","4,781.50","4,779.75","1.20K","0.02%"',
        ),
        {"like": "investing"},
    ),
    "nasdaq, newest first": (
        lines(
            "Date,Close/Last,Volume,Open,High,Low",
            "04/02/2024,$4783.00,1820000,$4782.25,$4783.50,$4781.75",
            "01/03/2024,$4782.00,1210,$4781.25,$4782.50,$4780.75",
            "01/02/2024,$4781.00,1200,$4780.25,$4781.50,$4779.75",
        ),
        {"like": "nasdaq"},
    ),
    "in no order": (lines(HEADER, *(table("", DAYS).splitlines()[i] for i in (1, 2, 0))), {"order": "any"}),
    "decimal comma, thousands with points": (
        lines(
            "datetime;open;high;low;close;volume",
            "02.01.2024;4.780,25;4.781,5;4.779,75;4.781;1.200",
            "03.01.2024;4.781,25;4.782,5;4.780,75;4.782;1.210",
            "02.04.2024;4.782,25;4.783,5;4.781,75;4783;1.820.000",
            end="\r\n",
        ),
        {"separator": ";", "decimal": ",", "thousands": ".", "stamp_format": "%d.%m.%Y"},
    ),
    "quoted decimal commas between commas": (
        lines(
            HEADER,
            *(
                f"{day},"
                + ",".join('"' + f"{v:g}".replace(".", ",") + '"' for v in row[:4])
                + f",{row[4]:.0f}"
                for day, row in zip(DAYS, ROWS, strict=True)
            ),
        ),
        {"decimal": ","},
    ),
    "UTF-16": (table(HEADER, DAYS).encode("utf-16"), {}),
    "UTF-16 that is declared": (table(HEADER, DAYS).encode("utf-16-le"), {"encoding": "utf-16-le"}),
    "Windows-1252": (
        table(f"{HEADER},Stück", DAYS, form="{} {} {} {} {} 7").encode("cp1252"),
        {"encoding": "cp1252"},
    ),
    "a byte order mark": (b"\xef\xbb\xbf" + table(HEADER, DAYS).encode(), {}),
    "old Macintosh line ends": (table(HEADER, DAYS).replace("\n", "\r"), {}),
    "one symbol in all rows": (table(f"{HEADER},symbol,interval", DAYS, form="{} {} {} {} {} ES 1d"), {}),
}


@pytest.mark.parametrize("case", DAILY)
def test_days_of_a_vendor(tmp_path: Path, case: str) -> None:
    text, declared = DAILY[case]
    if "like" in declared:
        declared = {"stamp": None, **declared}
    assert_holds(written(tmp_path, text), daily(**declared))


def test_volumes_that_are_added_up_and_none(tmp_path: Path) -> None:
    text = table("Date,Open,High,Low,Close,Up,Down", DAYS, form="{} {} {} {} {} 5")
    assert_holds(
        written(tmp_path, text), daily(columns={"volume": ["Up", "Down"]}), volume=(1205.0, 1215.0, 1820005.0)
    )
    bare = lines(
        "Date,Open,High,Low,Close", *(row.rpartition(",")[0] for row in table("", DAYS).splitlines())
    )
    assert_holds(written(tmp_path, bare), daily(volume="none"), volume=(0.0, 0.0, 0.0))
    assert_holds(
        written(tmp_path, text),
        daily(like="tradestation", stamp=None, stamp_format="%Y-%m-%d", volume="none"),
        volume=(0.0, 0.0, 0.0),
    )


def test_24_00_is_the_end_of_the_day(tmp_path: Path) -> None:
    texts = ("2024-01-02 23:59", "2024-01-02 24:00", "2024-01-03 00:01")
    bars = loaded(written(tmp_path, table(HEADER, texts)), minutes(stamp="close")).data
    assert bars.end.tolist() == [utc("2024-01-02 23:59"), utc("2024-01-03 00:00"), utc("2024-01-03 00:01")]
    dots = table(HEADER, ("31.12.2024 2359", "31.12.2024 2400", "01.01.2025 0001"))
    bars = loaded(written(tmp_path, dots), minutes(stamp="close", stamp_format="%d.%m.%Y %H%M")).data
    assert bars.end[1] == utc("2025-01-01 00:00")
    with pytest.raises(BadBars, match="24:01"):
        loaded(
            written(tmp_path, table(HEADER, (texts[0], "2024-01-02 24:01", texts[2]))), minutes(stamp="close")
        )


@pytest.mark.parametrize("name", ["ES_bt.CSV", "ES_BT.Csv", "ES_bt.txt", "ES_bt.TXT.GZ"])
def test_suffixes_match_in_any_case(tmp_path: Path, name: str) -> None:
    text = table(HEADER, DAYS).encode()
    path = written(tmp_path, gzip.compress(text) if name.endswith("GZ") else text, name)
    source = daily(suffix=".txt")
    assert source.find("ES", tmp_path) == path
    assert_holds(path, source)


def test_parquet_with_the_index_as_pandas_wrote_it(tmp_path: Path) -> None:
    values = dict(zip(("open", "high", "low", "close", "volume"), zip(*ROWS, strict=True), strict=True))
    index = pd.DatetimeIndex([end - 60 * 10**9 for end in ENDS])
    path = tmp_path / "ES_bt.parquet"
    for name, labels in (
        (None, index),
        ("Moment", index),
        ("stamp", index.tz_localize("UTC").tz_convert("Asia/Tokyo")),
    ):
        pd.DataFrame(values, index=labels.rename(name)).to_parquet(path)
        assert_holds(path, minutes())
    pd.DataFrame(values).assign(datetime=index).iloc[[0, 1, 2]].loc[lambda each: each.close > 0].to_parquet(
        path
    )
    assert_holds(path, minutes())
    days = pd.DatetimeIndex(DAYS).tz_localize("America/New_York").rename("Date")
    pd.DataFrame(values, index=days).to_parquet(path)
    assert_holds(path, daily())


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_a_valid_declaration(name: str) -> None:
    given = {"like": name, "stamp": None, "timezone": None}
    assert daily(**given).stamp == "session_date"
    intraday = PRESETS[name]["intraday"].get("stamp", "close")
    assert minutes(**given | {"stamp": intraday}).stamp == intraday
    assert minutes(**given | {"stamp": "close"}).stamp == "close", "the entry overrides"
    again = minutes(**given | {"stamp": "close"})
    assert Source.model_validate(dict(again)) == again


def test_an_unknown_preset_and_contradictions_are_refused() -> None:
    for declared, message in (
        ({"like": "ninja"}, "did you mean 'ninjatrader'"),
        ({"epoch": "s", "stamp_format": "%Y"}, "give one of the two"),
        ({"thousands": "."}, "decimal is the same"),
        ({"volume": "none", "columns": {"volume": "Vol"}}, "give one of the two"),
        ({"columns": {"close": 5}}, "only with header: false"),
        ({"columns": {"close": "Last"}, "header": False}, "give its number"),
        ({"columns": {"adj": "Adj Close"}}, "none of our columns"),
        ({"columns": {"close": ["a", "b"]}}, "only datetime and volume"),
        ({"separator": ";;"}, "at most 1 character"),
        ({"encoding": "cp0"}, "no such encoding"),
        ({"scale": 0}, "greater than 0"),
        ({"max_rejected": 2}, "less than or equal to 1"),
        ({"suffix": "txt"}, "should match pattern"),
    ):
        with pytest.raises(ValidationError, match=message):
            minutes(**declared)


def test_a_data_frame_that_was_written_without_a_name_for_its_index(tmp_path: Path) -> None:
    values = dict(zip(("open", "high", "low", "close", "volume"), zip(*ROWS, strict=True), strict=True))
    frame = pd.DataFrame(values, index=pd.DatetimeIndex(ENDS))
    assert_holds(written(tmp_path, frame.to_csv()), minutes(stamp="close"))
    assert_holds(
        written(tmp_path, frame.to_csv().replace(",open", "Unnamed: 0,open", 1)), minutes(stamp="close")
    )


def test_categories_and_nan_of_parquet_tell_rows_apart_only_where_they_vary(tmp_path: Path) -> None:
    values = dict(zip(("open", "high", "low", "close", "volume"), zip(*ROWS, strict=True), strict=True))
    frame = pd.DataFrame({"datetime": pd.DatetimeIndex(ENDS), **values})
    path = tmp_path / "ES_bt.parquet"
    frame.assign(symbol=pd.Categorical(["ESH4"] * 3), expiry=float("nan")).to_parquet(path)
    assert_holds(path, minutes(stamp="close"))
    frame.assign(symbol=pd.Categorical(["ESH4", "ESH4", "ESM4"])).to_parquet(path)
    with pytest.raises(BadBars, match=r":3: symbol 'ESM4': rows of several kinds"):
        loaded(path, minutes(stamp="close"), quarantine=True)
    assert len(loaded(path, minutes(stamp="close", select={"symbol": "ESH4"})).data) == 2


@pytest.mark.parametrize(("scale", "digits"), [(1e-9, 9), (0.01, 2), (1e-4, 4)])
def test_scaled_prices_are_the_nearest_doubles(tmp_path: Path, scale: float, digits: int) -> None:
    """As if the file had written them with a decimal point; multiplied, one in three is off by a bit."""
    prices = [round(4780 + 0.01 * i, 2) for i in range(60)]
    stamps = pd.date_range("2024-01-02 14:30", periods=60, freq="1min").strftime("%Y-%m-%d %H:%M")
    rows = [
        f"{stamp},{','.join([str(round(price * 10**digits))] * 4)},1"
        for stamp, price in zip(stamps, prices, strict=True)
    ]
    bars = loaded(written(tmp_path, lines(HEADER, *rows)), minutes(scale=scale)).data
    assert bars.close.tolist() == prices
    assert [round(price * 10**digits) * scale for price in prices] != prices, "negative control"
