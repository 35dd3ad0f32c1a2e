"""The reference of a bundle as a desk finds it: by hash, in the store, from the newest evidence."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from lockstep.errors import EvidenceMissing, NoReference
from lockstep.models.content import REPORTS
from lockstep.models.listing import versions_table
from lockstep.models.manifest import Evidence
from lockstep.models.store import ModelStore
from lockstep.monitoring.frozen import frozen_in
from support import desks
from support.evidence import NOW, RECORD, evidence
from support.models import vouched
from support.references import attach_reference, frozen_reference


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path / "store")
    for seed in (0, 1):
        made.register(desks.bundle("COMP", seed=seed), record=RECORD, by="me", now=NOW)
    return made


def sha256(store: ModelStore, version: str = "v1") -> str:
    return store.manifest().entry("COMP", version).sha256


def report(store: ModelStore) -> Path:
    (found,) = (store.folder / REPORTS).glob("*-reference.json")
    return found


def test_it_is_found_by_the_hash_of_the_bundle(store: ModelStore) -> None:
    first, second = attach_reference(store, "COMP", "v1"), attach_reference(store, "COMP", "v2")
    assert frozen_in(store, "COMP", sha256(store, "v1")).digest == first.digest
    assert frozen_in(store, "COMP", sha256(store, "v2")).digest == second.digest
    assert first.digest != second.digest


def test_the_newest_counts_and_other_evidence_does_not(store: ModelStore) -> None:
    attach_reference(store, "COMP", "v1")
    newer = frozen_reference(sha256(store), history_end="2013-01-02")
    attach_reference(store, "COMP", "v1", newer)
    store.attach("COMP", "v1", evidence(sha256(store)), by="me", now=NOW)
    assert frozen_in(store, "COMP", sha256(store)).history_end == "2013-01-02"


def gone(store: ModelStore) -> None:
    report(store).unlink()


def edited(store: ModelStore) -> None:
    path = report(store)
    path.write_text(path.read_text().replace('"win_rate": 0.62', '"win_rate": 0.52'))


def exchanged(store: ModelStore) -> None:
    report(store).write_text(frozen_reference("cd" * 32).text())


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (gone, r"COMP v1: reference .*reference\.json: No such file or directory; restore the file, or"),
        (edited, r"is not the file that was attached \(SHA-256 \w{12}, attached was \w{12}\); restore it"),
        (exchanged, "is not the file that was attached"),
    ],
)
def test_a_file_that_is_gone_or_was_changed_is_refused(
    store: ModelStore, harm: Callable[[ModelStore], None], words: str
) -> None:
    attach_reference(store, "COMP", "v1")
    harm(store)
    with pytest.raises(NoReference, match=words) as refused:
        frozen_in(store, "COMP", sha256(store))
    assert "validate v1 again" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_reference_of_another_bundle_is_refused(store: ModelStore) -> None:
    attach_reference(store, "COMP", "v1", frozen_reference(sha256(store, "v2")))
    told = f"is the reference of bundle {sha256(store, 'v2')[:12]}, not of {sha256(store)[:12]}"
    with pytest.raises(NoReference, match=told):
        frozen_in(store, "COMP", sha256(store))


def test_evidence_without_a_file_is_refused(store: ModelStore) -> None:
    bare = Evidence(kind="reference", passed=True, bundle_sha256=sha256(store))
    store.attach("COMP", "v1", bare, by="me", now=NOW)
    with pytest.raises(NoReference, match="COMP v1: its reference names no file; validate v1 again"):
        frozen_in(store, "COMP", sha256(store))


@pytest.mark.parametrize("passed", [None, False])
def test_a_version_that_was_never_frozen_is_refused_with_the_way_out(
    store: ModelStore, passed: bool | None
) -> None:
    store.attach("COMP", "v1", evidence(sha256(store)), by="me", now=NOW)
    if passed is not None:
        failed = Evidence(kind="reference", passed=passed, bundle_sha256=sha256(store))
        store.attach("COMP", "v1", failed, by="me", now=NOW)
    told = "COMP v1: has no reference; validate it again: lockstep validate COMP --version v1"
    with pytest.raises(NoReference, match=f"^{re.escape(told)}$"):
        frozen_in(store, "COMP", sha256(store))


@pytest.mark.parametrize("symbol", ["COMP", "ES"])
def test_an_unknown_bundle_is_refused(store: ModelStore, symbol: str) -> None:
    attach_reference(store, "COMP", "v1")
    with pytest.raises(NoReference, match=r"no version in .* has SHA-256 efefefefefef|'ES': not in the mani"):
        frozen_in(store, symbol, "ef" * 32)


def test_a_reference_comes_along_with_a_signed_manifest(store: ModelStore, tmp_path: Path) -> None:
    made = attach_reference(store, "COMP", "v1")
    desk = ModelStore(tmp_path / "desk")
    desk.folder.mkdir()
    desk.fetch(vouched(store, desk), "COMP", "v1", by="me", now=NOW)
    assert frozen_in(desk, "COMP", sha256(store)).digest == made.digest
    bare = ModelStore(tmp_path / "bare")
    bare.fetch(store, "COMP", "v1", sha256=sha256(store), by="me", now=NOW)
    with pytest.raises(NoReference, match="COMP v1: has no reference"):
        frozen_in(bare, "COMP", sha256(store))


def test_a_promotion_asks_for_it_and_force_overrules_that(store: ModelStore) -> None:
    for kind in ("validation", "certificate"):
        store.attach("COMP", "v1", evidence(sha256(store), kind=kind), by="me", now=NOW)
    told = "COMP ibs_veto v1: cannot be promoted: reference: there is none; validate it again; provide it, or"
    with pytest.raises(EvidenceMissing, match=told):
        store.promote("COMP", "v1", by="me", now=NOW)
    change = store.promote("COMP", "v1", by="me", now=NOW, force=True, reason="a test")
    assert change.overruled == ("reference: there is none; validate it again",)
    for kind in ("validation", "certificate"):
        store.attach("COMP", "v2", evidence(sha256(store, "v2"), kind=kind), by="me", now=NOW)
    assert store.manifest().entry("COMP", "v2").status == "candidate"
    attach_reference(store, "COMP", "v2")
    assert store.manifest().entry("COMP", "v2").status == "validated"
    assert store.promote("COMP", "v2", by="me", now=NOW).overruled == ()


def test_a_policy_that_names_kinds_keeps_what_it_names(store: ModelStore) -> None:
    (store.folder / "policy.json").write_text('{"promotion": ["validation"]}')
    store.attach("COMP", "v1", evidence(sha256(store)), by="me", now=NOW)
    assert store.promote("COMP", "v1", by="me", now=NOW).overruled == ()


def test_the_list_of_versions_says_that_it_was_frozen(store: ModelStore) -> None:
    attach_reference(store, "COMP", "v1")
    store.attach("COMP", "v1", evidence(sha256(store), passed=False), by="me", now=NOW)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(versions_table(store.manifest()))
    assert "reference frozen, validation failed" in console.export_text()
