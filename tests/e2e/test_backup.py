"""Journal, store, ledger and monitor as one set: made, verified, restored, and traded on from."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockstep.live.journal import Journal
from lockstep.live.service import Service
from lockstep.models.store import ModelStore
from operations import backup
from operations.backup import BackupError, Places, create, prune, restore, sets, verify
from operations.book_backup import copy_book
from operations.monitor_backup import copy_monitor
from operations.retraining.book import RetrainingBook, Step, StepRow
from operations.watch.config import MonitoringConfig
from operations.watch.database import MonitorDatabase
from operations.watch.monitor import Monitor
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
    ledger = f"sqlite:///{folder / 'experiments.db'}"
    return Places(
        folder / "paper.db", folder / "store", ledger, folder / "monitor.db", folder / "retraining.db"
    )  # fmt: skip


def monitoring(folder: Path) -> Path:
    """Write the configuration of the monitor of a desk, and return its file."""
    path = folder / "monitoring.yml"
    content = {"desk": str(folder / "desk.yml"), "database": str(folder / "monitor.db")}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a monitor of the first version's desk; somebody took note of something."""
    folder = tmp_path_factory.mktemp("watched") / "first"
    shutil.copytree(FIRST, folder)
    desk(folder)
    config = MonitoringConfig.load(monitoring(folder))
    with MonitorDatabase.open(config.database) as database:
        Monitor(config).run(database, now=int(NOW.timestamp() * 1e9))
        with database.step():
            database.put("acknowledgements", [noted(1)])
    return config.database


