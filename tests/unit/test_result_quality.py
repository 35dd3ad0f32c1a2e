"""What is suspicious in the bars reaches whoever reads a result: notes, marks on trades, files, console."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from typer.testing import CliRunner

from lockstep.market.bars import Bars
from research.backtest import frames as record_frames
from research.backtest.provenance import ReadFile
from research.backtest.result import BacktestResult
from research.backtest_runner import app
from support.markets import DAILY_HEADER, NEW_YORK, ONE_MINUTE, random_bars, utc, write_daily
from support.scenarios import CME, backtest, daily_bars

# Entry after a close at the low, exit after a close at the high, one trade in every four bars.
_CYCLE = (("high", 1.0), ("low", 0.0), ("middle", 0.5), ("high", 1.0))
PRICES = ("open", "high", "low", "close")


def cycles(count: int, price: float = 1000.0) -> Bars:
    """Return daily bars with `count` round trips that break even before costs."""
    rows = []
    for i in range(4 * count):
        close = price + 8 * _CYCLE[i % 4][1]
        rows.append((price + 4 + 0.25 * (i % 7), price + 8.0, price, close))
    return daily_bars(rows, first="2016-01-04")


def spans(result: BacktestResult) -> list[str]:
    return list(result.trades["spans"])


def test_nothing_is_marked_and_noted_where_nothing_is_wrong() -> None:
    result = backtest(cycles(30))
    assert len(result.trades) > 20
    assert set(spans(result)) == {""}
    assert result.notes == []


def test_the_trade_that_another_unit_makes_is_marked_and_said() -> None:
    """A position is held while prices become ten times what they were: the gain is none."""
    bars = cycles(30)
    rows = backtest(bars).trades
    held = int(np.searchsorted(bars.end, rows["entry_end"].iloc[10].value)) + 1
    by = np.where(np.arange(len(bars)) >= held, 10.16, 1.0)
    result = backtest(replace(bars, **{name: getattr(bars, name) * by for name in PRICES}))
    marked = [row for row, mark in enumerate(spans(result)) if mark]
    assert [spans(result)[row] for row in marked] == ["jump"]
    assert result.trades["return_fraction"].iloc[marked[0]] > 8
    assert any("1 change of the unit of prices" in note and "times 10" in note for note in result.notes)
    assert any(
        f"1 of {len(result.trades)} trades last over a hole or a jump" in note for note in result.notes
    )


def test_trades_over_missing_sessions_are_marked_and_those_beside_are_not() -> None:
    bars = cycles(30)
    trades = backtest(bars).trades
    first = int(np.searchsorted(bars.end, trades["entry_end"].iloc[10].value))
    keep = np.ones(len(bars), dtype=bool)
    # The trade is entered on the bar before the hole, and its exit comes when bars do again.
    hole = slice(first + 1, first + 1 + 40)
    keep[hole] = False
    cut = replace(bars, end=bars.end[keep], **{name: each[keep] for name, each in bars.columns().items()})
    result = backtest(cut)
    before, after = bars.end[first], bars.end[first + 41]
    decided, left = (result.trades[name].astype("int64") for name in ("decision_end", "exit_end"))
    expected = ["hole" if a <= before and b >= after else "" for a, b in zip(decided, left, strict=True)]
    assert spans(result) == expected
    assert expected.count("hole") == 1
    (said,) = [note for note in result.notes if "scheduled sessions" in note]
    assert said.startswith("ES 1d: 40 scheduled sessions of CMES without a bar: from ")


def test_trades_that_end_before_a_hole_or_begin_after_it_do_not_last_over_it() -> None:
    decisions, exits = np.array([1, 5, 4, 10, 4]), np.array([5, 10, 0, 20, 9])
    marks = {"jump": [(9, 10)], "hole": [(5, 10)]}
    expected = ["", "hole, jump", "hole, jump", "", ""]
    assert record_frames._spanned(decisions, exits, marks).tolist() == expected


def test_an_open_trade_lasts_over_all_that_follows() -> None:
    bars = cycles(5)
    low = replace(bars, close=np.where(np.arange(len(bars)) >= 13, bars.low, bars.close))
    jumped = replace(
        low, **{name: getattr(low, name) * np.where(np.arange(len(bars)) >= 18, 0.4, 1.0) for name in PRICES}
    )
    result = backtest(jumped)
    assert result.trades["status"].iloc[-1] == "open"
    assert spans(result)[-1] == "jump"


def test_a_ruined_account_says_when_and_what_follows_is_marked() -> None:
    """One ES of 50 USD a point loses 100,000 USD over a fall of 2,000 points."""
    bars = cycles(30, price=4000.0)
    held = int(np.searchsorted(bars.end, backtest(bars).trades["entry_end"].iloc[10].value)) + 1
    fallen = np.where(np.arange(len(bars)) >= held, -2100.0, 0.0)
    result = backtest(replace(bars, **{name: getattr(bars, name) + fallen for name in PRICES}))
    assert result.ruined_at == bars.end[held]
    day = str(CME.dates(bars.end[held : held + 1], bars.timeframe)[0])
    assert result.notes[0].startswith(f"The account is ruined on {day}: its equity is -")
    assert "Nothing that is shown after that day could have been traded." in result.notes[0]
    marks = spans(result)
    before = (result.trades["exit_end"] < pd.Timestamp(bars.end[held], tz="UTC")).tolist()
    assert [("ruin" in mark) for mark in marks] == [not each for each in before]
    assert marks[10] == "jump, ruin"
    assert backtest(bars).ruined_at is None


def test_findings_of_files_are_noted_and_recorded(tmp_path: Path) -> None:
    files = (ReadFile(name="ES_bt.csv", rows=200, rejected=3, findings=("its last line is cut off",)),)
    bars = cycles(10)
    result = replace(backtest(bars), files=files)
    assert result.notes == [
        "ES_bt.csv: 3 of 200 rows were rejected; the result is without them.",
        "ES_bt.csv: its last line is cut off",
    ]
    low = bars.low.copy()
    low[20] = 0.0
    found = replace(backtest(replace(bars, low=low)), files=files).save(tmp_path)
    recorded = json.loads((found / "provenance.json").read_text())
    assert [each["kind"] for each in recorded["findings"]] == ["spike"]
    assert recorded["files"][0]["rejected"] == 3
    page = (found / "tearsheet.html").read_text()
    assert "impossible beside its neighbours" in page
    assert "its last line is cut off" in page
    assert "spans" in pd.read_parquet(found / "trades.parquet").columns


def test_the_runner_prints_what_it_found(tmp_path: Path) -> None:
    bars = cycles(30)
    rows = [
        f"{day!s},{o},{h},{0.0 if i == 50 else low},{c},1,0"
        for i, (day, o, h, low, c) in enumerate(
            zip(CME.dates(bars.end, bars.timeframe), bars.open, bars.high, bars.low, bars.close, strict=True)
        )
        if not 80 <= i < 100
    ]
    path = write_daily(tmp_path, *rows, header=DAILY_HEADER)
    result = CliRunner().invoke(
        app, ["--symbol", "ES", "--data-dir", str(path.parent), "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "ES 1d: 20 scheduled sessions of CMES without a bar: from" in said
    assert "1 bar with a price that is impossible beside its neighbours" in said


def test_a_hole_in_the_minutes_is_noted_though_the_hours_made_of_them_are_whole(tmp_path: Path) -> None:
    folder = tmp_path / "futures_1min"
    folder.mkdir()
    days = CME.days(CME.scheduled_dates(np.datetime64("2024-03-04"), np.datetime64("2024-03-08")))
    step = ONE_MINUTE.nanoseconds
    end = np.concatenate([np.arange(day.open + step, day.close + 1, step) for day in days])
    hole = (end > utc("2024-03-06 10:10", NEW_YORK)) & (end <= utc("2024-03-06 10:50", NEW_YORK))
    bars = random_bars(end[~hole], ONE_MINUTE)
    rows = ["datetime,open,high,low,close,volume"]
    rows += [
        f"{stamp}Z,{o + 900!r},{h + 900!r},{low + 900!r},{c + 900!r},1"
        for stamp, o, h, low, c in zip(
            bars.end.view("M8[ns]").astype("M8[s]"),
            *(getattr(bars, name).tolist() for name in PRICES),
            strict=True,
        )
    ]
    (folder / "ES_bt.csv").write_text("\n".join(rows) + "\n")
    arguments = [
        "--symbol",
        "ES",
        "--data-dir",
        str(folder),
        "--timeframe",
        "1h",
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "ES_bt.csv: 1 hole within sessions, 40 bars in all: 2024-03-06 10:10 to 10:51" in said
