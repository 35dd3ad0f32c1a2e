"""The triggers by which both databases refuse to change or delete a row of an append-only table."""

from __future__ import annotations

from sqlalchemy import Connection, Table, UniqueConstraint

_MESSAGE = "is append-only: nothing deletes or changes a count"

_ABORT = "BEGIN SELECT RAISE(ABORT, '{table} {rule}'); END"
_SQLITE = (
    f"CREATE TRIGGER {{table}}_no_update BEFORE UPDATE ON {{table}} {_ABORT}",
    f"CREATE TRIGGER {{table}}_no_delete BEFORE DELETE ON {{table}} {_ABORT}",
    # REPLACE deletes without the trigger above, unless recursive triggers are on; but it does insert.
    "CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
    f"WHEN EXISTS (SELECT 1 FROM {{table}} WHERE {{same}}) {_ABORT}",
)
_POSTGRESQL = (
    "CREATE OR REPLACE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION '{table} {rule}'; END $$",
    "CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()",
)


def seal(table: Table, connection: Connection, **_: object) -> None:
    """Make a table append-only: the database itself refuses to change or delete a row."""
    statements = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}.get(connection.dialect.name, ())
    for statement in statements:
        connection.exec_driver_sql(_spelled(statement, table))


def seal_again(table: Table, connection: Connection) -> None:
    """Make the guards of a table anew, whatever is there under their names."""
    on_table = f" ON {table.name}" if connection.dialect.name == "postgresql" else ""
    for name in guards(table, connection.dialect.name):
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}{on_table}")
    seal(table, connection)


def guards(table: Table, dialect: str) -> dict[str, tuple[str, ...]]:
    """Return the triggers of an append-only table by name, each with what its definition must hold."""
    if dialect == "postgresql":
        # As the server spells it: the events, `O` for enabled, and the body of the function.
        events = "BEFORE DELETE OR UPDATE OR TRUNCATE ON"
        body = f" O  BEGIN RAISE EXCEPTION '{table.name} {_MESSAGE}'; END "
        return {f"{table.name}_append_only": (events, "FOR EACH STATEMENT", body)}
    if dialect != "sqlite":
        return {}
    found = (_spelled(each, table) for each in _SQLITE)
    return {statement.split()[2]: (statement,) for statement in found}


def _spelled(statement: str, table: Table) -> str:
    return statement.format(table=table.name, rule=_MESSAGE, same=_same(table))


def _same(table: Table) -> str:
    """Return the condition under which a new row would take the place of another one."""
    alone = [[column.name] for column in table.columns if column.primary_key or column.unique]
    together = [
        [column.name for column in each.columns]
        for each in table.constraints
        if isinstance(each, UniqueConstraint) and len(each.columns) > 1
    ]
    return " OR ".join(" AND ".join(f"{name} = NEW.{name}" for name in names) for names in alone + together)
