"""The hash chain of the ledger: whatever is gone, changed, added or begun anew is seen."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstep.errors import ExperimentError
from research.ledger import chain
from research.ledger.append_only import CHAINED, LedgerRow, LinkRow, LookRow
from research.ledger.chain import Head, append, contradiction, faults, head, table_of, verify
from research.ledger.database import Database, copy_tables
from support.databases import KINDS, fresh_url
from support.ledgers import fill, row_of, tamper, tampered

NAMES = [model.__tablename__ for model in CHAINED]


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with fresh_url(request.param, tmp_path) as url:
        yield Database.open(url)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with four rows, in four links, in every table."""
    path = tmp_path_factory.mktemp("chain") / "filled.db"
    fill(Database.open(f"sqlite:///{path}"), times=4)
    with Database.open(f"sqlite:///{path}").engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def copied(filled: Path, folder: Path) -> Database:
    return Database.open(f"sqlite:///{shutil.copy(filled, folder / 'copy.db')}")


def found(database: Database) -> list[str]:
    with database.read() as connection:
        return list(faults(connection))


def read_head(database: Database) -> Head:
    with database.read() as connection:
        return head(connection)


def test_what_is_added_is_verified(database: Database) -> None:
    assert read_head(database) == Head()
    fill(database, times=3)
    with database.read() as connection:
        whole = verify(connection)
    assert whole == read_head(database)
    assert (whole.links, whole.trials) == (1 + 3 * len(CHAINED), 3)
    assert re.fullmatch("[0-9a-f]{64}", whole.id)
    assert whole.id != whole.hash


@pytest.mark.no_cover
@pytest.mark.parametrize("name", NAMES)
def test_a_row_that_is_gone_changed_or_put_in_is_named(name: str, database: Database) -> None:
    fill(database, times=3)
    statements = {
        f"DELETE FROM {name} WHERE id = 2": f"{name}, rows 2 to 2: 1 of 1 are gone",
        f"DELETE FROM {name} WHERE id = 3": f"{name}, rows 3 to 3: 1 of 1 are gone",
        f"UPDATE {name} SET {_last_column(name)} = {_last_column(name, other=True)} WHERE id = 2": (
            f"{name}, rows 2 to 2: at least one of 1 was changed"
        ),
        f"UPDATE {name} SET id = 9 WHERE id = 3": f"{name}, rows 9 to 9: 1 that were never linked",
    }
    for statement, words in statements.items():
        with tampered(database, statement) as connection:
            assert words in list(faults(connection))
            with pytest.raises(ExperimentError, match=re.escape(name)) as error:
                verify(connection)
            assert "\n" not in str(error.value)
    assert found(database) == []


def _last_column(name: str, *, other: bool = False) -> str:
    """Return a column of text that is in no constraint, or another value for it."""
    return (
        "'2001'"
        if other
        else "source"
        if name == "first_seen"
        else "recorded"
        if name != "effective"
        else "symbol"
    )


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM link WHERE id = 5", "link 5 does not follow the one before it"),
        ("DELETE FROM link WHERE id = 1", "the first link is missing"),
        ("UPDATE link SET rows = 7 WHERE id = 5", "link 5, of .*, was changed"),
        ("UPDATE link SET hash = 'x' WHERE id = 5", "link 6 does not follow the one before it"),
        ("UPDATE link SET recorded = 'x' WHERE id = 5", "link 5, of .*, was changed"),
        ("UPDATE link SET id = id + 1000 WHERE id IN (5, 6)", "out of order"),
        ("DELETE FROM link WHERE id = (SELECT max(id) FROM link)", "that were never linked"),
        ("UPDATE link SET table_name = 'look' WHERE id = 1", "the first link does not begin a ledger"),
    ],
)
def test_a_link_that_is_gone_changed_or_moved_is_named(
    database: Database, statement: str, words: str
) -> None:
    fill(database, times=2)
    with database.write() as connection:
        tamper(connection, statement)
    assert any(re.search(words, each) for each in found(database)), found(database)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    number=st.integers(1, 4),
    place=st.integers(0, 30),
    value=st.one_of(st.text("abé\U0001f600", min_size=1, max_size=3), st.floats(0.7, 9.7)),
)
def test_no_value_can_change(
    filled: Path, tmp_path: Path, name: str, number: int, place: int, value: str | float
) -> None:
    """Any column of any row of any table."""
    database = copied(filled, tmp_path)
    model = next(each for each in CHAINED if each.__tablename__ == name)
    columns = [each.name for each in table_of(model).columns if each.name != "id"]
    column = columns[place % len(columns)]
    with tampered(database, f"UPDATE {name} SET {column} = {value!r} WHERE id = {number}") as connection:
        assert f"{name}, rows {number} to {number}: at least one of 1 was changed" in list(faults(connection))


def test_a_column_that_a_later_version_adds_changes_no_digest(filled: Path, tmp_path: Path) -> None:
    database = copied(filled, tmp_path)
    with database.write() as connection:
        for name in NAMES:
            connection.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN note TEXT")
    assert found(database) == []


