from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.market.aggregator import aggregate
from lockstep.market.history import SeriesKey
from lockstep.market.loader import cut, load_bars, load_file, load_history
from lockstep.market.timeframe import DAILY, Timeframe
from support.markets import (
    BOOK,
    CME,
    DAILY_ROWS,
    FIFTEEN,
    HOURLY,
    NYSE,
    local,
    minutes,
    random_bars,
    stamps,
    write_daily,
)

ONE_MINUTE = Timeframe(1)


def write_minutes(root: Path, symbol: str = "ES", last: str = "2024-01-05 17:00", seed: int = 7) -> Path:
    """Write two sessions of minutes in UTC and return the folder."""
    folder = root / "futures_1min"
    folder.mkdir(exist_ok=True)
    bars = random_bars(minutes("2024-01-03 18:01", last), ONE_MINUTE, seed=seed)
    frame = bars.to_frame().tz_localize(None)
    frame.index.name = "datetime"
    frame.to_csv(folder / f"{symbol}_bt.csv")
    return folder


def test_dates_are_inclusive(tmp_path: Path) -> None:
    folder = write_daily(tmp_path, *DAILY_ROWS).parent
    ends = local(load_bars("ES", folder, start="2018-12-04", end=date(2018, 12, 6)).end)
    assert [text[:10] for text in ends] == ["2018-12-04", "2018-12-06"]


def test_dates_are_session_dates(tmp_path: Path) -> None:
    bars = load_bars("ES", write_minutes(tmp_path), start="2024-01-05")
    assert local(bars.end)[0] == "2024-01-04 17:01"


@pytest.mark.parametrize(
    ("start", "end"), [("2019-01-01", None), (None, "2018-12-02"), ("2018-12-05", "2018-12-05")]
)
def test_dates_without_a_bar_are_refused(tmp_path: Path, start: str | None, end: str | None) -> None:
    folder = write_daily(tmp_path, *DAILY_ROWS).parent
    with pytest.raises(DataError, match="it has 2018-12-03 to 2018-12-07"):
        load_bars("ES", folder, start=start, end=end)


def test_what_is_no_date_or_folder_is_refused(tmp_path: Path) -> None:
    folder = write_daily(tmp_path, *DAILY_ROWS).parent
    with pytest.raises(ConfigError, match="start 'May'"):
        load_bars("ES", folder, start="May")
    with pytest.raises(DataError, match="not a folder"):
        load_bars("ES", tmp_path / "nowhere")


def test_a_longer_timeframe_is_made_of_the_file(tmp_path: Path) -> None:
    folder = write_minutes(tmp_path)
    minute = load_bars("ES", folder)
    made = load_bars("ES", str(folder), timeframe=HOURLY)
    assert made.content_hash == aggregate(minute, HOURLY, CME).content_hash


def test_without_a_complete_bar_the_file_is_too_short(tmp_path: Path) -> None:
    folder = write_minutes(tmp_path, last="2024-01-04 10:00")
    with pytest.raises(DataError, match="no complete 1d bar"):
        load_bars("ES", folder, timeframe=DAILY)


def test_ticks_need_a_timeframe(tmp_path: Path) -> None:
    folder = tmp_path / "futures_1min"
    folder.mkdir()
    rows = [f"2024-01-04 10:{minute:02}:00,5,1" for minute in range(31)]
    (folder / "ES_bt.csv").write_text("\n".join(("datetime,price,volume", *rows)))
    ticks = BOOK.sources["futures_1min"].model_copy(update={"timeframe": None, "stamp": "trade"})
    book = BOOK.model_copy(update={"sources": {"ticks": ticks}})
    assert local(load_bars("ES", folder, timeframe=FIFTEEN, book=book).end, "UTC")[0] == "2024-01-04 10:15"
    with pytest.raises(ConfigError, match="holds ticks"):
        load_bars("ES", folder, book=book)


def test_a_named_source_reads_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = write_daily(tmp_path, *DAILY_ROWS).parent.rename(tmp_path / "mine")
    assert len(load_bars("ES", folder, source="futures_daily")) == 4


def test_quarantine_counts(tmp_path: Path) -> None:
    path = write_daily(tmp_path, *DAILY_ROWS, "2018-12-10,x,1,1,1,1,0")
    loaded = load_file("ES", path.parent, quarantine=True)
    assert (loaded.rows, len(loaded.data), len(loaded.rejected)) == (5, 4, 1)
    assert len(load_bars("ES", path.parent, quarantine=True)) == 4


def test_the_embedded_indices_need_no_import_of_their_package() -> None:
    before = "arch" in sys.modules
    bars = load_bars("COMP", start="2018-12-31")
    assert ("arch" in sys.modules) == before
    assert local(bars.end) == ["2018-12-31 16:00"]
    assert bars.close.tolist() == [6635.279785]
    assert len(load_bars("COMP")) == 5_031


def test_spx_starts_where_its_opens_are_opens_unless_asked() -> None:
    assert local(load_bars("SPX").end)[0][:10] == "2008-01-02"
    assert local(load_bars("SPX", start="1999-01-01").end)[0][:10] == "1999-01-04"


# ---- history


