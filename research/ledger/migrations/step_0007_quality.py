"""What checks of data found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from research.ledger.guards import seal

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the table."""
    whole = [sa.Column(name, sa.BigInteger, nullable=False) for name in ("bars", "first", "last")]
    seal(
        op.create_table(
            "quality_check",
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("series", sa.String(64), nullable=False),
            sa.Column("file", sa.Text, nullable=False),
            *whole,
            sa.Column("score", sa.Double, nullable=False),
            sa.Column("warnings", sa.Integer, nullable=False),
            sa.Column("content", sa.Text, nullable=False),
            sa.Column("recorded", sa.String(32), nullable=False),
        ),
        op.get_bind(),
    )
    op.create_index("quality_check_by_series", "quality_check", ["series"])
