"""What trials did, by which one that does the same is known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from research.ledger.guards import seal

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the table."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    table = op.create_table(
        "behaviour",
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("run", sa.String(40), nullable=False, unique=True),
        sa.Column("evaluation", sa.String(32), nullable=False),
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("symbol", sa.String(32), nullable=False),
        sa.Column("window_number", sa.Integer, nullable=False),
        sa.Column("variant", number, nullable=False),
        sa.Column("train", sa.String(64), nullable=False),
        sa.Column("test", sa.String(64), nullable=False),
        sa.Column("recorded", sa.String(32), nullable=False),
    )
    op.create_index("behaviour_by_evaluation", "behaviour", ["evaluation"])
    op.create_index("behaviour_by_train", "behaviour", ["train"])
    op.create_index("behaviour_by_test", "behaviour", ["test"])
    seal(table, op.get_bind())
