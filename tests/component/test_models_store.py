"""The store: what each verb does, what it refuses, and that nothing can be edited unnoticed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from lockstep import errors
from lockstep.errors import ConfigError
from lockstep.models import manifest_file
from lockstep.models import store as location
from lockstep.models import store as stores
from lockstep.models.bundle import Bundle
from lockstep.models.manifest import Manifest
from lockstep.models.store import ModelStore
from lockstep.models.verbs import Change
from support.models import NOW, RECORD, asking_for_validation, evidence, forest, make_bundle, unchanged


@pytest.fixture(scope="module")
def bundles() -> tuple[Bundle, ...]:
    other = {"family": "IbsConfig", "config": {"entry": [0.0, 0.1]}, "config_hash": "5" * 64}
    first = make_bundle()
    return (first, replace(first, threshold=0.6), replace(first, strategy=other, pipeline=forest(8)))


@pytest.fixture
def store(tmp_path: Path, bundles: tuple[Bundle, ...]) -> ModelStore:
    """Three versions, none of them judged."""
    found = asking_for_validation(ModelStore(tmp_path / "models"))
    for bundle in bundles:
        found.register(bundle, record=RECORD, by="ann", now=NOW)
    return found


def judge(store: ModelStore, version: str, **settings: Any) -> None:
    found = evidence(store.manifest().entry("ES", version).sha256, **settings)
    store.attach("ES", version, found, by="ann", now=NOW)


def promote(store: ModelStore, version: str, **settings: Any) -> Change:
    judge(store, version)
    return store.promote("ES", version, by="ann", now=NOW, **settings)


def statuses(store: ModelStore) -> list[str]:
    return [entry.status for entry in store.manifest().model("ES").versions.values()]


def test_a_registered_bundle_is_a_candidate(store: ModelStore) -> None:
    entry = store.manifest().entry("ES", "v1")
    assert (entry.status, entry.file) == ("candidate", "ES_v1.joblib")
    assert entry.size == (store.folder / entry.file).stat().st_size
    assert entry.training_range == ("2024-01-08", "2026-01-08")
    assert entry.metrics == {"profit_factor": None, "roc_auc": 0.61}
    assert entry.record == RECORD
    assert statuses(store) == ["candidate"] * 3


def test_parent_and_what_is_superseded_are_kept(store: ModelStore, bundles: tuple[Bundle, ...]) -> None:
    promote(store, "v2")
    record = RECORD.model_dump()
    version = store.register(
        bundles[0], record=record, by="ann", now=NOW, parent="v1", supersedes_reason="more data"
    )
    entry = store.manifest().entry("ES", version)
    assert (version, entry.parent, entry.supersedes, entry.supersedes_reason) == (
        "v4", "v1", "v2", "more data",
    )  # fmt: skip
    with pytest.raises(errors.UnknownModel, match="v7"):
        store.register(bundles[0], record=RECORD, by="ann", now=NOW, parent="v7")
    with pytest.raises(ConfigError, match="training record: unknown key 'sead'; did you mean 'seed'"):
        store.register(bundles[0], record={**record, "sead": 1}, by="ann", now=NOW)


def test_models_of_other_names_have_files_of_their_own(
    store: ModelStore, bundles: tuple[Bundle, ...]
) -> None:
    regime = replace(bundles[0], name="regime", target="high_volatility")
    assert store.register(regime, record=RECORD, by="ann", now=NOW) == "v1"
    assert store.path("ES", "v1", name="regime").name == "ES_regime_v1.joblib"
    assert store.manifest().entry("ES", "v1", "regime").target == "high_volatility"
    with pytest.raises(errors.UnknownModel, match="did you mean 'regime'"):
        store.path("ES", "v1", name="regimes")


def test_a_number_is_never_given_twice(store: ModelStore, bundles: tuple[Bundle, ...]) -> None:
    stray = store.folder / "ES_v9.joblib"
    stray.write_bytes(b"left by a process that was killed")
    assert store.register(bundles[0], record=RECORD, by="ann", now=NOW) == "v10"
    assert stray.read_bytes() == b"left by a process that was killed"


def test_a_registration_that_was_killed_keeps_its_number(
    store: ModelStore, bundles: tuple[Bundle, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    real = stores.write_manifest
    monkeypatch.setattr(stores, "write_manifest", killed)
    with pytest.raises(KeyboardInterrupt):
        store.register(bundles[0], record=RECORD, by="ann", now=NOW)
    monkeypatch.setattr(stores, "write_manifest", real)
    assert (store.folder / "ES_v4.joblib").is_file()
    assert store.register(bundles[0], record=RECORD, by="ann", now=NOW) == "v4"
    # What is registered keeps its number for itself, also where the same bundle comes again.
    assert store.register(bundles[0], record=RECORD, by="ann", now=NOW) == "v5"


def test_promotion_needs_evidence_on_exactly_this_bundle(store: ModelStore) -> None:
    check = unchanged(store)
    with pytest.raises(errors.EvidenceMissing, match="v1: cannot be promoted: validation: there is none"):
        store.promote("ES", "v1", by="ann", now=NOW)
    check()
    with pytest.raises(errors.VerbRefused, match=r"about bundle .*judge this bundle"):
        store.attach("ES", "v1", evidence(store.manifest().entry("ES", "v2").sha256), by="ann", now=NOW)
    check()
    judge(store, "v1", passed=False)
    with pytest.raises(errors.EvidenceMissing, match="validation: was not passed"):
        store.promote("ES", "v1", by="ann", now=NOW)
    judge(store, "v1", days=2)
    assert statuses(store) == ["validated", "candidate", "candidate"]
    with pytest.raises(errors.EvidenceMissing, match="validation: expired on 2024-03-03 12:00"):
        store.promote("ES", "v1", by="ann", now=NOW + timedelta(days=2))
    assert store.promote("ES", "v1", by="ann", now=NOW).after == "v1"


def test_the_newest_judgement_counts(store: ModelStore) -> None:
    judge(store, "v1")
    judge(store, "v1", passed=False)
    assert statuses(store)[0] == "candidate"
    with pytest.raises(errors.EvidenceMissing):
        store.promote("ES", "v1", by="ann", now=NOW)


def test_the_policy_may_ask_for_more(store: ModelStore) -> None:
    policy = store.folder / "policy.json"
    policy.write_text('{"promotion": ["validation", "certificate"]}')
    judge(store, "v1")
    with pytest.raises(errors.EvidenceMissing, match="certificate: there is none"):
        store.promote("ES", "v1", by="ann", now=NOW)
    judge(store, "v1", kind="certificate")
    assert store.promote("ES", "v1", by="ann", now=NOW).after == "v1"
    policy.write_text('{"promotion": [], "promotions": []}')
    with pytest.raises(errors.ManifestError, match="unknown key 'promotions'; did you mean 'promotion'"):
        store.policy()


def test_force_needs_a_reason_and_is_recorded(store: ModelStore) -> None:
    check = unchanged(store)
    with pytest.raises(errors.VerbRefused, match="force needs a reason"):
        store.promote("ES", "v1", by="ann", now=NOW, force=True)
    check()
    change = store.promote("ES", "v1", by="ann", now=NOW, force=True, reason="demo")
    assert change.overruled == ("validation: there is none",)
    last = store.manifest().history[-1]
    assert (last.reason, last.overruled, last.by) == ("demo", change.overruled, "ann")
    # Nobody validated it: after it is replaced it is what it was.
    promote(store, "v2")
    assert statuses(store) == ["candidate", "production", "candidate"]


def test_promotion_says_exactly_what_changed(store: ModelStore) -> None:
    first = promote(store, "v1")
    assert (first.before, first.after) == (None, "v1")
    change = promote(store, "v2", reason="better")
    assert (change.before, change.after) == ("v1", "v2")
    assert {each.what for each in change.differences} == {"bundle", "threshold"}
    assert "  threshold: 0.55 -> 0.6" in list(change.lines())
    assert next(change.lines()) == "ES ibs_veto: promoted v2; production v1 -> v2"
    change = promote(store, "v3")
    entry = next(each for each in change.differences if each.what == "strategy.config.entry")
    assert (entry.before, entry.after) == ([0.0, 0.2], [0.0, 0.1])
    assert statuses(store) == ["validated", "validated", "production"]
    assert store.manifest().resolve("ES") == "v3"
    with pytest.raises(errors.VerbRefused, match="v3: is in production already"):
        store.promote("ES", "v3", by="ann", now=NOW)
    assert list(change.model_copy(update={"overruled": ("x",)}).lines())[1] == "  forced, although x"


def test_rollback_goes_to_what_was_there_before(store: ModelStore) -> None:
    for version in ("v1", "v2", "v3"):
        promote(store, version)

    def back(**settings: Any) -> str | None:
        return store.rollback("ES", by="bob", now=NOW, reason="losses", **settings).after

    assert back() == "v2"
    assert back() == "v1"
    with pytest.raises(errors.VerbRefused, match="nothing was in production before v1"):
        back()
    assert back(to="v3") == "v3"
    assert back() == "v1"
    last = store.manifest().history[-1]
    assert (last.action, last.before, last.after, last.reason) == ("rollback", "v3", "v1", "losses")


def test_rollback_refuses_what_cannot_be_used(store: ModelStore) -> None:
    with pytest.raises(errors.VerbRefused, match="nothing was in production before None"):
        store.rollback("ES", by="bob", now=NOW, reason="x")
    for version in ("v1", "v2"):
        promote(store, version)
    check = unchanged(store)
    with pytest.raises(errors.VerbRefused, match="needs a reason"):
        store.rollback("ES", by="bob", now=NOW, reason="")
    with pytest.raises(errors.VerbRefused, match="v2: is in production; name the version"):
        store.rollback("ES", to="v2", by="bob", now=NOW, reason="x")
    with pytest.raises(errors.UnknownModel, match="v8"):
        store.rollback("ES", to="v8", by="bob", now=NOW, reason="x")
    check()
    path = store.path("ES", "v1")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    check = unchanged(store)
    with pytest.raises(errors.HashMismatch):
        store.rollback("ES", by="bob", now=NOW, reason="x")
    path.unlink()
    with pytest.raises(errors.BundleMissing):
        store.rollback("ES", by="bob", now=NOW, reason="x")
    path.write_bytes(content[:-1] + b"?")
    check()


def test_a_promotion_whose_file_is_wrong_changes_nothing(store: ModelStore) -> None:
    judge(store, "v1")
    store.path("ES", "v1").write_bytes(b"")
    check = unchanged(store)
    with pytest.raises(errors.TruncatedBundle):
        store.promote("ES", "v1", by="ann", now=NOW)
    check()


def test_a_retired_version_does_not_come_back(store: ModelStore) -> None:
    promote(store, "v1")
    with pytest.raises(errors.VerbRefused, match="in production; promote another version or roll back"):
        store.retire("ES", "v1", by="ann", now=NOW, reason="old")
    promote(store, "v2")
    with pytest.raises(errors.VerbRefused, match="needs a reason"):
        store.retire("ES", "v1", by="ann", now=NOW, reason="")
    change = store.retire("ES", "v1", by="ann", now=NOW, reason="leaks")
    assert next(change.lines()) == "ES ibs_veto: retired v1; production v2 -> v2"
    for refused in (
        lambda: store.promote("ES", "v1", by="ann", now=NOW, force=True, reason="x"),
        lambda: store.rollback("ES", by="ann", now=NOW, reason="x"),
        lambda: store.retire("ES", "v1", by="ann", now=NOW, reason="x"),
    ):
        with pytest.raises(errors.VerbRefused, match="v1: is retired"):
            refused()
    judge(store, "v1")
    assert statuses(store)[0] == "retired"


def test_use_is_counted_without_a_history_entry(store: ModelStore) -> None:
    before = store.manifest().history
    store.used("ES", "v2", now=NOW)
    store.used("ES", "v2", now=NOW + timedelta(hours=1))
    use = store.manifest().entry("ES", "v2").use
    assert (use.count, use.first, use.last) == (2, NOW, NOW + timedelta(hours=1))
    assert store.manifest().history == before


def test_the_file_is_stable_and_readable(store: ModelStore, bundles: tuple[Bundle, ...]) -> None:
    for _ in range(8):
        store.register(replace(bundles[0], symbol="ES"), record=RECORD, by="ann", now=NOW)
    text = (store.folder / "manifest.json").read_text()
    content = json.loads(text)
    assert list(content) == ["schema_version", "instruments", "history"]
    assert list(content["instruments"]["ES"]["ibs_veto"]["versions"])[-1] == "v11"
    assert {"from", "to", "previous", "hash", "time", "by", "action", "reason"} <= set(content["history"][0])
    assert text.endswith("}\n")
    again = Manifest.model_validate(content)
    assert again == store.manifest()


def edit(store: ModelStore, change: Callable[[dict[str, Any]], None]) -> None:
    path = store.folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def version_of(content: dict[str, Any]) -> dict[str, Any]:
    return content["instruments"]["ES"]["ibs_veto"]["versions"]["v1"]


EDITS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "reason": (
        lambda c: c["history"][1].update(reason="nicer"),
        r"history entry 2 \(register ES v2\) was edited; restore the file",
    ),
    "dropped": (lambda c: c["history"].pop(1), r"history entry 3 \(register ES v3\) does not follow"),
    "cut off": (lambda c: c["history"].pop(), r"instruments were edited after history entry 2"),
    "exchanged": (lambda c: c["history"].reverse(), "does not follow the one before"),
    "all gone": (lambda c: c["history"].clear(), "instruments without a history"),
    "hash": (
        lambda c: version_of(c).update(sha256="a" * 64),
        "instruments were edited after",
    ),
    "status": (lambda c: version_of(c).update(status="validated"), "instruments were edited"),
    "pointer": (
        lambda c: c["instruments"]["ES"]["ibs_veto"].update(production="v1"),
        "instruments were edited after",
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_by_hand_is_refused_by_name(store: ModelStore, what: str) -> None:
    change, message = EDITS[what]
    edit(store, change)
    with pytest.raises(errors.ManifestEdited, match=message):
        store.manifest()
    with pytest.raises(errors.ManifestEdited):
        store.promote("ES", "v1", by="ann", now=NOW, force=True, reason="x")


def test_an_untouched_copy_is_accepted(store: ModelStore) -> None:
    edit(store, lambda content: None)
    assert len(store.manifest().history) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON that can be used"),
        ("[]", "expected a mapping"),
        ('{"schema_version": 2}', "schema 2, this Lockstep reads up to 1; update Lockstep"),
        ('{"instrument": {}}', "unknown key 'instrument'; did you mean 'instruments'"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(errors.ManifestError, match=message):
        ModelStore(tmp_path).manifest()


@pytest.mark.parametrize("symbol", ["../ES", "E S", ""])
def test_symbols_cannot_leave_the_folder(tmp_path: Path, symbol: str, bundles: tuple[Bundle, ...]) -> None:
    with pytest.raises(errors.UnfitBundle, match="symbol"):
        ModelStore(tmp_path / "s").register(
            replace(bundles[0], symbol=symbol), record=RECORD, by="ann", now=NOW
        )
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("verb", ["register", "attach", "promote", "rollback", "retire", "used"])
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_changes_nothing(
    store: ModelStore, bundles: tuple[Bundle, ...], verb: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(store, "v1")
    promote(store, "v2")
    judge(store, "v3")
    check = unchanged(store)
    calls: dict[str, Callable[[], object]] = {
        "register": lambda: store.register(bundles[0], record=RECORD, by="ann", now=NOW),
        "attach": lambda: judge(store, "v3", passed=False),
        "promote": lambda: store.promote("ES", "v3", by="ann", now=NOW),
        "rollback": lambda: store.rollback("ES", by="ann", now=NOW, reason="x"),
        "retire": lambda: store.retire("ES", "v3", by="ann", now=NOW, reason="x"),
        "used": lambda: store.used("ES", "v2", now=NOW),
    }
    real, seen = getattr(os, step), []
    # A registration writes the bundle first: the disk is full when the manifest comes.
    passes = {"register": {"write": 1, "fsync": 2, "replace": 1}[step]}.get(verb, 0)

    def full(*arguments: Any) -> Any:
        seen.append(arguments)
        if len(seen) > passes:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, step, full)
    with pytest.raises(errors.StoreFailure, match=r"manifest\.json: .*No space left"):
        calls[verb]()
    monkeypatch.undo()
    check()
    calls[verb]()


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path, bundles: tuple[Bundle, ...]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.StoreFailure, match="cannot be locked"):
        ModelStore(tmp_path / "file").register(bundles[0], record=RECORD, by="ann", now=NOW)


def test_a_lock_that_is_never_released_is_named(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_file, "_LOCK_SECONDS", 0)
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with FileLock(store.folder / manifest_file.LOCK):
            taken.set()
            done.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(10)
    with pytest.raises(errors.StoreFailure, match="another process has held its lock"):
        store.used("ES", "v1", now=NOW)
    done.set()
    holder.join()
    store.used("ES", "v1", now=NOW)


def test_where_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_MODEL_STORE", str(tmp_path))
    assert ModelStore().folder == tmp_path
    monkeypatch.delenv("LOCKSTEP_MODEL_STORE")
    assert ModelStore().folder.parts[-2:] == ("src", "models")
    monkeypatch.setattr(location, "_PACKAGE", tmp_path / "site-packages" / "lockstep")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert ModelStore().folder == tmp_path / "lockstep" / "models"
