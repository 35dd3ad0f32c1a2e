"""The tables of sessions of research agents: the strategy database.

They are only ever added to, see `append_only.py`.
"""

from __future__ import annotations

from sqlalchemy import Double, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from research.ledger.tables import Base


class AgentSessionRow(Base):
    """A session, with all that decides what becomes of it.

    key       hash of the content, so that the same session is resumed and never run beside itself
    content   JSON: goal, researcher, symbol, dates, folds, budget, seed, hashes of code and bars
    """

    __tablename__ = "agent_session"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    symbol: Mapped[str] = mapped_column(String(32))
    content: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class AgentProposalRow(Base):
    """What a researcher proposed, written before it is evaluated.

    number        in its session, from 1; kind: `technical`, `hybrid`, `ml`
    config_hash   of the spec's meaning, empty where it is none
    content       JSON: spec, models, rationale, parents, what changed, move, exploration vector
    """

    __tablename__ = "agent_proposal"
    __table_args__ = (UniqueConstraint("session_id", "number", name="proposal_of_a_session"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    session_id: Mapped[int] = mapped_column(Integer)
    number: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(16))
    config_hash: Mapped[str] = mapped_column(String(64))
    content: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


Index("agent_proposal_by_meaning", AgentProposalRow.config_hash)


class AgentOutcomeRow(Base):
    """What came of a proposal, and what was decided about it.

    status    `evaluated`, `repeated`, `refused`, `failed`
    fitness   as in ADR 59, NULL where it is undefined; sharpe: mean of the folds, annualised
    content   JSON: measures by fold and regime, findings of the critic, versions of models, the decision
    """

    __tablename__ = "agent_outcome"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    proposal_id: Mapped[int] = mapped_column(Integer, unique=True)
    status: Mapped[str] = mapped_column(String(16))
    fitness: Mapped[float | None] = mapped_column(Double)
    sharpe: Mapped[float | None] = mapped_column(Double)
    content: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class AgentEventRow(Base):
    """What became of a session: `frozen` with its winners, `gate` with its verdict, `registered`."""

    __tablename__ = "agent_event"
    __table_args__ = (UniqueConstraint("session_id", "kind", name="agent_event_of_a_session"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    session_id: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))
