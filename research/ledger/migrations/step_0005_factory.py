"""What nights of the pipeline did, what strategies earned by period, A/B tests."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from research.ledger.guards import seal

revision = "0005"
down_revision = "0004"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables."""
    _nights()
    _performance()
    _tests()


def _add(name: str, *columns: Any, number: Any = None) -> None:
    own = sa.Column("id", number or sa.Integer, primary_key=True, autoincrement=number is not None or "auto")
    seal(
        op.create_table(name, own, *columns, sa.Column("recorded", sa.String(32), nullable=False)),
        op.get_bind(),
    )


def _text(name: str, length: int | None = None, **settings: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text if length is None else sa.String(length), nullable=False, **settings)


def _of(name: str, kind: Any, *, nullable: bool = False, **settings: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable, **settings)


def _nights() -> None:
    _add(
        "night", _text("night", 32), _text("kind", 16), _text("step", 32), _text("key", 64),
        _text("output", 64), _text("sentence"),
        sa.UniqueConstraint("night", "kind", "step", "key", name="night_event"),
    )  # fmt: skip
    _add(
        "effect", _text("key", 64, unique=True), _text("night", 32), _text("kind", 16), _text("subject"),
        _text("content"),
    )  # fmt: skip
    _add("effect_done", _of("effect_id", sa.Integer, unique=True), _text("outcome"))


def _performance() -> None:
    names = ("strategy", "symbol", "mode", "account", "period", "first_date")
    _add(
        "performance", _text("strategy", 64), _text("name"), _text("symbol", 32), _text("mode", 16),
        _text("account", 64), _text("period", 8), _of("first_date", sa.Date), _of("last_date", sa.Date),
        _of("sessions", sa.Integer), _of("trades", sa.Integer), _of("result", sa.Double),
        _of("pnl", sa.Double), _of("sharpe", sa.Double, nullable=True),
        _of("drawdown", sa.Double, nullable=True),
        _of("win_rate", sa.Double, nullable=True), _text("content"),
        sa.UniqueConstraint(*names, name="performance_of_a_period"), number=_NUMBER,
    )  # fmt: skip


def _tests() -> None:
    _add(
        "ab_test",
        _text("name", unique=True),
        _text("symbol", 32),
        _text("content"),
        _of("stamp", sa.BigInteger),
    )
    _add(
        "ab_session", _of("test_id", sa.Integer), _text("arm", 16), _of("session", sa.Date),
        _of("result", sa.Double), _of("trades", sa.Integer), _of("won", sa.Integer),
        sa.UniqueConstraint("test_id", "arm", "session", name="ab_session_of_an_arm"), number=_NUMBER,
    )  # fmt: skip
    _add(
        "ab_event", _of("test_id", sa.Integer), _text("kind", 16), _of("session", sa.Date),
        _of("evidence", sa.Double), _text("reason"),
        sa.UniqueConstraint("test_id", "kind", name="ab_event_of_a_test"),
    )  # fmt: skip
