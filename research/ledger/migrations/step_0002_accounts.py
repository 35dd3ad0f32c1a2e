"""Accounts of the best runs. Databases of the first version that a later one had opened have them already."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table unless it is there."""
    if sa.inspect(op.get_bind()).has_table("account"):
        return
    op.create_table(
        "account",
        sa.Column(
            "experiment_id", sa.Integer, sa.ForeignKey("experiment.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("symbol", sa.String(32), primary_key=True),
        sa.Column("label", sa.String(32), primary_key=True),
        sa.Column("legs", sa.Text, nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("capital", sa.Double, nullable=False),
        sa.Column("days", sa.LargeBinary, nullable=False),
        sa.Column("equity", sa.LargeBinary, nullable=False),
    )
