"""Pieces of work, the compiled loops that they run in, and the memory that the loops work in.

A piece is a number of variants of one shape. A loop is generated for each shape: the stages of `kernels` with
the `decide` of the variants' family and the literals of the shape. The memory is kept from one piece to the
next: the system hands out large arrays page by page, which takes longer than the work that is done in them.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import generated_module
from lockstep.floats import require_exact
from lockstep.market.bars import Floats
from research.statistics.maximum import SKETCH
from research.sweep.account import BLOCKS, MEASURES
from research.sweep.inputs import Inputs
from research.sweep.kernels import OUTCOME
from research.sweep.variants import Integers, Shape, Slots, VariantGroup

_CACHE_LINE = 64

Numbers = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Arrays of one worker, whose contents are left from before; see `account.settle`.

    entries   int32 (rules, n + 1), following int32 (2 n,), outcomes float64 (2 n, 8), changes float64 (S,)
    """

    entries: Numbers
    following: Numbers
    outcomes: Floats
    changes: Floats


# Those that no worker is using; taking and giving back are atomic.
_free: list[NDArray[np.uint8]] = []


@contextmanager
def desk(*, bars: int, sessions: int, rules: int) -> Iterator[Desk]:
    """Yield a desk for n = `bars` bars in S = `sessions` sessions and so many different entry rules."""
    shapes = {
        "outcomes": ((2 * bars, OUTCOME), np.float64),
        "following": ((2 * bars,), np.int32),
        "entries": ((rules, bars + 1), np.int32),
        "changes": ((sessions,), np.float64),
    }
    sizes = [int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in shapes.values()]
    starts = np.cumsum([0, *(size + -size % _CACHE_LINE for size in sizes)])
    room = _room(int(starts[-1]))
    cut = zip(shapes.items(), starts.tolist(), sizes, strict=False)
    try:
        yield Desk(
            **{
                name: room[start : start + size].view(kind).reshape(shape)
                for (name, (shape, kind)), start, size in cut
            }
        )
    finally:
        _free.append(room)


def _room(size: int) -> NDArray[np.uint8]:
    """Return so many bytes, beginning with a line of the cache: a row of outcomes is one line."""
    room = _free.pop() if _free else np.empty(0, dtype=np.uint8)
    if room.size >= size:
        return room
    raw = np.empty(size + _CACHE_LINE, dtype=np.uint8)
    first = -raw.ctypes.data % _CACHE_LINE
    return raw[first : first + size]


_TEMPLATE = '''"""Generated: the sweep's loops for one shape of variants; see research/sweep/loops.py."""

import math

import numpy as np

from lockstep.compiled import inlined, kernel
from lockstep.strategy.family import family_named
from research.sweep import account, kernels
from research.sweep.account import draw, sum_sessions
from research.sweep.kernels import NO_FILTER, OUTCOME

find_entries = inlined(kernels.find_entries)
hold = inlined(kernels.hold)
settle = inlined(account.settle)
# Of the family with the fingerprint {code}.
decide = family_named({family!r}, where="sweep").decide
INF = math.inf
NAN = math.nan


@kernel
def row(values, i):
    return ({values})


@kernel
def entries(p, values, probability, clock, found):
    find_entries(decide, row, {always_open}, values, probability, clock, ({entry_rules}), ({filters}), found)


@kernel
def carry_out(p, values, clock, bars, costs, entry, outcomes):
    following, _ = hold(
        decide, row, False, {at_close}, {always_open}, values, clock, bars, costs, ({exit_rules}),
        NO_FILTER, ({sizing}), ({exits}), entry, outcomes, 0, outcomes
    )
    return following


@kernel
def evaluate(
    exit_parameters, exit_of, found, entry_of, values, clock, bars, costs, session, marks, exposure, edges,
    market, bucket, sign, capital, following, outcomes, changes, measures, blocks, sketch
):
    known = -1
    for v in range(exit_of.shape[0]):
        if exit_of[v] != known:
            known = exit_of[v]
            following[:] = -1
        changes[:] = 0.0
        settle(
            carry_out, {at_close}, exit_parameters[known], values, clock, bars, session, marks, exposure,
            costs, capital, found[entry_of[v]], following, outcomes, changes, measures[v]
        )
        sum_sessions(changes, capital, edges, market, bucket, sign, measures[v], blocks[v], sketch[v])


@kernel
def trace(p, entries, values, clock, bars, costs, capital, fills, curve):
    n = bars.shape[0]
    outcomes = np.empty((2 * n, OUTCOME))
    i, stop, count, cash = 0, 0, 0, capital
    while entries[i] != 2 * n:
        entry = entries[i]
        i, count = hold(
            decide, row, True, {at_close}, {always_open}, values, clock, bars, costs, ({exit_rules}),
            NO_FILTER, ({sizing}), ({exits}), entry, outcomes, count, fills
        )
        stop, cash = draw(outcomes[entry], bars, costs, stop, cash, curve)
    curve[stop:] = cash
    return count
'''


