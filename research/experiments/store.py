"""Experiments and runs in the database: written in whole batches, read in order."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Table, delete, func, insert, select, update

from lockstep.errors import ExperimentError
from lockstep.market.bars import Floats
from research.experiments.plan import Plan
from research.ledger.behaviours import Behaviour
from research.ledger.bulk import insert_rows
from research.ledger.database import Database
from research.ledger.tables import (
    FAILED,
    FINISHED,
    METRICS,
    OK,
    PARTS,
    UNSUCCESSFUL,
    AccountRow,
    Experiment,
    ExperimentRun,
    Returns,
)

_FIXED = (
    "experiment_id", "symbol", "window_number", "variant", "parameters", "config_hash", "evaluation",
    "status", "error",
)  # fmt: skip
_OF_BLOCKS = ("variants", "sessions", "calendar")
_ROWS = 1_024
_FEW = 1_000
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

    @property
    def ended(self) -> bool:
        """Whether there is nothing to go on with: it has a result, or none will come of it."""
        return self.status in (FINISHED, UNSUCCESSFUL)


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


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptSketches:
    """The sketches of a window; the batch that was read last is at hand, since the next variants are in it.

    batches   variants of each batch, int64 (n,), by its first one; read: returns the row of a batch
    """

    batches: Mapping[int, NDArray[np.int64]]
    read: Callable[[int], Any]
    _at_hand: dict[int, Any] = field(default_factory=dict)

    def within(self, variants: range) -> Iterator[tuple[NDArray[np.int64], Floats, Floats]]:
        """Yield variants (k,) within a range, their sketches (k, 256) and that of 1 (256,), batch by batch.

        Nothing where an earlier version wrote them.
        """
        for first, found in self.batches.items():
            mine = np.flatnonzero((found >= variants.start) & (found < variants.stop))
            if not mine.size:
                continue
            if first not in self._at_hand:
                self._at_hand.clear()
                self._at_hand[first] = self.read(first)
            row = self._at_hand[first]
            if row.lengths is None:
                continue
            rows: Any = slice(mine[0], mine[-1] + 1) if mine[-1] - mine[0] + 1 == mine.size else mine
            directions = np.frombuffer(row.sketch, np.float16).reshape(found.size, -1)[rows]
            lengths = np.frombuffer(row.lengths, np.float64)[rows]
            sketches = directions.astype(np.float64)
            sketches *= lengths[:, None]
            yield found[rows], sketches, np.frombuffer(row.ones, np.float64)

    def release(self) -> None:
        """Forget the batch that is at hand."""
        self._at_hand.clear()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Finished runs of one symbol and window: per row of `heads` a variant, and its measures by column.

    metrics      `train_sharpe` … -> float64 (n,), NaN where undefined or failed
    returns      what is kept of the successful runs; None where none succeeded
    behaviours   what the successful runs do, where that is known
    """

    symbol: str
    window: int
    heads: Sequence[RunHead]
    metrics: Mapping[str, Floats]
    returns: KeptReturns | None
    behaviours: Sequence[Behaviour] = ()


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

    def names(self) -> dict[int, str]:
        """Return the names of all experiments by number, oldest first."""
        with self.database.read() as connection:
            rows = connection.execute(select(Experiment.id, Experiment.name).order_by(Experiment.id)).all()
        return {row.id: row.name for row in rows}

    def named(self, name: str) -> list[Record]:
        """Return the experiments of a name, oldest first."""
        return [self.record(number) for number, known in self.names().items() if known == name]

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
        *named, errors = zip(*batch.heads, strict=True)
        status = [OK if error is None else FAILED for error in errors]
        rows = zip(*map(itertools.repeat, where), *named, status, errors, *measures, strict=False)
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

        `columns` are all by default; `variant` is the only one wanted, which is found by its key.
        """
        wanted = [
            ExperimentRun.__table__.c[name] for name in columns or ExperimentRun.__table__.columns.keys()
        ]
        order = (ExperimentRun.symbol, ExperimentRun.window_number, ExperimentRun.variant)
        query = select(*wanted).where(ExperimentRun.experiment_id == number).order_by(*order)
        if variant is not None:
            query = query.where(*self._places(number), ExperimentRun.variant == variant)
        with self.database.read() as connection:
            frame = pd.read_sql(query, connection)
        measures = [name for name in frame.columns if name in METRIC_COLUMNS]
        return frame.astype(dict.fromkeys(measures, np.float64))

    def _places(self, number: int) -> tuple[ColumnElement[bool], ...]:
        """Return what is true of all runs of an experiment: by symbols and windows their keys begin."""
        plans = self.plans([number])
        if not plans:
            return ()
        windows = range(len(plans[number].windows))
        return ExperimentRun.symbol.in_(plans[number].symbols), ExperimentRun.window_number.in_(windows)

    def failed(self, number: int) -> int:
        """Return how many runs failed."""
        query = select(func.count()).where(
            ExperimentRun.experiment_id == number, ExperimentRun.status == FAILED
        )
        with self.database.read() as connection:
            return connection.scalar(query) or 0

    def all_alike(self, number: int) -> bool:
        """Whether several variants succeeded and no two of them differ in trades or result anywhere."""
        # Hardly ever, and the first of them show it.
        return self._alike(number, _FEW, at_least=1) and self._alike(number, None, at_least=2)

    def _alike(self, number: int, limit: int | None, *, at_least: int) -> bool:
        """Whether the first `limit` successful runs do not differ within a symbol and window."""
        table = ExperimentRun.__table__
        results = ("train_trades", "train_net_profit", "test_trades", "test_net_profit")
        some = (
            select(table.c.symbol, table.c.window_number, *(table.c[name] for name in results))
            .where(table.c.experiment_id == number, table.c.status == OK)
            .order_by(table.c.symbol, table.c.window_number, table.c.variant)
            .limit(limit)
            .subquery()
        )
        ends = [end(some.c[name]) for name in results for end in (func.min, func.max)]
        query = select(func.count(), *ends).group_by(some.c.symbol, some.c.window_number)
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return all(
            count >= at_least and lowest == highest != [None] * len(results)
            for count, *found in rows
            for lowest, highest in [(found[::2], found[1::2])]
        )

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

    def sketches(self, number: int, symbol: str, window: int) -> KeptSketches:
        """Return the sketches of a window, to be read some variants at a time."""
        with self._kept(number, symbol, window, "first_variant", "variants") as rows:
            batches = {row.first_variant: np.frombuffer(row.variants, np.int64) for row in rows}

        def read(first: int) -> Any:
            names = ("sketch", "lengths", "ones")
            with self._kept(number, symbol, window, *names, first=first) as rows:
                return rows.one()

        return KeptSketches(batches=batches, read=read)

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
    found: list[float | None] = values.tolist()
    for row in np.flatnonzero(np.isnan(values)).tolist():
        found[row] = None
    return found


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
    assert kept.sketch is not None
    directions, lengths = _directions(kept.sketch)
    return {
        "experiment_id": number,
        "symbol": symbol,
        "window_number": window,
        "first_variant": int(kept.variants[0]),
        "sketch": directions.tobytes(),
        "lengths": lengths.tobytes(),
        **{name: getattr(kept, name).tobytes() for name in (*_OF_BLOCKS, "blocks", "timing", "ones")},
    }


def _directions(sketch: Floats) -> tuple[NDArray[np.float16], Floats]:
    """Return directions of length 1 or 0, float16 (n, 256), and the lengths, float64 (n,), of sketches.

    Some rows at a time, so that what is between them and the result stays in the processor's cache.
    """
    directions = np.empty(sketch.shape, dtype=np.float16)
    lengths = np.empty(len(sketch))
    for first in range(0, len(sketch), _ROWS):
        rows = slice(first, first + _ROWS)
        some = sketch[rows]
        lengths[rows] = np.linalg.norm(some, axis=1)
        length = lengths[rows, None]
        directions[rows] = np.divide(some, length, out=np.zeros_like(some), where=length > 0)
    return directions, lengths
