"""Promotion of a version: the ledger is held against the manifest, and every verdict is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from lockstep.errors import EvidenceMissing, ExperimentError, UnknownModel
from lockstep.market.dates import DateRange
from lockstep.models.manifest import HistoryEntry
from lockstep.models.manifest_file import MANIFEST
from lockstep.models.store import ModelStore
from lockstep.models.verbs import Change
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.ledger.versions import promote_version
from support import desks
from support.models import RECORD

NOW = datetime(2026, 1, 5, tzinfo=UTC)
JUNE = date(2016, 6, 1)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path / "store")
    for seed in (0, 1):
        made.register(desks.bundle("COMP", seed=seed), record=RECORD, by="me", now=NOW)
    return made


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open(f"sqlite:///{tmp_path / 'trials.db'}")


@pytest.fixture
def promote(store: ModelStore, database: Database) -> Callable[..., Change]:
    return partial(promote_version, store, "COMP", by="me", now=NOW, database=lambda: database)


def forced(promote: Callable[..., Change], version: str, **changes: object) -> Change:
    return promote(version, reason="a test", force=True, **changes)


def test_the_manifest_says_where_the_ledger_stood(
    store: ModelStore, promote: Callable[..., Change], database: Database
) -> None:
    forced(promote, "v1")
    before = store.manifest().history[-1].ledger
    assert before is not None
    Ledger(database).look("NASDAQ100", "COMP", june(), purpose="a test", now=NOW)
    change = forced(promote, "v2")
    assert not any("ledger" in each for each in change.overruled)
    after = store.manifest().history[-1].ledger
    assert after is not None
    assert (after.id, after.links > before.links) == (before.id, True)


def june() -> DateRange:
    return DateRange(start=JUNE, end=JUNE)


def test_refusals_and_what_was_overruled_are_in_the_ledger(
    store: ModelStore, promote: Callable[..., Change], database: Database
) -> None:
    with pytest.raises(EvidenceMissing):
        promote("v1")
    change = forced(promote, "v1")
    assert [each for each in change.remarks if each.startswith("earlier attempts: refused once on NASDAQ100")]
    first, second = Ledger(database).verdicts()
    sha256 = store.manifest().entry("COMP", "v1").sha256
    assert (first.kind, first.subject, first.families) == ("refused", sha256, ("NASDAQ100",))
    assert "validation: there is none" in first.refusals[0]
    assert (second.kind, second.reason, second.refusals) == ("forced", "a test", change.overruled)
    assert second.limits == store.policy().model_dump(mode="json")


@pytest.mark.parametrize("harm", ["fresh", "rows", "unreadable"])
def test_a_ledger_that_is_not_the_one_of_then_is_an_objection(
    store: ModelStore, promote: Callable[..., Change], database: Database, tmp_path: Path, harm: str
) -> None:
    Ledger(database).look("NASDAQ100", "COMP", june(), purpose="a test", now=NOW)
    forced(promote, "v1")
    if harm == "rows":
        with database.write() as connection:
            connection.execute(text("DROP TRIGGER look_no_delete"))
            connection.execute(text("DELETE FROM look"))
    other = {
        "fresh": lambda: Database.open(f"sqlite:///{tmp_path / 'fresh.db'}"),
        "rows": lambda: database,
        "unreadable": unreadable,
    }[harm]
    said = {
        "fresh": r"store, history entry 3 \(promote COMP v1\): this is another ledger",
        "rows": r"look, rows 1 to 1: 1 of 1 are gone",
        "unreadable": "the ledger cannot be read: no disk",
    }[harm]
    with pytest.raises(EvidenceMissing, match=said):
        promote("v2", database=other)
    change = forced(promote, "v2", database=other)
    assert change.after == "v2"
    assert any("ledger" in each or "look" in each for each in change.overruled)


def unreadable() -> Database:
    raise ExperimentError("no disk")


def test_what_is_unknown_opens_no_ledger(store: ModelStore) -> None:
    with pytest.raises(UnknownModel):
        promote_version(store, "COMP", "v9", by="me", now=NOW, database=unreadable)


def test_entries_without_a_ledger_are_written_as_before(store: ModelStore) -> None:
    content = json.loads((store.folder / MANIFEST).read_text())
    assert all("ledger" not in each for each in content["history"])
    assert all(HistoryEntry.model_validate(each).ledger is None for each in content["history"])