@functools.cache
def loops(shape: Shape) -> ModuleType:
    """Return the compiled `entries`, `evaluate` and `trace` of a shape, from the disk cache if there."""
    entry_rules, filters = _spelled(shape.entry)
    exit_rules, sizing, exits = _spelled(shape.exit)
    text = _TEMPLATE.format(
        values=", ".join(f"values[i, {column}]" for column in range(shape.width)) + ",",
        family=shape.family,
        code=shape.code,
        at_close=shape.at_close,
        always_open=shape.always_open,
        entry_rules=entry_rules,
        filters=filters,
        exit_rules=exit_rules,
        sizing=sizing,
        exits=exits,
    )
    return generated_module("sweeps", shape.name, text)


def _spelled(slots: Slots) -> list[str]:
    """Return each part as the content of a tuple: literals, or where a number stands in `p`."""
    numbers = itertools.count()
    return [
        ", ".join(
            f"p[{number}]" if slot is None else slot for slot, number in zip(part, numbers, strict=False)
        )
        for part in slots
    ]


# Entries of a piece, one list per bar and different entry rule: 64 MB at most.
_ENTRY_CELLS = 16_000_000


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some variants of a group, those of equal exit rules beside each other; fields as of `VariantGroup`."""

    shape: Shape
    capital: float
    positions: Integers
    entry_parameters: Floats
    entry_of: Integers
    exit_parameters: Floats
    exit_of: Integers


def pieces(group: VariantGroup, chunk: int, *, bars: int, workers: int = 1) -> list[Piece]:
    """Return the variants of a group in pieces of at most `chunk`, at least one per worker.

    Pieces share nothing, so that few large ones are better; very many bars make them smaller.
    """
    size = max(1, min(chunk, _ENTRY_CELLS // bars, group.positions.size // workers))
    return [_piece(group, slice(first, first + size)) for first in range(0, group.positions.size, size)]


def _piece(group: VariantGroup, rows: slice) -> Piece:
    entries, entry_of = np.unique(group.entry_of[rows], return_inverse=True)
    exits, exit_of = np.unique(group.exit_of[rows], return_inverse=True)
    return Piece(
        shape=group.shape,
        capital=group.config.capital,
        positions=group.positions[rows],
        entry_parameters=group.entry_parameters[entries],
        entry_of=entry_of,
        exit_parameters=group.exit_parameters[exits],
        exit_of=exit_of,
    )


def evaluate(piece: Piece, inputs: Inputs) -> tuple[Floats, Floats, Floats]:
    """Run the variants of a piece; returns measures (V, 18), block sums (V, 16, 2) and sketches (V, 256)."""
    require_exact()
    compiled = loops(piece.shape)
    bars, count = len(inputs.bars), piece.positions.size
    outputs = (np.zeros((count, MEASURES)), np.zeros((count, BLOCKS, 2)), np.zeros((count, SKETCH)))
    with desk(bars=bars, sessions=inputs.marks.size, rules=len(piece.entry_parameters)) as room:
        for row, parameters in zip(room.entries, piece.entry_parameters, strict=True):
            compiled.entries(parameters, *inputs.seen_while_flat, row)
        compiled.evaluate(
            piece.exit_parameters, piece.exit_of, room.entries, piece.entry_of, *inputs.seen_in_position,
            inputs.session, inputs.marks, inputs.exposure, inputs.edges, inputs.market, inputs.bucket,
            inputs.sign, piece.capital, room.following, room.outcomes, room.changes, *outputs,
        )  # fmt: skip
    return outputs
