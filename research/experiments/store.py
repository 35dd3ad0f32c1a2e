"""Experiments and runs in the database: written in whole batches, read in order.

What the two ranges of a window gave, put together as the rows that are stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Connection, Table, delete, func, insert, select, update

from lockstep.errors import ExperimentError
from lockstep.market.bars import Floats
from research.experiments.evaluation import VariantOutcome
from research.experiments.plan import Plan
from research.experiments.variants import Drawn, config_hashes, evaluation_ids
from research.ledger.bulk import insert_rows
from research.ledger.database import Database
from research.ledger.tables import FAILED, METRICS, OK, PARTS, AccountRow, Experiment, ExperimentRun, Returns
from research.statistics.maximum import SKETCH
from research.sweep.variants import Integers

_FIXED = (
    "experiment_id", "symbol", "window_number", "variant", "parameters", "config_hash", "evaluation",
    "status", "error",
)  # fmt: skip
METRIC_COLUMNS = tuple(f"{part}_{metric}" for part in PARTS for metric in METRICS)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row of the table of experiments; `done` counts the runs that are there."""

    id: int
    name: str
    kind: str
    status: str
    plan: Plan
    runs: int
    done: int
    code_hash: str
    data_hashes: dict[str, str]
    config_hash: str
    started: str
    finished: str | None
    seconds: float
    bars: int


