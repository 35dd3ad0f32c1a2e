"""A bar of another series that came to the engine otherwise is named, before the features that it changes.

A real engine in this process runs on bars of which one is changed; research runs on the true ones.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from certify.live_run import LiveRun
from certify.series import Arrived, labels_of, with_settled
from lockstep.floats import EXACT
from lockstep.live.messages import Arrival, SetRecord, Values
from lockstep.live.traded import TradedModel
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.monitoring.parity import BAR, FEATURE_CODE, WARM_UP, ParityComparison, compare
from research.backtest.result import steps_of
from research.backtest.run import run_backtest
from support import desks
from support.papers import COMP, SETS, SPX, WARM, altered

PAIR = "SPX:1d (pair)"


def lived(folder: Path, bars: History, *, warm: int = WARM) -> LiveRun:
    """Run the engine over bars and return what it did."""
    models, journal = {"COMP": desks.model()}, desks.MemoryJournal()
    epoch = desks.first_epoch(models, bars, WARM)
    short = {key: kept[-warm:] for key, kept in epoch.warmup.items()}
    desks.engine(folder, models, journal, bars, warm=WARM, epoch=replace(epoch, warmup=short)).run()
    return LiveRun(sets=tuple(journal.sets), warmup=short, killed_after=(), modes=(EXACT,))


def against_research(live: LiveRun) -> ParityComparison:
    """Compare as a certificate does, with research on the true bars."""
    history, model = desks.history(WARM + SETS), desks.model()
    span = desks.span_after(history, COMP, WARM)
    result = run_backtest(model.config, history, "COMP", span=span, veto=model.veto)
    labels = labels_of(model.plan, history.markets)
    traded = live.steps("COMP", "1d", Arrived(labels, model.key, live.warmup))
    return compare(with_settled(steps_of(result), traded, history, model.plan), traded, model.plan.ids)


def stamp_of(key: SeriesKey, row: int) -> int:
    return desks.kept(desks.history(WARM + SETS), key)[row][0]


def nudged(values: Values) -> Values:
    opened, high, low, _, volume = values
    return (opened, high, low, (high + low) / 2, volume)


def test_every_bar_of_every_series_is_compared(tmp_path: Path) -> None:
    found = against_research(lived(tmp_path, desks.history(WARM + SETS)))
    assert found.different == 0
    assert found.series == {"COMP:1d (traded)": WARM, PAIR: WARM + SETS}
    assert (found.bars, found.trades > 10, found.fills >= 2 * found.trades - 1) == (SETS, True, True)


@pytest.mark.parametrize("row", [WARM + 40, WARM - 5], ids=["while it trades", "in the warm-up"])
def test_a_pairs_bar_is_named_before_its_features(tmp_path: Path, row: int) -> None:
    found = against_research(lived(tmp_path, altered(SPX, row, nudged)))
    assert found.first is not None
    assert (found.first.kind, found.first.where) == (BAR, f"bar of {PAIR}")
    assert found.first.stamp == stamp_of(SPX, row)
    assert found.different > 1, "its features differ too"
    assert {each.kind for each in found.differences[1:]} >= {FEATURE_CODE}


def test_a_bar_of_the_traded_series_in_the_warm_up_is_named(tmp_path: Path) -> None:
    found = against_research(lived(tmp_path, altered(COMP, WARM - 5, nudged)))
    assert found.first is not None
    assert (found.first.where, found.first.stamp) == ("bar of COMP:1d (traded)", stamp_of(COMP, WARM - 5))


def test_a_pairs_bar_that_never_came_is_named(tmp_path: Path) -> None:
    found = against_research(lived(tmp_path, altered(SPX, WARM + 40, None)))
    assert found.first is not None
    assert (found.first.kind, found.first.where) == (BAR, f"bar of {PAIR}")
    assert (found.first.second, found.first.stamp) == ("no bar", stamp_of(SPX, WARM + 40))


def test_a_bar_that_came_with_the_next_set_is_named(tmp_path: Path) -> None:
    """What the features of its own set had to do without."""
    live, end = lived(tmp_path, desks.history(WARM + SETS)), stamp_of(SPX, WARM + 40)

    def late(row: SetRecord) -> SetRecord:
        bars = dict(row.release.bars)
        if row.release.stamp == end:
            del bars[SPX]
            return replace(row, release=replace(row.release, bars=bars))
        if row.release.stamp == stamp_of(COMP, WARM + 41):
            values = dict(desks.kept(desks.history(WARM + SETS), SPX))[end]
            arrival = Arrival(SPX, end, values, row.release.stamp, "feed")
            return replace(row, release=replace(row.release, late=(arrival,)))
        return row

    found = against_research(replace(live, sets=tuple(map(late, live.sets))))
    first, second = found.differences
    assert (first.stamp, first.second, second.stamp, second.first) == (end, "no bar", end, "no bar")


def test_windows_that_are_too_short_are_still_called_warm_up(tmp_path: Path) -> None:
    found = against_research(lived(tmp_path, desks.history(WARM + SETS), warm=12))
    assert found.first is not None
    assert found.first.kind == WARM_UP


def test_what_a_series_is_to_a_model() -> None:
    model: TradedModel = desks.model()
    registry = desks.default_registry()
    plan = registry.plan(("ibs", "pair_zscore_20", "rsi_2@ES", "rsi_2@1d"), SeriesKey("COMP", Timeframe(60)))
    hourly = Timeframe(60)
    assert labels_of(plan, desks.load_markets()) == {
        SeriesKey("COMP", DAILY): "COMP:1d (other timeframe)",
        SeriesKey("COMP", hourly): "COMP:1h (traded)",
        SeriesKey("ES", hourly): "ES:1h (context)",
        SeriesKey("SPX", hourly): "SPX:1h (pair)",
    }
    assert set(labels_of(model.plan, desks.load_markets())) == set(model.needs(desks.load_markets()))
