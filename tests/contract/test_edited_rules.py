"""PARITY 30: after an edit of `decide` or of a rule it calls, a warm rerun trades the new rules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.planted import SourceCopy

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
def checkout(tmp_path: Path) -> SourceCopy:
    return SourceCopy(tmp_path, "src", "research", "configs")


def trades(checkout: SourceCopy) -> tuple[int, int]:
    """Return how many trades Backtrader and the sweep find, in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=checkout.root,
        env=checkout.environment(compiled=True),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    engine, swept = done.stdout.split()
    return int(engine), int(swept)


def test_an_edited_rule_is_used_by_engine_and_sweep(checkout: SourceCopy) -> None:
    before = trades(checkout)
    assert before[0] in (before[1], before[1] + 1), "the sweep counts closed trades"
    assert trades(checkout) == before
    for edit in (DECIDE, HELPER):
        with checkout.fault(*edit):
            after = trades(checkout)
        assert after[0] != before[0]
        assert after[0] in (after[1], after[1] + 1)
