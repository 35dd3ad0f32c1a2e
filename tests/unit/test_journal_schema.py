"""What a journal file is: refusals, append-only tables, migrations, backups."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep.errors import JournalError
from lockstep.live.journal import Journal, schema
from support import journals as make
from support.journals import exactly, tampered


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "live.db") as opened:
        opened.begin_epoch(make.epoch())
        yield opened


class TestRefusals:
    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(JournalError, match="does not exist: create it"):
            Journal.open(tmp_path / "nowhere" / "live.db")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("readonly", [True, False])
    def test_another_database(self, tmp_path: Path, readonly: bool) -> None:
        path = tmp_path / "other.db"
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE t (a)")
        other.close()
        before = path.read_bytes()
        with pytest.raises(JournalError, match="not a journal"):
            Journal.open(path, readonly=readonly)
        assert path.read_bytes() == before

    def test_an_empty_file_becomes_a_journal(self, tmp_path: Path) -> None:
        """What a kill leaves between the creation of the file and that of the tables."""
        (tmp_path / "live.db").touch()
        with pytest.raises(JournalError, match="schema 0, this Lockstep reads 1"):
            Journal.open(tmp_path / "live.db", readonly=True)
        with Journal.open(tmp_path / "live.db") as opened:
            assert opened.begin_epoch(make.epoch()) == 1

    def test_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "live.db").mkdir()
        with pytest.raises(JournalError, match="this is a folder"):
            Journal.open(tmp_path / "live.db")

    @pytest.mark.parametrize("verb", ["UPDATE sets SET stamp = 1", "DELETE FROM sets"])
    def test_append_only(self, journal: Journal, verb: str) -> None:
        journal.append_set(make.bar_set(0))
        other = sqlite3.connect(journal.path)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute(verb)
        other.close()

    @pytest.mark.parametrize("table", sorted(schema.COLUMNS))
    def test_every_table_is_append_only(self, journal: Journal, table: str) -> None:
        found = journal.select(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", table
        )
        assert len(found) == 2


class TestSchema:
    STEP = "ALTER TABLE events ADD COLUMN note TEXT; CREATE TABLE extra (a);"

    def older(self, tmp_path: Path) -> Path:
        path = tmp_path / "live.db"
        with Journal.open(path) as opened:
            opened.begin_epoch(make.epoch())
            opened.append_set(make.bar_set(0))
        return path

    def test_a_new_journal_has_the_newest(self, journal: Journal) -> None:
        assert journal.select("PRAGMA user_version") == [(len(schema.MIGRATIONS),)]

    def test_durability_is_not_a_default(self, journal: Journal) -> None:
        pragmas = [
            journal.select(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
        assert pragmas == ["wal", 2, 1]

    def test_an_older_one_is_brought_up_to_date_and_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = self.older(tmp_path)
        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, self.STEP))
        with pytest.raises(JournalError, match=r"schema 1, this Lockstep reads 2: open it for writing once"):
            Journal.open(path, readonly=True)
        with Journal.open(path) as opened:
            assert opened.select("SELECT * FROM extra") == []
            assert exactly(opened.last_set()) == exactly(make.bar_set(0))
            assert opened.append_set(make.bar_set(1)) == 2
            assert opened.verify() == []
        monkeypatch.undo()
        with Journal.open(tmp_path / "live.db.v1", readonly=True) as kept:
            assert exactly(kept.last_set()) == exactly(make.bar_set(0))
        with pytest.raises(JournalError, match="schema 2, written by a newer Lockstep; this one knows 1"):
            Journal.open(path)

    def test_a_step_that_fails_changes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = self.older(tmp_path)
        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, self.STEP + "CREATE TABLE sets (a);"))
        with pytest.raises(JournalError, match="sets already exists"):
            Journal.open(path)
        monkeypatch.undo()
        with Journal.open(path) as opened:
            assert opened.append_set(make.bar_set(1)) == 2
            assert opened.select("SELECT name FROM sqlite_master WHERE name = 'extra'") == []


class TestBackup:
    def test_a_whole_copy_while_the_writer_goes_on(self, journal: Journal, tmp_path: Path) -> None:
        journal.append_set(make.bar_set(0))
        with Journal.open(journal.path, readonly=True) as reader:
            reader.backup(tmp_path / "copy.db")
        journal.append_set(make.bar_set(1))
        journal.backup(tmp_path / "later.db")
        assert not list(tmp_path.glob("copy.db-*"))
        for name, sets in (("copy.db", 1), ("later.db", 2)):
            with Journal.open(tmp_path / name) as copied:
                assert len(list(copied.entries(1))) == sets
                assert copied.append_set(make.bar_set(5)) == sets + 1

    def test_refusals_leave_nothing(self, journal: Journal, tmp_path: Path) -> None:
        taken = tmp_path / "taken"
        taken.write_text("precious")
        with pytest.raises(JournalError, match="exists already"):
            journal.backup(taken)
        with pytest.raises(JournalError, match="does not exist"):
            journal.backup(tmp_path / "nowhere" / "copy.db")
        assert taken.read_text() == "precious"
        assert not list(tmp_path.glob(".*partial"))

    def test_a_copy_that_is_not_whole_is_no_backup(self, journal: Journal, tmp_path: Path) -> None:
        journal.append_set(make.bar_set(0))
        tampered(journal.path, "UPDATE sets SET stamp = stamp + 1")
        with pytest.raises(JournalError, match="incomplete: entry 1"):
            journal.backup(tmp_path / "copy.db")
        assert not list(tmp_path.glob("*copy*"))
