"""The tables of A/B tests: plans, sessions, endings. They are only ever added to, see `append_only.py`."""

from __future__ import annotations

from datetime import date

from sqlalchemy import BigInteger, Date, Double, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from research.ledger.tables import Base, Number


class AbTestRow(Base):
    """An A/B test, with all that is decided before its first session.

    content   JSON: both arms, mode, plan, least sessions and trades, level
    stamp     UTC nanoseconds: only sessions that begin later count
    """

    __tablename__ = "ab_test"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    symbol: Mapped[str] = mapped_column(String(32))
    content: Mapped[str] = mapped_column(Text)
    stamp: Mapped[int] = mapped_column(BigInteger)
    recorded: Mapped[str] = mapped_column(String(32))


class AbSessionRow(Base):
    """One session of one arm of a test.

    result   fraction of the capital; trades, won   that ended in it, and those of them with a profit
    """

    __tablename__ = "ab_session"
    __table_args__ = (UniqueConstraint("test_id", "arm", "session", name="ab_session_of_an_arm"),)

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    test_id: Mapped[int] = mapped_column(Integer)
    arm: Mapped[str] = mapped_column(String(16))
    session: Mapped[date] = mapped_column(Date)
    result: Mapped[float] = mapped_column(Double)
    trades: Mapped[int] = mapped_column(Integer)
    won: Mapped[int] = mapped_column(Integer)
    recorded: Mapped[str] = mapped_column(String(32))


class AbEventRow(Base):
    """What became of a test: `won`, `lost`, `futile`, `stopped`, with the evidence then."""

    __tablename__ = "ab_event"
    __table_args__ = (UniqueConstraint("test_id", "kind", name="ab_event_of_a_test"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    test_id: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(16))
    session: Mapped[date] = mapped_column(Date)
    evidence: Mapped[float] = mapped_column(Double)
    reason: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))
