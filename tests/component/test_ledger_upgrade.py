"""Upgrades of the experiments database: results and ledger survive them, or nothing happens at all."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, text

from lockstep.errors import ExperimentError
from research.experiments.store import Store
from research.ledger import database as databases
from research.ledger.append_only import CHAINED, EffectiveRow, LedgerRow, LinkRow, LookRow
from research.ledger.chain import verify
from research.ledger.database import Database, row_counts
from research.ledger.ledger import Ledger
from research.ledger.tables import SCHEMA, Base, SchemaRow
from research.ledger.upgrade import STEPS, stored_version, take_steps, unguarded, upgrade
from support.databases import KINDS, fresh_url

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"


NOTHING = {name: 0 for name in Base.metadata.tables if name != SchemaRow.__tablename__}


def dump(path: Path) -> list[str]:
    """Everything in a SQLite database, as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return [*connection.iterdump(), str(connection.execute("PRAGMA user_version").fetchone())]


def counts(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not name.startswith("sqlite_") and name not in ("schema_version", "alembic_version")
        ]
        return {name: int(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]) for name in names}


@pytest.fixture(params=["v0", "v1"])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a database that an older version wrote."""
    return Path(shutil.copy(FIXTURES / request.param / "experiments.db", tmp_path))


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path) as found:
        yield found


def first_version(url: str) -> Database:
    """Return a database as the first version made it, with a search, a ledger and a look."""
    database = Database(databases._engine(url))
    with database.write() as connection:
        take_steps(connection, 0, to=1)
        connection.execute(insert(SchemaRow).values(version=1))
        connection.exec_driver_sql("DROP TABLE alembic_version")
        connection.exec_driver_sql(
            "INSERT INTO experiment (name, kind, status, plan, runs, code_hash, data_hashes, config_hash,"
            " started, seconds, bars) VALUES ('first', 'grid', 'finished', '{}', 1, 'c', '{}', 'h', 'now', 1,"
            " 2)"
        )
        connection.exec_driver_sql(
            "INSERT INTO run (experiment_id, symbol, window_number, variant, parameters, evaluation, status)"
            " VALUES (1, 'ES', 0, 0, '{}', 'e', 'ok')"
        )
        day = date(2020, 1, 2)
        of_family = {"family": "f", "symbol": "ES", "first_date": day, "last_date": day, "recorded": "now"}
        rows: tuple[tuple[Any, dict[str, Any]], ...] = (
            (LedgerRow, {**of_family, "evaluation": "e", "kind": "grid", "status": "ok"}),
            (LookRow, {**of_family, "purpose": "p"}),
            (EffectiveRow, {"experiment_id": 1, "symbol": "ES", "trials": 1, "effective": 1.0}),
        )
        for model, row in rows:
            connection.execute(insert(model).values(row))
    return database


def require_append_only(database: Database) -> None:
    """Of the tables that an older version had, with rows in them; the others' guards are compared."""
    for model in (LedgerRow, LookRow, EffectiveRow, LinkRow):
        for statement in (f"DELETE FROM {model.__tablename__}", f"UPDATE {model.__tablename__} SET id = id"):
            with (
                pytest.raises(ExperimentError, match="append-only"),
                database.write() as connection,
            ):
                connection.exec_driver_sql(statement)


# What older versions wrote


def test_a_stored_database_is_upgraded_with_all_it_holds(older: Path) -> None:
    before = counts(older)
    database = Database.open(f"sqlite:///{older}")
    linked = sum(before[each.__tablename__] > 0 for each in CHAINED if each.__tablename__ in before)
    assert {**NOTHING, **before, "link": 1 + linked} == row_counts(database)
    with database.read() as connection:
        assert verify(connection).trials == before["ledger"] == 18
        assert stored_version(connection) == SCHEMA
        assert list(unguarded(connection)) == []
    (record,) = Store(database).records()
    assert (record.name, record.done) == ("first", 6)
    assert Ledger(database).count("NASDAQ100", date(1999, 1, 1), date(2018, 12, 31)) == 18


def test_a_copy_is_kept_before_the_upgrade_and_one_only(older: Path) -> None:
    before = dump(older)
    for _ in range(2):
        Database.open(f"sqlite:///{older}")
    kept = older.with_name("experiments.db.v1")
    assert dump(kept) == before
    assert sorted(each.name for each in older.parent.iterdir() if ".v" in each.name) == [kept.name]
    assert not older.with_name("experiments.db.v1-wal").exists()


def test_a_copy_that_is_there_already_stays(older: Path) -> None:
    kept = older.with_name("experiments.db.v1")
    kept.write_text("of an earlier attempt")
    before = dump(older)
    Database.open(f"sqlite:///{older}")
    assert kept.read_text() == "of an earlier attempt"
    assert dump(older.with_name("experiments.db.v1.2")) == before


