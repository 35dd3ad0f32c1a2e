"""Families by bars, declared spaces, the maximum test, forward evidence, and the chain over them all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from research.ledger.guards import seal

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the tables, and to what is kept of returns what the maximum test reads."""
    for name in ("lengths", "ones", "timing", "calendar"):
        op.add_column("returns", sa.Column(name, sa.LargeBinary))
    for table in (*_of_searches(), *_of_candidates()):
        seal(table, op.get_bind())


def _of_searches() -> list[sa.Table]:
    return [
        op.create_table(
            "series",
            sa.Column("id", sa.Integer, primary_key=True),
            _column("symbol", sa.String(32)),
            _column("family", sa.String(32)),
            _column("bars", sa.String(64)),
            _column("days", sa.LargeBinary),
            _column("returns", sa.LargeBinary),
            _column("recorded", sa.String(32)),
            sa.UniqueConstraint("bars", "family", name="series_of_family"),
        ),
        op.create_table(
            "kinship",
            sa.Column("id", sa.Integer, primary_key=True),
            _column("family", sa.String(32)),
            _column("other", sa.String(32)),
            _column("symbol", sa.String(32)),
            _column("other_symbol", sa.String(32)),
            _column("correlation", sa.Double),
            _column("days", sa.Integer),
            _column("lag", sa.Integer),
            _column("verdict", sa.String(8)),
            _column("recorded", sa.String(32)),
        ),
        op.create_table(
            "law",
            sa.Column("id", sa.Integer, primary_key=True),
            _column("family", sa.String(32)),
            _column("first_date", sa.Date),
            _column("last_date", sa.Date),
            sa.Column("holdout_first", sa.Date),
            sa.Column("holdout_last", sa.Date),
            _column("limits", sa.Text),
            sa.Column("experiment_id", sa.Integer),
            _column("recorded", sa.String(32)),
        ),
        op.create_table(
            "space",
            sa.Column("id", sa.Integer, primary_key=True),
            _column("family", sa.String(32)),
            _column("first_date", sa.Date),
            _column("last_date", sa.Date),
            _column("hash", sa.String(64)),
            _column("content", sa.Text),
            sa.Column("size", _number()),
            _column("declared", sa.Integer),
            sa.Column("within", sa.Integer),
            sa.Column("experiment_id", sa.Integer),
            _column("recorded", sa.String(32)),
        ),
        op.create_table(
            "maximum",
            sa.Column("id", sa.Integer, primary_key=True),
            _column("experiment_id", sa.Integer),
            _column("family", sa.String(32)),
            _column("symbol", sa.String(32)),
            _column("first_date", sa.Date),
            _column("last_date", sa.Date),
            _column("trials", _number()),
            _column("best", sa.Double),
            _column("survivors", _number()),
            _column("draws", sa.LargeBinary),
            _column("recorded", sa.String(32)),
        ),
        op.create_table(
            "verdict",
            sa.Column("id", sa.Integer, primary_key=True),
            _column("kind", sa.String(16)),
            _column("subject", sa.Text),
            sa.Column("experiment_id", sa.Integer),
            _column("families", sa.Text),
            _column("limits", sa.Text),
            _column("refusals", sa.Text),
            _column("reason", sa.Text),
            _column("recorded", sa.String(32)),
        ),
        op.create_table(
            "replay",
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("experiment_id", sa.Integer),
            _column("family", sa.String(32)),
            _column("symbol", sa.String(32)),
            _column("search", sa.String(64)),
            _column("config_hash", sa.String(64)),
            _column("replays", sa.Integer),
            _column("p_value", sa.Double),
            _column("recorded", sa.String(32)),
        ),
        op.create_table(
            "link",
            sa.Column("id", sa.Integer, primary_key=True),
            _column("table_name", sa.String(32)),
            _column("first_row", _number()),
            _column("last_row", _number()),
            _column("rows", _number()),
            _column("digest", sa.String(64)),
            sa.Column("previous", sa.String(64), nullable=False, unique=True),
            sa.Column("hash", sa.String(64), nullable=False, unique=True),
            _column("recorded", sa.String(32)),
        ),
    ]


def _of_candidates() -> list[sa.Table]:
    return [
        op.create_table(
            "first_seen",
            sa.Column("id", _number(), primary_key=True, autoincrement=True),
            _column("series", sa.String(48)),
            _column("stamp", sa.BigInteger),
            _column("open", sa.Double),
            _column("high", sa.Double),
            _column("low", sa.Double),
            _column("close", sa.Double),
            _column("volume", sa.Double),
            _column("seen", sa.String(32)),
            _column("source", sa.String(64)),
            sa.UniqueConstraint("series", "stamp", name="first_seen_bar"),
        ),
        op.create_table(
            "candidate",
            sa.Column("id", sa.Integer, primary_key=True),
            _column("name", sa.Text),
            _column("kind", sa.String(16)),
            _column("symbol", sa.String(32)),
            _column("family", sa.String(32)),
            _column("hash", sa.String(64)),
            _column("content", sa.Text),
            _column("stamp", sa.BigInteger),
            _column("year", sa.Integer),
            _column("weight", sa.Double),
            _column("sigma", sa.Double),
            _column("beta", sa.Double),
            _column("searched", sa.String(16)),
            sa.Column("trials", _number()),
            sa.Column("p_value", sa.Double),
            _column("e_history", sa.Double),
            sa.Column("champion", sa.String(64)),
            _column("recorded", sa.String(32)),
        ),
        op.create_table(
            "forward",
            sa.Column("id", _number(), primary_key=True, autoincrement=True),
            _column("candidate_id", sa.Integer),
            _column("session", sa.Date),
            _column("residual", sa.Double),
            _column("recorded", sa.String(32)),
            sa.UniqueConstraint("candidate_id", "session", name="forward_session"),
        ),
        op.create_table(
            "candidate_event",
            sa.Column("id", sa.Integer, primary_key=True),
            _column("candidate_id", sa.Integer),
            _column("kind", sa.String(16)),
            _column("session", sa.Date),
            _column("evidence", sa.Double),
            _column("reason", sa.Text),
            _column("recorded", sa.String(32)),
        ),
    ]


def _column(name: str, kind: object) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=False)  # type: ignore[arg-type]


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
