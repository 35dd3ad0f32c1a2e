"""A candidate is paper-traded before it is promoted, and a policy may ask for the evidence of that."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certify.paper import PaperRequest, compare_paper
from certify.paper_evidence import attach
from lockstep.errors import EvidenceMissing, ManifestError, ParityError
from lockstep.live.messages import SetRecord
from lockstep.live.service import Service
from lockstep.models.content import sha256_of
from lockstep.models.manifest import Evidence
from lockstep.models.store import ModelStore
from research.paper.report import write_comparison
from research.paper.verdict import PaperComparison
from support import papers

NOW = datetime(2026, 1, 3, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """v1 in production, v2 a candidate; promotions ask for paper evidence."""
    store = papers.store(tmp_path / "store", 0, 1)
    (store.folder / "policy.json").write_text('{"promotion": ["paper"]}')
    return store


def traded(folder: Path, sessions: int, *, version: str = "v2") -> Path:
    """Return the journal of a desk that paper-traded a pinned version, or went on with it."""
    config = papers.config(folder, instruments=[{"symbol": "COMP", "version": version}])
    with Service(config, mode=None, environment={}, stop_after=sessions) as service:
        service.run()
    return folder / "live.db"


def compared(journal: Path, store: ModelStore) -> tuple[PaperComparison, Path]:
    comparison, curves = compare_paper(PaperRequest(journal=journal, store=store, resamples=200), now=17)
    return comparison, write_comparison(comparison, curves, journal.parent / "results")


def evidence(store: ModelStore, version: str = "v2") -> tuple[Evidence, ...]:
    return store.manifest().entry("COMP", version).evidence


def promote(store: ModelStore) -> None:
    store.promote("COMP", "v2", by="me", now=NOW, reason="twelve sessions on paper")


def test_twelve_sessions_on_paper_and_then_promoted(tmp_path: Path, store: ModelStore) -> None:
    """As an operator does it: pin, run, compare, attach, promote."""
    journal = traded(tmp_path, 12)
    with pytest.raises(EvidenceMissing, match="paper: there is none"):
        promote(store)
    done = papers.run(
        "compare_paper.py", "--journal", str(journal), "--store", str(store.folder), "--attach", "--by", "AB",
        "--out", str(tmp_path / "results"), "--resamples", "200",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "attached to COMP v2 as evidence of kind paper" in done.stdout
    (found,) = evidence(store)
    assert (found.kind, found.passed) == ("paper", True)
    kept = store.folder / found.file
    assert found.file_sha256 == sha256_of(kept.read_bytes())
    assert json.loads(kept.read_text())["instruments"][0]["sessions"] == 12
    assert kept.with_suffix(".html").is_file()
    named = {"code", "machine", "instruments", "journal", "data COMP:1d", "data SPX:1d"}
    assert {name for name in found.hashes if not name.startswith("library ")} == named
    assert found.symbols == ("COMP", "SPX")
    assert found.counts["sessions"] == found.counts["bars"] == 12
    assert found.newest_bar is not None
    assert found.newest_bar.date().isoformat() == "2016-01-20"
    assert store.manifest().history[-1].by == "AB"
    promote(store)
    assert store.manifest().model("COMP").production == "v2"


def test_nine_sessions_are_too_few(tmp_path: Path, store: ModelStore) -> None:
    comparison, written = compared(traded(tmp_path, 9), store)
    with pytest.raises(ParityError, match="COMP v2: 9 sessions compared, evidence rests on at least 10"):
        attach(comparison, written, store, by="me", now=NOW)
    assert evidence(store) == ()
    assert not (store.folder / "reports").exists()
    with pytest.raises(EvidenceMissing):
        promote(store)


def test_the_policy_may_ask_for_more(tmp_path: Path, store: ModelStore) -> None:
    comparison, written = compared(traded(tmp_path, 12), store)
    attach(comparison, written, store, by="me", now=NOW)
    policy = store.folder / "policy.json"
    policy.write_text('{"promotion": ["paper"], "paper": {"sessions": 15}}')
    with pytest.raises(EvidenceMissing, match="is too small: 12 of at least 15 sessions; let it run"):
        promote(store)
    with pytest.raises(ParityError, match="12 sessions compared, evidence rests on at least 15"):
        attach(comparison, written, store, by="me", now=NOW)
    policy.write_text('{"promotion": ["paper"], "paper": {"max_age_days": 90}}')
    with pytest.raises(
        EvidenceMissing, match="was issued on 1970-01-01, more than 90 days ago; compare again"
    ):
        promote(store)
    policy.write_text('{"promotion": ["paper"], "paper": {"sessions": 9}}')
    with pytest.raises(ManifestError, match="sessions"):
        promote(store)


def test_a_comparison_that_failed_is_attached_and_promotes_nothing(tmp_path: Path, store: ModelStore) -> None:
    def vetoed(record: SetRecord) -> SetRecord:
        (lane,) = record.lanes
        return papers.with_lane(record, probability=0.123) if lane.probability == lane.probability else record

    journal = papers.rewritten(traded(tmp_path, 12), tmp_path / "other.db", vetoed)
    comparison, written = compared(journal, store)
    assert not comparison.passed
    attach(comparison, written, store, by="me", now=NOW)
    assert [each.passed for each in evidence(store)] == [False]
    with pytest.raises(EvidenceMissing, match="paper: was not passed"):
        promote(store)


def test_a_journal_of_two_bundles_is_evidence_about_none(tmp_path: Path, store: ModelStore) -> None:
    traded(tmp_path, 6, version="production")
    store.promote("COMP", "v2", by="me", now=NOW, reason="test", force=True)
    comparison, written = compared(traded(tmp_path, 20, version="production"), store)
    with pytest.raises(ParityError, match="COMP: the journal was traded by v1, v2; evidence covers one"):
        attach(comparison, written, store, by="me", now=NOW)
    assert evidence(store) == evidence(store, "v1") == ()


def test_a_retired_version_needs_none(tmp_path: Path, store: ModelStore) -> None:
    comparison, written = compared(traded(tmp_path, 12), store)
    store.retire("COMP", "v2", by="me", now=NOW, reason="test")
    with pytest.raises(ParityError, match="COMP v2: is retired"):
        attach(comparison, written, store, by="me", now=NOW)
