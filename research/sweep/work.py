"""The work of a sweep: pieces of variants with what they read, whichever way their family decides."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from lockstep.market.bars import Floats
from lockstep.strategy.config import ACCEPT_ALL, StrategyConfig
from lockstep.strategy.family import Family, family_of
from research.sweep.inputs import Chances, Columns, Inputs, Prepared
from research.sweep.kernels import FATE, FILL_COLUMNS, OUTCOME
from research.sweep.loops import Each, Entries, Piece, evaluate, loops, pieces, shared_entries
from research.sweep.packing import Specs, by_vector
from research.sweep.specs import SpecPiece, apart, evaluate_specs, loop_of, what_spec_reads
from research.sweep.specs import compiled as compiled_specs
from research.sweep.variants import Variants, combinations

Work = Piece | SpecPiece


def work_on(
    variants: Variants, prepared: Prepared, *, chunk: int, workers: int, each: Each | None
) -> Iterator[tuple[Inputs, list[Work], Entries | None]]:
    """Yield pieces of at most `chunk` variants, at least one per worker, and what those of a list share.

    each   like `map`, in threads; None where pieces are worked on elsewhere and search the bars themselves
    """
    family = family_of(variants[0])
    if family.signals is not None:
        for inputs, specs in spec_work(variants, prepared, family, chunk=chunk, workers=workers):
            yield inputs, specs, None
        return
    for group in prepared.groups(variants):
        inputs = prepared.inputs(group.config)
        work: list[Work] = [
            *pieces(group, chunk, bars=prepared.bars, sessions=prepared.ground.days.size, workers=workers)
        ]
        yield inputs, work, shared_entries(group, inputs, each, workers) if each else None


def spec_work(
    variants: Variants, prepared: Prepared, family: Family, *, chunk: int, workers: int
) -> Iterator[tuple[Inputs, list[Work]]]:
    """Yield the same for specs: the features of all of them are computed once."""
    ids: dict[str, dict[str, int]] = {}
    vector, vectors = by_vector(variants)
    age, ages = variants.different(("max_age",))
    _, rows = combinations(((vector, vectors.size), (age, ages.size)), variants.size)
    for config in (variants[row] for row in rows.tolist()):
        known = ids.setdefault(repr(config.max_age), {})
        for each in config.feature_ids:
            known.setdefault(each, len(known))
    columns: dict[str, Columns] = {}
    for rows in apart(variants):
        some = variants.take(rows)
        limits = repr(some[0].max_age)
        if limits not in columns:
            columns[limits] = prepared.columns([*ids[limits]], some[0])
        loop = loop_of(some[0], family, always_open=prepared.always_open)
        specs = Specs.of(some, prepared.market, ids[limits], ACCEPT_ALL)
        size = max(1, min(chunk, len(specs) // workers))
        work: list[Work] = [*SpecPiece.parts(loop, some[0].capital, rows, specs, size)]
        yield prepared.read(columns[limits], some[0]), work


def evaluated(piece: Work, inputs: Inputs, shared: Entries | None) -> tuple[Floats, Floats, Floats]:
    """Run the variants of a piece; returns measures (V, 18), block sums (V, 16, 2) and sketches (V, 256)."""
    return evaluate_specs(piece, inputs) if isinstance(piece, SpecPiece) else evaluate(piece, inputs, shared)


def traced(config: StrategyConfig, prepared: Prepared, chances: Chances | None) -> tuple[Floats, Floats]:
    """Return the fills of one configuration, float64 (fills, 6), and its equity at every bar."""
    compiled, read = _alone(config, prepared, chances)
    return _recorded(compiled, read, config.capital, prepared.bars)


def spec_alone(
    config: StrategyConfig, prepared: Prepared, row: dict[str, int], threshold: float = ACCEPT_ALL
) -> SpecPiece:
    """Return one spec as a piece of its own; `row` says where the columns of each id are."""
    loop = loop_of(config, family_of(config), always_open=prepared.always_open)
    specs = Specs.of([config], prepared.market, row, threshold)
    (piece,) = SpecPiece.parts(loop, config.capital, np.zeros(1, dtype=np.int64), specs, 1)
    return piece


def traced_spec(piece: SpecPiece, inputs: Inputs) -> tuple[Floats, Floats]:
    """Return the fills of a piece of one spec, float64 (fills, 6), and its equity at every bar."""
    read = what_spec_reads(piece, inputs)
    return _recorded(compiled_specs(piece.loop), read, piece.capital, len(inputs.bars))


def fates(config: StrategyConfig, prepared: Prepared, chances: Chances | None) -> Floats:
    """Return what becomes of each entry that one configuration could take, see `kernels.tabulate`.

    config   of one contract, or of one share or coin
    """
    compiled, read = _alone(config, prepared, chances)
    found = np.zeros((prepared.bars, FATE))
    compiled.fates(*read, np.empty(OUTCOME), np.empty((2, FILL_COLUMNS)), found)
    return found


def _recorded(
    compiled: ModuleType, read: tuple[Any, ...], capital: float, bars: int
) -> tuple[Floats, Floats]:
    fills, curve = np.empty((2 * bars + 2, FILL_COLUMNS)), np.empty(bars)
    count = compiled.trace(*read, capital, np.empty(OUTCOME), fills, curve)
    return fills[:count], curve


def _alone(
    config: StrategyConfig, prepared: Prepared, chances: Chances | None
) -> tuple[ModuleType, tuple[Any, ...]]:
    """Return the compiled loops of one configuration, and what they read first."""
    threshold = chances.threshold if chances else ACCEPT_ALL
    if family_of(config).signals is not None:
        ids = config.feature_ids
        piece = spec_alone(config, prepared, {each: row for row, each in enumerate(ids)}, threshold)
        inputs = prepared.read(prepared.columns(ids, config), config, chances)
        return compiled_specs(piece.loop), what_spec_reads(piece, inputs)
    (group,) = prepared.groups([config], threshold)
    inputs = prepared.inputs(config, chances)
    compiled = loops(group.shape)
    sides = np.empty(prepared.bars, dtype=np.uint8)
    compiled.entries(group.entry_parameters[0], *inputs.seen_while_flat, sides)
    return compiled, (group.exit_parameters[0], sides, *inputs.seen_in_position)
