"""What a desk may meet: a kill at any point, a full disk, a locked journal, damaged pages, a damaged log."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import JournalError, JournalFault
from lockstep.live.journal import Journal, opening
from lockstep.live.journal import opening as wal
from lockstep.live.journal.salvage import salvage
from lockstep.live.journal.verification import Sound
from support import journal_faults
from support import journals as make
from support.events import an_event

_PROGRAM = Path(journal_faults.__file__)
_PAGE = 4096
_FRAME = _PAGE + 24


def command(kind: str, path: Path) -> list[str]:
    return [sys.executable, str(_PROGRAM), kind, str(path)]


def environment() -> dict[str, str]:
    # One thread: the program forks.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": str(_PROGRAM.parents[1])}


def deaths(kind: str, path: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        command(kind, path), env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class TestKill:
    @pytest.mark.parametrize(("kind", "signal"), [("steps", 9), ("log", 25), ("moments", 9)])
    def test_a_set_is_there_whole_or_not_at_all(self, tmp_path: Path, kind: str, signal: int) -> None:
        found = deaths(kind, tmp_path / "live.db")
        assert len(found) >= 12
        assert {each["signal"] for each in found} == {signal}
        assert [each["findings"] for each in found if each["findings"]] == []
        assert all(each["whole"] for each in found)
        # What was reported as written is there; beyond it at most the set that was being written.
        assert {each["found"] - each["reported"] for each in found} <= {0, 1}
        assert found[-1]["found"] > 0

    def test_a_writer_without_its_transaction_is_caught(self, tmp_path: Path) -> None:
        assert any(each["findings"] for each in deaths("torn", tmp_path / "live.db"))


class TestFullDisk:
    def test_nothing_is_lost_nor_half_written(self, tmp_path: Path) -> None:
        (told,) = deaths("full", tmp_path / "live.db")
        assert told["written"] > 0
        assert told["found"] == told["written"]
        assert all("the disk refused; nothing of this was written" in each for each in told["failures"])
        assert told["findings"] == told["left"] == []

    def test_a_file_that_may_not_grow(self, tmp_path: Path) -> None:
        with Journal.open(tmp_path / "live.db") as journal:
            journal.begin_epoch(make.epoch())
            journal.append_set(make.bar_set(0))
            ((pages,),) = journal.select("PRAGMA page_count")
            journal.select(f"PRAGMA max_page_count = {pages}")
            text = "x" * 4 * _PAGE
            with pytest.raises(JournalFault, match="no space is left; nothing of this was written"):
                journal.append(an_event("stop", content={"why": text}))
            journal.select(f"PRAGMA max_page_count = {pages + 99}")
            assert len(list(journal.entries(1))) == 1
            assert journal.append(an_event("stop", content={"why": text})) == (2,)
            assert journal.verify() == []


@contextmanager
def writer(path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that holds the journal, and its pid."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command("hold", path), env=environment(), stdin=pipe, stdout=pipe, text=True
    ) as other:
        assert other.stdout is not None
        try:
            yield other, json.loads(other.stdout.readline())["pid"]
        finally:
            other.kill()


class TestLocked:
    def test_another_process_writes_until_it_is_killed(self, tmp_path: Path) -> None:
        path = tmp_path / "live.db"
        with writer(path) as (other, pid):
            with pytest.raises(JournalError, match=f"process {pid} is writing it"):
                Journal.open(path)
            with Journal.open(path, readonly=True) as reader:
                assert len(list(reader.entries(1))) == 1
                assert reader.verify() == []
                reader.backup(tmp_path / "copy.db")
            other.kill()
            other.wait()
            with Journal.open(path) as journal:
                assert journal.append_set(make.bar_set(1)) == 2
                assert journal.verify() == []

    def test_another_program_keeps_the_database_locked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(opening, "_BUSY_SECONDS", 0.01)
        with Journal.open(tmp_path / "live.db") as journal:
            journal.begin_epoch(make.epoch())
            other = sqlite3.connect(journal.path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match="another program keeps it locked"):
                journal.append_set(make.bar_set(0))
            assert list(journal.entries(1)) == []
            other.close()
            assert journal.append_set(make.bar_set(0)) == 1


def written(path: Path, *, sets: int = 6) -> None:
    with Journal.open(path) as journal:
        journal.begin_epoch(make.epoch())
        for number in range(sets):
            journal.append_set(make.irregular_set(number))
        journal.append(an_event("stop", content={"why": "test"}))


def content(path: Path) -> object:
    with Journal.open(path) as journal:
        return [make.exactly(each) for each in (*journal.epochs(), *journal.entries(1))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "live.db"
    written(path)
    return path


class TestDamagedFile:
    def damaged(self, whole: Path, tmp_path: Path, change: bytes, at: int) -> Path:
        path = tmp_path / "live.db"
        shutil.copy(whole, path)
        with path.open("r+b") as stream:
            stream.seek(at)
            stream.write(change)
        return path

    def test_every_page_as_garbage_is_refused_with_a_way_out(self, whole: Path, tmp_path: Path) -> None:
        garbage = random.Random(1).randbytes(_PAGE)
        for at in range(0, whole.stat().st_size, _PAGE):
            path = self.damaged(whole, tmp_path, garbage, at)
            before = path.read_bytes()
            with pytest.raises(JournalError, match=r"restore as in docs/journal\.md"):
                Journal.open(path)
            assert path.read_bytes() == before

    @pytest.mark.parametrize("bytes_left", [_PAGE * 3, 1000, -_PAGE, -1])
    def test_a_truncated_file(self, whole: Path, tmp_path: Path, bytes_left: int) -> None:
        path = tmp_path / "live.db"
        path.write_bytes(whole.read_bytes()[:bytes_left])
        with pytest.raises(JournalError, match=r"restore as in docs/journal\.md"):
            Journal.open(path)

    def test_no_flipped_bit_goes_unnoticed(self, whole: Path, tmp_path: Path) -> None:
        """Refused at the opening, found by `verify`, or in space that holds nothing."""
        expected, bits = content(whole), random.Random(2)
        noticed = 0
        for _ in range(150):
            at = bits.randrange(100, whole.stat().st_size)
            flipped = bytes([whole.read_bytes()[at] ^ 1 << bits.randrange(8)])
            path = self.damaged(whole, tmp_path, flipped, at)
            try:
                with Journal.open(path) as journal:
                    findings = journal.verify()
                assert findings or content(path) == expected, at
                noticed += bool(findings)
            except JournalError:
                noticed += 1
        assert noticed > 30


class TestSalvage:
    """The way out of every damage is what the refusal names: `journal.py salvage`."""

    def salvaged(self, damaged: Path) -> Sound:
        return salvage(damaged, damaged.with_name("saved.db"))

    def test_every_page_destroyed_in_turn(self, tmp_path: Path) -> None:
        path, saved = tmp_path / "live.db", tmp_path / "saved.db"
        written(path, sets=16)
        raw, before = path.read_bytes(), content(path)
        pages, lost, nothing = len(raw) // _PAGE, 0, list[str]()
        for page in range(pages):
            damaged = bytearray(raw)
            damaged[page * _PAGE : (page + 1) * _PAGE] = random.Random(page).randbytes(_PAGE)
            path.write_bytes(damaged)
            with pytest.raises(JournalError, match=r"journal salvage"):
                Journal.open(path)
            try:
                found = self.salvaged(path)
            except JournalError as error:
                nothing.append(str(error))
                continue
            again = content(saved)
            assert again == before[: len(again)]
            assert (len(again) < len(before)) <= bool(found.fault)
            lost += bool(found.fault)
            with Journal.open(saved) as journal:
                assert journal.verify() == []
                journal.append_set(make.bar_set(99))
            saved.unlink()
        # The first page and those of the first rows leave nothing, those of indexes cost nothing.
        assert lost > pages // 3
        assert 0 < len(nothing) < pages // 2
        assert all(text.endswith("restore the newest backup") for text in nothing)
        assert not list(tmp_path.glob(".s*"))

    def test_a_changed_value_ends_it_before_its_bar_set(self, tmp_path: Path) -> None:
        path = tmp_path / "live.db"
        written(path, sets=9)
        make.tampered(path, "UPDATE decisions SET code = code + 1 WHERE sequence = 7")
        assert self.salvaged(path) == (
            1,
            6,
            "entry 7: its hash does not follow from its rows and the entry before it",
        )

    def test_a_bar_set_is_saved_with_its_events_or_not(self, tmp_path: Path) -> None:
        path = tmp_path / "live.db"
        with Journal.open(path) as journal:
            journal.begin_epoch(make.epoch())
            events = (an_event("refusal", content={"rule": "halt"}), an_event("refusal", content={}))
            for number in range(3):
                journal.append_set(replace(make.bar_set(number), events=events))
        make.tampered(path, "UPDATE events SET symbol = 'XX' WHERE sequence = 6")
        assert self.salvaged(path).sequence == 3

    def test_a_whole_journal_is_saved_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "live.db"
        written(path, sets=9)
        assert self.salvaged(path) == (1, 9 * 3 + 1, "")

    def test_no_room_leaves_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "live.db"
        written(path, sets=60)
        with pytest.raises(JournalError):
            journal_faults.in_little_room(lambda: self.salvaged(path))
        assert not list(tmp_path.glob("*saved*"))


class TestDamagedLog:
    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        """What the disk holds when a writer dies: three sets that are in the log only."""
        path = tmp_path / "running.db"
        written(path, sets=2)
        with Journal.open(path) as journal:
            for number in range(2, 5):
                journal.append_set(make.bar_set(number))
            for suffix in ("", "-wal"):
                shutil.copy(f"{path}{suffix}", tmp_path / f"live.db{suffix}")
        return tmp_path / "live.db"

    def change(self, image: Path, at: int, length: int = 64) -> bytes:
        path = Path(f"{image}-wal")
        raw = bytearray(path.read_bytes())
        raw[at : at + length] = bytes(each ^ 0x5A for each in raw[at : at + length])
        path.write_bytes(raw)
        return bytes(raw)

    def sets(self, image: Path) -> int:
        with Journal.open(image) as journal:
            assert journal.verify() == []
            return int(journal.select("SELECT count(*) FROM sets")[0][0])

    def test_whole_it_is_recovered(self, image: Path) -> None:
        assert wal.damage(image) == ""
        assert self.sets(image) == 5

    def test_garbage_behind_the_end_is_ignored(self, image: Path) -> None:
        with Path(f"{image}-wal").open("ab") as log:
            log.write(random.Random(3).randbytes(3 * _FRAME + 99))
        assert self.sets(image) == 5

    def test_an_unfinished_transaction_never_was(self, image: Path) -> None:
        path = Path(f"{image}-wal")
        path.write_bytes(path.read_bytes()[: -_FRAME // 2])
        assert self.sets(image) == 4

    @pytest.mark.parametrize("at", [32 + 24, 32 + _FRAME + 200, -3 * _FRAME + 100, 0, 8])
    def test_damage_before_something_committed_is_refused_and_stays(self, image: Path, at: int) -> None:
        log = Path(f"{image}-wal")
        raw = self.change(image, at if at >= 0 else log.stat().st_size + at)
        for _ in range(2):
            with pytest.raises(JournalError, match=r"live.db-wal: .* restore as in docs/journal\.md"):
                Journal.open(image)
            assert log.read_bytes() == raw
        with Journal.open(image, readonly=True) as reader:
            (finding,) = reader.verify()
        assert "live.db-wal" in finding
        assert log.read_bytes() == raw

    def test_what_can_be_read_of_it_is_backed_up(self, image: Path) -> None:
        self.change(image, Path(f"{image}-wal").stat().st_size - 3 * _FRAME + 100)
        saved = image.with_name("saved.db")
        with Journal.open(image, readonly=True) as reader:
            reader.backup(saved)
        assert self.sets(saved) == 4

    def test_sqlite_alone_would_lose_it_silently(self, image: Path) -> None:
        self.change(image, 32 + 24)
        other = sqlite3.connect(image)
        assert other.execute("SELECT count(*) FROM sets").fetchone() == (2,)
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        other.close()

    def test_frames_of_an_earlier_round_are_no_damage(self, tmp_path: Path) -> None:
        """After a checkpoint the log is written from its beginning; old frames lie behind the new end."""
        path = tmp_path / "live.db"
        with Journal.open(path) as journal:
            journal.begin_epoch(make.epoch())
            for number in range(9):
                journal.append_set(make.bar_set(number))
            journal.select("PRAGMA wal_checkpoint(FULL)")
            journal.append_set(make.bar_set(9))
            assert wal.damage(path) == ""
            for suffix in ("", "-wal"):
                shutil.copy(f"{path}{suffix}", tmp_path / f"image.db{suffix}")
        assert self.sets(tmp_path / "image.db") == 10

    def test_big_endian_sums(self, image: Path) -> None:
        """A log from a machine of the other byte order has other sums; a header with ours is damaged."""
        log = Path(f"{image}-wal")
        raw = log.read_bytes()
        log.write_bytes(raw[:3] + bytes([raw[3] ^ 1]) + raw[4:])
        assert "header is damaged" in wal.damage(image)
