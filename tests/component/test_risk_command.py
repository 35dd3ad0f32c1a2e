"""`lockstep risk`: a portfolio's file, a desk with and without a portfolio, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from lockstep.errors import ConfigError, LiveError
from lockstep.live.journal import Journal
from lockstep.live.service import Service
from lockstep.live.status.status import read_status
from lockstep.market.loader import load_bars
from lockstep.strategy.matching import POSITION
from operations import verbs
from operations.desk_risk import subject_of_desk
from operations.risk_cli import app, tails_of
from support import desks, live_portfolios, papers

WORTH = "SELECT mark_equity FROM decisions WHERE sequence = ?"
POSITIONS = """
    SELECT symbol, mark_position FROM decisions JOIN sets USING (sequence) ORDER BY sequence
"""


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False, env={"COLUMNS": "160"})


def traded(folder: Path, *, portfolio: bool, sets: int) -> Path:
    """Return the live.yml of a desk that has traded so many bar sets."""
    if portfolio:
        config = live_portfolios.desk(folder)
    else:
        papers.store(folder / "store")
        config = papers.config(folder)
    with Service(config, mode=None, environment={}, stop_after=sets) as service:
        service.run()
    return config


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return traded(tmp_path_factory.mktemp("desk"), portfolio=True, sets=40)


class TestDesk:
    def test_positions_and_rooms_are_those_of_the_journal(self, desk: Path) -> None:
        found = subject_of_desk(desk)
        with Journal.open(desk.parent / "live.db", readonly=True) as journal:
            state = journal.newest_settled(1)
            newest = journal.last_set(1)
            marks = dict(journal.select(POSITIONS))
        assert state is not None
        assert newest is not None
        assert dict(found.positions) == marks
        exposed = dict(zip(found.symbols, found.exposed.tolist(), strict=True))
        assert exposed == {each.symbol: each.room for each in state.lanes}
        assert found.stamp == newest.release.stamp
        assert (found.name, found.capital) == ("desk", 200_000.0)
        accounts = [lane.state.account[POSITION] for lane in newest.lanes]
        assert accounts == [found.positions[lane.symbol] for lane in newest.lanes]

    def test_nothing_after_the_newest_set_is_seen(self, desk: Path) -> None:
        found = subject_of_desk(desk)
        last = load_bars("COMP")
        days = found.closes["COMP"].dates
        assert days[-1] == np.datetime64(found.as_of)
        assert (last.end > found.stamp).any()
        assert len(found.dates) > 1_000

    def test_own_results_are_those_of_the_marks(self, desk: Path) -> None:
        own = subject_of_desk(desk).own
        assert own is not None
        with Journal.open(desk.parent / "live.db", readonly=True) as journal:
            first, last = journal.select("SELECT min(sequence), max(sequence) FROM sets")[0]
            worth = [
                sum(
                    v for (v,) in journal.select("SELECT mark_equity FROM decisions WHERE sequence = ?", each)
                )
                for each in (first, last)
            ]
        assert own.pnl.sum() == pytest.approx(worth[1] - worth[0])
        assert own.positions is not None
        assert own.positions.shape == (own.pnl.size, 2)

    def test_the_command_writes_and_the_status_shows_it(self, desk: Path) -> None:
        journal = (desk.parent / "live.db").read_bytes()
        done = invoke("--desk", str(desk), "--confidence", "95,99")
        assert done.exit_code == 0, done.output
        assert "Filtered historical" in done.output
        assert (desk.parent / "risk.html").is_file()
        content = json.loads((desk.parent / "risk.json").read_text())
        assert content["kind"] == "desk"
        assert (desk.parent / "live.db").read_bytes() == journal
        status = read_status(desk.parent / "status.json")
        assert status.risk is not None
        assert status.risk.levels["99"] == (
            content["levels"]["filtered"]["99"]["var"], content["levels"]["filtered"]["99"]["es"]
        )  # fmt: skip
        assert status.risk.doubts(status.positions, max(status.last_bars.values())) == []

    def test_a_set_later_the_status_says_so(self, desk: Path, tmp_path: Path) -> None:
        invoke("--desk", str(desk))
        with Service(desk, mode=None, environment={}, stop_after=45) as service:
            service.run()
        status = read_status(desk.parent / "status.json")
        assert status.risk is not None
        assert any(
            "since" in each for each in status.risk.doubts(status.positions, max(status.last_bars.values()))
        )

    def test_a_desk_without_a_portfolio(self, tmp_path: Path) -> None:
        config = traded(tmp_path, portfolio=False, sets=30)
        found = subject_of_desk(config)
        assert found.symbols == ("COMP",)
        assert found.name == "Desk of COMP"
        assert found.capital == desks.CONFIG.capital
        with Journal.open(tmp_path / "live.db", readonly=True) as journal:
            assert dict(found.positions) == dict(journal.select(POSITIONS))
        assert invoke("--desk", str(config)).exit_code == 0

    def test_a_desk_that_has_not_traded_is_refused(self, tmp_path: Path) -> None:
        papers.store(tmp_path / "store")
        with pytest.raises(LiveError, match="journal"):
            invoke("--desk", str(papers.config(tmp_path)))


class TestPortfolio:
    def test_a_file_is_run_and_measured(self, tmp_path: Path) -> None:
        (tmp_path / "ibs.yaml").write_bytes(Path("configs/strategies/ibs_baseline.yaml").read_bytes())
        lanes = [{"symbol": "COMP", "strategy": "ibs.yaml", "units": 2, "max_contracts": 4}]
        content = {"name": "one", "capital": 1e6, "day": "NYSE", "lanes": lanes}
        file = tmp_path / "one.yml"
        file.write_text(yaml.safe_dump({**content, "limits": {"max_gross": 5.0}}))
        done = invoke("--portfolio", str(file), "--out", str(tmp_path / "out"), "--start", "2016-01-04")
        assert done.exit_code == 0, done.output
        found = json.loads((tmp_path / "out" / "one" / "risk.json").read_text())
        assert (found["kind"], found["name"], found["as_of"]) == ("portfolio", "one", "2018-12-31")
        again = tmp_path / "again"
        shutil.move(tmp_path / "out", again)
        invoke("--portfolio", str(file), "--out", str(tmp_path / "out"), "--start", "2016-01-04")
        for name in ("risk.json", "risk.html"):
            assert (again / "one" / name).read_bytes() == (tmp_path / "out" / "one" / name).read_bytes()

    def test_the_verbs_say_what_the_commands_write(self, tmp_path: Path) -> None:
        """Also that both show themselves in a notebook, and that an account too small fails its gate."""
        file = tmp_path / "small.yml"
        shutil.copy("configs/strategies/ibs_baseline.yaml", tmp_path)
        lane = {"symbol": "COMP", "strategy": "ibs_baseline.yaml", "units": 1}
        content = {"name": "small", "capital": 100_000, "day": "NYSE", "lanes": [lane]}
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        report = verbs.risk(file, start="2014-01-02", end="2018-12-31")
        invoke("--portfolio", str(file), "--out", str(tmp_path / "out"), "--start", "2014-01-02")
        written = json.loads((tmp_path / "out" / "small" / "risk.json").read_text())
        assert written["parts"]["stress"] == report.parts["stress"].content
        assert report.failed
        tested = verbs.stress(file, start="2014-01-02", end="2018-12-31")
        assert not tested.passes
        assert tested.worst == report.parts["stress"].content["worst_drawdown"]
        for shown in (report, tested):
            assert "small" in shown._repr_html_()
        with pytest.raises(ConfigError, match="risk: give either the file of a portfolio, or desk="):
            verbs.risk()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --portfolio FILE"),
        (["--portfolio", "a.yml", "--desk", "b.yml"], "give either --portfolio FILE"),
        (["--desk", "b.yml", "--start", "2016-01-04"], "a desk is measured as it is now"),
        (["--desk", "b.yml", "--confidence", "99,x"], "--confidence 99,x: x: expected per cent"),
        (["--desk", "b.yml", "--confidence", "5"], "--confidence 5: 5: expected per cent"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        invoke(*arguments)


def test_levels_are_sorted_and_counted_once() -> None:
    assert tails_of("99, 95,97.5,99") == (0.05, 0.025, 0.01)
