"""The journal of the worker: what a step found is a row, and a step that is there is not taken again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from research.ledger.chain import hold
from research.ledger.ledger import Ledger
from research.ledger.zoo_tables import ModelAttemptRow, WorkerStepRow

BEGUN, PROPOSED, SCORED, ATTEMPT, TESTED, RELEASED, ENDED = (
    "begun", "proposed", "scored", "attempt", "tested", "released", "ended",
)  # fmt: skip

Content = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class WorkerJournal:
    """The steps of one run, and the attempts of all."""

    ledger: Ledger
    run: str
    now: Callable[[], datetime]

    def step(self, number: int, kind: str, make: Callable[[], Content]) -> Content:
        """Return what a step found, as it was written; it is made and written where it is not there."""
        found = self.read(number, kind)
        if found is not None:
            return found
        content = make()
        with self.ledger.database.write() as connection:
            self.write(connection, number, kind, content)
        return content

    def read(self, number: int, kind: str) -> Content | None:
        """Return what a step found; None where it was not taken."""
        table = WorkerStepRow
        wanted = select(table.content).where(
            table.run == self.run, table.number == number, table.kind == kind
        )
        with self.ledger.database.read() as connection:
            found = connection.scalar(wanted)
        return None if found is None else dict(json.loads(found))

    def write(self, connection: Connection, number: int, kind: str, content: Content) -> None:
        """Write a step, in the caller's transaction."""
        row = {
            "run": self.run, "number": number, "kind": kind, "content": written(content),
            "recorded": self._stamp,
        }  # fmt: skip
        self.ledger.append(connection, WorkerStepRow, [row])

    def reserve(self, number: int, family: str, task: str, content: Callable[[int], Content]) -> Content:
        """Count an attempt on a family and task before the tail is read, and return what is written of it.

        `content` gets its number, from 1, one above all on the family, its relatives and the task.
        """
        found = self.read(number, ATTEMPT)
        if found is not None:
            return found
        with self.ledger.database.write() as connection:
            hold(connection)
            attempt = 1 + attempts(self.ledger, connection, family, task)
            made = {"family": family, "task": task, "attempt": attempt, **content(attempt)}
            self.write(connection, number, ATTEMPT, made)
        return made

    def conclude(
        self, number: int, symbol: str, reserved: Content, tested: Content, released: Content | None
    ) -> None:
        """Write what came of an attempt, once: the test, the release if there is one, and the attempt."""
        if self.read(number, TESTED) is not None:
            return
        row = {
            "family": reserved["family"], "task": reserved["task"], "number": reserved["attempt"],
            "symbol": symbol, "p_value": tested.get("p_value"),
            "released": "" if released is None else released["version"],
            "content": written({**reserved, **tested, "run": self.run, "step": number}),
            "recorded": self._stamp,
        }  # fmt: skip
        with self.ledger.database.write() as connection:
            hold(connection)
            self.ledger.append(connection, ModelAttemptRow, [row])
            self.write(connection, number, TESTED, tested)
            if released is not None:
                self.write(connection, number, RELEASED, released)

    @property
    def _stamp(self) -> str:
        return self.now().isoformat(timespec="seconds")


def attempts(ledger: Ledger, connection: Connection, family: str, task: str) -> int:
    """Return how many attempts there were on a family, its relatives and a task, begun ones included."""
    families = ledger.relatives(family)
    rows = select(WorkerStepRow.content).where(WorkerStepRow.kind == ATTEMPT)
    begun = {
        (found["family"], found["attempt"])
        for found in map(json.loads, connection.scalars(rows))
        if found["family"] in families and found["task"] == task
    }
    table = ModelAttemptRow
    done = connection.execute(
        select(table.family, table.number).where(table.family.in_(families), table.task == task)
    )
    return len(begun | {(row.family, row.number) for row in done})


def runs(ledger: Ledger, slot: str) -> list[tuple[str, Content, bool]]:
    """Return the runs on a slot, such as `COMP_volatility_h1`: name, how it began, whether it has ended."""
    table = WorkerStepRow
    with ledger.database.read() as connection:
        begun = connection.execute(
            select(table.run, table.content).where(table.kind == BEGUN).order_by(table.id)
        ).all()
        ended = set(connection.scalars(select(table.run).where(table.kind == ENDED)))
    return [
        (row.run, json.loads(row.content), row.run in ended)
        for row in begun
        if row.run.rpartition("-")[0] == slot
    ]


def steps_of(ledger: Ledger, run: str) -> list[tuple[int, str, Content]]:
    """Return the steps of a run in the order in which they were written: number, kind, content."""
    table = WorkerStepRow
    wanted = select(table.number, table.kind, table.content).where(table.run == run).order_by(table.id)
    with ledger.database.read() as connection:
        return [(row.number, row.kind, json.loads(row.content)) for row in connection.execute(wanted)]


def written(content: Content) -> str:
    """Return JSON in one spelling."""
    return json.dumps(content, sort_keys=True, allow_nan=False, ensure_ascii=False)
