"""The tables of the first version: experiments, runs, returns, genealogy and the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from research.ledger.guards import seal

revision = "0001"
down_revision = None

_METRICS = (
    "trades", "net_profit", "sharpe", "sharpe_session", "sortino", "cagr", "calmar", "max_drawdown",
    "max_drawdown_fraction", "win_rate", "profit_factor", "exposure", "skew", "kurtosis", "sessions",
)  # fmt: skip


def upgrade() -> None:
    """Create everything in an empty database."""
    op.create_table("schema_version", _key("version", sa.Integer))
    op.create_table(
        "experiment",
        sa.Column("id", sa.Integer, primary_key=True),
        _column("name", sa.Text),
        _column("kind", sa.String(16)),
        _column("status", sa.String(16)),
        _column("plan", sa.Text),
        _column("runs", _number()),
        _column("code_hash", sa.String(64)),
        _column("data_hashes", sa.Text),
        _column("config_hash", sa.String(64)),
        _column("started", sa.String(32)),
        sa.Column("finished", sa.String(32)),
        _column("seconds", sa.Double),
        _column("bars", _number()),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "run",
        *_of_a_window(),
        _key("variant", _number()),
        _column("parameters", sa.Text),
        sa.Column("config_hash", sa.String(64)),
        _column("evaluation", sa.String(32)),
        _column("status", sa.String(8)),
        sa.Column("error", sa.Text),
        sa.Column("verified", sa.Integer, nullable=False, server_default="0"),
        *(sa.Column(f"{part}_{metric}", sa.Double) for part in ("train", "test") for metric in _METRICS),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "returns",
        *_of_a_window(),
        _key("first_variant", _number()),
        *(_column(name, sa.LargeBinary) for name in ("variants", "blocks", "sessions", "sketch")),
    )
    op.create_table(
        "genealogy",
        sa.Column("id", sa.Integer, primary_key=True),
        _column("strategy", sa.Text),
        _column("config_hash", sa.String(64)),
        _column("parent", sa.Text),
        _column("parent_hash", sa.String(64)),
        sa.Column("grandparent", sa.Text),
        _column("experiment_id", sa.Integer),
        _column("changes", sa.Text),
        sa.Column("forced", sa.Text),
        _column("promoted", sa.String(32)),
    )
    _create_ledger()


def _create_ledger() -> None:
    ledger = op.create_table(
        "ledger",
        sa.Column("id", _number(), primary_key=True, autoincrement=True),
        sa.Column("evaluation", sa.String(32), nullable=False, unique=True),
        *_of_a_family(),
        _column("kind", sa.String(16)),
        _column("status", sa.String(8)),
        sa.Column("experiment_id", sa.Integer),
        _column("recorded", sa.String(32)),
    )
    op.create_index("ledger_by_family", "ledger", ["family", "first_date", "last_date"])
    effective = op.create_table(
        "effective",
        sa.Column("id", sa.Integer, primary_key=True),
        _column("experiment_id", sa.Integer),
        _column("symbol", sa.String(32)),
        _column("trials", _number()),
        _column("effective", sa.Double),
    )
    look = op.create_table(
        "look",
        sa.Column("id", sa.Integer, primary_key=True),
        *_of_a_family(),
        sa.Column("experiment_id", sa.Integer),
        _column("purpose", sa.Text),
        _column("recorded", sa.String(32)),
    )
    for table in (ledger, effective, look):
        seal(table, op.get_bind())


def _of_a_window() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column(
            "experiment_id", sa.Integer, sa.ForeignKey("experiment.id", ondelete="CASCADE"), primary_key=True
        ),
        _key("symbol", sa.String(32)),
        _key("window_number", sa.Integer),
    )


def _of_a_family() -> tuple[sa.Column[object], ...]:
    return (
        _column("family", sa.String(32)),
        _column("symbol", sa.String(32)),
        _column("first_date", sa.Date),
        _column("last_date", sa.Date),
    )


def _column(name: str, kind: object) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=False)  # type: ignore[arg-type]


def _key(name: str, kind: object) -> sa.Column[object]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)  # type: ignore[arg-type]


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
