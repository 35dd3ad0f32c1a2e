"""`monitor.db`: what a monitor keeps. Derived rows can be made again; recorded ones cannot.

Columns that hold floats have no declared type, so that SQLite keeps them bit for bit; NaN is NULL.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from lockstep.errors import MonitorAtWork, MonitorError

APPLICATION_ID = 0x4C4F434D
SCHEMA = 1

# By table: the columns in order, and how many of the first ones name a row.
_DERIVED: Mapping[str, tuple[str, int]] = {
    "outcomes": (
        "lane decision bundle version epoch mode side probability state reason entry exit quantity"
        " entry_price exit_price pnl following sequence", 3,
    ),
    "sessions": ("lane session bundle stamp vector close equity position probability asked", 2),
    "swaps": ("lane stamp bundle version epoch", 2),
    "wealth": ("place time bundle alarm watch outcomes mean", 2),
    "alarms": ("place level raised bundle stream since outcomes sentence severity acknowledged", 3),
    "drift": (
        "lane kind session bundle verdict since years score highest feature what sentence severity", 3,
    ),
    "fills": (
        "lane stamp number symbol order_kind quantity price model ticks usd commission touched", 3,
    ),
    "notes": ("about sentence", 2),
    "states": ("name content", 1),
}  # fmt: skip
_RECORDED: Mapping[str, tuple[str, int]] = {
    "acknowledgements": ("place time by reason given", 2),
    "settled": ("lane decision bundle side entry exit quantity entry_price exit_price pnl following", 3),
    "corrections": ("lane decision bundle number exit pnl following sentence", 4),
}
_OPERATIONAL: Mapping[str, tuple[str, int]] = {
    "runs": ("name value", 1),
    "deliveries": ("kind subject delivered", 2),
}
TABLES = {**_DERIVED, **_RECORDED, **_OPERATIONAL}
COLUMNS = {table: tuple(names.split()) for table, (names, _) in TABLES.items()}
DERIVED, RECORDED = tuple(_DERIVED), tuple(_RECORDED)


def _ddl(table: str) -> str:
    names, key = COLUMNS[table], ", ".join(COLUMNS[table][: TABLES[table][1]])
    return f"CREATE TABLE {table} ({', '.join(names)}, PRIMARY KEY ({key})) WITHOUT ROWID;"


class MonitorDatabase:
    """A `monitor.db`, opened to write, or to read while somebody else writes."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, readonly: bool = False) -> Iterator[Self]:
        """Open the file; a writer makes it where it is missing.

        MonitorError where the file is something else, is damaged, or was busy for a minute.
        """
        try:
            with closing(_connected(path, readonly=readonly)) as connection:
                if not readonly:
                    _prepared(path, connection)
                _require_ours(path, connection)
                yield cls(path, connection)
        except sqlite3.Error as error:
            raise MonitorError(
                f"{path}: {error}; name the monitor's own file, or move this one away and run the monitor"
            ) from error

    @contextmanager
    def step(self) -> Iterator[None]:
        """All writes of the block, or none."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def rows(self, table: str, where: str = "", *parameters: Any) -> list[dict[str, Any]]:
        """Return rows by the names of their columns, in the order of their keys; `where` is SQL."""
        names, key = COLUMNS[table], ", ".join(COLUMNS[table][: TABLES[table][1]])
        query = f"SELECT {', '.join(names)} FROM {table} {f'WHERE {where}' if where else ''} ORDER BY {key}"
        found = self._connection.execute(query, parameters).fetchall()
        return [dict(zip(names, row, strict=True)) for row in found]

    def select(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Return the rows of a query of one's own by the names of its columns; it changes nothing."""
        cursor = self._connection.execute(query, parameters)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def put(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows, in place of those of the same keys."""
        names = COLUMNS[table]
        query = f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(names))})"
        self._connection.executemany(query, ([_stored(row[name]) for name in names] for row in rows))

    def replace(
        self, table: str, rows: Iterable[Mapping[str, Any]], where: str = "", *parameters: Any
    ) -> None:
        """Write rows in place of all that there are, or of those `where`; what is the same is left alone."""
        names, width = COLUMNS[table], TABLES[table][1]
        wanted = {tuple(row[name] for name in names[:width]): row for row in rows}
        there = {
            tuple(row[name] for name in names[:width]): row for row in self.rows(table, where, *parameters)
        }
        condition = " AND ".join(f"{name} IS ?" for name in names[:width])
        gone = [key for key in there if key not in wanted]
        self._connection.executemany(f"DELETE FROM {table} WHERE {condition}", gone)
        self.put(table, (row for key, row in wanted.items() if there.get(key) != _plain(row, names)))

    def clear(self, tables: Sequence[str]) -> None:
        """Remove all rows of some tables."""
        for table in tables:
            self._connection.execute(f"DELETE FROM {table}")

    def value(self, name: str) -> Any:
        """Return what `set_value` was last given under a name; None for nothing."""
        found = self.rows("runs", "name = ?", name)
        return json.loads(found[0]["value"]) if found else None

    def set_value(self, name: str, value: Any) -> None:
        """Keep a plain value that no comparison covers."""
        self.put("runs", [{"name": name, "value": json.dumps(value)}])

    def digest(self) -> str:
        """Return the SHA-256 (hex) over all derived and recorded rows: equal for equal contents."""
        found = hashlib.sha256()
        for table in (*DERIVED, *RECORDED):
            for row in self.rows(table):
                found.update(repr((table, *row.values())).encode())
        return found.hexdigest()


def _plain(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: _stored(row[name]) for name in names}


def _stored(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


@contextmanager
def only_monitor(path: Path) -> Iterator[None]:
    """Be the one monitor of a database while the block runs; MonitorAtWork where another one is.

    Acknowledging needs no such right: it is one step, and steps wait for each other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise MonitorAtWork(
            f"{path}: another monitor is running; let that one go on, or stop it first"
        ) from None
    except OSError as error:
        raise MonitorError(f"{path}: cannot be locked for writing: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def _connected(path: Path, *, readonly: bool) -> sqlite3.Connection:
    if readonly and not path.is_file():
        raise MonitorError(f"{path}: there is no such file; run the monitor first")
    if not readonly:
        path.parent.mkdir(parents=True, exist_ok=True)
    address = f"{path.resolve().as_uri()}?mode={'ro' if readonly else 'rwc'}"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=60.0)


def _prepared(path: Path, connection: sqlite3.Connection) -> None:
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if objects:
        _require_ours(path, connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if not objects:
        tables = "".join(map(_ddl, TABLES))
        connection.executescript(
            f"BEGIN IMMEDIATE;{tables}PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {SCHEMA};COMMIT;"
        )


def _require_ours(path: Path, connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise MonitorError(f"{path}: is no database of a monitor; name another file")
    if number != SCHEMA:
        raise MonitorError(
            f"{path}: has schema {number}, this version writes {SCHEMA}; use the version that wrote it, or "
            "remove it and run the monitor"
        )
