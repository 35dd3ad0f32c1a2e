"""Fills of a live journal become slippage streams; a paper journal has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from certify.recorded import check_recorded, settled_history
from certify.recording import models_of
from lockstep.live.journal import Journal
from lockstep.models.store import ModelStore
from operations.watch.slippage import LaneFill, lane_summaries, reported_fills, slippage_states
from support import papers
from support.real_fills import live


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    return papers.store(tmp_path_factory.mktemp("store"))


def fills_of(path: Path, store: ModelStore, epochs: tuple[int, ...] | None = None) -> tuple[LaneFill, ...]:
    with Journal.open(path, readonly=True) as journal:
        models = models_of(journal, store)
        return reported_fills(journal, models, settled_history(models, None, None), epochs=epochs)


def test_fills_are_those_of_the_certificate_and_a_planted_slippage_is_raised(
    tmp_path: Path, store: ModelStore
) -> None:
    path = live(tmp_path, store, lambda number: 4.0 if number >= 10 else 0.0)
    found = fills_of(path, store)
    assert [each.model_dump(exclude={"lane"}) for each in found] == [
        each.model_dump()
        for each in sorted(check_recorded(path, store=store).fills, key=lambda one: one.stamp)
    ]
    assert fills_of(path, store, (1,)) == found
    assert fills_of(path, store, ()) == ()
    states = slippage_states(reversed(found))
    assert list(states) == [("COMP", "market")]
    state = states["COMP", "market"]
    assert state.is_raised
    assert state.since == found[10].stamp, "Page's estimate is the first worse fill"
    assert "ALARM COMP market orders: slippage is 4.00 ticks beyond the cost model over 1" in state.sentence(
        "COMP market orders"
    )
    (summary,) = lane_summaries(found)["COMP"]
    assert (summary.fills, summary.order) == (len(found), "market")
    noted = slippage_states(found, {("COMP", "market"): [found[-1].stamp]})["COMP", "market"]
    assert not noted.is_raised


def test_stops_are_a_stream_of_their_own(tmp_path: Path, store: ModelStore) -> None:
    found = fills_of(live(tmp_path, store, 0.0, stops=True), store)
    states = slippage_states(found)
    assert sorted(states) == [("COMP", "market"), ("COMP", "stop")]
    assert not any(each.is_raised for each in states.values())
    assert sum(each.fills for each in states.values()) == len(found)
    assert {each.order for each in lane_summaries(found)["COMP"]} == {"market", "stop"}


def test_a_paper_journal_has_no_fills_of_a_broker(tmp_path: Path, store: ModelStore) -> None:
    assert fills_of(papers.traded(tmp_path, papers.models(store)[0]), store) == ()
