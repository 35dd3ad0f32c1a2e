"""Variants that do what was done before: they are told so, and evaluated once.

Two variants whose signals are equal at every bar of a range, and whose stops, sizes and the like are, make
the same trades there. So each range of a variant is looked up first: in its own batch, then in the ledger,
on the same bars with the same code. What came of the first is what comes of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from lockstep.market.bars import Floats
from lockstep.market.dates import DateRange
from research.experiments.evaluation import Data, Evaluator, VariantOutcome, evaluate
from research.experiments.store import Record, Store
from research.experiments.variants import pieces
from research.ledger import behaviours
from research.ledger.behaviours import Behaviour, first_with
from research.ledger.tables import METRICS, OK, PARTS, ExperimentRun, Returns
from research.statistics.maximum import SKETCH
from research.sweep.variants import Variants

_PIECE = 500


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is stored of one range of a run, as in `VariantOutcome`: for one variant."""

    metrics: Mapping[str, float]
    blocks: Floats
    timing: Floats
    sketch: Floats
    ones: Floats
    calendar: tuple[int, int]


def evaluate_new(
    configs: Variants,
    data: Data,
    dates: DateRange,
    evaluator: Evaluator,
    advance: Callable[[int], None],
    *,
    does: Sequence[str],
    known: Mapping[str, Known],
) -> VariantOutcome:
    """Run what is new of `configs` over one range, as `evaluate` does; the others get what is known.

    does    hash of what each does on the range; known: what came of some of these before
    """
    first: dict[str, int] = {}
    for row, each in enumerate(does):
        first.setdefault(each, row)
    new = np.array([row for each, row in first.items() if each not in known], dtype=np.int64)
    advance(len(does) - new.size)
    found = [evaluate(configs.take(new), data, dates, evaluator, advance)] if new.size else []
    stored = [each for each in first if each in known]
    if stored:
        found.append(_together([known[each] for each in stored]))
    place = {does[row]: number for number, row in enumerate(new.tolist())}
    place |= {each: new.size + number for number, each in enumerate(stored)}
    return _taken(found, np.array([place[each] for each in does], dtype=np.int64))


def _together(known: Sequence[Known]) -> VariantOutcome:
    return VariantOutcome(
        metrics={name: np.array([each.metrics[name] for each in known]) for name in METRICS},
        blocks=np.stack([each.blocks for each in known]),
        timing=np.stack([each.timing for each in known]),
        sketch=np.stack([each.sketch for each in known]),
        errors={},
        ones=known[0].ones,
        calendar=known[0].calendar,
    )


def _taken(parts: Sequence[VariantOutcome], rows: NDArray[np.int64]) -> VariantOutcome:
    """Return rows of outcomes that stand behind each other."""
    sizes = [len(each.blocks) for each in parts]
    names = dict.fromkeys(name for each in parts for name in each.metrics)
    errors = {
        number + before: text
        for each, before in zip(parts, np.cumsum([0, *sizes]).tolist(), strict=False)
        for number, text in each.errors.items()
    }
    return VariantOutcome(
        metrics={
            name: np.concatenate(
                [
                    each.metrics.get(name, np.full(size, np.nan))
                    for each, size in zip(parts, sizes, strict=True)
                ]
            )[rows]
            for name in names
        },
        blocks=np.concatenate([each.blocks for each in parts])[rows],
        timing=np.concatenate([each.timing for each in parts])[rows],
        sketch=np.concatenate([each.sketch for each in parts])[rows],
        errors={row: errors[place] for row, place in enumerate(rows.tolist()) if place in errors},
        ones=next((each.ones for each in parts if each.ones is not None), None),
        calendar=next((each.calendar for each in parts if each.calendar is not None), None),
    )


def same_as(store: Store, record: Record, variants: Sequence[int]) -> dict[int, dict[str, int]]:
    """Return, by variant and symbol, the trial that did the same before on the training ranges.

    A trial has the number that it has in the ledger.
    """
    told: dict[int, dict[str, int]] = {}
    for symbol in record.plan.symbols:
        with store.database.read() as connection:
            found = behaviours.of_variants(connection, record.id, symbol, variants)
            same = behaviours.same_as(connection, found, len(record.plan.windows))
        for variant, trial in same.items():
            told.setdefault(variant, {})[symbol] = trial
    return told