def test_where_no_copy_can_be_kept_nothing_is_upgraded(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(older)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lockstep.files.sync", full)
    with pytest.raises(
        ExperimentError, match=r"cannot be copied to .*experiments\.db\.v1.*No space left"
    ) as error:
        Database.open(f"sqlite:///{older}")
    assert "\n" not in str(error.value)
    assert dump(older) == before
    assert [each.name for each in older.parent.glob("*.v1*")] == []


def test_a_newer_database_is_refused_in_one_line_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "experiments.db"
    database = Database.open(f"sqlite:///{path}")
    with database.write() as connection:
        connection.execute(text("UPDATE schema_version SET version = 99"))
    before = dump(path)
    with pytest.raises(ExperimentError) as error:
        Database.open(f"sqlite:///{path}")
    assert str(error.value) == (
        f"database sqlite:///{path}: has schema 99, written by a newer Lockstep; this one knows {SCHEMA}: "
        "use the newer one, or another database (LOCKSTEP_DB)"
    )
    assert dump(path) == before


def test_an_older_version_refuses_an_upgraded_database(older: Path) -> None:
    """It reads the number where it always was."""
    Database.open(f"sqlite:///{older}")
    with closing(sqlite3.connect(older)) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(SCHEMA,)]


# Steps and tables are the same


def test_the_steps_are_one_line_that_ends_at_the_version_of_the_tables() -> None:
    script = ScriptDirectory(STEPS, version_locations=[STEPS])
    revisions = [each.revision for each in script.walk_revisions()]
    assert revisions == [f"{number:04}" for number in range(SCHEMA, 0, -1)]


@pytest.mark.parametrize("how", ["created", "step by step", "upgraded"])
def test_every_way_to_the_newest_version_gives_the_same_tables(url: str, how: str) -> None:
    if how == "created":
        database = Database.open(url)
    elif how == "upgraded":
        first_version(url)
        database = Database.open(url)
    else:
        database = Database(databases._engine(url))
        with database.write() as connection:
            take_steps(connection, 0, to=SCHEMA)
            connection.execute(insert(SchemaRow).values(version=SCHEMA))
    with database.read() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: kind != "table" or name != "alembic_version",
            },
        )
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == f"{SCHEMA:04}"
        assert stored_version(connection) == SCHEMA
        assert list(unguarded(connection)) == []
    assert row_counts(Database.open(url))["ledger"] == (how == "upgraded")


def test_tables_of_sqlite_are_spelled_alike(tmp_path: Path) -> None:
    """Also what no comparison of types sees: WITHOUT ROWID, AUTOINCREMENT, defaults, triggers."""
    spelled = []
    for name in ("created", "stepwise"):
        database = Database(databases._engine(f"sqlite:///{tmp_path / name}.db"))
        if name == "created":
            database = Database.open(f"sqlite:///{tmp_path / name}.db")
        else:
            with database.write() as connection:
                take_steps(connection, 0, to=SCHEMA)
        with database.read() as connection:
            rows = connection.exec_driver_sql(
                "SELECT name, sql FROM sqlite_master WHERE name <> 'alembic_version' ORDER BY name"
            ).all()
        spelled.append({each: " ".join((sql or "").replace('"', "").split()) for each, sql in rows})
    assert spelled[0] == spelled[1]


def test_a_database_of_the_first_version_is_upgraded_with_all_it_holds(url: str) -> None:
    before = row_counts_of(first_version(url))
    database = Database.open(url)
    assert row_counts(database) == {**NOTHING, **before, "link": 4}
    require_append_only(database)
    with database.read() as connection:
        assert verify(connection).trials == 1


def row_counts_of(database: Database) -> dict[str, int]:
    with database.read() as connection:
        names = [each for each in inspect(connection).get_table_names() if each != "schema_version"]
        return {
            each: int(connection.exec_driver_sql(f"SELECT count(*) FROM {each}").scalar_one())
            for each in names
        }


# Steps that go wrong


