"""The hash chain over everything that is only ever added: what is gone, changed or begun anew is seen.

Rows enter an append-only table by `append` alone. It writes a link: which rows, the digest of their contents,
and a hash over that and the link before. The first link names the ledger: its hash is the ledger's id. Id,
newest hash, number of links and of trials are written down elsewhere (strategy log, strategy files,
manifest), and a later reader compares: another ledger has another id, a shorter or edited one does not hold
the hash.

What the digest of a row is: its values in the order of the columns, as Python spells them in ASCII; dates as
ISO texts, contents of BLOBs by their SHA-256, and without the empty values at its end, so that a column
which a later version adds changes no digest. Both databases give the same.
"""

from __future__ import annotations

import hashlib
import secrets
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, Date, Double, LargeBinary, Table, func, insert, select

from lockstep.errors import ExperimentError
from research.ledger.append_only import CHAINED, LedgerRow, LinkRow
from research.ledger.bulk import insert_rows, tuples
from research.ledger.tables import Base

_GENESIS = "ledger begun"
_PIECE = 20_000
_WAY_OUT = "restore the database from a backup; what was counted since then must be counted again"


@dataclass(frozen=True, kw_only=True)
class Head:
    """The end of a chain, as it is written down elsewhere.

    id, hash   SHA-256 (hex) of the first and of the newest link; empty where nothing was recorded yet
    links, trials   how many links there are, and how many trials they hold
    """

    id: str = ""
    hash: str = ""
    links: int = 0
    trials: int = 0