class Head(NamedTuple):
    """What names a run and how it went; parameters are JSON, config_hash is None without a valid config."""

    variant: int
    parameters: str
    config_hash: str | None
    evaluation: str
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Finished runs of one symbol and window: per row of `heads` a variant, and its measures by column.

    metrics   `train_sharpe` … -> float64 (n,), NaN where undefined or failed
    blocks    float32 (n, 2, 16, 2); sessions float64 (2, 16); sketch float16 (n, 128): see `Returns`
    """

    symbol: str
    window: int
    heads: Sequence[Head]
    metrics: Mapping[str, Floats]
    blocks: NDArray[np.float32]
    sessions: Floats
    sketch: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptReturns:
    """What is kept of the returns of the successful runs of one symbol and window, by rising variant."""

    variants: NDArray[np.int64]
    blocks: NDArray[np.float32]
    sessions: Floats
    sketch: NDArray[np.float16]


@dataclass(frozen=True)
class Store:
    """Reads and writes experiments of one database."""

    database: Database

    def create(self, **columns: Any) -> int:
        """Insert an experiment and return its number."""
        with self.database.write() as connection:
            key = connection.execute(insert(Experiment).values(**columns)).inserted_primary_key
        assert key is not None
        return int(key[0])

    def update(self, number: int, **columns: Any) -> None:
        """Change columns of an experiment; ExperimentError where there is none."""
        with self.database.write() as connection:
            done = connection.execute(update(Experiment).where(Experiment.id == number).values(**columns))
        if not done.rowcount:
            raise self._unknown(number)

    def delete(self, number: int) -> None:
        """Delete an experiment with its runs; what it tried stays counted."""
        with self.database.write() as connection:
            for model in (ExperimentRun, Returns, AccountRow):
                connection.execute(delete(model).where(model.experiment_id == number))
            done = connection.execute(delete(Experiment).where(Experiment.id == number))
        if not done.rowcount:
            raise self._unknown(number)

    def record(self, number: int) -> Record:
        """Return an experiment; ExperimentError, naming those there are, where there is none."""
        found = self.records(number)
        if not found:
            raise self._unknown(number)
        return found[0]

    def records(self, number: int | None = None) -> list[Record]:
        """Return all experiments, or the one of that number, oldest first."""
        wanted = select(Experiment.__table__).order_by(Experiment.id)
        counted = select(ExperimentRun.experiment_id, func.count()).group_by(ExperimentRun.experiment_id)
        if number is not None:
            wanted = wanted.where(Experiment.id == number)
            counted = counted.where(ExperimentRun.experiment_id == number)
        with self.database.read() as connection:
            rows = connection.execute(wanted).all()
            done = {row[0]: row[1] for row in connection.execute(counted)}
        return [_record(row._asdict(), done.get(row.id, 0)) for row in rows]

    def _unknown(self, number: int) -> ExperimentError:
        with self.database.read() as connection:
            known = list(connection.scalars(select(Experiment.id).order_by(Experiment.id.desc()).limit(5)))
        there = f"the newest are {', '.join(map(str, known))}" if known else "there is none yet"
        return ExperimentError(f"experiment {number}: not in the database; {there} (`list` shows all)")

    def add(self, connection: Connection, number: int, batch: Batch) -> None:
        """Write a batch of runs and what is kept of their returns, in the caller's transaction."""
        nothing = np.full(len(batch.heads), np.nan)
        measures = [_nullable(batch.metrics.get(name, nothing)) for name in METRIC_COLUMNS]
        where = (number, batch.symbol, batch.window)
        rows = (
            (*where, *head[:-1], OK if head.error is None else FAILED, head.error, *values)
            for head, *values in zip(batch.heads, *measures, strict=True)
        )
        insert_rows(connection, _table(ExperimentRun), (*_FIXED, *METRIC_COLUMNS), rows)
        succeeded = np.array([head.error is None for head in batch.heads])
        variants = np.array([head.variant for head in batch.heads], dtype=np.int64)[succeeded]
        if variants.size:
            connection.execute(
                insert(Returns).values(
                    experiment_id=number,
                    symbol=batch.symbol,
                    window_number=batch.window,
                    first_variant=int(variants[0]),
                    variants=variants.tobytes(),
                    blocks=batch.blocks[succeeded].tobytes(),
                    sessions=batch.sessions.tobytes(),
                    sketch=batch.sketch[succeeded].tobytes(),
                )
            )

    def done(self, number: int, symbol: str, window: int) -> set[int]:
        """Return the variants whose run on a symbol and window is there."""
        wanted = select(ExperimentRun.variant).where(
            ExperimentRun.experiment_id == number,
            ExperimentRun.symbol == symbol,
            ExperimentRun.window_number == window,
        )
        with self.database.read() as connection:
            return set(connection.scalars(wanted))

    def runs(self, number: int, *columns: str, variant: int | None = None) -> pd.DataFrame:
        """Return runs in order of symbol, window and variant, measures as float64, NaN where undefined.

        `columns` are all by default; `variant` is the only one wanted.
        """
        wanted = [
            ExperimentRun.__table__.c[name] for name in columns or ExperimentRun.__table__.columns.keys()
        ]
        order = (ExperimentRun.symbol, ExperimentRun.window_number, ExperimentRun.variant)
        query = select(*wanted).where(ExperimentRun.experiment_id == number).order_by(*order)
        if variant is not None:
            query = query.where(ExperimentRun.variant == variant)
        with self.database.read() as connection:
            frame = pd.read_sql(query, connection)
        measures = [name for name in frame.columns if name in METRIC_COLUMNS]
        return frame.astype(dict.fromkeys(measures, np.float64))

    def all_alike(self, number: int) -> bool:
        """Whether several variants succeeded and no two of them differ in trades or result anywhere."""
        results = ("train_trades", "train_net_profit", "test_trades", "test_net_profit")
        different = [func.count(func.distinct(ExperimentRun.__table__.c[name])) for name in results]
        query = (
            select(func.count(), *different)
            .where(ExperimentRun.experiment_id == number, ExperimentRun.status == OK)
            .group_by(ExperimentRun.symbol, ExperimentRun.window_number)
        )
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return all(max(distinct) == 1 and count > 1 for count, *distinct in rows)

    def returns(self, number: int, symbol: str, window: int) -> KeptReturns:
        """Return what is kept of the returns; ExperimentError where no run succeeded."""
        wanted = select(Returns.__table__).where(
            Returns.experiment_id == number, Returns.symbol == symbol, Returns.window_number == window
        )
        with self.database.read() as connection:
            rows = connection.execute(wanted.order_by(Returns.first_variant)).all()
        if not rows:
            raise ExperimentError(
                f"experiment {number}: no run on {symbol} succeeded; see the errors of its runs"
            )
        variants = np.concatenate([np.frombuffer(row.variants, np.int64) for row in rows])
        blocks = np.concatenate([np.frombuffer(row.blocks, np.float32) for row in rows])
        sketch = np.concatenate([np.frombuffer(row.sketch, np.float16) for row in rows])
        sessions = np.frombuffer(rows[0].sessions, np.float64)
        del rows
        order: Any = slice(None)
        if (np.diff(variants) < 0).any():
            order = np.argsort(variants, kind="stable")
        return KeptReturns(
            variants=variants[order],
            blocks=blocks.reshape(variants.size, len(PARTS), -1, 2)[order],
            sessions=sessions.reshape(len(PARTS), -1),
            sketch=sketch.reshape(variants.size, -1)[order],
        )

    def mark_verified(self, number: int, symbol: str, window: int, variant: int) -> None:
        """Note that Backtrader gave the same for a run."""
        this = (
            ExperimentRun.symbol == symbol,
            ExperimentRun.window_number == window,
            ExperimentRun.variant == variant,
        )
        with self.database.write() as connection:
            connection.execute(
                update(ExperimentRun).where(ExperimentRun.experiment_id == number, *this).values(verified=1)
            )