class TestElsewhere:
    """What was written down of a ledger, compared with the one that is there later."""

    def test_a_ledger_that_grew_holds_every_head_it_had(self, database: Database) -> None:
        heads = []
        for _ in range(3):
            fill(database)
            heads.append(read_head(database))
        with database.read() as connection:
            assert [contradiction(connection, each) for each in heads] == [None] * 3

    def test_a_fresh_one_is_another(self, filled: Path, tmp_path: Path) -> None:
        written = read_head(copied(filled, tmp_path))
        fresh = Database.open(f"sqlite:///{tmp_path / 'fresh.db'}")
        with fresh.read() as connection:
            assert "this ledger holds nothing" in str(contradiction(connection, written))
        fill(fresh, times=9)
        with fresh.read() as connection:
            assert "this is another ledger" in str(contradiction(connection, written))

    def test_one_whose_newest_rows_went_with_their_links_is_shorter(
        self, filled: Path, tmp_path: Path
    ) -> None:
        database = copied(filled, tmp_path)
        written = read_head(database)
        with database.write() as connection:
            tamper(connection, f"DELETE FROM {CHAINED[-1].__tablename__} WHERE id = 4")
            tamper(connection, "DELETE FROM link WHERE id = (SELECT max(id) FROM link)")
        assert found(database) == []
        with database.read() as connection:
            assert "the newest are gone" in str(contradiction(connection, written))
        fill(database)
        assert found(database) == []
        with database.read() as connection:
            assert "it was rewritten" in str(contradiction(connection, written))


@pytest.mark.parametrize("target", KINDS)
def test_a_copy_in_another_kind_of_database_has_the_same_chain(
    database: Database, target: str, tmp_path: Path
) -> None:
    fill(database, times=3)
    with database.write() as connection:
        row = {**row_of(table_of(LedgerRow), 99), "experiment_id": None}
        append(connection, LedgerRow, [row])
    (tmp_path / "target").mkdir()
    with fresh_url(target, tmp_path / "target") as url:
        other = Database.open(url)
        copy_tables(database, other)
        assert read_head(other) == read_head(database)
        assert found(other) == []
        fill(other)
        assert found(other) == []
        with other.read() as connection:
            assert contradiction(connection, read_head(database)) is None


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.integers(1, 7), min_size=1, max_size=5), piece=st.integers(1, 9))
def test_any_batches_read_in_any_pieces_are_whole(
    monkeypatch: pytest.MonkeyPatch, batches: list[int], piece: int
) -> None:
    with TemporaryDirectory() as folder:
        database = Database.open(f"sqlite:///{folder}/x.db")
        for number, size in enumerate(batches):
            rows = [row_of(table_of(LedgerRow), 10 * number + each) for each in range(size)]
            with database.write() as connection:
                append(connection, LedgerRow, rows)
        whole = read_head(database)
        assert (whole.links, whole.trials) == (1 + len(batches), sum(batches))
        with monkeypatch.context() as patched:
            patched.setattr(chain, "_PIECE", piece)
            with database.read() as connection:
                assert verify(connection) == whole
            with tampered(
                database, "DELETE FROM ledger WHERE id = (SELECT max(id) FROM ledger)"
            ) as connection:
                assert len(list(faults(connection))) == 1


def test_what_is_rolled_back_leaves_a_gap_in_the_numbers_and_none_in_the_chain(database: Database) -> None:
    """PostgreSQL does not give a number twice."""
    fill(database)
    written = read_head(database)
    with tampered(database, "SELECT 1") as connection:
        append(connection, LedgerRow, [row_of(table_of(LedgerRow), 50)])
    assert read_head(database) == written
    fill(database, times=2)
    assert found(database) == []
    with database.read() as connection:
        assert contradiction(connection, written) is None


def test_rows_that_the_database_swallows_are_not_linked(tmp_path: Path) -> None:
    """A trigger that keeps trials out would otherwise keep the count down."""
    database = Database.open(f"sqlite:///{tmp_path / 'x.db'}")
    with database.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER quiet BEFORE INSERT ON ledger WHEN NEW.evaluation LIKE '%1' "
            "BEGIN SELECT RAISE(IGNORE); END"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER silent BEFORE INSERT ON look BEGIN SELECT RAISE(IGNORE); END"
        )
    for model in (LedgerRow, LookRow):
        rows = [row_of(table_of(model), number) for number in range(2)]
        with pytest.raises(ExperimentError, match="keeps rows away from it"), database.write() as connection:
            append(connection, model, rows)
    assert read_head(database) == Head()


def test_two_links_after_the_same_one_are_refused(database: Database) -> None:
    """A fork: two ends, each of which looks whole."""
    fill(database)
    fork = "INSERT INTO link SELECT {} FROM link WHERE id = 5"
    columns = [each.name for each in table_of(LinkRow).columns]
    values = {"id": "999", "hash": "'other'"}
    statement = fork.format(", ".join(values.get(each, each) for each in columns))
    with pytest.raises(ExperimentError, match=r"(?i)unique|append-only"), database.write() as connection:
        tamper(connection, statement)
