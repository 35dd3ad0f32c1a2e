"""The tables of the experiment database.

`ledger`, `effective` and `look` are append-only: both databases refuse to change or delete a row. Moments are
ISO texts in UTC, which every database keeps as they are.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import (
    BigInteger,
    Connection,
    Date,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    event,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = 2
"""Version of these tables: the number of the newest step in `migrations/`."""

METRICS = (
    "trades", "net_profit", "sharpe", "sharpe_session", "sortino", "cagr", "calmar", "max_drawdown",
    "max_drawdown_fraction", "win_rate", "profit_factor", "exposure", "skew", "kurtosis", "sessions",
)  # fmt: skip
PARTS = ("train", "test")
OK, FAILED = "ok", "failed"
RUNNING, FINISHED, UNSUCCESSFUL, MISMATCH = "running", "finished", "unsuccessful", "mismatch"

_Number = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """All tables of the experiment database."""


class SchemaRow(Base):
    """The version of these tables."""

    __tablename__ = "schema_version"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Experiment(Base):
    """One search. `plan` is JSON, see `plan.py`; hashes are SHA-256 (hex), those of data by symbol as JSON.

    `seconds` and `bars` (bars x variants evaluated) tell the speed, from which the next search is estimated.
    """

    __tablename__ = "experiment"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    plan: Mapped[str] = mapped_column(Text)
    runs: Mapped[int] = mapped_column(_Number)
    code_hash: Mapped[str] = mapped_column(String(64))
    data_hashes: Mapped[str] = mapped_column(Text)
    config_hash: Mapped[str] = mapped_column(String(64))
    started: Mapped[str] = mapped_column(String(32))
    finished: Mapped[str | None] = mapped_column(String(32))
    seconds: Mapped[float] = mapped_column(Double, default=0.0)
    bars: Mapped[int] = mapped_column(_Number, default=0)


class ExperimentRun(Base):
    """One combination on one symbol in one window; `window_number` counts the windows of a walk-forward.

    `evaluation` is the ledger's name of what was evaluated; `verified` says that Backtrader gave the same.
    The measures follow as `train_*` and `test_*`, NULL where undefined.
    """

    __tablename__ = "run"
    __table_args__ = ({"sqlite_with_rowid": False},)

    experiment_id: Mapped[int] = mapped_column(
        ForeignKey("experiment.id", ondelete="CASCADE"), primary_key=True
    )
    symbol: Mapped[str] = mapped_column(String(32), primary_key=True)
    window_number: Mapped[int] = mapped_column(Integer, primary_key=True)
    variant: Mapped[int] = mapped_column(_Number, primary_key=True)
    parameters: Mapped[str] = mapped_column(Text)
    config_hash: Mapped[str | None] = mapped_column(String(64))
    evaluation: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(8))
    error: Mapped[str | None] = mapped_column(Text)
    verified: Mapped[int] = mapped_column(Integer, server_default="0")


for _part in PARTS:
    for _metric in METRICS:
        setattr(
            ExperimentRun, f"{_part}_{_metric}", mapped_column(f"{_part}_{_metric}", Double, nullable=True)
        )


class Returns(Base):
    """What is kept of the returns of the successful runs of one batch, arrays of `count` rows, C order.

    variants   int64 (count,)
    blocks     float32 (count, 2, 16, 2): train and test, per block the sum of session returns and of squares
    sessions   float64 (2, 16): sessions of each block
    sketch     float16 (count, 128): sketches of train and test, side by side, of length 1 together
    """

    __tablename__ = "returns"

    experiment_id: Mapped[int] = mapped_column(
        ForeignKey("experiment.id", ondelete="CASCADE"), primary_key=True
    )
    symbol: Mapped[str] = mapped_column(String(32), primary_key=True)
    window_number: Mapped[int] = mapped_column(Integer, primary_key=True)
    first_variant: Mapped[int] = mapped_column(_Number, primary_key=True)
    variants: Mapped[bytes] = mapped_column(LargeBinary)
    blocks: Mapped[bytes] = mapped_column(LargeBinary)
    sessions: Mapped[bytes] = mapped_column(LargeBinary)
    sketch: Mapped[bytes] = mapped_column(LargeBinary)


class AccountRow(Base):
    """What one account did, see `accounts.py`: a variant's, or that of a walk-forward.

    label    `train 12`, `test 12`: of variant 12; `chosen by sharpe`: each window's own choice
    legs     JSON: (variant, first date, last date) each; metrics   JSON, null where undefined
    days     int64 (sessions,) since 1970-01-01; equity   float64 (sessions,) USD after each
    """

    __tablename__ = "account"

    experiment_id: Mapped[int] = mapped_column(
        ForeignKey("experiment.id", ondelete="CASCADE"), primary_key=True
    )
    symbol: Mapped[str] = mapped_column(String(32), primary_key=True)
    label: Mapped[str] = mapped_column(String(32), primary_key=True)
    legs: Mapped[str] = mapped_column(Text)
    metrics: Mapped[str] = mapped_column(Text)
    capital: Mapped[float] = mapped_column(Double)
    days: Mapped[bytes] = mapped_column(LargeBinary)
    equity: Mapped[bytes] = mapped_column(LargeBinary)


class LedgerRow(Base):
    """One trial: an evaluation that was made, whatever came of it; see `ledger.py`. Append-only.

    `experiment_id` is a number, not a reference: the row outlives its experiment.
    """

    __tablename__ = "ledger"

    id: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    evaluation: Mapped[str] = mapped_column(String(32), unique=True)
    family: Mapped[str] = mapped_column(String(32))
    symbol: Mapped[str] = mapped_column(String(32))
    first_date: Mapped[date] = mapped_column(Date)
    last_date: Mapped[date] = mapped_column(Date)
    kind: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(8))
    experiment_id: Mapped[int | None] = mapped_column(Integer)
    recorded: Mapped[str] = mapped_column(String(32))


Index("ledger_by_family", LedgerRow.family, LedgerRow.first_date, LedgerRow.last_date)


class EffectiveRow(Base):
    """How many independent trials a finished search made, for those that come after it. Append-only."""

    __tablename__ = "effective"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    experiment_id: Mapped[int] = mapped_column(Integer)
    symbol: Mapped[str] = mapped_column(String(32))
    trials: Mapped[int] = mapped_column(_Number)
    effective: Mapped[float] = mapped_column(Double)


class LookRow(Base):
    """One look at a hold-out, written before it is opened. Append-only."""

    __tablename__ = "look"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    family: Mapped[str] = mapped_column(String(32))
    symbol: Mapped[str] = mapped_column(String(32))
    first_date: Mapped[date] = mapped_column(Date)
    last_date: Mapped[date] = mapped_column(Date)
    experiment_id: Mapped[int | None] = mapped_column(Integer)
    purpose: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class Genealogy(Base):
    """Where a promoted strategy comes from; `changes` is JSON: path -> [before, after]."""

    __tablename__ = "genealogy"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    strategy: Mapped[str] = mapped_column(Text)
    config_hash: Mapped[str] = mapped_column(String(64))
    parent: Mapped[str] = mapped_column(Text)
    parent_hash: Mapped[str] = mapped_column(String(64))
    grandparent: Mapped[str | None] = mapped_column(Text)
    experiment_id: Mapped[int] = mapped_column(Integer)
    changes: Mapped[str] = mapped_column(Text)
    forced: Mapped[str | None] = mapped_column(Text)
    promoted: Mapped[str] = mapped_column(String(32))


APPEND_ONLY = (LedgerRow, EffectiveRow, LookRow)
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
    unique = [column.name for column in table.columns if column.primary_key or column.unique]
    return " OR ".join(f"{name} = NEW.{name}" for name in unique)


for _model in APPEND_ONLY:
    event.listen(_model.__table__, "after_create", seal)
