"""The backtest command in process: what it refuses, what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from lockstep.errors import DataError, EngineMismatch, LockstepError
from lockstep.market.bars import Bars
from research.backtest.result_table import result_table
from research.backtest_runner import app
from support.engines import folders_but_for_the_engine
from support.markets import DAILY_ROWS, write_daily
from support.scenarios import CME, backtest, daily_bars

COMP = ("--symbol", "COMP", "--start", "2017-01-01", "--end", "2017-06-30")


def refusal(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, LockstepError), result.output
    return str(result.exception)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("exit_price", "no feature 'exit_price'"),
        ("rsi_02", "parameter '02'"),
        ("rsi", "rsi takes 1 parameters: write rsi_<period>, for example rsi_2"),
        ("rsii_2", "did you mean rsi_2?"),
        ("pair_zscore_20@1h", "1h is finer than the traded 1d"),
        ("ibs@XX", "symbol 'XX'"),
    ],
)
def test_only_registry_ids_are_features(tmp_path: Path, feature: str, message: str) -> None:
    """PARITY 3 and 5."""
    config = tmp_path / "config.yaml"
    config.write_text(f"name: x\nfeatures: ['{feature}']\n")
    assert message in refusal("--symbol", "COMP", "--strategy", str(config), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no symbol"),
        (("--symbol", " , "), "no symbol"),
        (("--symbol", "CMP"), "symbol 'CMP'"),
        (("--symbol", "ES"), "no data comes with Lockstep"),
        (("--symbol", "COMP", "--start", "2031-01-01"), "nothing from 2031-01-01"),
        (("--symbol", "COMP", "--start", "Monday"), "start 'Monday'"),
        (("--symbol", "COMP", "--timeframe", "1h"), "cannot be made of"),
        (("--symbol", "COMP", "--timeframe", "60min"), "spelled 1h"),
        (("--symbol", "COMP", "--strategy", "none.yaml"), "none.yaml"),
        (("--symbol", "COMP", "--data-dir", "nowhere"), "nowhere"),
        (("--symbols", "all", "--data-dir", "docs"), "--symbol all: no file"),
        (
            ("--symbol", "SPX", "--min-quality", "95"),
            "SPX 1d: quality 90.93, below min_quality 95: stale_open: 26% of the opens of 2013 equal the",
        ),
    ],
)
def test_refusals(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in refusal(*arguments, "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_all_symbols_and_the_printed_result(tmp_path: Path) -> None:
    dates = ("--start", "2017-01-01", "--end", "2017-06-30")
    result = CliRunner().invoke(app, ["--symbols", "all", *dates, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} == {"COMP", "SPX"}
    text = " ".join(result.output.split())
    assert "COMP is an index, priced with the costs of NQ" in text
    assert "tear sheet:" in text


def test_all_symbols_go_on_without_the_file_that_is_refused(tmp_path: Path) -> None:
    folder = write_daily(tmp_path, *DAILY_ROWS).parent
    (folder / "CL_bt.csv").write_text((folder / "ES_bt.csv").read_text().replace("2018-12-06", "6 December"))
    out = tmp_path / "out"
    arguments = ["--symbol", "all", "--data-dir", str(folder), "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "CL is skipped: " in result.output
    assert [path.name.partition("-")[0] for path in out.iterdir()] == ["ES"]
    (folder / "ES_bt.csv").write_text((folder / "CL_bt.csv").read_text())
    refused = CliRunner().invoke(app, arguments).exception
    assert isinstance(refused, DataError)
    assert "every symbol is skipped" in str(refused)


def test_a_second_run_replaces_the_folder(tmp_path: Path) -> None:
    for _ in range(2):
        assert CliRunner().invoke(app, [*COMP, "--out", str(tmp_path)]).exit_code == 0
    (folder,) = tmp_path.iterdir()
    assert (folder / "tearsheet.html").is_file()


def walk() -> Bars:
    return daily_bars([(100.0, 104.0, 100.0, 100.5), (102.0, 105.0, 101.0, 104.75)] * 8)


def test_a_table_without_trades_shows_dashes() -> None:
    table = result_table([backtest(walk(), entry=(0.0, 0.0))])
    cells = [cell.plain for cell in table.rows[0]]
    assert cells[:3] == ["ES", "2024-2024", "0"]
    assert "–" in cells


def test_notes_say_what_cannot_be_traded() -> None:
    result = backtest(walk(), execution="close")
    assert any("cannot be traded" in note for note in result.notes)
    adjusted = backtest(Bars(**{**vars(walk()), "adjustment": "difference"}))
    assert any("adjusted by difference" in note for note in adjusted.notes)
    assert backtest(walk()).notes == []


def test_empty_results_have_all_columns() -> None:
    result = backtest(walk(), entry=(0.0, 0.0))
    assert len(result.trades) == len(result.orders) == 0
    assert {"trade_id", "net_pnl", "mae", "status"} <= set(result.trades.columns)
    assert result.trades["exit_end"].dtype == backtest(walk()).trades["exit_end"].dtype
    assert result.metrics["trades"] == 0
    assert str(result.equity["session_date"].iloc[0].date()) == str(CME.dates(result.bars.end)[0])


def test_excursions_by_hand() -> None:
    # In at 102.00 + 0.25 on a bar of 101 to 105, out at the next open 100.00 - 0.25 on a bar of 100 to 104.
    trade = backtest(walk()).trades.iloc[0]
    assert (trade["mae"], trade["mfe"]) == ((102.25 - 100.0) * 50, (105.0 - 102.25) * 50)


def test_quarantine_says_what_was_rejected_and_trades_the_rest(tmp_path: Path) -> None:
    data = tmp_path / "futures_daily"
    data.mkdir()
    rows = ["datetime,open,high,low,close,volume"]
    rows += [f"2024-01-{day:02d},100,104,{low},100.5,1000" for day, low in ((8, 100), (9, 105), (10, 100))]
    (data / "ES_bt.csv").write_text("\n".join(rows) + "\n")
    arguments = ["--symbol", "ES", "--data-dir", str(data), "--out", str(tmp_path / "out")]
    assert "ES_bt.csv:3:" in refusal(*arguments)
    assert not (data / "ES_bt.csv.rejected.csv").exists()
    result = CliRunner().invoke(app, [*arguments, "--quarantine"])
    assert result.exit_code == 0, result.output
    assert "1 of 3 rows rejected" in result.output
    assert "ES_bt.csv: 1 of 3 rows were rejected" in result.output
    assert (data / "ES_bt.csv.rejected.csv").exists()
    (folder,) = (tmp_path / "out").iterdir()
    recorded = json.loads((folder / "provenance.json").read_text())
    assert recorded["files"] == [{"name": "ES_bt.csv", "rows": 3, "rejected": 1, "findings": []}]
    assert "1 of 3 rows were rejected" in (folder / "tearsheet.html").read_text()


def test_stale_opens_are_noted() -> None:
    rows = [(100.0 + (i - 1) % 2, 104.0, 100.0, 100.0 + i % 2) for i in range(60)]
    (note,) = backtest(daily_bars(rows)).notes
    assert "equal the previous close" in note


class TestEngines:
    """The command with either engine; `tests/contract/test_engine_equality.py` compares what they record."""

    def run(self, out: Path, *arguments: str, symbol: str = "COMP") -> str:
        given = ["--symbol", symbol, *COMP[2:], "--out", str(out), "--shared-js", *arguments]
        done = CliRunner().invoke(app, given, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())

    def engines(self, out: Path) -> list[str]:
        return [json.loads(path.read_text())["engine"] for path in out.glob("*/provenance.json")]

    @pytest.mark.no_cover
    def test_both_leave_the_same_folders_for_several_symbols(self, tmp_path: Path) -> None:
        for engine in ("backtrader", "compiled"):
            self.run(tmp_path / engine, "--engine", engine, symbol="COMP,SPX")
            assert self.engines(tmp_path / engine) == [engine, engine]
        folders = folders_but_for_the_engine(tmp_path / "compiled")
        assert folders == folders_but_for_the_engine(tmp_path / "backtrader")
        assert [len(files) for files in folders.values()] == [8, 8]

    def test_many_bars_are_compiled_and_one_line_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "engine" not in self.run(tmp_path / "few")
        assert self.engines(tmp_path / "few") == ["backtrader"]
        monkeypatch.setattr("research.backtest.run.MANY_BARS", 100)
        said = "COMP: 125 bars, so the compiled engine ran; engine backtrader runs Backtrader, verify both"
        assert said in self.run(tmp_path / "many")
        assert self.engines(tmp_path / "many") == ["compiled"]

    def test_verify_says_that_both_agree_or_refuses_and_leaves_nothing(self, tmp_path: Path) -> None:
        said = self.run(tmp_path / "out", "--verify")
        assert "COMP: both engines wrote the same 125 decisions, " in said
        arguments = [*COMP, "--verify", "--out", str(tmp_path / "none")]
        with mock.patch("research.backtest.run.first_difference", return_value="the engines part"):
            refused = CliRunner().invoke(app, arguments)
        assert isinstance(refused.exception, EngineMismatch)
        assert "COMP ibs_baseline: the engines part; nothing is written" in str(refused.exception)
        assert not (tmp_path / "none").exists()
