"""What trials did: by its signals, a trial that does what an earlier one did is known.

A row says of one run, an evaluation in one window, what it does on the training range and what on the test
range: hashes of all that decides its trades there, see `research/sweep/behaviour.py`. A trial that does what
an earlier one did is a trial all the same, and counts; but what came of it is not worked out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from research.ledger.append_only import BehaviourRow, LedgerRow
from research.ledger.bulk import absent
from research.ledger.chain import append_rows, hold, table_of
from research.ledger.tables import ExperimentRun

_COLUMNS = (
    "run", "evaluation", "experiment_id", "symbol", "window_number", "variant", "train", "test", "recorded",
)  # fmt: skip
_PIECE = 500


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What one run does: `train` and `test` are SHA-256 (hex) of it, each on its range.

    evaluation, experiment_id, symbol, window, variant   name the run
    """

    evaluation: str
    experiment_id: int
    symbol: str
    window: int
    variant: int
    train: str
    test: str


def remember(connection: Connection, behaviours: Sequence[Behaviour], *, now: datetime) -> None:
    """Write down what runs do; of an evaluation that is known in its window, nothing."""
    moment = now.isoformat(timespec="seconds")
    rows = {
        (run := f"{each.evaluation}:{each.window}"): (
            run, each.evaluation, each.experiment_id, each.symbol, each.window, each.variant, each.train,
            each.test, moment,
        )
        for each in reversed(behaviours)
    }  # fmt: skip
    hold(connection)
    table = table_of(BehaviourRow)
    new = absent(connection, table, _COLUMNS, list(reversed(rows.values())), unique="run")
    append_rows(connection, BehaviourRow, _COLUMNS, new)


def first_with(connection: Connection, part: str, hashes: Iterable[str]) -> dict[str, Behaviour]:
    """Return, by its hash, the first run that did something on its `part`, `train` or `test`."""
    table, found = table_of(BehaviourRow), dict[str, Behaviour]()
    for some in _pieces(hashes):
        first = select(func.min(table.c.id)).where(table.c[part].in_(some)).group_by(table.c[part])
        for row in connection.execute(select(table).where(table.c.id.in_(first))):
            found[getattr(row, part)] = _behaviour(row)
    return found


def of_experiment(connection: Connection, experiment_id: int, symbol: str) -> list[Behaviour]:
    """Return what the runs of an experiment on a symbol do that came with it, in order of variants."""
    table = table_of(BehaviourRow)
    own = (table.c.experiment_id == experiment_id, table.c.symbol == symbol)
    rows = connection.execute(select(table).where(*own).order_by(table.c.variant, table.c.window_number))
    return [_behaviour(row) for row in rows]


def of_variants(
    connection: Connection, experiment_id: int, symbol: str, variants: Sequence[int]
) -> list[Behaviour]:
    """Return what some variants of an experiment do, whichever experiment came with them first."""
    runs, table, found = table_of(ExperimentRun), table_of(BehaviourRow), list[Behaviour]()
    same = (table.c.evaluation == runs.c.evaluation) & (table.c.window_number == runs.c.window_number)
    own = (runs.c.experiment_id == experiment_id, runs.c.symbol == symbol)
    for some in _pieces(variants):
        wanted = select(runs.c.variant.label("number"), table).join(table, same)
        for row in connection.execute(wanted.where(*own, runs.c.variant.in_(some))):
            found.append(replace(_behaviour(row), variant=row.number))
    return found


def same_as(connection: Connection, behaviours: Sequence[Behaviour], windows: int) -> dict[int, int]:
    """Return, by variant, the trial that did the same before on every training range, as its ledger's number.

    behaviours   of one symbol; windows: how many of each variant there must be
    """
    first = first_with(connection, "train", (each.train for each in behaviours))
    own: dict[int, list[Behaviour]] = {}
    for each in behaviours:
        own.setdefault(each.variant, []).append(each)
    found = {}
    for variant, some in own.items():
        earlier = {first[each.train].evaluation for each in some}
        if len(some) == windows and len(earlier) == 1 and earlier != {some[0].evaluation}:
            found[variant] = earlier.pop()
    numbers = _trials(connection, found.values())
    return {variant: numbers[evaluation] for variant, evaluation in found.items()}


def _trials(connection: Connection, evaluations: Iterable[str]) -> dict[str, int]:
    found = dict[str, int]()
    for some in _pieces(evaluations):
        wanted = select(LedgerRow.evaluation, LedgerRow.id).where(LedgerRow.evaluation.in_(some))
        found |= {evaluation: number for evaluation, number in connection.execute(wanted)}
    return found


def _pieces(values: Iterable[Any]) -> Iterable[list[Any]]:
    every = list(dict.fromkeys(values))
    return (every[first : first + _PIECE] for first in range(0, len(every), _PIECE))


def _behaviour(row: Any) -> Behaviour:
    return Behaviour(
        evaluation=row.evaluation,
        experiment_id=row.experiment_id,
        symbol=row.symbol,
        window=row.window_number,
        variant=row.variant,
        train=row.train,
        test=row.test,
    )
