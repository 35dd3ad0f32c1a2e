"""Very many rows at once, by each database's fastest way."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table

Row = Sequence[Any]

# What a statement changes is kept beside it until it ends: rows by one of them at a time.
_STATEMENT_ROWS = 5_000


def insert_rows(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Iterable[Row],
    *,
    same: Mapping[str, Any] | None = None,
) -> None:
    """Insert `rows`, values in the order of `columns`, all or none.

    same   further columns with the value that all rows have in them; SQLite then takes very many rows by one
           statement, so that `rows` must hold texts and whole numbers alone

    PostgreSQL gets a COPY; other databases one prepared statement. NaN must have been made None before.
    """
    shared = tuple((same or {}).values())
    names = ", ".join((*columns, *(same or ())))
    if connection.dialect.name == "postgresql":
        _copy(connection, table, names, ((*row, *shared) for row in rows) if shared else rows)
    elif shared and connection.dialect.name == "sqlite":
        _insert_from_json(connection, f"INSERT INTO {table.name} ({names})", len(columns), rows, shared)
    else:
        many: Iterable[Row] = ((*row, *shared) for row in rows) if shared else rows
        _execute_many(connection, f"INSERT INTO {table.name} ({names})", len(columns) + len(shared), many)


def _insert_from_json(
    connection: Connection, statement: str, width: int, rows: Iterable[Row], shared: Row
) -> None:
    """Insert rows in their order, from one text: binding every value of every row takes longer."""
    values = [f"json_extract(value, '$[{place}]')" for place in range(width)] + ["?"] * len(shared)
    select = f"SELECT {', '.join(values)} FROM json_each(?)"
    for piece in _batches(rows):
        connection.exec_driver_sql(f"{statement} {select}", (*shared, json.dumps(piece)))


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    each = iter(rows)
    while piece := list(itertools.islice(each, _STATEMENT_ROWS)):
        yield piece


def tuples(connection: Connection, query: str, values: Row) -> list[tuple[Any, ...]]:
    """Return the rows of a query as the driver gives them; SQLAlchemy would make an object of each."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(query, values)
        found: Any = cursor.fetchall()
    finally:
        cursor.close()
    return list(found)


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


def _execute_many(connection: Connection, statement: str, width: int, rows: Iterable[Row]) -> None:
    many = [tuple(row) for row in rows]
    if not many:
        return
    placeholder = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    values = ", ".join([placeholder] * width)
    connection.exec_driver_sql(f"{statement} VALUES ({values})", many)


def _copy(connection: Connection, table: Table, names: str, rows: Iterable[Row]) -> None:
    cursor = connection.connection.cursor()
    try:
        with cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    finally:
        cursor.close()
