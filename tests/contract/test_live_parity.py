"""The live engine in paper mode does what research does, bit for bit, however often it is restarted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lockstep.live.messages import SetRecord
from lockstep.live.rerun import ReplayMismatch, step_of
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.monitoring.parity import Comparison, Step, compare
from research.backtest import run_backtest
from research.backtest_result import BacktestResult
from support import desks

COMP = SeriesKey("COMP", DAILY)
WARM = 400


def live_steps(sets: list[SetRecord], symbol: str) -> list[Step]:
    key = SeriesKey(symbol, DAILY)
    return [
        step_of(lane, row.release.stamp, row.release.bars[key])
        for row in sets
        for lane in row.lanes
        if lane.symbol == symbol
    ]


def research_steps(result: BacktestResult) -> list[Step]:
    from research.steps import steps_of

    return steps_of(result)


def test_paper_equals_research(tmp_path: Path) -> None:
    bars, model = desks.history(), desks.model()
    journal = desks.MemoryJournal()
    desks.engine(tmp_path, {"COMP": model}, journal, bars, warm=WARM).run()
    result = run_backtest(
        model.config, bars, "COMP", span=desks.span_after(bars, COMP, WARM), veto=model.veto
    )
    found = compare(research_steps(result), live_steps(journal.sets, "COMP"), model.plan.ids)
    assert found.first is None, found.first
    assert found.bars == len(bars.bars[COMP]) - WARM
    assert found.fills > 40
    assert found.probabilities > 40
