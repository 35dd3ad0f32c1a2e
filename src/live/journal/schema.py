"""The tables of the journal, and the steps that bring an older file up to date.

Columns that hold floats have no declared type: so SQLite keeps them bit for bit. (As REAL it would lose the
sign of a zero.) It keeps NaN as NULL; every other value comes back as it went in.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x4C4F434B
_LEDGERS = {
    "epochs": "number mode reason started first hashes bundles series hash",
    "warmup": "epoch symbol timeframe end open high low close volume",
    "states": "epoch symbol position entry_price stop target cash waiting trade bars_held",
    "entries": "sequence epoch hash",
    "sets": "sequence stamp",
    "bars": "sequence place symbol timeframe end open high low close volume received origin",
    "irregularities": "sequence place kind symbol timeframe end bar detail",
    "decisions": "sequence place symbol bundle vector probability code reason"
    " mark_price mark_position mark_cash mark_equity"
    " position entry_price stop target cash waiting trade bars_held",
    "orders": "sequence lane place symbol reference decision intent reason status"
    " stamp quantity price commission slippage",
    "events": "sequence in_set kind symbol time content",
    "coordinators": "epoch portfolio stamp day baseline equity high tier drawdown stopped halted reserve"
    " peaks lanes",
    "settlements": "sequence stamp day baseline equity high tier drawdown stopped halted reserve peaks lanes",
    "proposals": "sequence place symbol side base scale quantity rule margin",
}
PORTFOLIOS = 2
"""The step that keeps what the coordinator of a portfolio decides."""
_ADDED = {PORTFOLIOS: ("coordinators", "settlements", "proposals")}
COLUMNS = {table: tuple(names.split()) for table, names in _LEDGERS.items()}
"""Columns by table, in the order in which rows are written, read and hashed."""

TABLES = """
CREATE TABLE epochs (
    number INTEGER PRIMARY KEY,
    mode TEXT NOT NULL, reason TEXT NOT NULL, started INTEGER NOT NULL, first INTEGER NOT NULL,
    hashes TEXT NOT NULL, bundles TEXT NOT NULL, series TEXT NOT NULL, hash BLOB NOT NULL
);
CREATE TABLE warmup (
    epoch INTEGER NOT NULL REFERENCES epochs, symbol TEXT NOT NULL, timeframe TEXT NOT NULL,
    end INTEGER NOT NULL, open, high, low, close, volume,
    PRIMARY KEY (epoch, symbol, timeframe, end)
) WITHOUT ROWID;
CREATE TABLE states (
    epoch INTEGER NOT NULL REFERENCES epochs, symbol TEXT NOT NULL,
    position, entry_price, stop, target, cash, waiting TEXT, trade TEXT, bars_held INTEGER NOT NULL,
    PRIMARY KEY (epoch, symbol)
) WITHOUT ROWID;
CREATE TABLE entries (
    sequence INTEGER PRIMARY KEY, epoch INTEGER NOT NULL REFERENCES epochs, hash BLOB NOT NULL
);
CREATE TABLE sets (
    sequence INTEGER PRIMARY KEY REFERENCES entries, stamp INTEGER NOT NULL
);
CREATE TABLE bars (
    sequence INTEGER NOT NULL REFERENCES sets, place INTEGER NOT NULL,
    symbol TEXT NOT NULL, timeframe TEXT NOT NULL, end INTEGER NOT NULL,
    open, high, low, close, volume, received INTEGER, origin TEXT,
    PRIMARY KEY (sequence, place)
) WITHOUT ROWID;
CREATE INDEX bars_of_series ON bars (symbol, timeframe, end);
CREATE TABLE irregularities (
    sequence INTEGER NOT NULL REFERENCES sets, place INTEGER NOT NULL, kind TEXT NOT NULL,
    symbol TEXT NOT NULL, timeframe TEXT NOT NULL, end INTEGER NOT NULL, bar TEXT, detail TEXT NOT NULL,
    PRIMARY KEY (sequence, place)
) WITHOUT ROWID;
CREATE TABLE decisions (
    sequence INTEGER NOT NULL REFERENCES sets, place INTEGER NOT NULL,
    symbol TEXT NOT NULL, bundle TEXT NOT NULL, vector BLOB NOT NULL, probability,
    code INTEGER NOT NULL, reason TEXT NOT NULL, mark_price, mark_position, mark_cash, mark_equity,
    position, entry_price, stop, target, cash, waiting TEXT, trade TEXT, bars_held INTEGER NOT NULL
);
CREATE UNIQUE INDEX one_decision ON decisions (sequence, symbol);
CREATE TABLE orders (
    sequence INTEGER NOT NULL REFERENCES sets, lane INTEGER NOT NULL, place INTEGER NOT NULL,
    symbol TEXT NOT NULL, reference INTEGER NOT NULL, decision INTEGER NOT NULL, intent TEXT NOT NULL,
    reason TEXT NOT NULL, status TEXT NOT NULL, stamp INTEGER NOT NULL,
    quantity, price, commission, slippage,
    PRIMARY KEY (sequence, lane, place)
) WITHOUT ROWID;
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY REFERENCES entries, in_set INTEGER REFERENCES sets,
    kind TEXT NOT NULL, symbol TEXT NOT NULL, time INTEGER NOT NULL, content TEXT NOT NULL
);
CREATE INDEX events_by_kind ON events (kind, time);
"""

_PORTFOLIO = """
CREATE TABLE coordinators (
    epoch INTEGER PRIMARY KEY REFERENCES epochs, portfolio TEXT NOT NULL, stamp INTEGER NOT NULL,
    day INTEGER NOT NULL, baseline, equity, high, tier INTEGER NOT NULL, drawdown,
    stopped INTEGER NOT NULL, halted INTEGER NOT NULL, reserve, peaks TEXT NOT NULL, lanes TEXT NOT NULL
);
CREATE TABLE settlements (
    sequence INTEGER PRIMARY KEY REFERENCES sets, stamp INTEGER NOT NULL,
    day INTEGER NOT NULL, baseline, equity, high, tier INTEGER NOT NULL, drawdown,
    stopped INTEGER NOT NULL, halted INTEGER NOT NULL, reserve, peaks TEXT NOT NULL, lanes TEXT NOT NULL
);
CREATE TABLE proposals (
    sequence INTEGER NOT NULL REFERENCES settlements, place INTEGER NOT NULL, symbol TEXT NOT NULL,
    side, base, scale, quantity, rule TEXT NOT NULL, margin,
    PRIMARY KEY (sequence, place)
) WITHOUT ROWID;
"""

ALL_TABLES = TABLES + _PORTFOLIO
"""The tables of the newest step, without what guards them."""

_APPEND_ONLY = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
"""


