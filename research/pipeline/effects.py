"""What a night does to the world, once: written down and committed before it is done.

An effect that can be looked for (a registration, a line of a log) is looked for, and done again, by `act`
itself. One that cannot (a message) is done at most once: killed between the row and the act, nobody knows
whether it was sent, and the report says so. Where whoever should take it said no, it certainly did not
happen: that attempt ends as refused, and a later start makes another one, with a row of its own.
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

_REFUSED = "refused: "


class Happened(StrEnum):
    """What became of an effect: done now, done before, refused now, or nobody knows."""

    NOW = "now"
    BEFORE = "before"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class NightEffect:
    """One attempt at an effect, as it was written down.

    outcome   None where nobody knows whether it happened
    """

    key: str
    night: str
    kind: str
    subject: str
    content: Mapping[str, Any]
    recorded: str
    outcome: str | None

    @property
    def refusal(self) -> str:
        """Why it certainly did not happen; empty where it did, and where nobody knows."""
        outcome = self.outcome or ""
        return outcome.removeprefix(_REFUSED) if outcome.startswith(_REFUSED) else ""


@dataclass(frozen=True, kw_only=True)
class NightEffects:
    """The effects of one ledger; now: the clock."""

    ledger: Ledger
    now: Callable[[], datetime]

    def once(
        self, night: str, kind: str, subject: str, content: Mapping[str, Any], act: Callable[[], str]
    ) -> Happened:
        """Do something once that can be looked for, whichever night asks for it and however often.

        kind, subject   name it; content   JSON: what else is said of it
        act             finds out by itself whether it was done, does it where it was not, and returns what
                        came of it in words; after a kill it is called again
        """
        found = self.find(kind, subject)
        if found is not None and found.outcome is not None:
            return Happened.BEFORE
        key = self._begun(night, kind, subject, content, attempt=1) if found is None else found.key
        self._done(key, act())
        return Happened.NOW

    def at_most_once(
        self, night: str, kind: str, subject: str, content: Mapping[str, Any], act: Callable[[], str | None]
    ) -> Happened:
        """Do something that nobody can look for: never twice, and again only where it was refused before.

        kind, subject, content   as in `once`
        act   does it; returns an empty text, or why it certainly did not happen; None where it does not know
        """
        before = self._attempts(kind, subject)
        if before and not before[-1].refusal:
            return Happened.UNKNOWN if before[-1].outcome is None else Happened.BEFORE
        key = self._begun(night, kind, subject, content, attempt=len(before) + 1)
        refusal = act()
        if refusal is None:
            return Happened.UNKNOWN
        self._done(key, f"{_REFUSED}{refusal}" if refusal else "done")
        return Happened.REFUSED if refusal else Happened.NOW

    def find(self, kind: str, subject: str) -> NightEffect | None:
        """Return the newest attempt at an effect, by its name; None where there was none."""
        return next(reversed(self._attempts(kind, subject)), None)

    def newest(self) -> Sequence[NightEffect]:
        """Return the newest attempt at each effect, in the order in which they were first written down."""
        return tuple({(each.kind, each.subject): each for each in self.all()}.values())

    def _attempts(self, kind: str, subject: str) -> Sequence[NightEffect]:
        return [each for each in self.all() if (each.kind, each.subject) == (kind, subject)]

    def all(self, night: str | None = None) -> Sequence[NightEffect]:
        """Return every attempt that was written down, in one night or in all, oldest first."""
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

    def _begun(self, night: str, kind: str, subject: str, content: Mapping[str, Any], *, attempt: int) -> str:
        """Write an attempt down before it is made, and return its key."""
        key = json_digest([kind, subject] if attempt == 1 else [kind, subject, attempt])
        row = {
            "key": key, "night": night, "kind": kind, "subject": subject,
            "content": json.dumps(dict(content), sort_keys=True), "recorded": self._moment(),
        }  # fmt: skip
        with self.ledger.database.write() as connection:
            append(connection, EffectRow, [row])
        return key

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
