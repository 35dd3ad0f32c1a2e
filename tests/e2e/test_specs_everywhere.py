"""A spec goes the way of every strategy: search, training, certificate, promotion, live on paper."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from certify.recorded import check_recorded
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.live.rerun import step_of
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.models.store import ModelStore, load_bundle
from lockstep.monitoring.parity import compare
from lockstep.strategy.bundled import veto_of
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.family import strategy_of
from research.backtest.result import steps_of
from research.backtest.run import run_backtest
from support.processes import ROOT, python
from support.training import SMALL_FOREST

STRATEGY = {
    "family": "rules",
    "name": "dip",
    "long_entry": {"any": [{"id": "rsi_2", "below": 30}, {"not": {"id": "ibs~1", "at_least": 0.25}}]},
    "long_exit": {"id": "score", "above": 0.4},
    "short_entry": {"all": [{"id": "rsi_2", "above": 85}, {"id": "ibs~1", "above": 0.5}]},
    "short_exit": {"id": "score", "below": 0},
    "score": [{"id": "ibs", "weight": 1}, {"id": "ret_1%20", "weight": -0.25}],
    "max_bars": 5,
}
GRID = {
    "symbols": ["SPX"],
    "parameters": {
        "long_entry.any.0.below": [20, 30], "long_exit.above": [0.3, 0.4], "score.1.weight": [-0.25, 0.25],
    },
    "split": {"train": ["2009-01-02", "2013-12-31"], "validation": ["2014-01-02", "2016-12-30"]},
}  # fmt: skip
TRAINING = {
    "symbol": "SPX",
    "data": {"start": "2008-01-02", "end": "2018-12-31"},
    "strategy": "dip.yaml",
    "features": {"ids": ["ibs", "rsi_2", "zscore_20"]},
    "model": SMALL_FOREST,
    "search": {"trials": 2, "initial": 2},
    "validation": {"groups": 4, "test_groups": 1, "embargo_days": 3, "walk_forward": "4y/2y/2y"},
    "hold_out": {"start": "2017-01-03"},
    "threshold": {"keep": 0.9},
}
START, END = "2015-07-01", "2015-12-31"
LIVE = {
    "mode": "paper",
    "store": "store",
    "journal": "live/desk.db",
    "status": "live/status.json",
    "mailbox": "live/mailbox",
    "instruments": [{"symbol": "SPX"}],
    "feeds": [{"kind": "replay", "start": START, "end": END}],
    "grace": 0,
    "limits": {
        "max_contracts": 100, "max_total_contracts": 100, "max_orders_per_day": 100, "max_daily_loss": 1e9,
        "collar": {"percent": 50.0}, "stale_seconds": 1e9,
    },
    "switches": {"kill_file": "live/KILL", "halt_file": "live/HALT"},
}  # fmt: skip


class SpecDesk:
    """A desk folder outside the checkout, with a spec."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "live").mkdir()
        files = {"dip.yaml": STRATEGY, "grid.yaml": GRID, "SPX.yml": TRAINING, "live.yml": LIVE}
        for name, content in {**files, "lockstep.yml": {}}.items():
            (folder / name).write_text(yaml.safe_dump(content))
        unset = {"LOCKSTEP_FAMILIES", "LOCKSTEP_DB", "LOCKSTEP_MODEL_STORE", "LOCKSTEP_HOME"}
        kept = {name: value for name, value in os.environ.items() if name not in unset}
        path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        self.environment = {**kept, "PYTHONPATH": path, "COLUMNS": "160"}

    def run(self, text: str, code: int = 0) -> str:
        words = ("-m", "operations.main", *text.split())
        done = python(*words, folder=self.folder, environment=self.environment)
        assert done.returncode == code, (text, done.stdout, done.stderr)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SpecDesk:
    return SpecDesk(tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def trained(desk: SpecDesk) -> SpecDesk:
    """The desk with a veto for its spec, certified and promoted."""
    assert "SPX v1 is a candidate" in desk.run("train --config SPX.yml --jobs 1 --by me")
    said = desk.run(f"certify --symbol SPX --version v1 --start {START} --end {END} --restarts 1", code=3)
    assert "SPX v1: parity holds" in said
    assert "live engine killed and restarted after bar set" in said
    desk.run("promote SPX v1 --force --by me --reason test")
    return desk


def test_a_search_varies_paths_into_a_spec(desk: SpecDesk) -> None:
    said = desk.run("experiments grid-search --name first --strategy dip.yaml --grid grid.yaml")
    assert "8 of 8 runs succeeded" in said
    assert "rerun in Backtrader, with the same trades and profit" in said


def test_a_path_that_leads_nowhere_is_one_line(desk: SpecDesk) -> None:
    wrong = {**GRID, "parameters": {"long_entry.any.0.belw": [20, 30]}}
    (desk.folder / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    said = desk.run("experiments grid-search --name wrong --strategy dip.yaml --grid wrong.yaml", code=2)
    assert "unknown parameter path 'long_entry.any.0.belw'; did you mean 'long_entry.any.0.below'?" in said
    assert len(said.splitlines()) == 1


def test_its_bundle_is_the_spec(trained: SpecDesk) -> None:
    bundle = load_bundle("SPX", "v1", store=ModelStore(trained.folder / "store"))
    config = strategy_of(bundle.strategy["config"], where="bundle")
    assert isinstance(config, RulesConfig)
    assert (
        config.config_hash == bundle.strategy["config_hash"] == strategy_of(STRATEGY, where="x").config_hash
    )


def test_live_on_paper_is_research_bit_for_bit(trained: SpecDesk) -> None:
    trained.run("live --config live.yml")
    store = ModelStore(trained.folder / "store")
    with Journal.open(trained.folder / "live/desk.db", readonly=True) as journal:
        assert journal.verify() == []
        sets = [row for row in journal.entries(1) if isinstance(row, SetRecord)]
    bundle, key = load_bundle("SPX", "v1", store=store), SeriesKey("SPX", DAILY)
    config = strategy_of(bundle.strategy["config"], where="bundle")
    span = DateRange.of(START, END)
    result = run_backtest(config, load_history("SPX", None), "SPX", span=span, veto=veto_of(bundle))
    steps = [step_of(lane, row.release.stamp, row.release.bars[key]) for row in sets for lane in row.lanes]
    found = compare(steps_of(result), steps, result.vector_ids)
    assert found.first is None, found.first
    assert found.bars == len(sets) == len(result.bars) > 100
    assert found.fills > 4
    assert found.probabilities > 4
    assert check_recorded(trained.folder / "live/desk.db", store=store).passed
    # Control: another constant is another record.
    other = config.replaced(long_exit={"id": "score", "above": 0.9})
    changed = run_backtest(other, load_history("SPX", None), "SPX", span=span, veto=veto_of(bundle))
    assert compare(steps_of(changed), steps, changed.vector_ids).first is not None