def append(connection: Connection, model: type[Base], rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Add rows, all with the same columns, to an append-only table and to the chain; returns their ids."""
    if not rows:
        return []
    columns = list(rows[0])
    return append_rows(connection, model, columns, [[row[name] for name in columns] for row in rows])


def append_rows(
    connection: Connection,
    model: type[Base],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    same: Mapping[str, Any] | None = None,
) -> list[int]:
    """Add very many rows, values in the order of `columns`; otherwise as `append`.

    same   further columns with the value that all rows have in them, see `bulk.insert_rows`
    """
    if not rows:
        return []
    table = table_of(model)
    begin(connection)
    before = connection.scalar(select(func.max(_id(model)))) or 0
    shared = None if same is None else dict(zip(same, _spelled(connection, same.values()), strict=True))
    dated = [place for place, name in enumerate(columns) if isinstance(table.c[name].type, Date)]
    if dated:
        rows = [_spelled(connection, row) for row in rows]
    insert_rows(connection, table, columns, rows, same=shared)
    ids: list[int] = []
    found = _Digest()
    # What the database says that it holds, not what it was given.
    for piece in _pieces(connection, table, before + 1):
        found.add(piece)
        ids += [row[0] for row in piece]
    if len(ids) != len(rows):
        raise ExperimentError(
            f"table {table.name}: took {len(ids)} of {len(rows)} rows; something in the database keeps rows "
            "away from it: remove triggers and rules that Lockstep did not make"
        )
    _add_link(connection, table, found)
    return ids


def begin(connection: Connection) -> None:
    """Become the only writer, and write the first link where there is none.

    Rows that were there before there was a chain get a link for each table.

    Not when a database is made: one that is filled from a backup brings its chain along.
    """
    hold(connection)
    if connection.scalar(select(LinkRow.id).limit(1)):
        return
    _link(connection, _GENESIS, 0, 0, 0, secrets.token_hex(32), previous="")
    for model in CHAINED:
        first, last = connection.execute(select(func.min(_id(model)), func.max(_id(model)))).one()
        if first is not None:
            table = table_of(model)
            _add_link(connection, table, _Rows(connection, table, first).upto(last))


def hold(connection: Connection) -> None:
    """Let nobody else add to the chain until the transaction ends: it has one end.

    A transaction that writes to SQLite is alone anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE link IN EXCLUSIVE MODE")


def head(connection: Connection) -> Head:
    """Return the end of the chain, unverified."""
    first = connection.scalar(select(LinkRow.hash).order_by(LinkRow.id).limit(1))
    if first is None:
        return Head()
    newest = connection.scalar(select(LinkRow.hash).order_by(LinkRow.id.desc()).limit(1))
    links = connection.scalar(select(func.count()).select_from(LinkRow))
    counts = select(func.sum(LinkRow.rows)).where(LinkRow.table_name == LedgerRow.__tablename__)
    return Head(id=first, hash=newest or "", links=links or 0, trials=int(connection.scalar(counts) or 0))


def contradiction(connection: Connection, written: Head) -> str | None:
    """Return why a head that was written down elsewhere is not one of this chain; None where it is one.

    Of a chain that `verify` finds whole, this says that nothing is missing of what it held then.
    """
    now = head(connection)
    if not now.id:
        return f"this ledger holds nothing; {_of(written)} was written down"
    if now.id != written.id:
        return f"this is another ledger, {now.id[:12]}; {_of(written)} was written down"
    if now.links < written.links:
        return f"this ledger has {now.links:,} links; {_of(written)} was written down: the newest are gone"
    place = connection.scalar(select(LinkRow.id).where(LinkRow.hash == written.hash))
    upto = connection.scalar(select(func.count()).where(LinkRow.id <= place)) if place is not None else 0
    if upto != written.links:
        return f"this ledger does not hold {_of(written)}, which was written down: it was rewritten"
    return None


def _of(written: Head) -> str:
    return f"ledger {written.id[:12]} with {written.links:,} links up to {written.hash[:12]}"


def verify(connection: Connection) -> Head:
    """Recompute every digest and every link; returns the end of the chain.

    ExperimentError naming the first fault (table, rows, what became of them) and how many more there are.
    """
    found = list(faults(connection))
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ExperimentError(f"ledger {head(connection).id[:12]}: {found[0]}{more}; {_WAY_OUT}")
    return head(connection)


def faults(connection: Connection) -> Iterator[str]:
    """Yield what is wrong with the chain, a line each: first its links, then the rows of each table."""
    links = connection.execute(select(LinkRow.__table__).order_by(LinkRow.id)).all()
    previous = ""
    for place, link in enumerate(links, start=1):
        if link.previous != previous:
            yield (
                f"link {place} does not follow the one before it: a link is missing, out of order or not of "
                "this chain"
                if previous
                else "the first link is missing"
            )
        if _hash(link) != link.hash:
            yield f"link {place}, of {link.table_name} {link.first_row} to {link.last_row}, was changed"
        previous = link.hash
    if links and links[0].table_name != _GENESIS:
        yield "the first link does not begin a ledger"
    for model in CHAINED:
        table = table_of(model)
        yield from _faults_of(connection, table, [each for each in links if each.table_name == table.name])


def _faults_of(connection: Connection, table: Table, links: Sequence[Any]) -> Iterator[str]:
    """Walk through a table once; each of its rows must be in a link, and each link's rows there."""
    last = 0
    for link in links:
        if link.first_row <= last or link.last_row < link.first_row:
            yield f"{table.name}: a link holds rows {link.first_row} to {link.last_row}, after {last}"
            return
        last = link.last_row
    rows = _Rows(connection, table)
    for link in links:
        yield from _unlinked(table, rows.upto(link.first_row - 1))
        count, digest = rows.upto(link.last_row).result
        where = f"{table.name}, rows {link.first_row} to {link.last_row}"
        if count < link.rows:
            yield f"{where}: {link.rows - count} of {link.rows} are gone"
        elif count > link.rows:
            yield f"{where}: {count - link.rows} were inserted"
        elif digest != link.digest:
            yield f"{where}: at least one of {link.rows} was changed"
    yield from _unlinked(table, rows.upto(None))


def _unlinked(table: Table, found: _Digest) -> Iterator[str]:
    if found.count:
        yield f"{table.name}, rows {found.first} to {found.last}: {found.count} that were never linked"


class _Digest:
    """The digest of some rows, one after the other."""

    def __init__(self) -> None:
        self.count, self.first, self.last = 0, 0, 0
        self._hash = hashlib.sha256()

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self.first = self.first or rows[0][0]
            self.last = rows[-1][0]
            self.count += len(rows)
            self._hash.update("".join(map(ascii, rows)).encode())

    @property
    def result(self) -> tuple[int, str]:
        return self.count, self._hash.hexdigest()


class _Rows:
    """The rows of a table from an id on, piece by piece."""

    def __init__(self, connection: Connection, table: Table, first: int = 1) -> None:
        self._pieces = _pieces(connection, table, first)
        self._piece: Sequence[tuple[Any, ...]] = ()
        self._place = 0

    def upto(self, last: int | None) -> _Digest:
        """Return the digest of the next rows, up to an id, or of all."""
        found = _Digest()
        while True:
            end = len(self._piece)
            if last is not None:
                end = bisect_right(self._piece, last, lo=self._place, key=lambda row: row[0])
            found.add(self._piece[self._place : end])
            self._place = end
            if end < len(self._piece):
                return found
            piece = next(self._pieces, None)
            if piece is None:
                return found
            self._piece, self._place = piece, 0


def _pieces(connection: Connection, table: Table, first: int) -> Iterator[list[tuple[Any, ...]]]:
    mark = "%s" if connection.dialect.paramstyle in ("format", "pyformat") else "?"
    columns = ", ".join(_column(each, connection.dialect.name) for each in table.columns)
    query = f"SELECT {columns} FROM {table.name} WHERE id >= {mark} ORDER BY id LIMIT {_PIECE}"
    has_blobs = any(isinstance(each.type, LargeBinary) for each in table.columns)
    while piece := tuples(connection, query, (first,)):
        first = piece[-1][0] + 1
        if has_blobs:
            piece = [tuple(map(_without_blobs, row)) for row in piece]
        yield [row if row[-1] is not None else _shortened(row) for row in piece]


def _column(column: Any, dialect: str) -> str:
    """Spell a column so that both databases give equal values."""
    if dialect == "postgresql" and isinstance(column.type, Date):
        return f"to_char({column.name}, 'YYYY-MM-DD')"
    if dialect == "postgresql" and isinstance(column.type, Double):
        # SQLite knows no -0.0.
        return f"{column.name} + 0.0"
    return str(column.name)


def _without_blobs(value: Any) -> Any:
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes | memoryview) else value


