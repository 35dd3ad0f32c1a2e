"""Files that would load wrong, or cannot be read as declared: refused, with both values and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lockstep.errors import BadBars
from support.vendor_files import DAYS, ENDS, HEADER, daily, lines, loaded, minutes, on, table, written

REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "two contracts": (
        lines(f"{HEADER},symbol", "2024-01-02 14:30,1,1,1,1,1,ESH4", "2024-01-02 14:30,2,2,2,2,2,ESM4"),
        {},
        r":3: symbol 'ESM4': rows of several kinds: the first row has 'ESH4'.*select: \{symbol: ESH4\}",
    ),
    "two intervals": (
        lines(f"{HEADER},interval", "2024-01-02 14:30,1,1,1,1,1,1m", "2024-01-02 14:35,2,2,2,2,2,5m"),
        {},
        "interval '5m': rows of several kinds",
    ),
    "a time that is not used": (
        lines(
            "Date,Time,Open,High,Low,Close,Volume", "2024-01-02,14:30,1,1,1,1,1", "2024-01-02,14:31,1,1,1,1,1"
        ),
        {},
        r"time '14:31': .*columns: \{datetime: \[date, time\]\}, or ignore: \[time\]",
    ),
    "an offset in its own column": (
        lines(f"{HEADER},utc_offset", "2024-01-02 14:30,1,1,1,1,1,-5", "2024-01-02 14:31,1,1,1,1,1,-4"),
        {},
        "utc_offset '-4': rows of several kinds",
    ),
    "a selection that is not there": (
        lines(f"{HEADER},symbol", "2024-01-02 14:30,1,1,1,1,1,ESH4"),
        {"select": {"symbol": "ESU4"}},
        "holds ESH4: select asks for 'ESU4'",
    ),
    "several tickers of yfinance": (
        lines("Price,Close,Close", "Ticker,ES=F,NQ=F", "Date,,", "2024-01-02,1,2"),
        {},
        ":2: tickers ES=F, NQ=F",
    ),
    "a time of day in UTC for a date": (
        table(HEADER, tuple(f"{day}T00:00:00Z" for day in DAYS)),
        {"timeframe": "1d", "stamp": "session_date", "timezone": "America/New_York"},
        "not midnight in America/New_York",
    ),
    "the mark for no price": (
        lines("ts_event,open,high,low,close,volume", f"{ENDS[0]},{','.join(['9223372036854775807'] * 4)},1"),
        {"like": "databento_raw"},
        "mark for an unknown one",
    ),
}


@pytest.mark.parametrize("quarantine", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_what_would_mix_or_shift_bars_is_refused_whatever_is_quarantined(
    tmp_path: Path, case: str, quarantine: bool
) -> None:
    text, declared, message = REFUSED[case]
    with pytest.raises(BadBars, match=message):
        loaded(written(tmp_path, text), minutes(**declared), quarantine=quarantine)
    assert [each.name for each in tmp_path.iterdir()] == ["ES_bt.csv"]


def series(count: int, step: str, form: str = "%Y-%m-%d %H:%M", first: str = "2024-01-08 18:30") -> str:
    stamps = pd.date_range(first, periods=count, freq=step, tz="America/New_York")
    return lines(HEADER, *(f"{stamp.strftime(form)},1,1,1,1,1" for stamp in stamps))


@pytest.mark.parametrize(
    ("text", "timeframe"),
    [
        (series(46, "30min"), "1h"),
        (series(40, "15min"), "30min"),
        (series(41, "45min", first="2024-01-08 18:45"), "30min"),
        (series(40, "2h", first="2024-01-07 18:00"), "1h"),
        (series(48, "1h", form="%Y-%m-%d"), "1d"),
        (series(20, "12h", form="%Y-%m-%d"), "1d"),
        (series(20, "7D", form="%Y-%m-%d"), "1d"),
        # One pair of neighbours does not make hours of a file of two-hour bars.
        (lines(*series(40, "2h", first="2024-01-07 18:00").splitlines(), "2024-01-11 01:00,1,1,1,1,1"), "1h"),
    ],
)
def test_a_file_of_another_timeframe_is_refused_whatever_is_quarantined(
    tmp_path: Path, text: str, timeframe: str
) -> None:
    daily_file = timeframe == "1d"
    source = minutes(
        timeframe=timeframe,
        stamp="session_date" if daily_file else "close",
        timezone="America/New_York",
        max_rejected=1.0,
    )
    with pytest.raises(BadBars, match="wrong timeframe"):
        loaded(written(tmp_path, text), source, quarantine=True)


def test_more_rejected_rows_than_declared_refuse_the_file(tmp_path: Path) -> None:
    days = pd.bdate_range("2020-01-06", periods=400).strftime("%Y-%m-%d")
    rows = [f"{day},1,1,1,1,{'x' if i % 50 == 7 else 1}" for i, day in enumerate(days)]
    path = written(tmp_path, lines(HEADER, *rows))
    with pytest.raises(BadBars, match=r"volume 'x': .*8 of 400 rows are bad, and max_rejected allows 4"):
        loaded(path, daily(), quarantine=True)
    assert len(loaded(path, daily(max_rejected=0.02), quarantine=True).rejected) == 8
    with pytest.raises(BadBars, match="allows 7"):
        loaded(path, daily(max_rejected=0.0199), quarantine=True)
    few = written(tmp_path, lines(HEADER, *rows[:60]))
    assert len(loaded(few, daily(), quarantine=True).rejected) == 2, "three rows may be rejected in any file"
    with pytest.raises(BadBars, match="allows 0"):
        loaded(few, daily(max_rejected=0), quarantine=True)


@pytest.mark.parametrize(
    ("text", "declared", "message"),
    [
        (
            table("Date,Open,High,Low,Last,Volume", DAYS),
            {},
            r"close is missing; 'last' may be it: declare columns: ",
        ),
        (table("Date,Open,High,Low,Close,Vol", DAYS), {}, r"\{volume: vol\}"),
        (table("Session,Open,High,Low,Close,Volume", DAYS), {}, "column datetime is missing"),
        (table("Date,Open,High,Low,Close,Openint", DAYS), {}, "declare volume: none"),
        (table("Date;Open;High;Low;Close;Volume", DAYS, ";"), {}, "declare separator: ';'"),
        (
            table("Date\tOpen\tHigh\tLow\tClose\tVolume", DAYS, "\t"),
            {},
            r"separated by tab: declare separator: '\\t'",
        ),
        (table("", DAYS), {}, "first line holds values: declare header: false"),
        (
            table(HEADER, DAYS),
            {"columns": {"close": "Closs"}},
            "column closs, declared for close, is missing; did you",
        ),
        (table(HEADER, on("%d.%m.%Y")), {}, "declare stamp_format"),
        (table(HEADER, tuple(str(end // 10**6) for end in ENDS)), {}, "declare epoch: ms"),
        (lines(HEADER, *reversed(table("", DAYS).splitlines())), {}, "newest first: declare order: any"),
        (lines(HEADER, *(f'{day},"1,5","2,0","1,0","1,5",7' for day in DAYS)), {}, "declare decimal: ','"),
        (
            lines(HEADER, *(f'{day},"1,234.5","1,234.5","1,234.5","1,234.5",7' for day in DAYS)),
            {},
            "thousands: ','",
        ),
        (
            lines(HEADER, "2024-01-02,1,1,1,1,1", "2024-01-03,1,2,3,1,1", "2024-01-04,1,1,1,1,1"),
            {},
            "--quarantine skips",
        ),
        (table(f"{HEADER},Stück", DAYS, form="{} {} {} {} {} 7").encode("cp1252"), {}, "encoding: cp1252"),
    ],
)
def test_a_refusal_names_the_way_out(
    tmp_path: Path, text: str | bytes, declared: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadBars, match=message) as caught:
        loaded(written(tmp_path, text), daily(**declared))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_off_is_a_finding_and_a_short_line_is_refused(tmp_path: Path) -> None:
    text = table(HEADER, DAYS)
    assert loaded(written(tmp_path, text), daily()).findings == ()
    (finding,) = loaded(written(tmp_path, text[:-4]), daily()).findings
    assert finding == (
        "the last line has no end, so the file may be cut off in its last number: "
        "'2024-04-02,4782.25,4783.5,4781.75,4783,1820'"
    )
    with pytest.raises(
        BadBars, match="expected 6 columns, as in the header; the line has no end: the file is cut off"
    ):
        loaded(written(tmp_path, text.rpartition(",")[0]), daily())


def test_rejected_rows_keep_their_text_in_every_layout(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        lines("Date;Open;High;Low;Close;Volume", "02.01.2024;1,5;2;1;1,5;7", "03.01.2024;1,5;2;x;1,5;7"),
    )
    source = daily(separator=";", decimal=",", stamp_format="%d.%m.%Y")
    rejected = loaded(path, source, quarantine=True).rejected_path
    assert rejected is not None
    assert rejected.read_text().splitlines() == [
        "Date;Open;High;Low;Close;Volume;reason",
        "03.01.2024;1,5;2;x;1,5;7;\"line 3: low 'x': must be a number\"",
    ]