def _step(number: int, tables: str) -> str:
    guards = (
        _APPEND_ONLY.format(table=table, verb=verb)
        for table in tables_of(number)
        if number == 1 or table not in tables_of(number - 1)
        for verb in ("UPDATE", "DELETE")
    )
    return "".join((tables, *guards))


def tables_of(step: int) -> tuple[str, ...]:
    """Return the tables that a journal of a step has, in the order of COLUMNS."""
    later = {table for number, added in _ADDED.items() if number > step for table in added}
    return tuple(table for table in COLUMNS if table not in later)


MIGRATIONS = (
    _step(1, TABLES) + f"PRAGMA application_id = {APPLICATION_ID};",
    _step(2, _PORTFOLIO),
    _step(3, ""),  # events alone: `netted`
)
"""SQL that leads from version n to n + 1, for n = 0, 1, ...; a stored journal names its version.

A step that adds columns or tables also says how older rows are hashed: see `rows.SetRows.hashed`.
"""


def version(connection: sqlite3.Connection) -> int | None:
    """Return the schema version of a database, 0 for an empty one, None where it is not a journal."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == APPLICATION_ID:
        return int(number)
    return 0 if (application, number, objects) == (0, 0, 0) else None


def migrate(connection: sqlite3.Connection, start: int) -> None:
    """Apply the steps after version `start`, all of them or none."""
    steps = "".join(MIGRATIONS[start:])
    try:
        connection.executescript(f"BEGIN IMMEDIATE;{steps}PRAGMA user_version = {len(MIGRATIONS)};COMMIT;")
    finally:
        if connection.in_transaction:
            connection.rollback()


def insert(table: str) -> str:
    """Return the statement that inserts a row of `table`, all columns in order."""
    names = COLUMNS[table]
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


def select(table: str, rest: str) -> str:
    """Return the statement that selects rows of `table`, all columns in order; `rest` is WHERE, ORDER BY."""
    return f"SELECT {', '.join(COLUMNS[table])} FROM {table} {rest}"
