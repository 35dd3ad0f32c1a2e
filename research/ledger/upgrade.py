"""Upgrades of the database's schema: step by step, all of them or none, and nothing that was counted is lost.

The steps are those of `migrations/`. Alembic is imported only where a database is older than this code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from sqlalchemy import Connection, Table, insert, inspect, select, text, update

from lockstep.errors import ExperimentError
from research.ledger.append_only import APPEND_ONLY
from research.ledger.guards import guards, seal_again
from research.ledger.tables import SCHEMA, Base, SchemaRow

STEPS = Path(__file__).with_name("migrations")
_VERSION = "alembic_version"
_OF_VERSIONS = (_VERSION, SchemaRow.__tablename__)
_PIECE = 5_000


def stored_version(connection: Connection) -> int | None:
    """Return the version of a database's tables, None where it has none of them."""
    if not inspect(connection).has_table(SchemaRow.__tablename__):
        return None
    return connection.scalar(select(SchemaRow.version))


def create(connection: Connection) -> None:
    """Create all tables in an empty database, as if every step had been taken."""
    Base.metadata.create_all(connection)
    connection.execute(insert(SchemaRow).values(version=SCHEMA))
    connection.exec_driver_sql(
        f"CREATE TABLE {_VERSION} (version_num VARCHAR(32) NOT NULL,"
        f" CONSTRAINT {_VERSION}_pkc PRIMARY KEY (version_num))"
    )
    connection.execute(text(f"INSERT INTO {_VERSION} VALUES (:number)"), {"number": _revision(SCHEMA)})


def upgrade(connection: Connection, stored: int, *, to: int = SCHEMA, steps: Path = STEPS) -> None:
    """Take the steps from version `stored` to `to` within the connection's transaction.

    Raises: ExperimentError where a step fails, or where rows, columns or the guards of append-only tables
    would be lost; the caller's transaction must then be rolled back.
    """
    before = _Survey.of(connection)
    take_steps(connection, stored, to=to, steps=steps)
    connection.execute(update(SchemaRow).values(version=to))
    lost = next(before.lost(_Survey.of(connection)), None) or next(_without_guard(connection), None)
    if lost is not None:
        raise ExperimentError(
            f"upgrade from schema {stored} to {to}: {lost}; the database stays as it was: "
            "use the version that wrote it, and report this"
        )


def take_steps(connection: Connection, stored: int, *, to: int, steps: Path = STEPS) -> None:
    """Run the steps after version `stored` up to `to`; 0 stands for an empty database."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        script = ScriptDirectory(steps, version_locations=[steps])
        plain = MigrationContext.configure(connection, opts={"transactional_ddl": True})
        if stored and plain.get_current_revision() is None:
            # The first version kept its number in a table of its own.
            plain.stamp(script, _revision(stored))
        context = MigrationContext.configure(
            connection,
            opts={
                "transactional_ddl": True,
                "fn": lambda found, _: script._upgrade_revs(_revision(to), found),
            },
        )
        with Operations.context(context):
            context.run_migrations()
    except CommandError as error:
        raise ExperimentError(f"upgrade from schema {stored} to {to}: {error}; reinstall Lockstep") from error


def unguarded(connection: Connection) -> Iterator[tuple[Table, str, str]]:
    """Yield the guards of append-only tables that are `missing` or `another`, with their tables."""
    present = _guards(connection)
    for model in APPEND_ONLY:
        table = model.__table__
        assert isinstance(table, Table)
        for name, parts in guards(table, connection.dialect.name).items():
            definition = present.get((table.name, name))
            if definition is None:
                yield table, name, "missing"
            elif any(part not in definition for part in parts):
                yield table, name, "another"


def guard_again(connection: Connection) -> list[str]:
    """Make the guards again that are missing or other ones; returns the names of those."""
    there = set(inspect(connection).get_table_names())
    wrong = [(table, name) for table, name, _ in unguarded(connection) if table.name in there]
    for table in {table.name: table for table, _ in wrong}.values():
        seal_again(table, connection)
    return [name for _, name in wrong]


def _without_guard(connection: Connection) -> Iterator[str]:
    words = {"missing": "would lose its guard", "another": "would have another guard"}
    return (f"{table.name} {words[what]} {name}" for table, name, what in unguarded(connection))


def _revision(number: int) -> str:
    return f"{number:04}"


class _Survey(NamedTuple):
    """What a database holds. columns   names and types by table; counted   of the append-only tables."""

    columns: Mapping[str, Mapping[str, str]]
    rows: Mapping[str, int]
    counted: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, connection: Connection) -> Self:
        inspector = inspect(connection)
        columns = {
            table: {each["name"]: str(each["type"]) for each in inspector.get_columns(table)}
            for table in inspector.get_table_names()
            if table not in _OF_VERSIONS
        }
        names = [model.__tablename__ for model in APPEND_ONLY if model.__tablename__ in columns]
        return cls(
            columns=columns,
            rows={table: _count(connection, table) for table in columns},
            counted={table: dict(_digests(connection, table, columns[table])) for table in names},
        )

    def lost(self, after: _Survey) -> Iterator[str]:
        """Yield what another survey does not have any more, or has differently."""
        for table, columns in self.columns.items():
            if table not in after.columns:
                yield f"table {table} would be gone"
                continue
            for column in columns.keys() - after.columns[table].keys():
                yield f"column {table}.{column} would be gone"
            if self.rows[table] != after.rows[table]:
                yield f"table {table} would have {after.rows[table]} rows instead of {self.rows[table]}"
        for table, digests in self.counted.items():
            for column, digest in digests.items():
                if after.counted[table].get(column) != digest:
                    yield f"column {table}.{column}, which is append-only, would change"
                if after.columns[table].get(column) != self.columns[table][column]:
                    yield f"column {table}.{column}, which is append-only, would have another type"


def _count(connection: Connection, table: str) -> int:
    quoted = connection.dialect.identifier_preparer.quote(table)
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {quoted}").scalar_one())


def _digests(connection: Connection, table: str, columns: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the SHA-256 of each column of an append-only table, its values in the order of `id`."""
    names = list(columns)
    hashes = [hashlib.sha256() for _ in names]
    query = f"SELECT {', '.join(names)} FROM {table} ORDER BY id"
    rows = connection.exec_driver_sql(query, execution_options={"stream_results": True})
    for piece in rows.partitions(_PIECE):
        for digest, values in zip(hashes, zip(*piece, strict=True), strict=True):
            digest.update(repr(values).encode())
    return ((name, digest.hexdigest()) for name, digest in zip(names, hashes, strict=True))


_SQLITE_GUARDS = "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'trigger'"
# Those of the tables that the connection means by their plain names.
_POSTGRESQL_GUARDS = """
    SELECT relname, tgname, pg_get_triggerdef(trigger.oid) || ' ' || tgenabled::text || ' ' || prosrc
    FROM pg_trigger AS trigger
    JOIN pg_class AS relation ON relation.oid = tgrelid
    JOIN pg_proc AS function ON function.oid = tgfoid
    WHERE pg_table_is_visible(tgrelid) AND NOT tgisinternal
"""


def _guards(connection: Connection) -> dict[tuple[str, str], str]:
    """Return the definition of each trigger by table and name."""
    query = {"sqlite": _SQLITE_GUARDS, "postgresql": _POSTGRESQL_GUARDS}.get(connection.dialect.name)
    rows: Any = connection.execute(text(query)) if query is not None else ()
    return {(table, name): definition for table, name, definition in rows}
