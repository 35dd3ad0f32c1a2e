"""What nights did: rows of the ledger that are only added to, see `append_only.NightRow`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from lockstep.errors import PipelineError
from research.ledger.chain import append, table_of
from research.ledger.ledger import Ledger
from research.ledger.night_tables import NightRow

BEGUN, STEP, FAILED, FINISHED = "begun", "step", "failed", "finished"
# Clocks of one machine differ from each other by less.
_TOLERATED_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class NightEvent:
    """One row of the book; `recorded` is an ISO text in UTC."""

    night: str
    kind: str
    step: str
    key: str
    output: str
    sentence: str
    recorded: str


@dataclass(frozen=True, kw_only=True)
class NightBook:
    """The nights of one ledger; now: the clock."""

    ledger: Ledger
    now: Callable[[], datetime]

    def events(self, night: str | None = None) -> Sequence[NightEvent]:
        """Return what was recorded, of one night or of all, oldest first."""
        table = table_of(NightRow)
        wanted = select(table).order_by(table.c.id)
        if night is not None:
            wanted = wanted.where(table.c.night == night)
        with self.ledger.database.read() as connection:
            rows = connection.execute(wanted).all()
        return [NightEvent(**{k: v for k, v in row._mapping.items() if k != "id"}) for row in rows]

    def step(self, name: str, key: str) -> NightEvent | None:
        """Return the row of a step that was complete with this key, whichever night it was."""
        table = table_of(NightRow)
        wanted = select(table).where(table.c.kind == STEP, table.c.step == name, table.c.key == key)
        with self.ledger.database.read() as connection:
            row = connection.execute(wanted.order_by(table.c.id).limit(1)).first()
        return None if row is None else NightEvent(**{k: v for k, v in row._mapping.items() if k != "id"})

    def record(
        self, night: str, kind: str, *, step: str = "", key: str = "", output: str = "", sentence: str = ""
    ) -> bool:
        """Write a row down, once; returns whether it is new."""
        with self.ledger.database.write() as connection:
            if _is_there(connection, night, kind, step, key):
                return False
            row = {
                "night": night, "kind": kind, "step": step, "key": key, "output": output,
                "sentence": sentence, "recorded": self.now().isoformat(timespec="seconds"),
            }  # fmt: skip
            append(connection, NightRow, [row])
            return True

    def require_clock(self) -> None:
        """Raise PipelineError where the clock is behind what was recorded already."""
        with self.ledger.database.read() as connection:
            newest = connection.scalar(select(func.max(NightRow.recorded)))
        present = self.now()
        if newest is not None:
            behind = (datetime.fromisoformat(newest) - present).total_seconds()
            if behind > _TOLERATED_SECONDS:
                raise PipelineError(
                    f"the clock says {present:%Y-%m-%d %H:%M} UTC, and the last night was recorded at "
                    f"{newest[:16].replace('T', ' ')}: it went back; set it, then begin the night again"
                )


def _is_there(connection: Connection, night: str, kind: str, step: str, key: str) -> bool:
    table = table_of(NightRow)
    same = (table.c.night == night, table.c.kind == kind, table.c.step == step, table.c.key == key)
    return connection.execute(select(table.c.id).where(*same)).first() is not None
