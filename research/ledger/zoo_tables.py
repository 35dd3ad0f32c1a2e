"""The tables of the model zoo: what was trained, what was tested for a release, what the worker did.

They are only ever added to, see `append_only.py`.
"""

from __future__ import annotations

from sqlalchemy import Double, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from research.ledger.tables import Base


class ModelBuildRow(Base):
    """A model that was trained, by the hash of everything that it depends on.

    name, version, sha256   of its bundle in the store; content: JSON, the model spec and its losses
    """

    __tablename__ = "model_build"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    symbol: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64))
    content: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class ModelAttemptRow(Base):
    """One test of a challenger on the tail, the `number`-th on a task and family, for ever.

    p_value    one-sided, NULL where it could not be worked out; released: version, empty where it was not
    content    JSON: the proposal, its parent, the level, the losses, the note
    """

    __tablename__ = "model_attempt"
    __table_args__ = (UniqueConstraint("family", "task", "number", name="attempt_on_a_task"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    family: Mapped[str] = mapped_column(String(32))
    task: Mapped[str] = mapped_column(String(32))
    number: Mapped[int] = mapped_column(Integer)
    symbol: Mapped[str] = mapped_column(String(32))
    p_value: Mapped[float | None] = mapped_column(Double)
    released: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class WorkerStepRow(Base):
    """One step of the worker that improves models: `proposed`, then `scored`, `tested`, `released`.

    run   names what the steps belong to, so that a worker that was killed goes on
    """

    __tablename__ = "worker_step"
    __table_args__ = (UniqueConstraint("run", "number", "kind", name="step_of_a_run"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    run: Mapped[str] = mapped_column(String(64))
    number: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))