def repeat_lines(store: Store, record: Record) -> Iterator[str]:
    """Yield how many trials of an experiment did what an earlier one did, a line for each symbol."""
    for symbol in record.plan.symbols:
        with store.database.read() as connection:
            found = behaviours.of_experiment(connection, record.id, symbol)
            same = behaviours.same_as(connection, found, len(record.plan.windows))
        if same:
            variant, trial = next(iter(same.items()))
            yield (
                f"{symbol}: {len(same):,} of {len({each.variant for each in found}):,} new trials do what an "
                f"earlier one did on the training range (variant {variant}: same as #{trial}). What was "
                "known was not evaluated again, and each counts"
            )


def known_before(store: Store, part: str, does: Sequence[str]) -> dict[str, Known]:
    """Return what came of some behaviours on their `part`, where a run that showed it is still stored."""
    with store.database.read() as connection:
        first = first_with(connection, part, does)
    together: dict[tuple[int, str, int], dict[int, tuple[str, Behaviour]]] = {}
    for name, each in first.items():
        where = (each.experiment_id, each.symbol, each.window)
        together.setdefault(where, {})[each.variant] = (name, each)
    found: dict[str, Known] = {}
    for where, wanted in together.items():
        runs = _runs(store, where, wanted)
        for batch, variants in _batches(store, where, runs):
            for row in np.flatnonzero(np.isin(variants, list(runs))).tolist():
                name, variant = wanted[int(variants[row])][0], int(variants[row])
                found[name] = _known(runs[variant], batch, variants.size, row, PARTS.index(part))
    return found


def _runs(
    store: Store, where: tuple[int, str, int], wanted: Mapping[int, tuple[str, Behaviour]]
) -> dict[int, Any]:
    """Return, by variant, the runs that are stored and are still those that were remembered."""
    table, found = ExperimentRun.__table__, dict[int, Any]()
    with store.database.read() as connection:
        for some in pieces(list(wanted), _PIECE):
            asked = select(table).where(*_equal(table, *where), table.c.variant.in_(some))
            found |= {row.variant: row for row in connection.execute(asked.where(table.c.status == OK))}
    return {number: row for number, row in found.items() if row.evaluation == wanted[number][1].evaluation}


def _batches(
    store: Store, where: tuple[int, str, int], wanted: Iterable[int]
) -> Iterator[tuple[Any, NDArray[np.int64]]]:
    """Yield the rows of kept returns that hold any of the variants, each read once, and their variants."""
    kept, numbers = Returns.__table__, list(wanted)
    with store.database.read() as connection:
        asked = select(kept.c.first_variant, kept.c.variants).where(*_equal(kept, *where))
        there = {
            row.first_variant: np.frombuffer(row.variants, np.int64) for row in connection.execute(asked)
        }
        for first, variants in there.items():
            if np.isin(variants, numbers).any():
                one = select(kept).where(*_equal(kept, *where), kept.c.first_variant == first)
                row = connection.execute(one).one()
                # Earlier versions wrote less.
                if row.lengths is not None and row.calendar is not None:
                    yield row, variants


def _equal(table: Any, experiment: int, symbol: str, window: int) -> tuple[Any, ...]:
    return table.c.experiment_id == experiment, table.c.symbol == symbol, table.c.window_number == window


def _known(run: Any, row: Any, count: int, at: int, part: int) -> Known:
    """Return what a run and row `at` of its batch of `count` say of one of its parts."""
    blocks = np.frombuffer(row.blocks, np.float32).reshape(count, len(PARTS), 16, 2)[at, part]
    sessions = np.frombuffer(row.sessions, np.float64).reshape(len(PARTS), -1)[part]
    weeks, first = np.frombuffer(row.calendar, np.int64).reshape(len(PARTS), 2)[part].tolist()
    direction = np.frombuffer(row.sketch, np.float16).reshape(count, -1)[at].astype(np.float64)
    # Of exactly the stored length, so that it is stored as it was.
    norm, length = float(np.linalg.norm(direction)), float(np.frombuffer(row.lengths, np.float64)[at])
    values = {name: getattr(run, f"{PARTS[part]}_{name}") for name in METRICS}
    return Known(
        metrics={name: np.nan if value is None else float(value) for name, value in values.items()},
        blocks=np.column_stack((blocks.astype(np.float64), sessions)),
        timing=np.frombuffer(row.timing, np.float64).reshape(count, -1)[at],
        sketch=direction * (length / norm) if norm else np.zeros(SKETCH),
        ones=np.frombuffer(row.ones, np.float64),
        calendar=(weeks, first),
    )
