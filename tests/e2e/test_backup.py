"""Journal, store and ledger as one set: made, verified, restored, and traded on from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lockstep.live.journal import Journal
from lockstep.live.service import Service
from lockstep.models.store import ModelStore
from operations import backup
from operations.backup import BackupError, Places, create, prune, restore, sets, verify
from research.experiments.store import Store
from research.ledger.chain import Head
from research.ledger.database import Database, copy_tables, row_counts
from research.ledger.ledger import Ledger
from support.databases import KINDS, fresh_url
from support.first_version import FIRST, SETS, WHOLE_YEAR, desk
from support.journals import tampered
from support.processes import ROOT, python

NOW = datetime(2026, 3, 2, 21, 0, tzinfo=UTC)


def places(folder: Path) -> Places:
    return Places(folder / "paper.db", folder / "store", f"sqlite:///{folder / 'experiments.db'}")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIRST, tmp_path / "first"))


@pytest.fixture
def made(first: Path, tmp_path: Path) -> Path:
    return create(tmp_path / "sets", places(first), now=NOW)


def relisted(folder: Path, *names: str) -> None:
    """Write the list of a set anew, as somebody who changed its files would."""
    path = folder / backup.LIST
    content = json.loads(path.read_text())
    content["files"] |= {name: backup._sha256(folder / name) for name in names}
    path.write_text(json.dumps(content))


def test_a_desk_goes_on_from_a_restored_set(
    made: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = desk(first)
    shutil.copy(first / "live.yml", tmp_path)
    for path in (*first.glob("paper.db*"), first / "experiments.db"):
        path.unlink()
    shutil.rmtree(first / "store")
    assert all(line.endswith("restored") for line in restore(made, places(first)))
    with Journal.open(first / "paper.db", readonly=True) as journal:
        epoch = journal.newest_epoch()
        assert epoch is not None
    monkeypatch.setattr("lockstep.live.service.live_hashes", lambda _: epoch.hashes)
    with Service(config, mode=None, environment={}) as service:
        service.run()
        assert service.engine.replayed == SETS
        assert service.engine.sets == WHOLE_YEAR - SETS
    assert ModelStore(first / "store").rollback("COMP", by="t", now=NOW, reason="works").version == "v1"
    assert row_counts(Database.open(places(first).ledger))["ledger"] == 18


def test_a_crash_of_the_restore_is_continued(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "restored"
    for _ in range(3):
        calls = 0

        def dying(source: Path, target: Path, put: Callable[..., None] = os.replace) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise KeyboardInterrupt
            put(source, target)

        monkeypatch.setattr("operations.backup.os.replace", dying)
        try:
            lines = restore(made, places(target))
        except KeyboardInterrupt:
            lines = []
        monkeypatch.undo()
    assert [line.rsplit(": ")[1] for line in lines] == ["is there already", "is there already", "restored"]
    assert [line.rsplit(": ")[1] for line in restore(made, places(target))] == ["is there already"] * 3
    assert not list(target.glob(".*"))


def test_nothing_is_overwritten(made: Path, first: Path, tmp_path: Path) -> None:
    empty = places(tmp_path / "elsewhere")
    with Journal.open(first / "paper.db"):
        pass
    (first / "store" / "policy.json").write_text("{}")
    Store(Database.open(places(first).ledger)).update(1, name="another")
    for part, place in zip(Places._fields, places(first), strict=True):
        with pytest.raises(BackupError, match=r"holds something else|of another one is beside it"):
            restore(made, empty._replace(**{part: place}))
    assert not (tmp_path / "elsewhere").exists()


def test_an_unchanged_place_is_left_as_it_is(made: Path, tmp_path: Path) -> None:
    target = places(tmp_path / "restored")
    restore(made, target)
    assert target.journal is not None
    before = target.journal.stat().st_ino
    restore(made, target)
    assert target.journal.stat().st_ino == before


@pytest.mark.parametrize("name", ["journal.db", "store/manifest.json", "store/COMP_v1.joblib", "ledger.db"])
def test_a_changed_file_is_named_and_never_restored(made: Path, tmp_path: Path, name: str) -> None:
    content = bytearray((made / name).read_bytes())
    content[len(content) // 2] ^= 1
    (made / name).write_bytes(content)
    assert verify(made) == [f"{name}: its content has changed"]
    with pytest.raises(BackupError, match="its content has changed"):
        restore(made, places(tmp_path / "restored"))
    if name != "ledger.db":
        relisted(made, name)
        assert verify(made) != []


def test_a_set_that_lacks_a_bundle_of_the_journal_is_not_whole(made: Path) -> None:
    (made / "store" / "COMP_v2.joblib").unlink()
    assert verify(made) == ["store/COMP_v2.joblib: is missing"]
    content = json.loads((made / backup.LIST).read_text())
    del content["files"]["store/COMP_v2.joblib"]
    (made / backup.LIST).write_text(json.dumps(content))
    faults = verify(made)
    assert any("which the store does not hold" in fault for fault in faults)
    assert any("is in production" in fault for fault in faults)


def test_a_damaged_journal_is_not_backed_up(first: Path, tmp_path: Path) -> None:
    tampered(first / "paper.db", "UPDATE bars SET close = 1 WHERE sequence = 9")
    with pytest.raises(Exception, match="incomplete: entry 9"):
        create(tmp_path / "sets", places(first), now=NOW)
    assert list((tmp_path / "sets").iterdir()) == []


def test_unchanged_files_are_kept_once_and_old_sets_go(first: Path, made: Path) -> None:
    (made.parent / ".set-1.9.partial").mkdir()
    (made.parent / ".set-2.xyz.tmp").mkdir()
    second = create(made.parent, places(first), now=NOW + timedelta(hours=1))
    one, other = (each / "store" / "COMP_v1.joblib" for each in (made, second))
    assert one.stat().st_ino == other.stat().st_ino
    assert sets(made.parent) == [made, second]
    assert prune(made.parent, keep=1) == [made]
    assert verify(second) == []
    assert list(made.parent.iterdir()) == [second]


@pytest.mark.parametrize("part", Places._fields)
def test_a_part_that_is_named_and_absent_is_refused(first: Path, tmp_path: Path, part: str) -> None:
    elsewhere = places(tmp_path / "nowhere")
    with pytest.raises(Exception, match=r"there is none|holds no manifest|no such file"):
        create(tmp_path / "sets", places(first)._replace(**{part: getattr(elsewhere, part)}), now=NOW)
    assert not list((tmp_path / "sets").glob("*"))
    assert not (tmp_path / "nowhere").exists()


def test_a_part_may_be_left_out(first: Path, tmp_path: Path) -> None:
    made = create(tmp_path / "sets", places(first)._replace(ledger=None), now=NOW)
    assert verify(made) == []
    with pytest.raises(BackupError, match="holds no ledger"):
        restore(made, places(tmp_path / "restored"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_ledger_of_either_database(first: Path, tmp_path: Path, kind: str) -> None:
    written = Database.open(places(first).ledger)
    with fresh_url(kind, tmp_path / "one") as url, fresh_url(kind, tmp_path / "two") as other:
        source = Database.open(url)
        copy_tables(written, source)
        made = create(tmp_path / "sets", Places(None, None, url), now=NOW)
        assert verify(made) == []
        restore(made, Places(None, None, other))
        target = Database.open(other)
        assert row_counts(target) == row_counts(written)
        assert Ledger(target).verify() == Ledger(written).head() != Head()
        # The next experiment gets the next number.
        columns = {
            "name": "next", "kind": "grid", "status": "running", "plan": "{}", "runs": 0, "code_hash": "",
            "data_hashes": "{}", "config_hash": "", "started": "2026-01-01",
        }  # fmt: skip
        assert Store(target).create(**columns) == 2
        if kind == "postgresql":
            with pytest.raises(BackupError, match="is not empty"):
                restore(made, Places(None, None, other))


def test_the_scripts(first: Path, tmp_path: Path) -> None:
    where = places(first)
    environment = {
        **os.environ,
        "LOCKSTEP_BACKUPS": str(tmp_path / "sets"),
        "LOCKSTEP_JOURNAL": str(where.journal),
        "LOCKSTEP_MODEL_STORE": str(where.store),
        "LOCKSTEP_DB": str(where.ledger),
    }

    def script(*words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return python(ROOT / "scripts/backup.py", *words, environment={**environment, **changes})

    done = script("create", "--keep", "3")
    assert done.returncode == 0, done.stderr
    (made,) = sets(tmp_path / "sets")
    assert "journal to epoch 1, entry 100, model store, ledger of 18 trials" in done.stdout
    assert script("verify", str(made)).stdout == f"{made}: whole\n"
    refused = script("restore", str(made))
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    new = places(tmp_path / "new")
    done = script(
        "restore", str(made), LOCKSTEP_JOURNAL=str(new.journal), LOCKSTEP_MODEL_STORE=str(new.store),
        LOCKSTEP_DB=str(new.ledger),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (made / "ledger.db").write_bytes(b"")
    assert script("verify", str(made)).returncode == 1