def retraining(folder: Path) -> Path:
    """Write the configuration of the retrainings of a desk, and return its file."""
    path = folder / "retraining.yml"
    content = {
        "monitoring": str(monitoring(folder)), "database": str(folder / "retraining.db"),
        "runs": str(folder / "runs"),
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def step_of(step: Step, sentence: str = "it waits for AB") -> StepRow:
    return StepRow(
        number=0, run="a1", symbol="COMP", step=step, time=5, desk=4, by="AB",
        outputs={"champion": "v1", "version": "v2"}, sentence=sentence,
    )  # fmt: skip


def noted(number: int) -> dict[str, Any]:
    return {"place": "COMP pnl", "time": number, "by": "AB", "reason": "a bad day", "given": number}


@pytest.fixture
def first(tmp_path: Path, watched: Path) -> Path:
    folder = Path(shutil.copytree(FIRST, tmp_path / "first"))
    shutil.copy(watched, folder)
    with RetrainingBook.open(folder / "retraining.db") as book:
        for step in (Step.TRIGGERED, Step.TRAINED):
            book.append(step_of(step))
    return folder


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
    for name in ("paper.db*", "experiments.db", "monitor.db*", "retraining.db*"):
        for path in first.glob(name):
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
    with MonitorDatabase.open(first / "monitor.db") as database:
        assert database.rows("acknowledgements") == [noted(1)]
        passed = Monitor(MonitoringConfig.load(monitoring(first))).run(database, now=2 * 10**18)
        assert passed.sets == WHOLE_YEAR - SETS, "it goes on where it was"
    with RetrainingBook.open(first / "retraining.db") as book:
        (run,) = book.runs()
        assert (run.steps[0].by, run.steps[0].sentence) == ("AB", "it waits for AB")
        assert book.append(step_of(Step.VALIDATED)).now is Step.VALIDATED, "it goes on where it was"


def test_a_crash_of_the_restore_is_continued(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "restored"
    for _ in range(5):
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
    assert [line.rsplit(": ")[1] for line in lines] == [*["is there already"] * 4, "restored"]
    assert [line.rsplit(": ")[1] for line in restore(made, places(target))] == ["is there already"] * 5
    assert not list(target.glob(".*"))


def test_nothing_is_overwritten(made: Path, first: Path, tmp_path: Path) -> None:
    empty = places(tmp_path / "elsewhere")
    with Journal.open(first / "paper.db"):
        pass
    (first / "store" / "policy.json").write_text("{}")
    Store(Database.open(places(first).ledger)).update(1, name="another")
    with MonitorDatabase.open(first / "monitor.db") as database, database.step():
        database.put("acknowledgements", [noted(2)])
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


@pytest.mark.parametrize(
        "name",
    [
        "journal.db", "store/manifest.json", "store/COMP_v1.joblib", "ledger.db", "monitor.db",
        "retraining.db",
    ],
)  # fmt: skip
def test_a_changed_file_is_named_and_never_restored(made: Path, tmp_path: Path, name: str) -> None:
    content = bytearray((made / name).read_bytes())
    content[len(content) // 2] ^= 1
    (made / name).write_bytes(content)
    assert verify(made) == [f"{name}: its content has changed"]
    with pytest.raises(BackupError, match="its content has changed"):
        restore(made, places(tmp_path / "restored"))
    if name.startswith(("journal", "store", "retraining")):
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
    said = "journal to epoch 1, entry 100, model store, ledger of 18 trials, no monitor, no retrainings"
    assert said in done.stdout
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


# The monitor's database.

WRITER = """
import sys
from pathlib import Path
from operations.watch.database import MonitorDatabase
with MonitorDatabase.open(Path(sys.argv[1])) as database:
    for number in range(2, 10**6):
        with database.step():
            database.put("acknowledgements", [
                {"place": "COMP pnl", "time": number, "by": "AB", "reason": "x" * 2_000, "given": number}])
            database.put("corrections", [
                {"lane": "COMP", "decision": 1, "bundle": "b", "number": number, "exit": 1, "pnl": 1.0,
                 "following": 1.0, "sentence": "x"}])
        if number == 200:
            print("writing", flush=True)
"""


def test_a_monitor_that_writes_is_copied_between_two_of_its_steps(first: Path, tmp_path: Path) -> None:
    source = first / "monitor.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(source)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        copies = [copy_monitor(source, tmp_path / f"{number}.db") for number in range(5)]
        writer.kill()
    for found in copies:
        assert found["acknowledgements"] - 1 == found["corrections"] >= 199, "both rows of a step, or none"
    assert [each["corrections"] for each in copies] == sorted({each["corrections"] for each in copies})


def test_the_file_alone_lacks_what_is_in_the_log(first: Path, tmp_path: Path) -> None:
    """Negative control of the copy above: why it is not `cp`."""
    source = first / "monitor.db"
    with MonitorDatabase.open(source) as database:
        with database.step():
            database.put("acknowledgements", [noted(2)])
        naive = Path(shutil.copy(source, tmp_path / "naive.db"))
        assert copy_monitor(source, tmp_path / "copy.db")["acknowledgements"] == 2
    assert copy_monitor(naive, tmp_path / "other.db")["acknowledgements"] == 1


def test_a_monitor_is_copied_before_the_journal_that_it_has_read(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine and its monitor may go on between the two copies: the set's journal is the longer one."""
    there: list[bool] = []

    def watching(source: Path, target: Path) -> dict[str, int]:
        there.append((target.parent / backup.JOURNAL).exists())
        return copy_monitor(source, target)

    monkeypatch.setattr(backup, "copy_monitor", watching)
    create(tmp_path / "sets", places(first), now=NOW)
    assert there == [False]


def test_a_set_of_before_there_were_monitors_is_restored_without_one(made: Path, tmp_path: Path) -> None:
    content = json.loads((made / backup.LIST).read_text())
    del content["monitor"], content["files"]["monitor.db"]
    (made / backup.LIST).write_text(json.dumps(content))
    (made / "monitor.db").unlink()
    assert verify(made) == []
    target = places(tmp_path / "restored")
    *_, last, _ = restore(made, target)
    assert last == f"monitor {target.monitor}: is not in this set; the monitor makes a new one"
    assert not (tmp_path / "restored" / "monitor.db").exists()
    with Journal.open(tmp_path / "restored" / "paper.db", readonly=True) as journal:
        assert journal.verify() == []


def test_a_monitor_that_lost_an_acknowledgement_is_not_whole(made: Path) -> None:
    with MonitorDatabase.open(made / "monitor.db") as database, database.step():
        database.clear(["acknowledgements"])
    with closing(sqlite3.connect(made / "monitor.db")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    relisted(made, "monitor.db")
    assert verify(made) == ["monitor.db: acknowledgements has 0 rows, written were 1"]


def test_what_is_no_monitors_is_not_backed_up(first: Path, tmp_path: Path) -> None:
    for content in (b"notes of mine" * 100, (first / "paper.db").read_bytes()):
        (first / "monitor.db").write_bytes(content)
        with pytest.raises(BackupError) as refusal:
            create(tmp_path / "sets", places(first), now=NOW)
        assert str(refusal.value).startswith(f"backup: monitor {first / 'monitor.db'}: ")
        assert "\n" not in str(refusal.value)
        assert list((tmp_path / "sets").iterdir()) == []


def test_which_monitor_is_part_of_a_set(first: Path, tmp_path: Path) -> None:
    desk(first)
    where, config = places(first), monitoring(first)
    kept = {name: each for name, each in os.environ.items() if not name.startswith("LOCKSTEP_")}
    other = first / "other.db"
    shutil.copy(first / "paper.db", other)

    def made(number: int, journal: Path | None, *words: str, **changes: str) -> tuple[int, str]:
        done = python(
            ROOT / "scripts/backup.py", "create", "--out", str(tmp_path / f"sets{number}"), "--journal",
            str(journal), *words, environment={**kept, **changes},
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    code, said = made(1, where.journal, "--monitoring", str(config))
    assert (code, "monitor with 1 acknowledgements and 11 settled signals" in said) == (0, True), said
    (whole,) = sets(tmp_path / "sets1")
    assert verify(whole) == []
    code, said = made(2, where.journal, LOCKSTEP_MONITORING=str(config))
    assert (code, "monitor with 1 acknowledgements" in said) == (0, True)
    code, said = made(3, other, "--monitoring", str(config))
    assert (code, len(said.splitlines())) == (2, 1)
    assert f"watches journal {where.journal}, not {other}; name the monitor of this desk" in said
    assert not (tmp_path / "sets3").exists()
    code, said = made(4, other)
    assert (code, "no monitor" in said) == (0, True), "the default one watches another desk"
    (first / "monitor.db").unlink()
    code, said = made(5, where.journal, "--monitoring", str(config))
    assert code == 0
    assert f"no monitor is part of it: {first / 'monitor.db'} is not there yet; it has not run" in said
    assert not (first / "monitor.db").exists()
    done = python(
        ROOT / "scripts/backup.py", "restore", str(whole), "--monitoring", str(config), environment=kept,
    )  # fmt: skip
    assert f"monitor {first / 'monitor.db'}: restored" in done.stdout, done.stderr


# The book of retrainings.


def without_log(path: Path, *statements: str) -> None:
    """Change a copied book by hand, and leave one file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP TRIGGER steps_no_update; DROP TRIGGER steps_no_delete;")
        for each in statements:
            connection.execute(each)
        connection.commit()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ("UPDATE steps SET by = 'me' WHERE number = 1", "row 1 (a1 TRIGGERED) is not what was written"),
        ("DELETE FROM steps WHERE number = 1", "row 2 (a1 TRAINED) is not what was written"),
        ("DELETE FROM steps WHERE number = 2", "retraining.db: has 1 rows, written were 2"),
    ],
)
def test_a_book_that_was_edited_in_the_set_is_not_whole(
    made: Path, tmp_path: Path, edit: str, said: str
) -> None:
    assert verify(made) == []
    without_log(made / "retraining.db", edit)
    relisted(made, "retraining.db")
    (fault,) = verify(made)
    assert said in fault
    with pytest.raises(BackupError, match="take another set") as refusal:
        restore(made, places(tmp_path / "restored"))
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "restored").exists()


def test_pages_of_a_book_that_a_disk_lost_are_found(made: Path) -> None:
    path = made / "retraining.db"
    content = bytearray(path.read_bytes())
    content[4096:8192] = bytes(4096)
    path.write_bytes(content)
    relisted(made, "retraining.db")
    assert any("retraining.db" in fault for fault in verify(made))


def test_a_book_that_was_edited_is_not_backed_up(first: Path, tmp_path: Path) -> None:
    without_log(first / "retraining.db", "UPDATE steps SET by = 'me' WHERE number = 1")
    with pytest.raises(BackupError, match="is not what was written") as refusal:
        create(tmp_path / "sets", places(first), now=NOW)
    assert "\n" not in str(refusal.value)
    assert list((tmp_path / "sets").iterdir()) == []


def test_a_book_is_copied_with_its_log_while_it_is_open(first: Path, tmp_path: Path) -> None:
    source = first / "retraining.db"
    with RetrainingBook.open(source) as book:
        book.append(step_of(Step.VALIDATED))
        naive = Path(shutil.copy(source, tmp_path / "naive.db"))
        assert copy_book(source, tmp_path / "copy.db") == 3
    assert copy_book(naive, tmp_path / "other.db") == 2, "the file alone lacks what is in the log"


def test_which_book_is_part_of_a_set(first: Path, tmp_path: Path) -> None:
    desk(first)
    config = retraining(first)
    kept = {name: each for name, each in os.environ.items() if not name.startswith("LOCKSTEP_")}

    def script(*words: str) -> tuple[int, str]:
        done = python(ROOT / "scripts/backup.py", *words, environment=kept)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    out = ("--out", str(tmp_path / "sets"), "--retraining", str(config))
    code, said = script("create", *out, "--journal", str(first / "paper.db"))
    assert (code, "2 steps of retrainings" in said) == (0, True), said
    other = shutil.copy(first / "paper.db", first / "other.db")
    code, said = script("create", *out, "--journal", str(other))
    assert (code, len(said.splitlines()), "name the monitor of this desk" in said) == (2, 1, True)
    (made,) = sets(tmp_path / "sets")
    (first / "retraining.db").unlink()
    code, said = script("restore", str(made), "--retraining", str(config))
    assert f"retrainings {first / 'retraining.db'}: restored" in said
    (first / "retraining.db").unlink()
    code, said = script(
        "create", "--out", str(tmp_path / "others"), "--retraining", str(config), "--journal",
        str(first / "paper.db"),
    )  # fmt: skip
    assert (code, "is not there yet; none began" in said) == (0, True), said
