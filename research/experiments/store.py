"""Experiments and runs in the database: written in whole batches, read in order."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Connection, Table, delete, func, insert, select, update

from lockstep.errors import ExperimentError
from lockstep.market.bars import Floats
from research.experiments.plan import Plan
from research.ledger.bulk import insert_rows
from research.ledger.database import Database
from research.ledger.tables import FAILED, METRICS, OK, PARTS, AccountRow, Experiment, ExperimentRun, Returns

_FIXED = (
    "experiment_id", "symbol", "window_number", "variant", "parameters", "config_hash", "evaluation",
    "status", "error",
)  # fmt: skip
_OF_BLOCKS = ("variants", "sessions", "calendar")
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


class RunHead(NamedTuple):
    """What names a run and how it went; parameters are JSON, config_hash is None without a valid config."""

    variant: int
    parameters: str
    config_hash: str | None
    evaluation: str
    error: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptReturns:
    """What is kept of the returns of some successful runs of one symbol and window; see `Returns`.

    variants   int64 (n,), rising in what is read; sessions   float64 (2, 16)
    calendar   int64 (2, 2); None where an earlier version wrote it
    blocks     float32 (n, 2, 16, 2); of the test range timing   float64 (n, 5), sketch   float64 (n, 256) and
               ones   float64 (256,): None where they were not read
    """

    variants: NDArray[np.int64]
    sessions: Floats
    calendar: NDArray[np.int64] | None
    blocks: NDArray[np.float32] | None = None
    timing: Floats | None = None
    sketch: Floats | None = None
    ones: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Finished runs of one symbol and window: per row of `heads` a variant, and its measures by column.

    metrics   `train_sharpe` … -> float64 (n,), NaN where undefined or failed
    returns   what is kept of the successful runs; None where none succeeded
    """

    symbol: str
    window: int
    heads: Sequence[RunHead]
    metrics: Mapping[str, Floats]
    returns: KeptReturns | None


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
        if batch.returns is not None:
            connection.execute(insert(Returns).values(**_packed(*where, batch.returns)))

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
        """Return which variants are kept and their blocks; ExperimentError where no run succeeded."""
        with self._kept(number, symbol, window, *_OF_BLOCKS, "blocks") as found:
            rows = found.all()
        if not rows:
            raise ExperimentError(
                f"experiment {number}: no run on {symbol} succeeded; see the errors of its runs"
            )
        return _joined(rows)

    def outlines(self, number: int, symbol: str) -> list[KeptReturns]:
        """Return, by window, which variants are kept, in which blocks, and their residuals."""
        names = ("window_number", *_OF_BLOCKS, "timing")
        wanted = select(*(Returns.__table__.c[name] for name in names)).where(
            Returns.experiment_id == number, Returns.symbol == symbol
        )
        with self.database.read() as connection:
            rows = connection.execute(wanted.order_by(Returns.window_number, Returns.first_variant)).all()
        return [_joined(list(found)) for _, found in itertools.groupby(rows, lambda row: row.window_number)]

    def sketches(
        self, number: int, symbol: str, window: int, variants: range
    ) -> Iterator[tuple[NDArray[np.int64], Floats, Floats]]:
        """Yield variants (k,) within a range, their sketches (k, 256) and that of 1 (256,), batch by batch.

        Nothing where an earlier version wrote them.
        """
        names = ("sketch", "lengths", "ones")
        with self._kept(number, symbol, window, "first_variant", "variants") as rows:
            numbers = [(row.first_variant, np.frombuffer(row.variants, np.int64)) for row in rows]
        for first, found in numbers:
            mine = np.flatnonzero((found >= variants.start) & (found < variants.stop))
            if not mine.size:
                continue
            with self._kept(number, symbol, window, *names, first=first) as rows:
                row = rows.one()
            if row.lengths is None:
                continue
            directions = np.frombuffer(row.sketch, np.float16).reshape(found.size, -1)[mine]
            lengths = np.frombuffer(row.lengths, np.float64)[mine]
            ones = np.frombuffer(row.ones, np.float64)
            sketches = directions.astype(np.float64)
            sketches *= lengths[:, None]
            yield found[mine], sketches, ones

    def plans(self, numbers: Iterable[int]) -> dict[int, Plan]:
        """Return the plans of those of the experiments `numbers` that are there."""
        wanted = select(Experiment.id, Experiment.plan).where(Experiment.id.in_(list(numbers)))
        with self.database.read() as connection:
            rows = connection.execute(wanted.order_by(Experiment.id)).all()
        return {row.id: Plan.model_validate_json(row.plan) for row in rows}

    @contextmanager
    def _kept(
        self, number: int, symbol: str, window: int, *names: str, first: int | None = None
    ) -> Iterator[Any]:
        """Yield rows of what is kept, those of the first variants first; or the row that begins with one."""
        wanted = select(*(Returns.__table__.c[name] for name in names)).where(
            Returns.experiment_id == number, Returns.symbol == symbol, Returns.window_number == window
        )
        if first is not None:
            wanted = wanted.where(Returns.first_variant == first)
        with self.database.read() as connection:
            yield connection.execute(wanted.order_by(Returns.first_variant))

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


def _joined(rows: Sequence[Any]) -> KeptReturns:
    """Join the batches of a window, in the order of their variants."""
    variants = np.concatenate([np.frombuffer(row.variants, np.int64) for row in rows])
    order: Any = slice(None)
    if (np.diff(variants) < 0).any():
        order = np.argsort(variants, kind="stable")

    def numbers(name: str, kind: Any, *shape: int) -> Any:
        packed: list[Any] = [getattr(row, name, None) for row in rows]
        if any(each is None for each in packed):
            return None
        return np.concatenate([np.frombuffer(each, kind) for each in packed]).reshape(-1, *shape)[order]

    first = rows[0]
    return KeptReturns(
        variants=variants[order],
        blocks=numbers("blocks", np.float32, len(PARTS), 16, 2),
        sessions=np.frombuffer(first.sessions, np.float64).reshape(len(PARTS), -1),
        timing=numbers("timing", np.float64, 5),
        calendar=first.calendar and np.frombuffer(first.calendar, np.int64).reshape(len(PARTS), 2),
    )


def _packed(number: int, symbol: str, window: int, kept: KeptReturns) -> dict[str, Any]:
    """Return a row of `Returns`; sketches as directions of length 1 in float16, and their lengths."""
    sketch = kept.sketch
    assert sketch is not None
    lengths = np.linalg.norm(sketch, axis=1)
    directions = np.divide(
        sketch, lengths[:, None], out=np.zeros_like(sketch), where=lengths[:, None] > 0
    ).astype(np.float16)
    return {
        "experiment_id": number,
        "symbol": symbol,
        "window_number": window,
        "first_variant": int(kept.variants[0]),
        "sketch": directions.tobytes(),
        "lengths": lengths.tobytes(),
        **{name: getattr(kept, name).tobytes() for name in (*_OF_BLOCKS, "blocks", "timing", "ones")},
    }
