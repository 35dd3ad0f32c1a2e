"""Rows for every append-only table, whatever its columns are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from sqlalchemy import Connection, Table

from research.ledger.append_only import CHAINED, LedgerRow
from research.ledger.chain import append, table_of
from research.ledger.database import Database, row_counts


def fill(database: Database, times: int = 1) -> None:
    """Add a row to each append-only table, `times` times: as many links as rows."""
    there = row_counts(database)[LedgerRow.__tablename__]
    with database.write() as connection:
        for number in range(there, there + times):
            for model in CHAINED:
                append(connection, model, [row_of(table_of(model), number)])


def row_of(table: Table, number: int) -> dict[str, Any]:
    """Return a row whose values differ by `number`."""
    return {each.name: _value(each.type.python_type, number) for each in table.columns if each.name != "id"}


def _value(kind: type, number: int) -> Any:
    values: dict[type, Any] = {
        int: number + 1,
        float: number / 3,
        str: f"né {number}",
        bytes: bytes([number % 256]) * 4,
        date: date(2001, 1, 1 + number % 28),
    }
    return values[kind]


def tamper(connection: Connection, statement: str) -> None:
    """Do what the guards forbid, past them, as somebody with the file or the server would."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(statement)
        connection.exec_driver_sql("SET LOCAL session_replication_role = origin")
        return
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    guards = connection.exec_driver_sql(query).all()
    for name, _ in guards:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    connection.exec_driver_sql(statement)
    for _, spelled in guards:
        connection.exec_driver_sql(spelled)


class _Undo(Exception):
    """Rolls a transaction back."""


@contextmanager
def tampered(database: Database, statement: str) -> Iterator[Connection]:
    """Yield a connection to what a database would be after `statement`, which is undone in the end."""
    try:
        with database.write() as connection:
            tamper(connection, statement)
            yield connection
            raise _Undo
    except _Undo:
        pass
