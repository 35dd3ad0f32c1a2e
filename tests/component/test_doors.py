"""The doors to sealed dates: what opens them is said and counted; what does not is neither."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lockstep import backtest
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_history
from research.backtest_runner import app as runner
from research.experiments.cli import app as experiments
from research.ledger.database import Database
from research.ledger.doors import open_door
from research.ledger.ledger import Ledger
from support.experiments import BASELINE

NOW = datetime(2026, 1, 5, tzinfo=UTC)
HELD = DateRange.of("2016-07-01", "2016-12-30")
SEARCHED = DateRange.of("2014-01-02", "2016-06-30")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    monkeypatch.setenv("LOCKSTEP_DB", url)
    found = Ledger(Database.open(url))
    found.enact("NASDAQ100", SEARCHED, limits={}, holdout=HELD, now=NOW)
    return found


class TestDoor:
    def test_a_look_is_counted_before_anything_runs(self, ledger: Ledger) -> None:
        history = load_history("COMP", timeframe=load("bars"), end="2016-12-30")
        key = SeriesKey("COMP", load("bars"))
        for number in (1, 2):
            (said,) = open_door(ledger, history, key, DateRange.of("2016-06-01"), purpose="a test", now=NOW)
            assert f"2016-07-01 to 2016-12-30 (look {number} of NASDAQ100 at these days)" in said
            assert "end before 2016-07-01 to keep them sealed" in said
        before = DateRange.of("2016-01-04", "2016-06-30")
        assert open_door(ledger, history, key, before, purpose="a test", now=NOW) == ()
        assert [each.purpose for each in ledger.looks("NASDAQ100", HELD)] == ["a test", "a test"]


def load(name: str) -> Any:
    from lockstep.strategy.family import load_strategy

    return getattr(load_strategy(BASELINE), name)


class TestWhoOpensIt:
    def runs(self, command: Any, *arguments: object) -> str:
        done = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())

    def test_the_runner(self, ledger: Ledger, tmp_path: Path) -> None:
        given = ["--symbol", "COMP", "--strategy", BASELINE, "--start", "2016-06-01", "--out", tmp_path]
        assert "(look 1 of NASDAQ100 at these days)" in self.runs(runner, *given, "--end", "2016-08-31")
        assert "sealed" not in self.runs(runner, *given, "--end", "2016-06-30")
        (look,) = ledger.looks("NASDAQ100", HELD)
        assert (look.purpose, str(look.dates)) == ("backtest of baseline_v1", "2016-07-01 to 2016-08-31")

    def test_the_comparison(self, ledger: Ledger) -> None:
        given = ["compare", BASELINE, BASELINE, "--start", "2016-06-01", "--end"]
        assert "(look 2 of NASDAQ100 at these days)" in self.runs(experiments, *given, "2016-07-29")
        assert "sealed" not in self.runs(experiments, *given, "2016-06-30")
        assert len(ledger.looks("NASDAQ100", HELD)) == 2

    def test_the_notebook(self, ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
        backtest("ibs_baseline", "COMP", start="2016-12-01", end="2017-01-31")
        assert "(look 1 of NASDAQ100 at these days)" in capsys.readouterr().out
        backtest("ibs_baseline", "COMP", start=date(2017, 1, 3), end="2017-01-31")
        assert capsys.readouterr().out == ""
        assert [each.purpose for each in ledger.looks("NASDAQ100", HELD)] == ["backtest of ibs_baseline"]
