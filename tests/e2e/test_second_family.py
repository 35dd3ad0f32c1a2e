"""A family that the product does not know goes the whole way: one file in a desk's folder, and nothing else.

Backtest, search, training, bundle, certificate with a killed engine, live with a kill, and a journal that
decides the same again; then the file is edited, and what was made with the old one is refused.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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
from lockstep.strategy.family import load_family, strategy_of
from research.backtest.result import steps_of
from research.backtest.run import run_backtest
from support.processes import ROOT, python
from support.training import SMALL_FOREST

FAMILY = ROOT / "tests/support/toys/family.py"
STRATEGY = {"family": "ma_cross", "name": "follow", "fast": 5, "slow": 20, "entry_atr": 0.0, "exit_atr": 0.2}
GRID = {
    "symbols": ["SPX"],
    "parameters": {"entry_atr": [0.0, 0.2], "exit_atr": [0.0, 0.2]},
    "split": {"train": ["2009-01-02", "2013-12-31"], "validation": ["2014-01-02", "2016-12-30"]},
}
TRAINING = {
    "symbol": "SPX",
    "data": {"start": "2008-01-02", "end": "2018-12-31"},
    "strategy": "ma.yaml",
    "features": {"ids": ["ibs", "rsi_2", "ret_1"]},
    "model": SMALL_FOREST,
    "search": {"trials": 2, "initial": 2},
    "validation": {"groups": 4, "test_groups": 1, "embargo_days": 3, "walk_forward": "4y/2y/2y"},
    "hold_out": {"start": "2017-01-03"},
    "threshold": {"keep": 0.9},
}
COMMAND = ("-m", "operations.main")
START, END = "2015-07-01", "2016-06-30"
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


class Desk:
    """A desk folder outside the checkout, with a family of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "live/desk.db"
        self.family = folder / "families/ma_cross.py"
        for name in ("families", "live"):
            (folder / name).mkdir()
        shutil.copy(FAMILY, self.family)
        files = {"ma.yaml": STRATEGY, "grid.yaml": GRID, "SPX.yml": TRAINING, "live.yml": LIVE}
        for name, content in {**files, "lockstep.yml": {}}.items():
            (folder / name).write_text(yaml.safe_dump(content))
        unset = {"LOCKSTEP_FAMILIES", "LOCKSTEP_DB", "LOCKSTEP_MODEL_STORE", "LOCKSTEP_HOME"}
        kept = {name: value for name, value in os.environ.items() if name not in unset}
        path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        self.environment = {**kept, "PYTHONPATH": path, "COLUMNS": "160"}

    def command(self, text: str) -> list[str]:
        return [sys.executable, *COMMAND, *text.split()]

    def run(self, text: str, code: int = 0) -> str:
        done = python(*COMMAND, *text.split(), folder=self.folder, environment=self.environment)
        assert done.returncode == code, (text, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def sets(self) -> list[SetRecord]:
        with Journal.open(self.journal, readonly=True) as journal:
            assert journal.verify() == []
            return [row for row in journal.entries(1) if isinstance(row, SetRecord)]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk that has searched, trained, certified and promoted."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    said = desk.run("experiments grid-search --name first --strategy ma.yaml --grid grid.yaml")
    assert "4 of 4 runs succeeded" in said
    assert "rerun in Backtrader, with the same trades and profit" in said
    assert "SPX v1 is a candidate" in desk.run("train --config SPX.yml --jobs 1 --by me")
    said = desk.run(f"certify --symbol SPX --version v1 --start {START} --end {END} --restarts 1", code=3)
    assert "SPX v1: parity holds" in said
    assert "live engine killed and restarted after bar set" in said
    desk.run("promote SPX v1 --force --by me --reason test")
    return desk


def test_live_with_a_kill_is_research_bit_for_bit(desk: Desk) -> None:
    engine = subprocess.Popen(
        desk.command("live --config live.yml"), cwd=desk.folder, env=desk.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    killed_after = _kill_on_the_way(engine, desk)
    desk.run("live --config live.yml")
    sets = desk.sets()
    assert 0 < killed_after < len(sets)
    family, store = load_family(FAMILY.resolve()), ModelStore(desk.folder / "store")
    bundle = load_bundle("SPX", "v1", store=store)
    config = strategy_of(bundle.strategy["config"], where="bundle")
    assert isinstance(config, family.config)
    assert config.config_hash == bundle.strategy["config_hash"]
    history = load_history("SPX", None)
    result = run_backtest(config, history, "SPX", span=DateRange.of(START, END), veto=veto_of(bundle))
    key = SeriesKey("SPX", DAILY)
    steps = [step_of(lane, row.release.stamp, row.release.bars[key]) for row in sets for lane in row.lanes]
    found = compare(steps_of(result), steps, result.vector_ids)
    assert found.first is None, found.first
    assert found.bars == len(sets) == len(result.bars)
    assert found.fills > 4
    assert found.probabilities > 4
    recorded = check_recorded(desk.journal, store=store)
    assert recorded.passed
    assert [(each.compared, each.code, each.data) for each in recorded.decisions] == [(found.bars, 0, 0)]


def _kill_on_the_way(engine: subprocess.Popen[Any], desk: Desk) -> int:
    """Kill the engine when it has decided on some bars; return on how many."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and engine.poll() is None:
        if desk.journal.is_file() and desk.journal.stat().st_size:
            engine.send_signal(signal.SIGSTOP)
            try:
                count = len(desk.sets())
            except Exception:
                count = 0
            if count:
                engine.kill()
                engine.wait()
                return count
            engine.send_signal(signal.SIGCONT)
        time.sleep(0.02)
    raise AssertionError("the engine ended before it could be killed")


def test_an_edit_of_the_family_is_refused_until_it_is_trained_again(desk: Desk) -> None:
    text, rule = desk.family.read_text(), "spread >= rules[LONG_ABOVE]"
    assert rule in text
    desk.family.write_text(text.replace(rule, "spread > rules[LONG_ABOVE]"))
    try:
        refused = desk.run("live --config live.yml", code=2)
        assert "its configuration or its family's code is another; train again" in refused
    finally:
        desk.family.write_text(text)
