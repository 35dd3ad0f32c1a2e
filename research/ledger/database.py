"""The database of experiments and of the trial ledger: SQLite in the user's data folder, or any other."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, func, make_url, select, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from lockstep.desk import desk_folder
from lockstep.drives import drive_of
from lockstep.errors import ExperimentError
from lockstep.files import replacing
from research.ledger.bulk import insert_rows
from research.ledger.chain import begin
from research.ledger.law import GUARD, Verdict, pronounce
from research.ledger.shares import spent_on
from research.ledger.tables import SCHEMA, Base, SchemaRow
from research.ledger.upgrade import create, guard_again, stored_version, unguarded, upgrade

_LOGGER = logging.getLogger("lockstep.experiments")
_BUSY_SECONDS = 60
_READER_SECONDS = 5.0
# A whole batch, so that none of it goes to the disk twice.
_CACHE_KIBIBYTES = 65_536
_CREATION_LOCK = 7_265_118
_PIECE = 5_000


def default_url() -> str:
    """Return `LOCKSTEP_DB`, else the desk folder's, else SQLite in the user's data: one for all checkouts."""
    declared = os.environ.get("LOCKSTEP_DB")
    if declared:
        return declared
    if (desk := desk_folder()) is not None:
        return desk.database
    root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return f"sqlite:///{root / 'lockstep' / 'experiments.db'}"


@dataclass(frozen=True)
class Database:
    """An open database with all tables. Whatever goes wrong in it is an ExperimentError of one line."""

    engine: Engine

    @classmethod
    def open(cls, url: str | None = None) -> Self:
        """Connect; create the tables, or upgrade older ones. ExperimentError where that cannot be done."""
        spelled = url or default_url()
        try:
            parsed = make_url(spelled)
            if parsed.get_backend_name() == "sqlite" and parsed.database:
                _require_local(Path(parsed.database))
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            database = cls(_engine(spelled))
        except (ArgumentError, NoSuchModuleError, ImportError, OSError) as error:
            raise ExperimentError(
                f"database {_without_password(spelled)}: {_first_line(error)}; "
                "set LOCKSTEP_DB to a database URL"
            ) from error
        database._bring_up_to_date()
        return database

    @classmethod
    def reading(cls, url: str) -> Self:
        """Connect to what is there, to read it: nothing is created, upgraded or written.

        ExperimentError without such a database, or where its tables are not those of this version.
        """
        try:
            parsed = make_url(url)
            engine = _engine(url) if parsed.get_backend_name() != "sqlite" else _read_only(parsed)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise ExperimentError(f"database {_without_password(url)}: {_first_line(error)}") from error
        database = cls(engine)
        with database.read() as connection:
            stored = database._known(stored_version(connection))
        if stored != SCHEMA:
            raise ExperimentError(
                f"database {database._shown}: has {'no tables' if stored is None else f'schema {stored}'}, "
                f"this version reads schema {SCHEMA}; `lockstep experiments list` brings it up to date"
            )
        return database

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that sees one state of the database."""
        with spent_on("database"), self._failing_in_one_line(), self.engine.connect() as plain:
            connection = plain
            if self.is_postgresql:
                connection = plain.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that is committed at the end, or not at all."""
        with spent_on("database"), self._failing_in_one_line(), self.engine.connect() as plain:
            connection = plain.execution_options(writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep a connection open meanwhile, so that many small transactions are cheap.

        The last connection of SQLite that is closed copies the log into the file, which takes as long as a
        transaction does.
        """
        with self._failing_in_one_line(), self.engine.connect():
            yield

    @property
    def is_postgresql(self) -> bool:
        """Whether the database speaks PostgreSQL."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def _failing_in_one_line(self) -> Iterator[None]:
        # A COPY goes to the driver past SQLAlchemy, whose errors would be wrapped.
        driver: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        try:
            yield
        except (SQLAlchemyError, driver) as error:
            cause = getattr(error, "orig", None) or error
            raise ExperimentError(f"database {self._shown}: {_first_line(cause)}") from error

    def _bring_up_to_date(self) -> None:
        """Create the tables, or upgrade them; where another process does it, wait until it has."""
        with self.read() as connection:
            stored = self._known(stored_version(connection))
            if stored == SCHEMA and next(unguarded(connection), None) is None:
                return
        with self.write() as connection:
            if self.is_postgresql:
                # Two processes that create the same table at once would both fail.
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_CREATION_LOCK})"))
            stored = self._known(stored_version(connection))
            if stored is None:
                create(connection)
                return
            guards = guard_again(connection)
            if stored < SCHEMA:
                self._upgrade(connection, stored)
            if guards:
                self._remember(connection, guards)

    def _known(self, stored: int | None) -> int | None:
        if stored is not None and stored > SCHEMA:
            raise ExperimentError(
                f"database {self._shown}: has schema {stored}, written by a newer Lockstep; this one knows "
                f"{SCHEMA}: use the newer one, or another database (LOCKSTEP_DB)"
            )
        return stored

    def _upgrade(self, connection: Connection, stored: int) -> None:
        kept = self._keep(stored)
        try:
            upgrade(connection, stored)
        except ExperimentError as error:
            raise ExperimentError(f"database {self._shown}: {error}") from error
        # What was counted before there was a chain belongs to it from now on.
        begin(connection)
        where = f"as it was: {kept}" if kept else "the upgrade was one transaction"
        _LOGGER.info("database %s: upgraded from schema %s to %s; %s", self._shown, stored, SCHEMA, where)

    def _remember(self, connection: Connection, guards: Sequence[str]) -> None:
        """Write down that somebody could change what is only ever added to; the next promotion shows it."""
        reason = "found missing or changed, and made again"
        verdict = Verdict(kind=GUARD, subject=", ".join(guards), limits={}, reason=reason)
        pronounce(connection, verdict, now=datetime.now(UTC))
        _LOGGER.warning(
            "database %s: guards of append-only tables were missing or changed, and are made again: %s; "
            "`lockstep experiments trials --verify` says whether rows were changed meanwhile",
            self._shown,
            verdict.subject,
        )

    def _keep(self, stored: int) -> Path | None:
        """Copy a SQLite database before its upgrade: an older Lockstep can go back to the copy."""
        name = self.engine.url.database
        if self.is_postgresql or not name:
            return None
        path = Path(name)
        names = chain((f"{path.name}.v{stored}",), (f"{path.name}.v{stored}.{each}" for each in count(2)))
        kept = next(each for each in map(path.with_name, names) if not each.exists())
        try:
            with (
                replacing(kept) as partial,
                closing(sqlite3.connect(path)) as source,
                closing(sqlite3.connect(partial)) as copy,
            ):
                source.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
        except (OSError, sqlite3.Error) as error:
            raise ExperimentError(
                f"database {self._shown}: cannot be copied to {kept} before its upgrade: {error}; free space "
                "there, or check the permissions"
            ) from error
        return kept

    @property
    def _shown(self) -> str:
        return self.engine.url.render_as_string(hide_password=True)


def _engine(url: str) -> Engine:
    # A search has few transactions: no connection needs to be kept, or closed at the end.
    engine = create_engine(url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _read_only(url: URL) -> Engine:
    """Return an engine of a SQLite file that cannot write; ExperimentError where there is no file."""
    path = Path(url.database or "")
    if not path.is_file():
        raise ExperimentError(f"database {path}: there is none yet; the first experiment makes it")
    address = f"{path.resolve().as_uri()}?mode=ro"

    def connected() -> sqlite3.Connection:
        # Python's driver would begin transactions by itself, and not before a SELECT.
        return sqlite3.connect(address, uri=True, isolation_level=None, timeout=_READER_SECONDS)

    engine = create_engine(url, poolclass=NullPool, creator=connected)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _require_local(path: Path) -> None:
    """ExperimentError for a network drive; a folder shared with the host is warned of."""
    drive = drive_of(path)
    if drive is None or drive.doubt is None:
        return
    if drive.is_network:
        raise ExperimentError(
            f"database {path}: {drive.doubt}; set LOCKSTEP_DB to a disk of this machine or to PostgreSQL"
        )
    _LOGGER.warning("database %s: %s; better keep it on a disk of this machine", path, drive.doubt)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Python's driver would begin transactions by itself, and not before a SELECT.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {_BUSY_SECONDS * 1000}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"cache_size = -{_CACHE_KIBIBYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later could find the database changed under it.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _without_password(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "URL"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def row_counts(database: Database) -> dict[str, int]:
    """Return the rows by table, all of one moment."""
    with database.read() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in _tables()
        }


def copy_tables(source: Database, target: Database) -> None:
    """Copy all rows of one moment into an empty database, all or none; the kinds may differ."""
    with source.read() as reading, target.write() as writing:
        for table in _tables():
            columns = [column.name for column in table.columns]
            rows = reading.execution_options(stream_results=True).execute(select(table))
            for piece in rows.partitions(_PIECE):
                insert_rows(writing, table, columns, piece)
            if target.is_postgresql and "id" in columns:
                # Rows that came with their numbers do not move the sequence that gives the next one.
                last = writing.scalar(select(func.max(table.c.id)))
                if last is not None:
                    name = func.pg_get_serial_sequence(table.name, "id")
                    writing.execute(select(func.setval(name, last)))


def _tables() -> list[Table]:
    """Return the tables that hold rows of users, those that others refer to first."""
    return [table for table in Base.metadata.sorted_tables if table.name != SchemaRow.__tablename__]
