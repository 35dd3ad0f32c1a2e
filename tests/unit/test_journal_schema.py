"""What a journal file is: refusals, append-only tables, migrations, backups."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep.errors import JournalError
from lockstep.live.journal import Journal, schema
from lockstep.live.journal.salvage import salvage
from support import journals as make
from support.journals import exactly, tampered

NEWEST = len(schema.MIGRATIONS)

FIRST_STEP = Path(__file__).resolve().parents[1] / "golden" / "journal_step_1.db.gz"
FIRST_STEP_HASH = "e7d770112d273a7741375696678392ba5304b5061ce0d57274437bf23e76f710"


def first_step(folder: Path) -> Path:
    """Return a journal of schema 1."""
    path = folder / "live.db"
    path.write_bytes(gzip.decompress(FIRST_STEP.read_bytes()))
    return path


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
        with pytest.raises(JournalError, match=f"schema 0, this Lockstep reads {NEWEST}"):
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

    def test_an_older_one_is_read_as_it_is(self, tmp_path: Path) -> None:
        """A journal that the version before portfolios wrote: three sets, with the hashes that it had."""
        path = first_step(tmp_path)
        before = path.read_bytes()
        with Journal.open(path, readonly=True) as opened:
            assert opened.verify() == []
            assert opened.newest_hash() == FIRST_STEP_HASH
            epoch = opened.newest_epoch()
            assert epoch is not None
            assert epoch.portfolio is None
            assert opened.newest_settled(1) is None
            assert [exactly(each) for each in opened.entries(1)] == [
                exactly(make.bar_set(n)) for n in range(3)
            ]
        assert path.read_bytes() == before

    def test_an_older_one_is_brought_up_to_date_and_kept(self, tmp_path: Path) -> None:
        path = first_step(tmp_path)
        with Journal.open(path) as opened:
            assert opened.select("PRAGMA user_version") == [(NEWEST,)]
            assert opened.newest_hash() == FIRST_STEP_HASH
            assert opened.append_set(make.bar_set(3)) == 4
            assert opened.append_set(make.settled_set(4)) == 5
            assert opened.verify() == []
            assert exactly(opened.last_set()) == exactly(make.settled_set(4))
        with Journal.open(tmp_path / "live.db.v1", readonly=True) as kept:
            assert kept.select("PRAGMA user_version") == [(1,)]
            assert kept.newest_hash() == FIRST_STEP_HASH

    def test_an_older_one_is_salvaged(self, tmp_path: Path) -> None:
        found = salvage(first_step(tmp_path), tmp_path / "saved.db")
        assert (found.sequence, found.fault) == (3, "")
        with Journal.open(tmp_path / "saved.db") as saved:
            assert saved.newest_hash() == FIRST_STEP_HASH
            assert saved.append_set(make.settled_set(5)) == 4

    def test_a_newer_one_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = self.older(tmp_path)
        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, self.STEP))
        with Journal.open(path) as opened:
            assert opened.select("SELECT * FROM extra") == []
        monkeypatch.undo()
        with pytest.raises(
            JournalError, match=f"schema {NEWEST + 1}, written by a newer Lockstep; this one knows {NEWEST}"
        ):
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
