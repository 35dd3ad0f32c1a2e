"""The evaluations of a search: in batches that are complete or not there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import update

from research.experiments.evaluation import Data, Evaluator, evaluate
from research.experiments.plan import Plan
from research.experiments.progress import ExperimentListener
from research.experiments.store import Batch, Record, Store, batch_of
from research.experiments.variants import draw, pieces
from research.ledger.ledger import Ledger, Trials
from research.ledger.tables import FAILED, OK, PARTS, Experiment
from research.splits.ranges import TrainTestWindow

_CELLS_PER_BATCH = 300_000_000
_BATCH = (100, 40_000)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is missing of an experiment, and what it takes to evaluate it; `data` is by symbol."""

    store: Store
    ledger: Ledger
    evaluator: Evaluator
    now: Callable[[], datetime]
    record: Record
    data: Mapping[str, Data]
    listener: ExperimentListener

    def evaluate_missing(self) -> None:
        """Evaluate, count and store what is not there yet, batch by batch."""
        plan = self.record.plan
        for symbol in plan.symbols:
            data = self.data[symbol]
            for number, window in enumerate(plan.windows):
                there = self.store.done(self.record.id, symbol, number)
                missing = [each for each in plan.numbers if each not in there]
                for piece in pieces(missing, _batch_size(plan, window, data)):
                    self._do_batch(data, number, piece)

    def _do_batch(self, data: Data, window: int, numbers: Sequence[int]) -> None:
        begun = time.perf_counter()
        record = self.record
        batch = self._evaluated(data, window, numbers)
        with self.store.database.write() as connection:
            self.store.add(connection, record.id, batch)
            self.ledger.record(_trials(record, data, batch), now=self.now(), connection=connection)
            connection.execute(
                update(Experiment)
                .where(Experiment.id == record.id)
                .values(
                    seconds=Experiment.seconds + (time.perf_counter() - begun),
                    bars=Experiment.bars
                    + len(numbers) * _bars(record.plan, record.plan.windows[window], data),
                )
            )
        self.listener.stored(batch)

    def _evaluated(self, data: Data, window: int, numbers: Sequence[int]) -> Batch:
        drawn = draw(self.record.plan.space, numbers)
        self.listener.advance(len(numbers) - len(drawn.rows))
        dates = self.record.plan.windows[window]
        outcomes = [
            evaluate(drawn.configs, data, part, self.evaluator, self._advance)
            for part in ((dates.train, dates.test) if len(drawn.rows) else ())
        ]
        where = _where(self.record, data)
        return batch_of(data.symbol, window, drawn, outcomes, where, self.record.config_hash)

    def _advance(self, count: int) -> None:
        self.listener.advance(count / len(PARTS))


def _bars(plan: Plan, window: TrainTestWindow, data: Data) -> int:
    return sum(data.bars_in(plan.strategy, dates) for dates in (window.train, window.test))


def _batch_size(plan: Plan, window: TrainTestWindow, data: Data) -> int:
    least, most = _BATCH
    return max(least, min(most, _CELLS_PER_BATCH // _bars(plan, window, data)))


def _where(record: Record, data: Data) -> str:
    """Name everything but the configuration that an evaluation depends on."""
    spans = [f"{each.train} / {each.test}" for each in record.plan.windows]
    return "\n".join((record.code_hash, data.symbol, data.hash, *spans))


def _trials(record: Record, data: Data, batch: Batch) -> Trials:
    return Trials(
        family=data.family,
        symbol=data.symbol,
        dates=record.plan.split.searched,
        kind=record.kind,
        evaluations={head.evaluation: OK if head.error is None else FAILED for head in batch.heads},
        experiment_id=record.id,
    )
