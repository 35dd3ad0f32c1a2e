"""What the first version wrote must be read, replayed and continued by every later one."""

from __future__ import annotations

import importlib
import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from certify.certificate import Certificate
from certify.recorded import check_recorded
from lockstep.errors import ForeignPickle, ModelError
from lockstep.live.journal import Journal
from lockstep.live.journal.continuation import continued
from lockstep.live.service import Service
from lockstep.models import nodes
from lockstep.models.estimators import ColumnSelector
from lockstep.models.kinds import MOVED
from lockstep.models.store import ModelStore, load_bundle
from research.experiments.execution import Lab
from research.experiments.report import page_data, page_html
from research.experiments.service import verified_ranking
from research.experiments.store import Store
from research.experiments.tables import export
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from support.first_version import FIRST, SETS, WHOLE_YEAR, desk


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A copy that may be written to."""
    return Path(shutil.copytree(FIRST, tmp_path / "v0"))


def count(journal: Journal, table: str) -> int:
    return int(next(iter(journal.select(f"SELECT count(*) FROM {table}")))[0])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_its_bundles_load_and_answer_as_they_did(first: Path, version: str) -> None:
    bundle = load_bundle("COMP", version, store=ModelStore(first / "store"))
    again = bundle.pipeline.predict_proba(bundle.golden.vectors)[:, 1]
    assert again.tobytes() == bundle.golden.answers.tobytes()


def test_its_bundles_name_classes_where_they_were_and_a_rollback_still_takes_one(
    first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(first / "store")
    change = store.rollback("COMP", by="test", now=datetime.now(UTC), reason="works still")
    content = (first / "store" / f"COMP_{change.version}.joblib").read_bytes()
    was, name = next(iter(MOVED))
    assert was.encode() in content, "the stored bundle names no class that moved: this shows nothing"
    bundle = load_bundle("COMP", "production", store=store)
    assert isinstance(bundle.pipeline.steps[0][1], ColumnSelector)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(was)
    monkeypatch.setattr(nodes, "MOVED", {})
    with pytest.raises(ForeignPickle, match=f"{was}.{name}, which no file of Lockstep may hold"):
        load_bundle("COMP", "production", store=store)


def test_every_class_that_moved_is_where_the_table_says() -> None:
    for module, name in MOVED.values():
        assert getattr(importlib.import_module(module), name).__module__ == module
        assert (module, name) in nodes.KINDS


def test_a_changed_bundle_is_refused(first: Path) -> None:
    path = first / "store" / "COMP_v1.joblib"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="SHA-256"):
        load_bundle("COMP", "v1", store=ModelStore(first / "store"))


def test_its_manifest_rolls_back(first: Path) -> None:
    store = ModelStore(first / "store")
    change = store.rollback("COMP", by="test", now=datetime.now(UTC), reason="works still")
    assert (change.version, store.manifest().resolve("COMP", "production", "ibs_veto")) == ("v1", "v1")


def test_its_certificate_is_read(first: Path) -> None:
    entry = ModelStore(first / "store").manifest().entry("COMP", "v1")
    (evidence,) = (each for each in entry.evidence if each.kind == "certificate")
    content = json.loads((first / "store" / evidence.file).read_text())
    passed = content.pop("passed")
    certificate = Certificate.model_validate(content)
    assert certificate.passed is passed is True
    assert certificate.bundle_sha256 == entry.sha256


def test_its_journal_is_whole_and_decides_the_same_again(first: Path) -> None:
    with Journal.open(first / "paper.db", readonly=True) as journal:
        assert journal.verify() == []
        assert count(journal, "sets") == SETS
    report = check_recorded(first / "paper.db", store=ModelStore(first / "store"))
    (decisions,) = report.decisions
    assert (decisions.compared, decisions.code, decisions.data, decisions.unsettled) == (SETS, 0, 0, 0)
    assert not any(feature.different for feature in report.features)


def test_its_journal_is_replayed_by_the_engine_and_continued(
    first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal.open(first / "paper.db") as journal:
        epoch = journal.newest_epoch()
        assert epoch is not None
    # The code that wrote it is gone: as if its hashes were ours, every set is compared with what is recorded.
    monkeypatch.setattr("lockstep.live.service.live_hashes", lambda _: epoch.hashes)
    with Service(desk(first), mode=None, environment={}) as service:
        service.run()
        assert service.engine.replayed == SETS
    with Journal.open(first / "paper.db", readonly=True) as journal:
        assert count(journal, "sets") == WHOLE_YEAR
        assert journal.verify() == []


def test_a_new_epoch_begins_where_it_ended(first: Path) -> None:
    from lockstep.live.epochs import live_hashes

    config = desk(first)
    with Journal.open(first / "paper.db") as journal:
        reason, now = "a later version", 1_900_000_000_000_000_000
        journal.begin_epoch(continued(journal, reason=reason, now=now, hashes=live_hashes(config), mode=None))
    with Service(config, mode=None, environment={}) as service:
        service.run()
        assert service.engine.replayed == 0
    with Journal.open(first / "paper.db", readonly=True) as journal:
        assert count(journal, "sets") == WHOLE_YEAR


def test_its_experiments_are_listed_and_its_trials_counted(first: Path) -> None:
    database = Database.open(f"sqlite:///{first / 'experiments.db'}")
    (record,) = Store(database).records()
    assert (record.name, record.done) == ("first", 6)
    assert len(Store(database).runs(1)) == 6
    assert Ledger(database).count("NASDAQ100", date(1999, 1, 1), date(2018, 12, 31)) == 18


def test_its_experiment_is_shown_with_the_accounts_that_its_runs_are(first: Path, tmp_path: Path) -> None:
    lab = Lab(database=Database.open(f"sqlite:///{first / 'experiments.db'}"))
    record = lab.store.record(1)
    best = verified_ranking(lab, record)[0]
    assert best.accounts["COMP"].metrics["sharpe"] == best.test["sharpe"]
    assert best.accounts["COMP"].dates == "2011-01-01 to 2014-12-31"
    assert "Training against test" in page_html(page_data(lab, record))
    assert len(export(lab.store, record, "json", tmp_path)) == 1
