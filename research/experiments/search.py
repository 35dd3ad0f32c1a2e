"""The evaluations of a search: in batches that are complete or not there.

What the two ranges of a window gave, put together as the rows that are stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import update

from lockstep.market.bars import Floats
from lockstep.market.dates import DateRange
from research.experiments.collector import paused
from research.experiments.evaluation import Data, Evaluator, VariantOutcome, behaviour_hashes, evaluate
from research.experiments.evolution import evolve
from research.experiments.plan import Plan
from research.experiments.progress import ExperimentListener
from research.experiments.repeats import evaluate_new, known_before
from research.experiments.selection import scores_of
from research.experiments.store import Batch, KeptReturns, Record, RunHead, Store
from research.experiments.variants import (
    Drawn,
    NamedCombinations,
    evaluation_ids,
    named_combinations,
    pieces,
)
from research.experiments.write_behind import WriteBehind
from research.ledger.behaviours import Behaviour, remember
from research.ledger.ledger import Ledger, Trials
from research.ledger.shares import spent_on
from research.ledger.tables import FAILED, OK, PARTS, Experiment
from research.splits.ranges import TrainTestWindow
from research.sweep.variants import Integers, Variants

_CELLS_PER_BATCH = 300_000_000
_BATCH = (100, 40_000)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is missing of an experiment, and what it takes to evaluate it; `data` is by symbol.

    A batch is written while the next one is evaluated; whoever leaves `behind` has all of them written.
    """

    store: Store
    ledger: Ledger
    evaluator: Evaluator
    now: Callable[[], datetime]
    record: Record
    data: Mapping[str, Data]
    listener: ExperimentListener
    behind: WriteBehind

    def evaluate_missing(self) -> None:
        """Evaluate, count and store what is not there yet, batch by batch."""
        self.evaluate(self.record.plan.numbers)

    def evaluate(self, numbers: Sequence[int]) -> None:
        """Evaluate, count and store combinations that are not there yet, rising numbers."""
        plan = self.record.plan
        for symbol in plan.symbols:
            data = self.data[symbol]
            for number, window in enumerate(plan.windows):
                there = self.store.done(self.record.id, symbol, number)
                missing = [each for each in numbers if each not in there]
                for piece in pieces(missing, _batch_size(plan, window, data)):
                    self._do_batch(data, number, piece)

    def evolve(self) -> None:
        """Carry out an evolution; what was visited before an interruption is read, the rest evaluated.

        What was picked is stored with the plan after each generation.
        """
        plan = self.record.plan
        picked: list[int] = []

        def scores(numbers: Sequence[int]) -> Mapping[int, float]:
            self.evaluate(sorted(numbers))
            self.behind.settle()
            picked.extend(numbers)
            self._keep(tuple(picked))
            return scores_of(self.store, self.record, numbers)

        assert plan.generations is not None
        walk = evolve(
            plan.space, generations=plan.generations, children=plan.children, seed=plan.seed, scores=scores
        )
        self._keep(walk.visited)

    def _keep(self, picked: tuple[int, ...]) -> None:
        plan = self.record.plan.model_copy(update={"picked": picked})
        self.store.update(self.record.id, plan=plan.model_dump_json())

    def _do_batch(self, data: Data, window: int, numbers: Sequence[int]) -> None:
        with paused():
            self._evaluate_batch(data, window, numbers)

    def _evaluate_batch(self, data: Data, window: int, numbers: Sequence[int]) -> None:
        begun = time.perf_counter()
        batch = self._evaluated(data, window, numbers)
        self.behind.put(
            partial(self._write, data, batch, begun), partial(self.listener.stored, batch), about=data.symbol
        )

    def _write(self, data: Data, batch: Batch, begun: float) -> None:
        """Store and count a batch, all of it or nothing."""
        record, count = self.record, len(batch.heads)
        # Two batches share what passes while one is written: it is counted once.
        begun = max(begun, self.behind.finished)
        with self.store.database.write() as connection:
            self.store.add(connection, record.id, batch)
            self.ledger.record(_trials(record, data, batch), now=self.now(), connection=connection)
            remember(connection, batch.behaviours, now=self.now())
            connection.execute(
                update(Experiment)
                .where(Experiment.id == record.id)
                .values(
                    seconds=Experiment.seconds + (time.perf_counter() - begun),
                    bars=Experiment.bars
                    + count * _bars(record.plan, record.plan.windows[batch.window], data),
                )
            )

    def _evaluated(self, data: Data, window: int, numbers: Sequence[int]) -> Batch:
        with spent_on("names"):
            named = named_combinations(self.record.plan.space, numbers, self.record.config_hash)
            drawn = named.drawn
        self.listener.advance(len(numbers) - len(drawn.rows))
        dates = self.record.plan.windows[window]
        does: list[list[str] | None] = []
        outcomes = []
        with spent_on("loops"):
            for part, span in zip(PARTS, (dates.train, dates.test), strict=True) if len(drawn.rows) else ():
                does.append(behaviour_hashes(drawn.configs, data, span))
                outcomes.append(self._outcome(drawn.configs, data, part, span, does[-1]))
        with spent_on("names"):
            where = _where(self.record, data)
            batch = _batch_of(data.symbol, window, named, outcomes, where)
            return replace(batch, behaviours=_behaviours(self.record.id, batch, drawn, does))

    def _outcome(
        self, configs: Variants, data: Data, part: str, span: DateRange, does: list[str] | None
    ) -> VariantOutcome:
        if does is None:
            return evaluate(configs, data, span, self.evaluator, self._advance)
        # What another symbol's variants did names that symbol: nothing of it is asked for.
        self.behind.settle(data.symbol)
        known = known_before(self.store, part, does)
        return evaluate_new(configs, data, span, self.evaluator, self._advance, does=does, known=known)

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


