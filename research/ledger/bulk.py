"""Very many rows at once, by each database's fastest way."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table

Row = Sequence[Any]


def insert_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Insert `rows`, values in the order of `columns`, all or none.

    PostgreSQL gets a COPY; other databases one prepared statement. NaN must have been made None before.
    """
    if connection.dialect.name == "postgresql":
        _copy(connection, table, columns, rows)
        return
    _execute_many(connection, f"INSERT INTO {table.name} ({', '.join(columns)})", len(columns), list(rows))


def absent(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row], *, unique: str
) -> list[Row]:
    """Return the rows whose `unique` column is not in the table yet; the rows themselves must differ in it.

    The caller holds what keeps others from adding the same ones, see `chain.hold`.
    """
    place = columns.index(unique)
    known = _known(connection, table, unique, [row[place] for row in rows])
    return [row for row in rows if row[place] not in known]


def _known(connection: Connection, table: Table, column: str, values: list[Any]) -> set[Any]:
    """Return which of `values` the table has; both databases take them as one argument."""
    if connection.dialect.name == "postgresql":
        statement = f"SELECT {column} FROM {table.name} WHERE {column} = ANY(%s)"
        return {row[0] for row in connection.exec_driver_sql(statement, (values,))}
    wanted = "SELECT value FROM json_each(?)"
    statement = f"SELECT {column} FROM {table.name} WHERE {column} IN ({wanted})"
    return {row[0] for row in connection.exec_driver_sql(statement, (json.dumps(values),))}


def _execute_many(connection: Connection, statement: str, width: int, rows: list[Row]) -> None:
    if not rows:
        return
    placeholder = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    values = ", ".join([placeholder] * width)
    connection.exec_driver_sql(f"{statement} VALUES ({values})", [tuple(row) for row in rows])


def _copy(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Row]) -> None:
    cursor = connection.connection.cursor()
    try:
        with cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    finally:
        cursor.close()
