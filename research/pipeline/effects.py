"""What a night does to the world, once: written down and committed before it is done.

An effect that can be looked for (a registration, a line of a log) is looked for, and done again, by `act`
itself. One that cannot (a message) is done at most once: killed between the row and the act, nobody knows
whether it was sent, and the report says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select

from lockstep.identity import json_digest
from research.ledger.chain import append, table_of
from research.ledger.ledger import Ledger
from research.ledger.night_tables import EffectDoneRow, EffectRow


class Happened(StrEnum):
    """What became of an effect: done now, done before, or nobody knows."""

    NOW = "now"
    BEFORE = "before"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class NightEffect:
    """One effect, as it was written down; `outcome` is None where nobody knows whether it happened."""

    key: str
    night: str
    kind: str
    subject: str
    content: Mapping[str, Any]
    recorded: str
    outcome: str | None


@dataclass(frozen=True, kw_only=True)
class NightEffects:
    """The effects of one ledger; now: the clock."""

    ledger: Ledger
    now: Callable[[], datetime]

    def once(
        self,
        night: str,
        kind: str,
        subject: str,
        content: Mapping[str, Any],
        act: Callable[[], str],
        *,
        repeatable: bool,
    ) -> Happened:
        """Do something once, whichever night asks for it and however often.

        kind, subject   name it; content   JSON: what else is said of it
        act          does it, and returns what came of it in words
        repeatable   whether `act` finds out by itself that it was done: then it is done again after a kill
        """
        key = json_digest([kind, subject])
        found = self.find(kind, subject)
        if found is not None and found.outcome is not None:
            return Happened.BEFORE
        if found is not None and not repeatable:
            return Happened.UNKNOWN
        if found is None:
            self._write(key, night, kind, subject, content)
        self._done(key, act())
        return Happened.NOW

    def find(self, kind: str, subject: str) -> NightEffect | None:
        """Return an effect that was written down, by its name."""
        key = json_digest([kind, subject])
        return next((each for each in self.all() if each.key == key), None)

    def all(self, night: str | None = None) -> Sequence[NightEffect]:
        """Return what was written down, of one night or of all, oldest first."""
        effect, done = table_of(EffectRow), table_of(EffectDoneRow)
        wanted = select(effect, done.c.outcome).join(done, done.c.effect_id == effect.c.id, isouter=True)
        if night is not None:
            wanted = wanted.where(effect.c.night == night)
        with self.ledger.database.read() as connection:
            rows = connection.execute(wanted.order_by(effect.c.id)).all()
        return [
            NightEffect(
                key=row.key, night=row.night, kind=row.kind, subject=row.subject,
                content=json.loads(row.content), recorded=row.recorded, outcome=row.outcome,
            )
            for row in rows
        ]  # fmt: skip

    def _write(self, key: str, night: str, kind: str, subject: str, content: Mapping[str, Any]) -> None:
        row = {
            "key": key, "night": night, "kind": kind, "subject": subject,
            "content": json.dumps(dict(content), sort_keys=True), "recorded": self._moment(),
        }  # fmt: skip
        with self.ledger.database.write() as connection:
            append(connection, EffectRow, [row])

    def _done(self, key: str, outcome: str) -> None:
        table = table_of(EffectRow)
        with self.ledger.database.write() as connection:
            number = connection.scalar(select(table.c.id).where(table.c.key == key))
            append(
                connection,
                EffectDoneRow,
                [{"effect_id": number, "outcome": outcome, "recorded": self._moment()}],
            )

    def _moment(self) -> str:
        return self.now().isoformat(timespec="seconds")
