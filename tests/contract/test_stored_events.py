"""Journals written before events had classes: read, verified, replayed and continued as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from certify.recorded import check_recorded
from lockstep.errors import JournalError, ReplayMismatch
from lockstep.live.codec import KINDS, content_of
from lockstep.live.engine import Engine
from lockstep.live.journal import Journal
from lockstep.live.journal.continuation import continued
from lockstep.live.journal.rows import text_of
from lockstep.live.messages import SetRecord
from lockstep.live.plausible import Plausibility
from lockstep.live.traded import TradedModel
from lockstep.models.store import ModelStore, load_bundle
from support import desks, papers
from support.papers import WARM

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
STORED = ("v0/paper.db", "v1/live.db", "v1/life-41.db", "v1/life-92.db")
SETS = 100


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A copy that may be written to."""
    shutil.copytree(FIXTURES, tmp_path / "fixtures")
    return tmp_path / "fixtures"


@pytest.mark.parametrize("name", STORED)
def test_every_row_is_read_and_would_be_written_byte_for_byte_as_it_is(stored: Path, name: str) -> None:
    with Journal.open(stored / name, readonly=True) as journal:
        assert journal.verify() == []
        rows = journal.select("SELECT sequence, kind, symbol, time, content FROM events ORDER BY sequence")
        events = list(journal.events())
    assert (
        [(each.sequence, each.kind, each.symbol, each.time, text_of(content_of(each), "")) for each in events]
        == rows
        != []
    )


def test_together_they_hold_every_kind_of_the_first_step(stored: Path) -> None:
    found: set[str] = set()
    for name in STORED:
        with Journal.open(stored / name, readonly=True) as journal:
            found |= {kind for (kind,) in journal.select("SELECT DISTINCT kind FROM events")}
    assert found == {kind for kind, each in KINDS.items() if each.since == 1}


def test_the_verifier_finds_in_them_what_it_found_then(stored: Path) -> None:
    report = check_recorded(stored / "v1/live.db", store=ModelStore(stored / "v1/store"))
    then = json.loads((stored / "v1/recorded.json").read_text())
    assert report.model_dump(mode="json") == then


class Told(desks.FakeOutside):
    """What the journal's commands told its engine, once more; nothing new."""

    def __init__(self, models: Sequence[TradedModel]) -> None:
        super().__init__()
        self.models = {each.bundle.sha256: each for each in models}
        self.production = {"COMP": ("v2", models[1].bundle.sha256)}


def engine(
    folder: Path, journal: Journal, models: Sequence[TradedModel], first: TradedModel, bars: int = SETS
) -> Engine:
    epoch = journal.newest_epoch()
    assert epoch is not None
    return desks.engine(
        folder, {"COMP": first}, journal, desks.history(WARM + bars), warm=WARM, epoch=epoch,
        outside=Told(models), broker=papers.Broker(), expire=10**18, flatten=True, band=Plausibility(),
    )  # fmt: skip


def loaded(stored: Path) -> list[TradedModel]:
    store = ModelStore(stored / "v1/store")
    return [TradedModel.of(load_bundle("COMP", version, store=store)) for version in ("v1", "v2")]


def test_an_engine_replays_it_and_goes_on(stored: Path) -> None:
    """As if the hashes of its code were ours: every set is compared with what is recorded."""
    models, more = loaded(stored), 12
    with Journal.open(stored / "v1/live.db") as journal:
        running = engine(stored, journal, models, models[0], SETS + more)
        running.run()
        assert (running.replayed, running.sets) == (SETS, more)
        assert journal.verify() == []
        assert sum(isinstance(row, SetRecord) for row in journal.entries(1)) == SETS + more


def test_a_replay_notices_an_event_that_says_something_else(stored: Path, tmp_path: Path) -> None:
    """The negative control: one reported fill at another price."""
    target, models = tmp_path / "changed.db", loaded(stored)
    with Journal.open(stored / "v1/live.db", readonly=True) as found, Journal.open(target) as journal:
        (epoch,) = found.epochs()
        journal.begin_epoch(epoch)
        changed = False
        for entry in found.entries(1):
            if isinstance(entry, SetRecord):
                journal.append_set(entry)
            elif entry.kind == "fill" and not changed:
                changed = True
                journal.append(replace(entry, price=entry.price + 0.25))
            else:
                journal.append(entry)
        assert changed
        with pytest.raises(ReplayMismatch, match="replay of the journal"):
            engine(stored, journal, models, models[0]).run()


def test_a_new_epoch_begins_where_it_ended(stored: Path) -> None:
    """Not while a reported fill waits for the bar that books it: the engine goes on until then."""
    models, more, now = loaded(stored), 12, 1_900_000_000_000_000_000
    with Journal.open(stored / "v1/live.db") as journal:
        with pytest.raises(JournalError, match=r"entry 211 \(fill\) came after the last bar"):
            continued(journal, reason="events have classes", now=now, hashes={})
        engine(stored, journal, models, models[0], SETS + more).run()
        last = journal.last_set()
        assert last is not None
        epoch = continued(journal, reason="events have classes", now=now, hashes={})
        assert epoch.states == {"COMP": last.lanes[0].state}
        assert epoch.bundles == {"COMP": models[1].bundle.sha256}
        assert journal.begin_epoch(epoch) == 2
        running = engine(stored, journal, models, models[1], SETS + more + 8)
        running.run()
        assert (running.replayed, running.sets) == (0, 8)
        assert journal.verify() == []
