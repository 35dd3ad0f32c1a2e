"""PARITY 30: after an edit of `decide` or of a rule it calls, a warm rerun trades the new rules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
from lockstep.market.timeframe import DAILY
from lockstep.strategy.families.ibs import IbsConfig
from research.backtest.run import run_backtest
from research.sweep.run import sweep
from lockstep.market.loader import load_history
history = load_history("COMP", timeframe=DAILY, start="2015-01-01")
config = IbsConfig(name="x", filters=({"feature": "ret_1", "max": 0.0},))
swept = sweep([config], history, "COMP", jobs=1).metrics["trades"][0]
print(len(run_backtest(config, history, "COMP").trades), int(swept))
"""
DECIDE = ("src/strategy/families/ibs.py", "if rules[LONG_ENTRY_LOW] <= signal", "if 0.1 <= signal")
HELPER = ("src/strategy/decision.py", "if applies and not", "if not applies and not")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in ("src", "research", "configs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "lockstep").symlink_to(tmp_path / "src", target_is_directory=True)
    return tmp_path


def trades(checkout: Path) -> tuple[int, int]:
    """Return how many trades Backtrader and the sweep find, in a fresh process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "NUMBA_"))}
    environment = kept | {
        "PYTHONPATH": f"{checkout / 'path'}{os.pathsep}{checkout}",
        "LOCKSTEP_CACHE_DIR": str(checkout / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    engine, swept = done.stdout.split()
    return int(engine), int(swept)


def test_an_edited_rule_is_used_by_engine_and_sweep(checkout: Path) -> None:
    before = trades(checkout)
    assert before[0] in (before[1], before[1] + 1), "the sweep counts closed trades"
    assert trades(checkout) == before
    for name, old, new in (DECIDE, HELPER):
        path = checkout / name
        original = path.read_text()
        assert original.count(old) == 1
        path.write_text(original.replace(old, new))
        after = trades(checkout)
        assert after[0] != before[0]
        assert after[0] in (after[1], after[1] + 1)
        path.write_text(original)
