"""The tables of nights: what each did, and what it does to the world.

They are only ever added to, see `append_only.py`.
"""

from __future__ import annotations

from sqlalchemy import Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from research.ledger.tables import Base


class NightRow(Base):
    """What a night of the pipeline did: that it began, each step that is complete, how it ended.

    night     its name, the date of the newest session; kind: `begun`, `step`, `failed`, `finished`
    step      name of the step, empty for the night as a whole; key: content hash of all that goes into it
    output    digest of the folder that the step left; sentence: what happened, in words
    """

    __tablename__ = "night"
    __table_args__ = (UniqueConstraint("night", "kind", "step", "key", name="night_event"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    night: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(16))
    step: Mapped[str] = mapped_column(String(32))
    key: Mapped[str] = mapped_column(String(64))
    output: Mapped[str] = mapped_column(String(64))
    sentence: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class EffectRow(Base):
    """Something that a night does to the world, written down before it is done, so that it is done once.

    key   names it, whoever asks for it again; kind: `register`, `log`, `message`, …; content   JSON
    """

    __tablename__ = "effect"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    night: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class EffectDoneRow(Base):
    """That an effect was carried out; an effect without this row may or may not have been."""

    __tablename__ = "effect_done"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    effect_id: Mapped[int] = mapped_column(Integer, unique=True)
    outcome: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))
