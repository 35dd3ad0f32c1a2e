"""The book of retrainings: append-only, chained, one run per trigger and one at a time per symbol."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from lockstep.errors import RetrainingError
from lockstep.monitoring.champion import ChallengerVerdict
from operations.retraining.book import (
    FOLLOWING,
    RetrainingBook,
    RetrainingRun,
    ShadowLook,
    Step,
    StepRow,
    only_retraining,
    run_id,
)

ROW = StepRow(
    number=0, run="a1", symbol="ES", step=Step.TRIGGERED, time=5, desk=4, by="auto",
    inputs={"kind": "alarm"}, outputs={"champion": "v1"}, sentence="an alarm",
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "retraining.db"


@pytest.fixture
def book(path: Path) -> Iterator[RetrainingBook]:
    with RetrainingBook.open(path) as opened:
        yield opened


def taken(book: RetrainingBook, *steps: Step) -> RetrainingRun:
    for step in steps:
        run = book.append(replace(ROW, step=step))
    return run


def test_rows_come_back_as_they_were_written(book: RetrainingBook, path: Path) -> None:
    taken(book, Step.TRIGGERED, Step.TRAINED)
    with RetrainingBook.open(path, readonly=True) as other:
        (run,) = other.runs()
    first, second = run.steps
    assert replace(first, number=0, hash="") == ROW
    assert (first.number, second.number, second.step) == (1, 2, Step.TRAINED)
    assert run.now is Step.TRAINED
    assert run.output("champion") == "v1"
    assert run.output("nothing") is None


def test_what_is_recorded_twice_is_one_row(book: RetrainingBook) -> None:
    for _ in range(10):
        run = taken(book, Step.TRIGGERED)
    assert len(run.steps) == len(book.rows()) == 1
    assert book.append(replace(ROW, sentence="another", time=99)).steps[0].sentence == "an alarm"


def test_only_what_follows_is_recorded(book: RetrainingBook) -> None:
    with pytest.raises(RetrainingError, match="cannot begin with TRAINED"):
        taken(book, Step.TRAINED)
    taken(book, Step.TRIGGERED)
    for step in set(Step) - FOLLOWING[Step.TRIGGERED] - {Step.TRIGGERED}:
        with pytest.raises(RetrainingError, match=f"is TRIGGERED, and {step} does not follow"):
            taken(book, step)
    taken(book, Step.ABORTED)
    with pytest.raises(RetrainingError, match="is ABORTED, and TRAINED"):
        taken(book, Step.TRAINED)


def test_one_retraining_of_a_symbol_at_a_time(book: RetrainingBook) -> None:
    taken(book, Step.TRIGGERED)
    other = replace(ROW, run="b2")
    with pytest.raises(RetrainingError, match="ES: run a1 is TRIGGERED; let it end, or end it"):
        book.append(other)
    book.append(replace(other, symbol="NQ"))
    taken(book, Step.FAILED)
    assert [each.id for each in book.runs() if each.is_active] == ["b2"]
    book.append(replace(other, run="c3"))


@pytest.mark.parametrize("statement", ["UPDATE steps SET by = 'me'", "DELETE FROM steps"])
def test_the_database_refuses_changes(book: RetrainingBook, path: Path, statement: str) -> None:
    taken(book, Step.TRIGGERED)
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.DatabaseError, match="never"):
        connection.execute(statement)


@pytest.mark.parametrize(
    "edit",
    ["UPDATE steps SET by = 'me' WHERE number = 1", "UPDATE steps SET outputs = '{}' WHERE number = 2",
     "UPDATE steps SET desk = 9 WHERE number = 2", "DELETE FROM steps WHERE number = 1"],
)  # fmt: skip
def test_a_row_that_was_edited_by_hand_is_refused(path: Path, edit: str) -> None:
    with RetrainingBook.open(path) as book:
        taken(book, Step.TRIGGERED, Step.TRAINED)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP TRIGGER steps_no_update; DROP TRIGGER steps_no_delete;")
        connection.execute(edit)
        connection.commit()
    for readonly in (True, False):
        with (
            pytest.raises(RetrainingError, match="is not what was written") as refusal,
            RetrainingBook.open(path, readonly=readonly),
        ):
            pass
        assert "\n" not in str(refusal.value)


def test_a_run_is_named_by_its_beginning(book: RetrainingBook) -> None:
    taken(book, Step.TRIGGERED)
    book.append(replace(ROW, run="a2", symbol="NQ"))
    assert book.run("a1").symbol == "ES"
    for name in ("a", "x", ""):
        with pytest.raises(RetrainingError, match="there are a1, a2"):
            book.run(name)


def test_evidence_names_a_run() -> None:
    names = {run_id(*each) for each in (("ES", "alarm", "a"), ("ES", "alarm", "b"), ("NQ", "alarm", "a"))}
    assert len(names) == 3


def test_a_reader_leaves_nothing_behind(path: Path) -> None:
    with RetrainingBook.open(path, readonly=True) as book:
        assert book.runs() == ()
        assert book.looks() == ()
        for write in (lambda: taken(book, Step.TRIGGERED), lambda: book.looked(LOOK)):
            with pytest.raises(RetrainingError, match="opened to be read"):
                write()
    assert not path.exists()
    with RetrainingBook.open(path) as book:
        taken(book, Step.TRIGGERED)
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    with RetrainingBook.open(path, readonly=True) as book:
        assert len(book.runs()) == 1
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before


def test_other_files_are_refused(path: Path) -> None:
    path.write_text("notes of mine" * 100, encoding="utf-8")
    with pytest.raises(RetrainingError, match=r"retraining\.db: file is not a database"):
        with RetrainingBook.open(path):
            pass
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (a)")
    with pytest.raises(RetrainingError, match="is no book of retrainings"), RetrainingBook.open(path):
        pass


def on_a_full_disk(path: Path) -> None:
    with RetrainingBook.open(path) as book:
        assert book._connection is not None
        (pages,) = book._connection.execute("PRAGMA page_count").fetchone()
        book._connection.execute(f"PRAGMA max_page_count = {pages}")
        book.append(replace(ROW, step=Step.TRAINED, sentence="long " * 10_000))


def test_a_full_disk_is_one_line_and_changes_nothing(path: Path) -> None:
    with RetrainingBook.open(path) as book:
        taken(book, Step.TRIGGERED)
    with pytest.raises(RetrainingError, match="database or disk is full") as refusal:
        on_a_full_disk(path)
    assert "\n" not in str(refusal.value)
    with RetrainingBook.open(path) as book:
        assert [each.step for each in book.rows()] == [Step.TRIGGERED]


def test_two_processes_never_take_steps_at_once(path: Path) -> None:
    with only_retraining(path):
        with pytest.raises(RetrainingError, match="another retraining is running"), only_retraining(path):
            pass
    with only_retraining(path):
        pass


LOOK = ShadowLook(
    run="a1", desk=7, verdict=ChallengerVerdict.NOT_WORSE, signals=40, e_value=1.5, mean=0.01, low=-0.01,
    high=0.03,
)  # fmt: skip


def test_looks_come_back_by_time_and_one_of_the_same_moment_takes_its_place(
    book: RetrainingBook, path: Path
) -> None:
    later = replace(LOOK, desk=8, signals=0, mean=None, low=None, high=None)
    for each in (later, replace(LOOK, e_value=9.0), LOOK):
        book.looked(each)
    with RetrainingBook.open(path, readonly=True) as other:
        assert other.looks() == (LOOK, later)


def test_a_book_of_before_there_were_looks_is_read_and_brought_up_to_date(path: Path) -> None:
    with RetrainingBook.open(path) as book:
        taken(book, Step.TRIGGERED)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP TABLE looks; PRAGMA user_version = 1;")
    with RetrainingBook.open(path, readonly=True) as book:
        assert (len(book.rows()), book.looks()) == (1, ())
    with RetrainingBook.open(path) as book:
        book.looked(LOOK)
        assert (len(book.rows()), book.looks()) == (1, (LOOK,))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 3")
    with pytest.raises(RetrainingError, match="has schema 3, this version writes 2"):
        with RetrainingBook.open(path):
            pass