def _record(row: Mapping[str, Any], done: int) -> Record:
    columns = {name: value for name, value in row.items() if name not in ("plan", "data_hashes")}
    return Record(
        **columns,
        done=done,
        plan=Plan.model_validate_json(row["plan"]),
        data_hashes=json.loads(row["data_hashes"]),
    )


def _nullable(values: Floats) -> list[float | None]:
    """NaN sorts first in one database and last in another; NULL is what is undefined in both."""
    return [value if value == value else None for value in values.tolist()]


def _table(model: type[ExperimentRun]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table


_BLOCKS = 16
_SKETCHES = 128


def batch_of(
    symbol: str, window: int, drawn: Drawn, outcomes: Sequence[VariantOutcome], where: str, base_hash: str
) -> Batch:
    """Return a batch of the combinations drawn, with an outcome of the valid ones per range.

    where       code, data and dates, see `variants.evaluation_id`
    base_hash   hash of the base configuration
    """
    errors = dict(drawn.errors)
    for outcome in outcomes:
        for place, reason in outcome.errors.items():
            errors.setdefault(int(drawn.rows[place]), reason)
    count = drawn.numbers.size
    return Batch(
        symbol=symbol,
        window=window,
        heads=_heads(drawn, errors, where, base_hash),
        metrics=_metrics(count, drawn.rows, outcomes, list(errors)),
        blocks=_blocks(count, drawn.rows, outcomes),
        sessions=_sessions(outcomes),
        sketch=_sketches(count, drawn.rows, outcomes),
    )


def _heads(drawn: Drawn, errors: Mapping[int, str], where: str, base_hash: str) -> list[Head]:
    hashes: NDArray[np.object_] = np.full(drawn.numbers.size, None, dtype=object)
    hashes[drawn.rows] = config_hashes(drawn.configs)
    contents = base_hash + drawn.parameters
    contents[drawn.rows] = hashes[drawn.rows]
    evaluations = evaluation_ids(where, contents.tolist())
    reasons = map(errors.get, range(drawn.numbers.size))
    columns = (drawn.numbers.tolist(), drawn.parameters.tolist(), hashes.tolist(), evaluations, reasons)
    return list(map(Head, *columns))


def _metrics(
    count: int, rows: Integers, outcomes: Sequence[VariantOutcome], failed: Sequence[int]
) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for part, outcome in zip(PARTS, outcomes, strict=False):
        for name, values in outcome.metrics.items():
            column = np.full(count, np.nan)
            column[rows] = values
            column[failed] = np.nan
            found[f"{part}_{name}"] = column
    return found


def _blocks(count: int, rows: Integers, outcomes: Sequence[VariantOutcome]) -> NDArray[np.float32]:
    blocks = np.zeros((count, len(PARTS), _BLOCKS, 2), dtype=np.float32)
    for number, outcome in enumerate(outcomes):
        blocks[rows, number] = outcome.blocks[:, :, :2]
    return blocks


def _sessions(outcomes: Sequence[VariantOutcome]) -> Floats:
    """Return the sessions of each block, float64 (2, 16); the rows of failed runs say 0."""
    sessions = np.zeros((len(PARTS), _BLOCKS))
    for number, outcome in enumerate(outcomes):
        sessions[number] = outcome.blocks[:, :, 2].max(axis=0)
    return sessions


def _sketches(count: int, rows: Integers, outcomes: Sequence[VariantOutcome]) -> NDArray[np.float16]:
    """Return both ranges' sketches side by side, scaled to length 1: only their directions are compared."""
    sketch = np.zeros((count, _SKETCHES), dtype=np.float16)
    if outcomes:
        # Sums of sketches' parts are sketches of fewer numbers, of which there is room for 64 a range.
        room = _SKETCHES // len(PARTS)
        parts = [outcome.sketch.reshape(-1, SKETCH // room, room).sum(axis=1) for outcome in outcomes]
        both = np.concatenate(parts, axis=1)
        length = np.linalg.norm(both, axis=1, keepdims=True)
        sketch[rows] = np.divide(both, length, out=np.zeros_like(both), where=length > 0)
    return sketch
