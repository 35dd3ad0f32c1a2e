"""The live engine in paper mode does what research does, bit for bit, however often it is restarted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lockstep.errors import ReplayMismatch
from lockstep.live.messages import SetRecord
from lockstep.live.rerun import step_of
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.monitoring.parity import EngineStep, compare
from research.backtest.result import steps_of
from research.backtest.run import run_backtest
from support import desks

COMP = SeriesKey("COMP", DAILY)
WARM = 400


def live_steps(sets: list[SetRecord], symbol: str) -> list[EngineStep]:
    key = SeriesKey(symbol, DAILY)
    return [
        step_of(lane, row.release.stamp, row.release.bars[key])
        for row in sets
        for lane in row.lanes
        if lane.symbol == symbol
    ]


def test_paper_equals_research(tmp_path: Path) -> None:
    bars, model = desks.history(), desks.model()
    journal = desks.MemoryJournal()
    desks.engine(tmp_path, {"COMP": model}, journal, bars, warm=WARM).run()
    result = run_backtest(
        model.config, bars, "COMP", span=desks.span_after(bars, COMP, WARM), veto=model.veto
    )
    found = compare(steps_of(result), live_steps(journal.sets, "COMP"), model.plan.ids)
    assert found.first is None, found.first
    assert found.bars == len(bars.bars[COMP]) - WARM
    assert found.fills > 40
    assert found.probabilities > 40


def same(first: list[SetRecord], second: list[SetRecord]) -> bool:
    def plain(rows: list[SetRecord]) -> list[str]:
        return [repr(replace(row, sequence=0)) for row in rows]

    return plain(first) == plain(second)


def both_models() -> dict[str, desks.TradedModel]:
    """One instrument is traded behind a veto, the other by its strategy as it is."""
    return {"COMP": desks.model(), "SPX": desks.bare("SPX")}


def test_two_instruments_at_once(tmp_path: Path) -> None:
    bars, models = desks.history(), both_models()
    journal = desks.MemoryJournal()
    desks.engine(tmp_path, models, journal, bars, warm=WARM).run()
    for symbol, model in models.items():
        key = SeriesKey(symbol, DAILY)
        span = desks.span_after(bars, key, WARM)
        result = run_backtest(model.config, bars, symbol, span=span, veto=model.veto)
        found = compare(steps_of(result), live_steps(journal.sets, symbol), model.plan.ids)
        assert found.first is None, found.first
        assert found.fills > 20
        assert (found.probabilities > 20) == (symbol == "COMP")
        assert found.probabilities == 0 or model.veto is not None


def test_restarted_at_every_bar_equals_the_uninterrupted_run(tmp_path: Path) -> None:
    bars, models = desks.history(WARM + 60), both_models()
    whole, pieces = desks.MemoryJournal(), desks.MemoryJournal()
    desks.engine(tmp_path, models, whole, bars, warm=WARM).run()
    runs = 0
    while len(pieces.sets) < len(whole.sets):
        engine = desks.engine(tmp_path, models, pieces, bars, warm=WARM, stop_after=1)
        engine.run()
        assert engine.replayed == runs
        runs += 1
    assert runs == 60
    assert same(whole.sets, pieces.sets)
    assert any(lane.state.account[0] for row in whole.sets for lane in row.lanes)


def test_a_replay_counts_orders_on_the_days_of_their_decisions(tmp_path: Path) -> None:
    """After a restart the wall clock says today; the orders of the whole journal were not sent today."""
    bars, models = desks.history(WARM + 120), {"COMP": desks.model()}
    whole, journal = desks.MemoryJournal(), desks.MemoryJournal()
    desks.engine(tmp_path, models, whole, bars, warm=WARM).run()
    entered = [row for row in whole.sets if row.lanes[0].reason.startswith("enter")]
    last = entered[-1].release.stamp
    before = sum(row.release.stamp < last for row in whole.sets)
    desks.engine(tmp_path, models, journal, bars, warm=WARM, stop_after=before).run()
    feeds = desks.source(bars, frozenset({COMP}))
    feeds.now = lambda: last  # type: ignore[method-assign]
    limits = desks.OPEN_LIMITS.model_copy(update={"max_orders_per_day": 2})
    desks.engine(tmp_path, models, journal, bars, warm=WARM, feeds=feeds, limits=limits, stop_after=1).run()
    assert len(entered) > 5
    assert journal.sets[-1].release.stamp == last
    assert journal.sets[-1].events == ()
    assert same(whole.sets[: before + 1], journal.sets)


@pytest.mark.parametrize("fault", ["skipped", "probability", "bar", "fill"])
def test_a_replay_that_differs_trades_nothing(tmp_path: Path, fault: str) -> None:
    """PARITY 17, the mutant: a row of the journal is missing, or is another."""
    bars, models = desks.history(WARM + 120), {"COMP": desks.model()}
    journal = desks.MemoryJournal()
    desks.engine(tmp_path, models, journal, bars, warm=WARM, stop_after=80).run()
    journal.rows = damaged(journal.rows, fault)
    before = len(journal.rows)
    with pytest.raises(ReplayMismatch, match="nothing is traded"):
        desks.engine(tmp_path, models, journal, bars, warm=WARM).run()
    assert len(journal.rows) == before


def damaged(rows: list[SetRecord | desks.Event], fault: str) -> list[SetRecord | desks.Event]:
    sets = [number for number, row in enumerate(rows) if isinstance(row, SetRecord)]
    if fault == "skipped":
        filled = next(n for n in sets if any(o.status == "completed" for o in rows[n].lanes[0].orders))
        return [*rows[:filled], *rows[filled + 1 :]]
    asked = next(n for n in sets if not np.isnan(rows[n].lanes[0].probability))
    number = {"probability": asked, "bar": sets[10]}.get(fault, 0)
    if fault == "fill":
        number = next(n for n in sets if any(o.status == "completed" for o in rows[n].lanes[0].orders))
    row = rows[number]
    lane = row.lanes[0]
    if fault == "probability":
        row = replace(row, lanes=(replace(lane, probability=lane.probability + 1e-16 + 2e-16),))
    elif fault == "bar":
        key, values = next(iter(row.release.bars.items()))
        moved = {**row.release.bars, key: (*values[:3], values[3] + 0.01, values[4])}
        row = replace(row, release=replace(row.release, bars=moved))
    else:
        orders = tuple(replace(order, price=order.price + 0.25) for order in lane.orders)
        row = replace(row, lanes=(replace(lane, orders=orders),))
    return [*rows[:number], row, *rows[number + 1 :]]
