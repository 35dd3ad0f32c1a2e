"""The guards of append-only tables are looked at whenever a database is opened, and made again."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lockstep.errors import ExperimentError
from research.ledger.append_only import APPEND_ONLY
from research.ledger.database import Database
from research.ledger.law import GUARD
from research.ledger.ledger import Ledger
from research.ledger.upgrade import unguarded
from support.databases import KINDS, fresh_url
from support.ledgers import fill

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SQLITE = {
    "gone": ("look_no_delete", ["DROP TRIGGER look_no_delete"]),
    "guards nothing": (
        "look_no_delete",
        [
            "DROP TRIGGER look_no_delete",
            "CREATE TRIGGER look_no_delete BEFORE DELETE ON look BEGIN SELECT 1; END",
        ],
    ),
    "guards another table": (
        "look_no_delete",
        [
            "DROP TRIGGER look_no_delete",
            "CREATE TRIGGER look_no_delete BEFORE DELETE ON run BEGIN SELECT 1; END",
        ],
    ),
}
POSTGRESQL = {
    "gone": ("look_append_only", ["DROP TRIGGER look_append_only ON look"]),
    "switched off": ("look_append_only", ["ALTER TABLE look DISABLE TRIGGER look_append_only"]),
    "guards nothing": (
        "look_append_only",
        [
            "CREATE OR REPLACE FUNCTION look_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RETURN OLD; END $$"
        ],
    ),
    "without deletions": (
        "look_append_only",
        [
            "DROP TRIGGER look_append_only ON look",
            "CREATE TRIGGER look_append_only BEFORE UPDATE OR TRUNCATE ON look FOR EACH STATEMENT "
            "EXECUTE FUNCTION look_refuse()",
        ],
    ),
}
WAYS = [*(("sqlite", each) for each in SQLITE), *(("postgresql", each) for each in POSTGRESQL)]


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path) as found:
        yield found


def delete_look(database: Database, number: int) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(f"DELETE FROM look WHERE id = {number}")


@pytest.mark.parametrize(("url", "way"), WAYS, indirect=["url"])
def test_a_guard_that_is_gone_or_another_is_made_again_and_that_is_said(
    url: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database.open(url)
    fill(database, times=2)
    name, statements = (POSTGRESQL if database.is_postgresql else SQLITE)[way]
    with database.write() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    delete_look(database, 1)
    with caplog.at_level(logging.WARNING):
        again = Database.open(url)
    assert (
        f"guards of append-only tables were missing or changed, and are made again: {name}; " in caplog.text
    )
    with pytest.raises(ExperimentError, match="append-only"):
        delete_look(again, 2)
    (verdict,) = Ledger(again).verdicts(GUARD)
    assert verdict.subject == name
    with pytest.raises(ExperimentError, match="look, rows 1 to 1: 1 of 1 are gone"):
        Ledger(again).verify()
    caplog.clear()
    Database.open(url)
    assert caplog.text == ""
    assert len(Ledger(again).verdicts(GUARD)) == 1


@pytest.mark.parametrize("url", KINDS, indirect=True)
def test_whole_guards_are_left_alone(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The control: nothing is written where nothing is wrong."""
    fill(Database.open(url))
    before = Ledger(Database.open(url)).head()
    assert Ledger(Database.open(url)).head() == before
    assert (Ledger(Database.open(url)).verdicts(GUARD), caplog.text) == ([], "")


@pytest.mark.parametrize("url", KINDS, indirect=True)
def test_all_of_them(url: str) -> None:
    database = Database.open(url)
    with database.write() as connection:
        assert list(unguarded(connection)) == []
        for model in APPEND_ONLY:
            table = model.__tablename__
            if database.is_postgresql:
                connection.exec_driver_sql(f"DROP TRIGGER {table}_append_only ON {table}")
            else:
                for event in ("update", "delete", "replace"):
                    connection.exec_driver_sql(f"DROP TRIGGER {table}_no_{event}")
        assert {table.name for table, _, _ in unguarded(connection)} == {
            model.__tablename__ for model in APPEND_ONLY
        }
    with Database.open(url).read() as connection:
        assert list(unguarded(connection)) == []


def test_a_guard_that_an_older_version_s_database_lacks_is_said_after_its_upgrade(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(shutil.copy(FIXTURES / "v1" / "experiments.db", tmp_path))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER ledger_no_delete")
    ledger = Ledger(Database.open(f"sqlite:///{path}"))
    assert "made again: ledger_no_delete;" in caplog.text
    assert [each.subject for each in ledger.verdicts(GUARD)] == ["ledger_no_delete"]
    assert ledger.verify().trials == 18