def _shortened(row: tuple[Any, ...]) -> tuple[Any, ...]:
    while row[-1] is None:
        row = row[:-1]
    return row


def _spelled(connection: Connection, row: Iterable[Any]) -> list[Any]:
    """Dates as SQLite keeps them, where rows go past SQLAlchemy."""
    if connection.dialect.name != "sqlite":
        return list(row)
    return [each.isoformat() if isinstance(each, date) else each for each in row]


def _add_link(connection: Connection, table: Table, found: _Digest) -> None:
    count, digest = found.result
    newest = select(LinkRow.hash).order_by(LinkRow.id.desc()).limit(1)
    previous = connection.scalar(newest) or ""
    _link(connection, table.name, found.first, found.last, count, digest, previous=previous)


def _link(
    connection: Connection, table: str, first: int, last: int, rows: int, digest: str, *, previous: str
) -> None:
    link = LinkRow(
        table_name=table,
        first_row=first,
        last_row=last,
        rows=rows,
        digest=digest,
        previous=previous,
        recorded=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    values = {name: getattr(link, name) for name in _IN_HASH}
    connection.execute(insert(LinkRow).values(**values, hash=_hash(link)))


_IN_HASH = ("table_name", "first_row", "last_row", "rows", "digest", "previous", "recorded")


def _hash(link: Any) -> str:
    return hashlib.sha256("\n".join(str(getattr(link, name)) for name in _IN_HASH).encode()).hexdigest()


def table_of(model: type[Base]) -> Table:
    """Return the table of a model."""
    table = model.__table__
    assert isinstance(table, Table)
    return table


def _id(model: type[Base]) -> Any:
    return table_of(model).c.id
