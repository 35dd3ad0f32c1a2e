"""Sessions of research agents, and the model zoo."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from research.ledger.guards import seal

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables."""
    _agents()
    _zoo()


def _add(name: str, *columns: Any) -> None:
    own = sa.Column("id", sa.Integer, primary_key=True)
    seal(
        op.create_table(name, own, *columns, sa.Column("recorded", sa.String(32), nullable=False)),
        op.get_bind(),
    )


def _text(name: str, length: int | None = None, **settings: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text if length is None else sa.String(length), nullable=False, **settings)


def _number(name: str, **settings: Any) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, **settings)


def _agents() -> None:
    _add("agent_session", _text("key", 64, unique=True), _text("symbol", 32), _text("content"))
    _add(
        "agent_proposal", _number("session_id"), _number("number"), _text("kind", 16),
        _text("config_hash", 64), _text("content"),
        sa.UniqueConstraint("session_id", "number", name="proposal_of_a_session"),
    )  # fmt: skip
    op.create_index("agent_proposal_by_meaning", "agent_proposal", ["config_hash"])
    _add(
        "agent_outcome", _number("proposal_id", unique=True), _text("status", 16),
        sa.Column("fitness", sa.Double), sa.Column("sharpe", sa.Double), _text("content"),
    )  # fmt: skip
    _add(
        "agent_event", _number("session_id"), _text("kind", 16), _text("content"),
        sa.UniqueConstraint("session_id", "kind", name="agent_event_of_a_session"),
    )  # fmt: skip


def _zoo() -> None:
    _add(
        "model_build", _text("key", 64, unique=True), _text("symbol", 32), _text("name", 64),
        _text("version", 16), _text("sha256", 64), _text("content"),
    )  # fmt: skip
    _add(
        "model_attempt", _text("family", 32), _text("task", 32), _number("number"), _text("symbol", 32),
        sa.Column("p_value", sa.Double), _text("released", 16), _text("content"),
        sa.UniqueConstraint("family", "task", "number", name="attempt_on_a_task"),
    )  # fmt: skip
    _add(
        "worker_step", _text("run", 64), _number("number"), _text("kind", 16), _text("content"),
        sa.UniqueConstraint("run", "number", "kind", name="step_of_a_run"),
    )  # fmt: skip
