"""The hash chain over everything that is only ever added: what is gone, changed or begun anew is seen.

Rows enter an append-only table by `append` alone. It writes a link: which rows, the digest of their contents,
and a hash over that and the link before. The first link names the ledger: its hash is the ledger's id. Id,
newest hash and number of links are written down elsewhere (strategy log, strategy files, manifest), and a
later reader compares: another ledger has another id, a shorter or edited one does not hold the hash.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select

from research.ledger.append_only import CHAINED, LinkRow
from research.ledger.bulk import insert_rows
from research.ledger.tables import Base

_GENESIS = "ledger"
_PIECE = 20_000


def begin(connection: Connection) -> None:
    """Write the first link, and one for the rows of each table that were there before there was a chain.

    Not when a database is made: one that is filled from a backup brings its chain along.
    """
    if connection.scalar(select(func.count()).select_from(LinkRow)):
        return
    _link(connection, _GENESIS, 0, 0, 0, secrets.token_hex(32), previous="")
    for model in CHAINED:
        first, last = connection.execute(select(func.min(_id(model)), func.max(_id(model)))).one()
        if first is not None:
            _add_link(connection, table_of(model), first, last)


def append(connection: Connection, model: type[Base], rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Add rows, all with the same columns, to an append-only table and to the chain; returns their ids."""
    if not rows:
        return []
    columns = list(rows[0])
    return append_rows(connection, model, columns, [[row[name] for name in columns] for row in rows])


def append_rows(
    connection: Connection, model: type[Base], columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> list[int]:
    """Add very many rows, values in the order of `columns`; otherwise as `append`."""
    if not rows:
        return []
    table = table_of(model)
    if connection.dialect.name == "postgresql":
        # One writer at a time: the chain has one end.
        connection.exec_driver_sql("LOCK TABLE link IN EXCLUSIVE MODE")
    begin(connection)
    before = connection.scalar(select(func.max(_id(model)))) or 0
    insert_rows(connection, table, columns, _spelled(connection, rows))
    ids = list(connection.scalars(select(_id(model)).where(_id(model) > before).order_by(_id(model))))
    _add_link(connection, table, ids[0], ids[-1])
    return ids


def _spelled(connection: Connection, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """Dates as SQLite keeps them, where the rows go past SQLAlchemy."""
    if connection.dialect.name != "sqlite":
        return rows
    return [[each.isoformat() if isinstance(each, date) else each for each in row] for row in rows]


def digest_of(connection: Connection, table: Table, first: int, last: int) -> tuple[int, str]:
    """Return the number of rows with ids from `first` to `last`, and the SHA-256 (hex) of their contents."""
    digest, count = hashlib.sha256(), 0
    wanted = select(table).where(table.c.id >= first, table.c.id <= last).order_by(table.c.id)
    for piece in connection.execution_options(stream_results=True).execute(wanted).partitions(_PIECE):
        for row in piece:
            digest.update(repr([_plain(each) for each in row]).encode())
        count += len(piece)
    return count, digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return hashlib.sha256(bytes(value)).hexdigest()
    return value.isoformat() if isinstance(value, date) else value


def _add_link(connection: Connection, table: Table, first: int, last: int) -> None:
    count, digest = digest_of(connection, table, first, last)
    newest = select(LinkRow.hash).order_by(LinkRow.id.desc()).limit(1)
    _link(connection, table.name, first, last, count, digest, previous=connection.scalar(newest) or "")


def _link(
    connection: Connection, table: str, first: int, last: int, rows: int, digest: str, *, previous: str
) -> None:
    content = f"{table}\n{first}\n{last}\n{rows}\n{digest}\n{previous}"
    connection.execute(
        insert(LinkRow).values(
            table_name=table,
            first_row=first,
            last_row=last,
            rows=rows,
            digest=digest,
            previous=previous,
            hash=hashlib.sha256(content.encode()).hexdigest(),
            recorded=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    )


def table_of(model: type[Base]) -> Table:
    """Return the table of a model."""
    table = model.__table__
    assert isinstance(table, Table)
    return table


def _id(model: type[Base]) -> Any:
    return table_of(model).c.id
