"""The tables of experiments: searches, their runs, what is kept of their returns, their accounts.

The tables that nobody may change are in `append_only.py`. Moments are ISO texts in UTC, which every database
keeps as they are.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Double, ForeignKey, Integer, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = 7
"""Version of these tables: the number of the newest step in `migrations/`."""

METRICS = (
    "trades", "net_profit", "sharpe", "sharpe_session", "sortino", "cagr", "calmar", "max_drawdown",
    "max_drawdown_fraction", "win_rate", "profit_factor", "exposure", "skew", "kurtosis", "sessions",
)  # fmt: skip
PARTS = ("train", "test")
OK, FAILED = "ok", "failed"
RUNNING, FINISHED, UNSUCCESSFUL, MISMATCH = "running", "finished", "unsuccessful", "mismatch"

Number = BigInteger().with_variant(Integer, "sqlite")


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
    runs: Mapped[int] = mapped_column(Number)
    code_hash: Mapped[str] = mapped_column(String(64))
    data_hashes: Mapped[str] = mapped_column(Text)
    config_hash: Mapped[str] = mapped_column(String(64))
    started: Mapped[str] = mapped_column(String(32))
    finished: Mapped[str | None] = mapped_column(String(32))
    seconds: Mapped[float] = mapped_column(Double, default=0.0)
    bars: Mapped[int] = mapped_column(Number, default=0)


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
    variant: Mapped[int] = mapped_column(Number, primary_key=True)
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
    sketch     float16 (count, 256): directions of the sketches of the test range, of length 1 or 0; before
               schema 3 float16 (count, 128): train and test side by side, keyed by position
    lengths    float64 (count,): the length that each sketch had
    ones       float64 (256,): the sketch of 1 over the test range's dates
    timing     float64 (count, 5): of the test range, see `SweepResult.timing`
    calendar   int64 (2, 2): per range the weeks of a block, and the number of its first block

    The last four are NULL where an earlier version wrote the row.
    """

    __tablename__ = "returns"

    experiment_id: Mapped[int] = mapped_column(
        ForeignKey("experiment.id", ondelete="CASCADE"), primary_key=True
    )
    symbol: Mapped[str] = mapped_column(String(32), primary_key=True)
    window_number: Mapped[int] = mapped_column(Integer, primary_key=True)
    first_variant: Mapped[int] = mapped_column(Number, primary_key=True)
    variants: Mapped[bytes] = mapped_column(LargeBinary)
    blocks: Mapped[bytes] = mapped_column(LargeBinary)
    sessions: Mapped[bytes] = mapped_column(LargeBinary)
    sketch: Mapped[bytes] = mapped_column(LargeBinary)
    lengths: Mapped[bytes | None] = mapped_column(LargeBinary)
    ones: Mapped[bytes | None] = mapped_column(LargeBinary)
    timing: Mapped[bytes | None] = mapped_column(LargeBinary)
    calendar: Mapped[bytes | None] = mapped_column(LargeBinary)


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