def test_a_history_holds_the_series_its_pair_and_the_context(tmp_path: Path) -> None:
    folder = write_minutes(tmp_path)
    write_minutes(tmp_path, "NQ", seed=8)
    context = [SeriesKey("ES", DAILY), SeriesKey("NQ", DAILY), SeriesKey("ES", HOURLY)]
    history = load_history("ES", folder, timeframe=HOURLY, context=context, start="2024-01-05")
    assert set(history.bars) == {*context, SeriesKey("NQ", HOURLY)}
    assert set(history.markets) == {"ES", "NQ"}
    assert local(history.series(SeriesKey("ES", HOURLY)).end)[0] == "2024-01-04 18:00"


def test_the_context_reaches_back_before_the_start(tmp_path: Path) -> None:
    folder = write_minutes(tmp_path)
    daily = SeriesKey("ES", DAILY)
    history = load_history(
        "ES", folder, timeframe=HOURLY, context=[daily], start="2024-01-05", end="2024-01-05"
    )
    assert local(history.series(daily).end) == ["2024-01-04 17:00", "2024-01-05 17:00"]


def test_a_pair_without_a_file_is_left_out_and_missed_by_who_needs_it(tmp_path: Path) -> None:
    history = load_history("ES", write_daily(tmp_path, *DAILY_ROWS).parent)
    assert set(history.bars) == {SeriesKey("ES", DAILY)}
    with pytest.raises(DataError, match="NQ:1d"):
        history.series(SeriesKey("NQ", DAILY))


def test_a_context_series_has_to_be_there(tmp_path: Path) -> None:
    folder = write_daily(tmp_path, *DAILY_ROWS).parent
    with pytest.raises(DataError, match="NQ"):
        load_history("ES", folder, context=[SeriesKey("NQ", DAILY)])


def test_the_embedded_pair_and_a_symbol_without_pair(tmp_path: Path) -> None:
    history = load_history("COMP", start="2018-12-31")
    assert {str(key) for key in history.bars} == {"COMP:1d", "SPX:1d"}
    write_daily(tmp_path, *DAILY_ROWS, symbol="ZC")
    assert len(load_history("ZC", tmp_path / "futures_daily", source="futures_daily").bars) == 1


def test_a_pair_that_is_context_too_is_loaded_once(tmp_path: Path) -> None:
    folder = write_daily(tmp_path, *DAILY_ROWS).parent
    write_daily(tmp_path, *DAILY_ROWS, symbol="NQ")
    history = load_history("ES", folder, context=[SeriesKey("NQ", DAILY)], source="futures_daily")
    assert {str(key) for key in history.bars} == {"ES:1d", "NQ:1d"}


def test_cut_without_bounds_is_everything() -> None:
    bars = random_bars(stamps(["2024-01-04 10:00", "2024-01-05 10:00"]), HOURLY)
    assert np.array_equal(cut(bars, NYSE, None, None).end, bars.end)


def test_a_pair_without_bars_in_the_range_is_left_out() -> None:
    history = load_history("COMP", timeframe=DAILY, end="2002-12-31")
    assert set(history.bars) == {SeriesKey("COMP", DAILY)}
    with pytest.raises(DataError, match="no bars of SPX:1d: loaded are COMP:1d"):
        history.series(SeriesKey("SPX", DAILY))


# ---- what would be read instead


def test_a_named_source_serves_its_own_symbols_and_place_only(tmp_path: Path) -> None:
    folder = write_daily(tmp_path, *DAILY_ROWS).parent
    for symbol, data_dir, source, message in (
        ("ES", None, "embedded_comp", "source embedded_comp: holds COMP, not ES"),
        ("ES", folder, "embedded_comp", "holds COMP, not ES"),
        ("COMP", folder, "embedded_comp", "it comes with the package arch and reads no folder"),
        ("ES", None, "futures_daily", "source futures_daily: reads files of a folder; give the data folder"),
        ("ES", folder, "equity_hourly", "holds SPY, not ES"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_bars(symbol, data_dir, source=source)
    assert len(load_bars("COMP", source="embedded_comp")) == 5_031


def test_a_dirty_pair_that_nobody_reads_is_left_out_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_daily(tmp_path, *DAILY_ROWS).parent
    write_daily(tmp_path, *DAILY_ROWS, "2018-12-10,1,0,2,1,1,0", symbol="NQ")
    history = load_history("ES", folder)
    assert set(history.bars) == {SeriesKey("ES", DAILY)}
    (record,) = caplog.records
    assert record.getMessage().startswith("NQ:1d, the pair of ES, is left out: ")
    assert ":6: high '0' and low '2': high must be >= low" in record.getMessage()
    with pytest.raises(DataError, match="NQ:1d"):
        history.series(SeriesKey("NQ", DAILY))
    with pytest.raises(DataError, match="high must be >= low"):
        load_history("ES", folder, context=[SeriesKey("NQ", DAILY)])
    caplog.clear()
    write_daily(tmp_path, *DAILY_ROWS, symbol="NQ")
    assert set(load_history("ES", folder).bars) == {SeriesKey("ES", DAILY), SeriesKey("NQ", DAILY)}
    assert caplog.records == []
