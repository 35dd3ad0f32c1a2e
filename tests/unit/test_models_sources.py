"""What is fetched from another store is pinned, by a key or by hash; a store's files lie in its folder."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lockstep import errors
from lockstep.models import chain, verbs
from lockstep.models.bundle import Bundle
from lockstep.models.content import sha256_of
from lockstep.models.manifest import Evidence, Manifest, VersionEntry
from lockstep.models.manifest_file import write_manifest
from lockstep.models.sources import new_key, read_key, sign, trust
from lockstep.models.store import ModelStore, load_bundle
from support.first_version import FIRST
from support.models import NOW, RECORD, asking_for_validation, evidence, make_bundle, unchanged, vouched

REPORT = "reports/ES_v2.html"
PAGE = "<p>passed</p>"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle()


@pytest.fixture
def desk(tmp_path: Path, bundle: Bundle) -> ModelStore:
    """Two versions; the second was judged, and its report is there."""
    found = asking_for_validation(ModelStore(tmp_path / "desk"))
    for threshold in (0.5, 0.6):
        found.register(replace(bundle, threshold=threshold), record=RECORD, by="ann", now=NOW)
    (found.folder / "reports").mkdir()
    (found.folder / REPORT).write_text(PAGE)
    found.attach("ES", "v2", judgement(found), by="ann", now=NOW)
    return found


@pytest.fixture
def engine(tmp_path: Path) -> ModelStore:
    found = ModelStore(tmp_path / "engine")
    found.folder.mkdir()
    return found


def judgement(desk: ModelStore, **changes: Any) -> Evidence:
    found = evidence(desk.manifest().entry("ES", "v2").sha256)
    return found.model_copy(update={"file": REPORT, "file_sha256": sha256_of(PAGE.encode()), **changes})


def fetch(engine: ModelStore, desk: ModelStore, version: str = "v2", **pin: str) -> str:
    return engine.fetch(desk, "ES", version, by="bob", now=NOW, **pin)


def told(desk: ModelStore, **changes: Any) -> None:
    """Let the manifest of a store tell something else about v2; its chain of hashes is whole."""
    manifest = desk.manifest()
    entry = manifest.entry("ES", "v2").model_copy(update=changes)
    write_manifest(desk.folder, with_entry(manifest, entry))


def with_entry(manifest: Manifest, entry: VersionEntry) -> Manifest:
    act = chain.Act(symbol="ES", by="mallory", now=NOW)
    return verbs.registered(manifest, act, "v2", entry, "register")


def test_a_store_without_a_signature_is_refused_and_the_line_says_how_to_pin_it(
    desk: ModelStore, engine: ModelStore
) -> None:
    check = unchanged(engine)
    with pytest.raises(errors.VerbRefused, match=r"no manifest\.sig.*pin the bundle with --sha256, or sign"):
        fetch(engine, desk)
    with pytest.raises(errors.VerbRefused, match=r"has no manifest\.json, so nothing vouches for it"):
        fetch(engine, ModelStore(desk.folder / "nothing"))
    check()


def test_a_signed_store_vouches_for_bundle_evidence_and_reports(desk: ModelStore, engine: ModelStore) -> None:
    assert fetch(engine, vouched(desk, engine)) == "v2"
    assert (engine.folder / REPORT).read_text() == PAGE
    entry = engine.manifest().entry("ES", "v2")
    assert (entry.status, entry.sha256) == ("candidate", desk.manifest().entry("ES", "v2").sha256)
    assert [each.kind for each in entry.evidence] == ["validation"]
    last = engine.manifest().history[-1]
    assert (last.action, last.reason) == ("fetch", "signed with the key of desk at entry 3")
    check = unchanged(engine)
    fetch(engine, desk)
    check()
    engine.path("ES", "v2").unlink()
    (engine.folder / REPORT).unlink()
    fetch(engine, desk)
    check()


def test_a_hash_pins_the_bundle_and_nothing_else_is_believed(desk: ModelStore, engine: ModelStore) -> None:
    sha256 = desk.manifest().entry("ES", "v2").sha256
    assert fetch(engine, desk, sha256=sha256) == "v2"
    entry = engine.manifest().entry("ES", "v2")
    assert (entry.sha256, entry.evidence) == (sha256, ())
    assert not (engine.folder / "reports").exists()
    assert engine.manifest().history[-1].reason == "pinned by SHA-256"
    assert load_bundle("ES", "v2", store=engine).threshold == 0.6


def test_another_bundle_under_the_same_number_is_not_the_pinned_one(
    desk: ModelStore, engine: ModelStore, bundle: Bundle
) -> None:
    told_by_phone = desk.manifest().entry("ES", "v2").sha256
    # Whoever can write the folder makes everything in it agree.
    other = ModelStore(desk.folder.parent / "mallory")
    for threshold in (0.5, 0.01):
        other.register(replace(bundle, threshold=threshold), record=RECORD, by="mallory", now=NOW)
    with pytest.raises(errors.HashMismatch, match=r"in .*mallory, pinned is .*; find out which"):
        fetch(engine, other, sha256=told_by_phone)
    desk.path("ES", "v2").write_bytes(other.path("ES", "v2").read_bytes())
    with pytest.raises(errors.HashMismatch, match="not the registered file"):
        fetch(engine, desk, sha256=told_by_phone)
    assert engine.manifest() == Manifest()


def test_a_change_after_signing_needs_a_new_signature(desk: ModelStore, engine: ModelStore) -> None:
    vouched(desk, engine)
    desk.promote("ES", "v2", by="ann", now=NOW)
    with pytest.raises(errors.VerbRefused, match=r"is not what key [0-9a-f]{16} signed.*sign it again"):
        fetch(engine, desk)
    assert fetch(engine, vouched(desk, engine)) == "v2"


def test_an_older_manifest_is_not_fetched_again(desk: ModelStore, engine: ModelStore, tmp_path: Path) -> None:
    vouched(desk, engine)
    old = ModelStore(Path(shutil.copytree(desk.folder, tmp_path / "old")))
    desk.retire("ES", "v1", by="ann", now=NOW, reason="leaks")
    with pytest.raises(errors.VerbRefused, match="v1: is retired"):
        fetch(engine, vouched(desk, engine), "v1")
    assert fetch(engine, desk) == "v2"
    # Genuine, and of yesterday: v1 was not retired then.
    with pytest.raises(
        errors.VerbRefused, match="ends with entry 3, and entry 4 was seen before: an older man"
    ):
        fetch(engine, old, "v1")


def test_a_key_that_the_store_does_not_trust_vouches_for_nothing(
    desk: ModelStore, engine: ModelStore, tmp_path: Path
) -> None:
    sign(desk.folder, new_key(tmp_path / "mallory.key"))
    with pytest.raises(errors.VerbRefused, match=r"signed with key .*sources\.json does not name"):
        fetch(engine, desk)
    # The name of a trusted key does not help without its secret.
    signature = desk.folder / "manifest.sig"
    trusted = new_key(tmp_path / "desk.key")
    trust(engine.folder, "desk", tmp_path / "desk.key")
    signature.write_text(json.dumps({**json.loads(signature.read_text()), "key": trusted.id}))
    with pytest.raises(errors.VerbRefused, match="is not what key"):
        fetch(engine, desk)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"key": "a", "mac": "b"}', '{"key": "a", "key": "b"}', "{" * 100_000],
    ids=["empty", "list", "no mac", "a key twice", "deep"],
)  # fmt: skip
def test_a_damaged_signature_is_one_line(desk: ModelStore, engine: ModelStore, content: str) -> None:
    vouched(desk, engine)
    (desk.folder / "manifest.sig").write_text(content)
    with pytest.raises(errors.VerbRefused, match=r"manifest\.sig") as refused:
        fetch(engine, desk)
    assert "\n" not in str(refused.value)


def test_a_key_is_for_its_owner_alone(tmp_path: Path, engine: ModelStore) -> None:
    path = tmp_path / "desk.key"
    key = new_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key(path) == key
    assert len(key.secret) == 32
    with pytest.raises(errors.StoreFailure, match="File exists"):
        new_key(path)
    path.chmod(0o640)
    with pytest.raises(errors.VerbRefused, match=r"mode 0640: others may read the key; chmod 600"):
        trust(engine.folder, "desk", path)
    (tmp_path / "link.key").symlink_to(path)
    (tmp_path / "short.key").write_text("abc")
    (tmp_path / "short.key").chmod(0o600)
    for name, message in (("link", "symbolic link"), ("short", "holds no key"), ("none", "No such file")):
        with pytest.raises(errors.VerbRefused, match=message):
            read_key(tmp_path / f"{name}.key")
    path.chmod(0o600)
    with pytest.raises(errors.VerbRefused, match="choose another name"):
        trust(engine.folder, "../desk", path)
    assert not (engine.folder / "sources.json").exists()


def test_an_empty_store_is_not_signed(tmp_path: Path) -> None:
    with pytest.raises(errors.ManifestError, match="register a model first"):
        sign(tmp_path / "models", new_key(tmp_path / "desk.key"))


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another threshold": ({"threshold": 0.1}, r"threshold: the manifest of .* says other than the bundle"),
    "other metrics": ({"metrics": {"roc_auc": 0.99, "profit_factor": None}}, "metrics: the manifest"),
    "another strategy": ({"strategy": {"family": "X", "config": {}, "config_hash": ""}}, "strategy: the man"),
    "another record": ({"record": RECORD.model_copy(update={"seed": 8})}, "seed: the manifest"),
    "another file": ({"file": "NQ_v1.joblib"}, r"'NQ_v1\.joblib' in .*: is another version's name"),
    "retired": ({"status": "retired"}, r"is retired in .*; fetch another version"),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "by hash"])
def test_a_manifest_that_does_not_tell_what_is_in_the_bundle_is_refused(
    desk: ModelStore, engine: ModelStore, lie: str, signed: bool
) -> None:
    changes, message = LIES[lie]
    told(desk, **changes)
    pin = {} if signed else {"sha256": desk.manifest().entry("ES", "v2").sha256}
    if signed:
        vouched(desk, engine)
    check = unchanged(engine)
    with pytest.raises(errors.VerbRefused, match=message):
        fetch(engine, desk, **pin)
    check()


def link_reports(desk: ModelStore) -> None:
    elsewhere = desk.folder.parent / "elsewhere"
    (desk.folder / "reports").rename(elsewhere)
    (desk.folder / "reports").symlink_to(elsewhere)


def link_report(desk: ModelStore) -> None:
    path = desk.folder / REPORT
    path.rename(desk.folder / "other.html")
    path.symlink_to(desk.folder / "other.html")


REPORTS: dict[str, tuple[Callable[[ModelStore], object], type[Exception], str]] = {
    "changed": (
        lambda d: (d.folder / REPORT).write_text("<p>better</p>"),
        errors.HashMismatch,
        "not the reg",
    ),
    "without a hash": (
        lambda d: told(d, evidence=(judgement(d, file_sha256=""),)),
        errors.HashMismatch,
        "the manifest has no hash of it",
    ),
    "out of the store": (
        lambda d: told(d, evidence=(judgement(d, file="reports/../../desk.key"),)),
        errors.VerbRefused,
        "leads outside the store",
    ),
    "behind a linked folder": (link_reports, errors.VerbRefused, "reached by a symbolic link"),
    "a link": (link_report, errors.VerbRefused, "reached by a symbolic link"),
}


@pytest.mark.parametrize("how", REPORTS)
def test_a_report_that_is_not_the_recorded_one_is_refused(
    desk: ModelStore, engine: ModelStore, how: str
) -> None:
    spoil, refusal, message = REPORTS[how]
    spoil(desk)
    vouched(desk, engine)
    check = unchanged(engine)
    with pytest.raises(refusal, match=message):
        fetch(engine, desk)
    check()


def test_a_report_takes_the_place_of_nothing_else(desk: ModelStore, engine: ModelStore) -> None:
    asking_for_validation(engine)
    free = b'{"promotion": []}'
    (desk.folder / "policy.json").write_bytes(free)
    told(desk, evidence=(judgement(desk, file="policy.json", file_sha256=sha256_of(free)), judgement(desk)))
    vouched(desk, engine)
    (engine.folder / "reports").mkdir()
    (engine.folder / REPORT).write_text("mine")
    with pytest.raises(errors.VerbRefused, match="exists with different content; move it away"):
        fetch(engine, desk)
    (engine.folder / REPORT).unlink()
    fetch(engine, desk)
    assert engine.policy().promotion == ("validation",)
    assert (engine.folder / REPORT).read_text() == PAGE


def test_fetch_refuses_what_does_not_fit(desk: ModelStore, engine: ModelStore, bundle: Bundle) -> None:
    engine.register(replace(bundle, threshold=0.9), record=RECORD, by="bob", now=NOW)
    vouched(desk, engine)
    check = unchanged(engine)
    with pytest.raises(errors.VerbRefused, match=r"v1: bundle .* here, .* under another number"):
        fetch(engine, desk, "v1")
    path, content = desk.path("ES", "v2"), desk.path("ES", "v2").read_bytes()
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(errors.LfsPointer):
        fetch(engine, desk)
    check()
    path.write_bytes(content)
    (engine.folder / "ES_v2.joblib").write_bytes(b"mine")
    with pytest.raises(errors.VerbRefused, match="exists, but is not in the manifest"):
        fetch(engine, desk)
    assert not (engine.folder / "reports").exists()


def test_a_store_of_the_first_version_is_fetched_from(tmp_path: Path, engine: ModelStore) -> None:
    first = ModelStore(Path(shutil.copytree(FIRST / "store", tmp_path / "first")))
    assert engine.fetch(vouched(first, engine), "COMP", "v2", by="bob", now=NOW) == "v2"
    assert load_bundle("COMP", "v2", store=engine).symbol == "COMP"
    sha256 = first.manifest().entry("COMP", "v1").sha256
    assert engine.fetch(first, "COMP", "v1", sha256=sha256, by="bob", now=NOW) == "v1"


@pytest.mark.parametrize("name", ["manifest.json", "policy.json", "ES_v1.joblib"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_file_of_a_store_that_is_a_link_or_a_pipe_is_refused(
    desk: ModelStore, tmp_path: Path, name: str, kind: str
) -> None:
    path = desk.folder / name
    elsewhere = path.rename(tmp_path / name)
    path.symlink_to(elsewhere) if kind == "link" else os.mkfifo(path)
    message = "is a symbolic link; put the file itself there" if kind == "link" else "is no regular file"
    with pytest.raises(errors.ModelError, match=message) as refused:
        desk.promote("ES", "v1", by="ann", now=NOW, reason="x", force=True)
    assert "\n" not in str(refused.value)
    # A store that itself is reached by a link is as good as any.
    path.unlink()
    elsewhere.rename(path)
    (tmp_path / "link").symlink_to(desk.folder)
    assert ModelStore(tmp_path / "link").promote(
        "ES", "v1", by="ann", now=NOW, reason="x", force=True
    ).version == "v1"  # fmt: skip


@pytest.mark.parametrize(
    "file", ["../ES_v2.joblib", "/tmp/ES_v2.joblib", "reports/ES_v2.joblib", "a\\b.joblib"]
)
def test_a_bundle_lies_beside_its_manifest(desk: ModelStore, file: str) -> None:
    told(desk, file=file)
    with pytest.raises(errors.ManifestError, match=r"file '.*': String should match pattern"):
        desk.manifest()


def test_a_file_that_is_too_large_is_not_read(desk: ModelStore) -> None:
    path = desk.path("ES", "v1")
    os.truncate(path, (256 << 20) + 1)
    with pytest.raises(errors.BundleMissing, match="at most 268435456 are read"):
        desk.content(desk.manifest().entry("ES", "v1"))