def _behaviours(
    experiment: int, batch: Batch, drawn: Drawn, does: Sequence[Sequence[str] | None]
) -> tuple[Behaviour, ...]:
    """Return what the runs that succeeded do, where it is known."""
    if not does or None in does:
        return ()
    heads = (batch.heads[row] for row in drawn.rows.tolist())
    return tuple(
        Behaviour(
            evaluation=head.evaluation,
            experiment_id=experiment,
            symbol=batch.symbol,
            window=batch.window,
            variant=head.variant,
            train=train,
            test=test,
        )
        for head, train, test in zip(heads, *(each for each in does if each is not None), strict=True)
        if head.error is None
    )


def _batch_of(
    symbol: str, window: int, named: NamedCombinations, outcomes: Sequence[VariantOutcome], where: str
) -> Batch:
    """Return a batch of the combinations drawn, with an outcome of the valid ones per range.

    where   code, data and dates, see `variants.evaluation_id`
    """
    drawn = named.drawn
    errors = dict(drawn.errors)
    for outcome in outcomes:
        for place, reason in outcome.errors.items():
            errors.setdefault(int(drawn.rows[place]), reason)
    return Batch(
        symbol=symbol,
        window=window,
        heads=_heads(named, errors, where),
        metrics=_metrics(drawn.numbers.size, drawn.rows, outcomes, list(errors)),
        returns=_returns(drawn, outcomes, errors),
    )


def _heads(named: NamedCombinations, errors: Mapping[int, str], where: str) -> list[RunHead]:
    drawn = named.drawn
    evaluations = evaluation_ids(where, named.contents.tolist())
    reasons = map(errors.get, range(drawn.numbers.size))
    columns = (
        drawn.numbers.tolist(), drawn.parameters.tolist(), named.hashes.tolist(), evaluations, reasons
    )  # fmt: skip
    return list(map(RunHead, *columns))


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


def _returns(
    drawn: Drawn, outcomes: Sequence[VariantOutcome], errors: Mapping[int, str]
) -> KeptReturns | None:
    """Return what is kept of the variants that no range failed; the sketch is that of the test range."""
    rows = np.flatnonzero(~np.isin(drawn.rows, list(errors)))
    if not rows.size:
        return None
    # Where none failed, nothing is copied: sketches are the largest thing of a search.
    chosen: Any = rows if rows.size < drawn.rows.size else slice(None)
    test = outcomes[PARTS.index("test")]
    blocks = np.empty((rows.size, len(outcomes), *outcomes[0].blocks.shape[1:-1], 2), dtype=np.float32)
    for place, outcome in enumerate(outcomes):
        blocks[:, place] = outcome.blocks[chosen, :, :2]
    return KeptReturns(
        variants=drawn.numbers[drawn.rows[rows]],
        blocks=blocks,
        sessions=np.stack([outcome.blocks[rows[0], :, 2] for outcome in outcomes]),
        timing=test.timing[chosen],
        calendar=np.array([outcome.calendar for outcome in outcomes], dtype=np.int64),
        sketch=test.sketch[chosen],
        ones=test.ones,
    )