NEXT = SCHEMA + 1
STEP = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{number:04}", "{before:04}"
def upgrade():
{body}
"""
FORBIDDEN = {
    "a table rebuilt without its guards": (
        "with op.batch_alter_table('ledger', recreate='always') as batch:\n"
        "    batch.add_column(sa.Column('note', sa.Text))",
        "ledger would lose its guard ledger_no_update",
    ),
    "a guard dropped": (
        "op.execute('DROP TRIGGER look_no_delete')",
        "look would lose its guard look_no_delete",
    ),
    "a guard that guards nothing": (
        "op.execute('DROP TRIGGER look_no_delete')\n"
        "op.execute('CREATE TRIGGER look_no_delete BEFORE DELETE ON look BEGIN SELECT 1; END')",
        "look would have another guard look_no_delete",
    ),
    "a count changed behind the guard's back": (
        "guard = op.get_bind().exec_driver_sql("
        "\"SELECT sql FROM sqlite_master WHERE name = 'ledger_no_update'\").scalar()\n"
        "op.execute('DROP TRIGGER ledger_no_update')\n"
        "op.execute(\"UPDATE ledger SET family = 'OTHER' WHERE id = 1\")\n"
        "op.get_bind().exec_driver_sql(guard)",
        "column ledger.family, which is append-only, would change",
    ),
    "a result lost": ("op.execute('DELETE FROM run WHERE variant = 0')", "table run would have 5 rows"),
    "results that go with a rebuilt table": (
        "with op.batch_alter_table('experiment', recreate='always') as batch:\n"
        "    batch.add_column(sa.Column('note', sa.Text))",
        "table (account|returns|run) would have 0 rows",
    ),
    "a column lost": ("op.drop_column('experiment', 'plan')", "column experiment.plan would be gone"),
    "a table lost": ("op.drop_table('genealogy')", "table genealogy would be gone"),
    "a step that fails half-way": (
        "op.create_table('note', sa.Column('id', sa.Integer))\nop.execute('SELEKT 1')",
        'near "SELEKT": syntax error',
    ),
}


def planted(folder: Path, body: str) -> Path:
    """Return the steps with one more."""
    steps = Path(shutil.copytree(STEPS, folder / "steps", ignore=shutil.ignore_patterns("__pycache__")))
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    (steps / f"step_{NEXT:04}_planted.py").write_text(STEP.format(body=lines, number=NEXT, before=SCHEMA))
    return steps


@pytest.fixture
def present(tmp_path: Path) -> Path:
    path = Path(shutil.copy(FIXTURES / "v1" / "experiments.db", tmp_path))
    Database.open(f"sqlite:///{path}")
    return path


@pytest.mark.parametrize("name", FORBIDDEN)
def test_an_upgrade_that_would_lose_something_changes_nothing(name: str, present: Path) -> None:
    body, words = FORBIDDEN[name]
    database, before = Database.open(f"sqlite:///{present}"), dump(present)
    with pytest.raises(ExperimentError, match=words) as error, database.write() as connection:
        upgrade(connection, SCHEMA, to=NEXT, steps=planted(present.parent, body))
    assert "\n" not in str(error.value)
    assert dump(present) == before
    assert row_counts(Database.open(f"sqlite:///{present}"))["ledger"] == 18


def test_the_ledger_may_gain_tables_and_columns(present: Path) -> None:
    """The positive control."""
    body = (
        "op.add_column('ledger', sa.Column('note', sa.Text))\n"
        "op.create_table('note', sa.Column('id', sa.Integer, primary_key=True))"
    )
    database, before = Database.open(f"sqlite:///{present}"), counts(present)
    with database.write() as connection:
        upgrade(connection, SCHEMA, to=NEXT, steps=planted(present.parent, body))
    assert counts(present) == {**before, "note": 0}
    require_append_only(database)
    with closing(sqlite3.connect(present)) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(NEXT,)]


# Processes


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


def test_of_processes_that_open_it_at_once_one_upgrades_and_the_others_wait(tmp_path: Path) -> None:
    path = Path(shutil.copy(FIXTURES / "v0" / "experiments.db", tmp_path))
    program = (
        "import sys; from research.ledger.database import Database, row_counts; "
        "print(row_counts(Database.open(f'sqlite:///{sys.argv[1]}'))['ledger'])"
    )
    running = [python(program, path) for _ in range(3)]
    for process in running:
        said, error = process.communicate(timeout=60)
        assert (said, process.returncode) == ("18\n", 0), error
    assert [each.name for each in tmp_path.glob("*.v1*")] == ["experiments.db.v1"]


def test_a_process_that_dies_in_an_upgrade_leaves_the_database_as_it_was(present: Path) -> None:
    steps = planted(present.parent, "op.execute('CREATE TABLE note (id INTEGER)')\nimport os; os._exit(9)")
    before = dump(present)
    program = (
        "import sys; from pathlib import Path; from research.ledger.database import Database\n"
        "from research.ledger.upgrade import upgrade\n"
        "with Database.open(f'sqlite:///{sys.argv[1]}').write() as connection:\n"
        f"    upgrade(connection, {SCHEMA}, to={NEXT}, steps=Path(sys.argv[2]))"
    )
    process = python(program, present, steps)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 9
    assert dump(present) == before


def test_a_database_that_is_up_to_date_is_opened_without_alembic_and_without_waiting(present: Path) -> None:
    """A search may be writing a batch meanwhile."""
    program = (
        "import sys; from research.ledger.database import Database\n"
        "Database.open(f'sqlite:///{sys.argv[1]}'); assert 'alembic' not in sys.modules"
    )
    with closing(sqlite3.connect(present, isolation_level=None)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        process = python(program, present)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 0, error
