"""The engine on a journal file: restarted, or gone on with in a new epoch, it is the uninterrupted run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lockstep.live.journal import Journal
from lockstep.live.journal.continuation import continued
from lockstep.live.messages import LaneRecord, SetRecord
from support import desks

WARM = 400


@pytest.fixture(scope="module")
def models() -> dict[str, desks.TradedModel]:
    return {"COMP": desks.model(), "SPX": desks.model("SPX", seed=1)}


def uninterrupted(folder: Path, models: dict[str, desks.TradedModel], bars: desks.History) -> list[SetRecord]:
    memory = desks.MemoryJournal()
    desks.engine(folder, models, memory, bars, warm=WARM).run()
    return memory.sets


def sets(journal: Journal, epoch: int) -> list[SetRecord]:
    return [entry for entry in journal.entries(epoch) if isinstance(entry, SetRecord)]


def told(record: SetRecord) -> str:
    """Spell a set; order ids name the epoch and are left out."""

    def without_ids(lane: LaneRecord) -> LaneRecord:
        waiting = lane.state.waiting
        state = lane.state if waiting is None else replace(lane.state, waiting=replace(waiting, order_id=""))
        return replace(lane, state=state)

    return repr(replace(record, sequence=0, lanes=tuple(map(without_ids, record.lanes))))


def test_restarts_replay_what_the_file_holds(tmp_path: Path, models: dict[str, desks.TradedModel]) -> None:
    bars = desks.history(WARM + 60)
    path, runs = tmp_path / "live.db", 0
    with Journal.open(path) as journal:
        journal.begin_epoch(desks.first_epoch(models, bars, WARM))
    while runs < 6:
        with Journal.open(path) as journal:
            epoch = journal.newest_epoch()
            engine = desks.engine(tmp_path, models, journal, bars, epoch=epoch, stop_after=10)
            engine.run()
            assert engine.replayed == 10 * runs
            runs += 1
    with Journal.open(path) as journal:
        found = sets(journal, 1)
        assert journal.verify() == []
    assert list(map(told, found)) == list(map(told, uninterrupted(tmp_path, models, bars)))


def test_a_new_epoch_goes_on_where_the_old_one_stood(
    tmp_path: Path, models: dict[str, desks.TradedModel]
) -> None:
    """At every set of a stretch: flat, with an order waiting, in a trade."""
    bars = desks.history(WARM + 24)
    expected = list(map(told, uninterrupted(tmp_path, models, bars)))
    boundaries = set()
    with Journal.open(tmp_path / "live.db") as journal:
        journal.begin_epoch(desks.first_epoch(models, bars, WARM))
        for number in range(len(expected)):
            epoch = journal.newest_epoch()
            desks.engine(tmp_path, models, journal, bars, epoch=epoch, stop_after=1).run()
            following = continued(
                journal, reason=f"change {number}", now=number, hashes={"code": str(number)}
            )
            state = following.states["COMP"]
            boundaries.add((state.waiting is not None, state.account[0] != 0.0))
            journal.begin_epoch(following)
        found = [told(record) for each in journal.epochs() for record in sets(journal, each.number)]
        assert journal.verify() == []
    assert found == expected
    assert boundaries >= {(False, False), (True, False), (False, True)}
