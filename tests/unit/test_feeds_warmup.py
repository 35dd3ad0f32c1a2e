"""Windows before the first live bar: files, journal, and what is short (PARITY 24)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lockstep.errors import ConfigError
from lockstep.live.warmup import read_series, warm_up
from lockstep.market.config import load_instruments
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_bars
from lockstep.market.timeframe import DAILY, Timeframe
from support.feeds import COMP, SPX, closes, flat, rows_of, series
from support.markets import DAILY_ROWS, HOURLY, write_daily

DAYS = closes("2018-12-10", "2018-12-11", "2018-12-12", "2018-12-13", "2018-12-14")
BARS = series(COMP, DAYS)
ROWS = list(rows_of(BARS))
BOOK = load_instruments()


def test_the_newest_bars_of_the_files_fill_the_windows() -> None:
    found = warm_up({COMP: 3, SPX: 2}, {COMP: BARS, SPX: series(SPX, DAYS)}, {}, until=DAYS[3])
    assert list(found.bars[COMP]) == ROWS[1:4]
    assert [end for end, _ in found.bars[SPX]] == DAYS[2:4]
    assert (found.short, found.sentence, found.differences) == ({}, "", ())


def test_a_window_that_lacks_one_bar_is_named() -> None:
    found = warm_up({COMP: 6, SPX: 4}, {COMP: BARS}, {}, until=DAYS[4])
    assert found.short == {COMP: (5, 6), SPX: (0, 4)}
    assert found.sentence == "COMP:1d has 5 of 6 bars, SPX:1d has 0 of 4 bars"
    assert warm_up({COMP: 5}, {COMP: BARS}, {}, until=DAYS[4]).sentence == ""


def test_the_journal_continues_the_files() -> None:
    found = warm_up({COMP: 4}, {COMP: BARS.rows(0, 3)}, {COMP: ROWS[2:]}, until=DAYS[4])
    assert list(found.bars[COMP]) == ROWS[1:]
    assert found.differences == ()
    alone = warm_up({COMP: 2}, {}, {COMP: ROWS}, until=DAYS[2])
    assert list(alone.bars[COMP]) == ROWS[1:3]


def test_where_they_differ_the_file_stands_and_the_difference_is_reported() -> None:
    wrong = (DAYS[1], flat(7))
    file = replace(
        BARS.rows(0, 4), **{name: np.delete(column, 2)[:3] for name, column in
                            {"end": BARS.end, **BARS.columns()}.items()},
    )  # fmt: skip
    journal = [ROWS[0], wrong, ROWS[2], ROWS[4]]
    found = warm_up({COMP: 5}, {COMP: file}, {COMP: journal}, until=DAYS[4])
    assert list(found.bars[COMP]) == [ROWS[0], ROWS[1], ROWS[3], ROWS[4]]
    assert [(each.kind, each.end) for each in found.differences] == [
        ("corrected", DAYS[1]),
        ("corrected", DAYS[2]),
        ("missing", DAYS[3]),
    ]
    assert found.short == {COMP: (4, 5)}


def test_a_lookback_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="window of COMP:1d: lookback 0"):
        warm_up({COMP: 0}, {}, {}, until=0)


@pytest.mark.parametrize("symbol", ["COMP", "SPX"])
def test_series_are_those_of_research(symbol: str) -> None:
    key = SeriesKey(symbol, DAILY)
    source, path = BOOK.source(symbol, timeframe=DAILY)
    assert read_series(key, source, path, BOOK).content_hash == load_bars(symbol).content_hash


def test_longer_bars_are_made_as_in_research(shared_data: Path) -> None:
    folder = shared_data / "futures_1min"
    key = SeriesKey("6E", HOURLY)
    source, path = BOOK.source("6E", folder, timeframe=HOURLY)
    assert (
        read_series(key, source, path, BOOK).content_hash
        == load_bars("6E", folder, timeframe=HOURLY).content_hash
    )


def test_a_tick_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "6E_bt.csv"
    path.write_text("datetime,price,volume\n2018-12-11 15:00:10,1,1\n2018-12-11 15:01:10,2,1\n")
    source = BOOK.sources["futures_1min"].model_copy(
        update={"timeframe": None, "stamp": "trade", "session": "CME"}
    )
    bars = read_series(SeriesKey("6E", Timeframe.parse("1min")), source, path, BOOK)
    assert bars.close.tolist() == [1.0]


def test_a_daily_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = write_daily(tmp_path, *DAILY_ROWS)
    source, found = BOOK.source("ES", path.parent)
    assert len(read_series(SeriesKey("ES", DAILY), source, found, BOOK)) == len(DAILY_ROWS)
